"""The proposal of a right: a role for a member of staff, or what a customer's account of the bank needs.

It is signed by a member of staff, and takes effect when another one approves it (`decision`).
"""

import re
from typing import Literal

import msgspec

from latticebank.documents.document import require_hash
from latticebank.values.errors import InvalidValue
from latticebank.values.ids import parse_uuid

RIGHTS = "latticebank/rights/v1"
ROLES = ("teller", "manager", "auditor", "admin")
"""The roles of staff. Everyone who registers is a customer."""
VERIFIED = "verified"
"""The customer's identity was proved: the limits of an unverified customer no longer hold."""
PARTY = "party:"
"""The customer is the party that the ledger knows by this reference, from books that were taken over."""
DEVICE = "device:"
"""A device for a customer who has none left: the SHA-256 of its enrolment."""
_BY_ADMINS = (frozenset({"admin"}), frozenset({"admin"}))
_BY_BRANCH = (frozenset({"teller", "manager"}), frozenset({"manager"}))
_PARTY_REFERENCE = re.compile(r"(?!user:)[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}")


class RightsProposal(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """To grant `subject`, a user, a right, or to withdraw it."""

    action: Literal["grant", "withdraw"]
    bank: str
    created: str
    device: str
    expires: str
    id: str
    right: str
    subject: str
    type: Literal["latticebank/rights/v1"]

    def check(self) -> None:
        """Check what a proposal must be.

        Raises:
            InvalidValue: there is no such right, or a member is malformed.

        """
        parse_uuid(self.subject, "subject")
        if self.right.startswith(PARTY):
            known = _PARTY_REFERENCE.fullmatch(self.right.removeprefix(PARTY)) is not None
        elif self.right.startswith(DEVICE):
            require_hash(self.right.removeprefix(DEVICE), "right")
            known = self.action == "grant"
        else:
            known = self.right in (*ROLES, VERIFIED)
        if not known:
            raise InvalidValue(
                f"a right is one of {', '.join(ROLES)}, {VERIFIED}, {PARTY}..., {DEVICE}...", field="right"
            )


def eyes_of(right: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the roles of which one may propose a right, and those of which one may decide about it."""
    return _BY_ADMINS if right in ROLES else _BY_BRANCH
