"""How people look after their devices."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field

from latticebank.security.identity.wire.words import DeviceStateWord, DocumentText, Message, RevokeReason, SignatureText


@dataclass(frozen=True, slots=True)
class EnrolmentOrder(Message):
    """A further device: the enrolment names an active device of the same user as sponsor, and both sign it."""

    device_name: Annotated[str, Field(max_length=60, examples=["Ada's phone"])] = field(repr=False)
    document: DocumentText
    signature: SignatureText
    sponsor_signature: SignatureText


@dataclass(frozen=True, slots=True)
class DeviceView(Message):
    """A device of the caller. A cooling one becomes active at `active_from`."""

    device: UUID
    name: str = field(repr=False)
    algorithm: str
    state: DeviceStateWord
    enrolled_at: datetime
    active_from: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class DeviceList(Message):
    """The devices of the caller in the order of their enrolment."""

    items: list[DeviceView]


@dataclass(frozen=True, slots=True)
class RevocationOrder(Message):
    """Why a device is revoked."""

    reason: RevokeReason = "no-longer-needed"
