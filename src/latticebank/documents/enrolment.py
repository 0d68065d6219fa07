"""The enrolment of a device: its public key becomes the customer's.

The new key signs the document, which proves its possession. From the second device on an active one, the `sponsor`,
signs the same bytes; or two members of staff vouch for the customer.
"""

from typing import Literal

import msgspec

from latticebank.crypto.registry import authorising
from latticebank.documents.document import from_base64url, require_text, require_uuid7
from latticebank.values.errors import InvalidValue
from latticebank.values.ids import parse_uuid

ENROLMENT = "latticebank/enrolment/v1"
MAX_DEVICE_NAME = 60
MAX_PUBLIC_KEY_BYTES = 4_096


class DeviceEnrolment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A device of `user`. `device` is its new id (UUIDv7), `public_key` base64url; the first device has no sponsor."""

    algorithm: str
    bank: str
    created: str
    device: str
    expires: str
    id: str
    public_key: str
    sponsor: str = ""
    type: Literal["latticebank/enrolment/v1"]
    user: str

    def check(self) -> None:
        """Check what an enrolment must be.

        Raises:
            InvalidValue: a member is malformed.
            UnknownAlgorithm, AlgorithmNotPermitted: such a key may not authorise anything.

        """
        expected = authorising(self.algorithm).public_key_bytes
        if len(from_base64url(self.public_key, "public_key", MAX_PUBLIC_KEY_BYTES)) != expected:
            raise InvalidValue(f"a public key of {self.algorithm} has {expected} bytes", field="public_key")
        require_uuid7(self.device, "device")
        require_uuid7(self.user, "user")
        if self.sponsor:
            parse_uuid(self.sponsor, "sponsor")


def require_device_name(name: str) -> None:
    """Check the name that a customer gives a device; it is personal, and no part of the signed document.

    Raises:
        InvalidValue: it is empty, too long or no plain text.

    """
    if not name:
        raise InvalidValue("a device has a name", field="name")
    require_text(name, "name", MAX_DEVICE_NAME)
