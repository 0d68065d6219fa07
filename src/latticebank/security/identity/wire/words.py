"""The words, texts and bounds that identity's messages are made of."""

from typing import Annotated, ClassVar, Literal

from msgspec import Meta
from pydantic import ConfigDict, Field

MAX_CHECKS = 8_192
"""The most standings asked for at once."""
MAX_DEVICES_ASKED = 8_192
MAX_USERS_ASKED = 500
MAX_PASSWORD = 256

DocumentText = Annotated[str, Field(min_length=2, max_length=4_096)]
SignatureText = Annotated[str, Field(min_length=1, max_length=11_000)]
Password = Annotated[str, Field(min_length=1, max_length=MAX_PASSWORD)]
RoleWord = Literal["customer", "teller", "manager", "auditor", "admin"]
DeviceStateWord = Literal["active", "cooling", "revoked"]
VerdictWord = Literal["good", "session-ended", "user-unknown", "device-unknown", "device-revoked", "device-cooling"]
ProposalStateWord = Literal["open", "approved", "rejected", "expired"]
RevokeReason = Literal["lost", "stolen", "replaced", "no-longer-needed"]
"""Why a device is revoked: a fixed list, since free text would gather personal data."""
AudienceText = Annotated[str, Meta(pattern="^[a-z][a-z-]{1,30}$")]


class Message:
    """A message that refuses members it does not know."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
