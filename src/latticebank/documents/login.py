"""The proof of a known device at log-in: it keeps the door open for the customer while others try passwords."""

from datetime import timedelta
from typing import Literal

import msgspec

from latticebank.documents.document import instant
from latticebank.values.errors import InvalidValue

LOGIN = "latticebank/login/v1"
_LIFE = timedelta(minutes=1)


class LoginProof(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Possession of the key of `device` now; good for a minute."""

    bank: str
    created: str
    device: str
    expires: str
    id: str
    type: Literal["latticebank/login/v1"]

    def check(self) -> None:
        """Check that the proof is short-lived.

        Raises:
            InvalidValue: it is not.

        """
        if instant(self.expires, "expires") - instant(self.created, "created") > _LIFE:
            raise InvalidValue("a proof of a device is good for at most a minute", field="expires")
