"""Devices: the keys by which customers and staff sign."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Generic, TypeVar
from uuid import UUID

from latticebank.crypto.signatures import VerifyingKey
from latticebank.documents.document import (
    MAX_DOCUMENT_BYTES,
    Document,
    InvalidDocument,
    from_base64url,
    identity,
    read,
)
from latticebank.documents.enrolment import DeviceEnrolment
from latticebank.documents.signing import verify
from latticebank.values.errors import BankError, Fault, InvalidValue

MAX_DEVICES = 20
"""The most devices of one user that are not revoked."""
MAX_SIGNATURE_BYTES = 8_192

D = TypeVar("D", bound=Document)


class DeviceState(StrEnum):
    """A device cools off before it counts, and never counts again once it is revoked."""

    ACTIVE = "active"
    COOLING = "cooling"
    REVOKED = "revoked"


class UnknownDevice(BankError):
    """There is no such device, or it is somebody else's: that is never told apart."""

    code = "unknown-device"
    title = "There is no such device"
    fault = Fault.NOT_FOUND


class DeviceRevoked(BankError):
    """The device no longer counts."""

    code = "device-revoked"
    title = "This device was revoked"
    fault = Fault.FORBIDDEN


class DeviceCooling(BankError):
    """The device does not count yet."""

    code = "device-cooling"
    title = "This device is still cooling off"
    fault = Fault.FORBIDDEN


class DeviceIdReused(BankError):
    """The id of a new device names another one."""

    code = "device-id-reused"
    title = "This device id was used for something else"
    fault = Fault.CONFLICT


class KeyAlreadyEnrolled(BankError):
    """The public key of a new device belongs to another one."""

    code = "key-already-enrolled"
    title = "This key is enrolled already"
    fault = Fault.CONFLICT


class TooManyDevices(BankError):
    """A user has as many devices as there may be."""

    code = "too-many-devices"
    title = "You have too many devices"
    fault = Fault.CONFLICT


@dataclass(frozen=True, slots=True)
class Device:
    """A device as it is stored, with the evidence of its enrolment; `name` is sealed."""

    id: UUID
    user: UUID
    algorithm: str
    public_key: bytes
    name: bytes
    document: bytes
    signature: bytes
    sponsor: UUID | None
    sponsor_signature: bytes | None
    proposal: UUID | None
    enrolled_at: datetime
    active_from: datetime
    revoked_at: datetime | None = None

    def state(self, now: datetime) -> DeviceState:
        """Return what the device is at an instant."""
        return state_of(self.active_from, self.revoked_at, now)

    def require_active(self, now: datetime) -> None:
        """Check that the device counts.

        Raises:
            DeviceRevoked, DeviceCooling: it does not.

        """
        match self.state(now):
            case DeviceState.REVOKED:
                raise DeviceRevoked("this device was revoked", field="device")
            case DeviceState.COOLING:
                raise DeviceCooling(f"this device counts from {self.active_from:%Y-%m-%d %H:%M} UTC", field="device")

    def key(self) -> VerifyingKey:
        """Return the key with which the device's signatures are checked."""
        return VerifyingKey(self.algorithm, self.public_key)


def state_of(active_from: datetime, revoked_at: datetime | None, now: datetime) -> DeviceState:
    """Return what a device is at an instant."""
    if revoked_at is not None:
        return DeviceState.REVOKED
    return DeviceState.ACTIVE if now >= active_from else DeviceState.COOLING


@dataclass(frozen=True, slots=True)
class Signed(Generic[D]):
    """A document that came with a signature that is not checked yet, and its received bytes."""

    document: D
    received: bytes
    signature: bytes

    @property
    def identity(self) -> bytes:
        """The SHA-256 of the document."""
        return identity(self.received)

    def require_signed_by(self, key: VerifyingKey) -> None:
        """Check the signature.

        Raises:
            InvalidSignature: it is not this key's signature of this document.

        """
        verify(key, self.received, self.signature, self.document.type)


def signed(kind: type[D], document: str, signature: str, place: str = "") -> Signed[D]:
    """Return the document that two texts of a request carry; `place` is the JSON pointer to where they stood.

    Raises:
        InvalidDocument, InvalidValue: they carry none.

    """
    raw = signature_bytes(signature, f"{place}/signature")
    received = document.encode("utf-8", "surrogatepass")
    if len(received) > MAX_DOCUMENT_BYTES:
        raise InvalidDocument(f"a document has at most {MAX_DOCUMENT_BYTES} bytes", field=f"{place}/document")
    try:
        return Signed(read(kind, received), received, raw)
    except BankError as error:
        error.field = f"{place}/document" if error.field in (None, "document") else f"{place}/document/{error.field}"
        raise


def signature_bytes(signature: str, field: str) -> bytes:
    """Return the signature that a text carries.

    Raises:
        InvalidValue: it carries none.

    """
    raw = from_base64url(signature, field, MAX_SIGNATURE_BYTES)
    if not raw:
        raise InvalidValue("this must be a signature", field=field)
    return raw


def own_key(enrolment: DeviceEnrolment) -> VerifyingKey:
    """Return the key that an enrolment is about.

    Raises:
        InvalidKey: its bytes are no key of its algorithm.

    """
    return VerifyingKey(enrolment.algorithm, from_base64url(enrolment.public_key, "public_key"))
