"""The decision of a second pair of eyes: on a payment that is held, or on what another member of staff proposes."""

from typing import Literal

import msgspec

from latticebank.documents.document import require_hash
from latticebank.values.ids import parse_uuid

PAYMENT_DECISION = "latticebank/payment-decision/v1"
PROPOSAL_DECISION = "latticebank/proposal-decision/v1"


class Decision(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Approval or rejection of `subject`, whose document has the SHA-256 `subject_hash`."""

    bank: str
    created: str
    decision: Literal["approve", "reject"]
    device: str
    expires: str
    id: str
    subject: str
    subject_hash: str
    type: Literal["latticebank/payment-decision/v1", "latticebank/proposal-decision/v1"]

    def check(self) -> None:
        """Check what a decision must be.

        Raises:
            InvalidValue: a member is malformed.

        """
        parse_uuid(self.subject, "subject")
        require_hash(self.subject_hash, "subject_hash")
