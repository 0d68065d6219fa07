"""What goes over identity's wire.

What people sign travels as two texts: `document`, exactly as it was signed, and `signature`, base64url without padding
(RFC 4648, 5). The structures that hold a password or a token never show it in their text form.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, ClassVar, Literal
from uuid import UUID

from msgspec import Meta, Struct
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


class _Message:
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True, repr=False)
class RegistrationOrder(_Message):
    """Who wants to become a customer. `user` is an id of the client's making (UUIDv7).

    `document` is the enrolment of the first device, without a sponsor, signed by the new key.
    """

    user: UUID
    email: Annotated[str, Field(max_length=254, examples=["ada@example.org"])]
    password: Password
    full_name: Annotated[str, Field(max_length=140, examples=["Ada Lovelace"])]
    phone: Annotated[str, Field(max_length=20, examples=["+442071838750"])]
    device_name: Annotated[str, Field(max_length=60, examples=["Ada's laptop"])]
    document: DocumentText
    signature: SignatureText


@dataclass(frozen=True, slots=True)
class Registered(_Message):
    """The new customer and the first device."""

    user: UUID
    device: UUID


@dataclass(frozen=True, slots=True, repr=False)
class LoginOrder(_Message):
    """Who wants in. A known device may prove itself, which opens a door that others' attempts have locked."""

    email: Annotated[str, Field(max_length=254, examples=["ada@example.org"])]
    password: Password
    document: DocumentText | None = None
    signature: SignatureText | None = None


@dataclass(frozen=True, slots=True, repr=False)
class LoggedIn(_Message):
    """A new session: `token` is what the client presents as a bearer token, until `expires_at` at most."""

    token: str
    session: UUID
    user: UUID
    expires_at: datetime
    idle_seconds: int
    roles: list[RoleWord]


@dataclass(frozen=True, slots=True, repr=False)
class PasswordChange(_Message):
    """The present password and the one that takes its place; all other sessions end."""

    old: Password
    new: Password


@dataclass(frozen=True, slots=True, repr=False)
class ProfileView(_Message):
    """What a customer told the bank."""

    user: UUID
    email: str
    full_name: str
    phone: str
    verified: bool
    roles: list[RoleWord]


@dataclass(frozen=True, slots=True)
class EnrolmentOrder(_Message):
    """A further device: the enrolment names an active device of the same user as sponsor, and both sign it."""

    device_name: Annotated[str, Field(max_length=60, examples=["Ada's phone"])] = field(repr=False)
    document: DocumentText
    signature: SignatureText
    sponsor_signature: SignatureText


@dataclass(frozen=True, slots=True)
class DeviceView(_Message):
    """A device of the caller. A cooling one becomes active at `active_from`."""

    device: UUID
    name: str = field(repr=False)
    algorithm: str
    state: DeviceStateWord
    enrolled_at: datetime
    active_from: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class DeviceList(_Message):
    """The devices of the caller in the order of their enrolment."""

    items: list[DeviceView]


@dataclass(frozen=True, slots=True)
class RevocationOrder(_Message):
    """Why a device is revoked."""

    reason: RevokeReason = "no-longer-needed"


@dataclass(frozen=True, slots=True)
class ProposedEnrolment(_Message):
    """The device of a customer who has none left: an enrolment without sponsor, signed by the new key."""

    device_name: Annotated[str, Field(max_length=60)] = field(repr=False)
    document: DocumentText
    signature: SignatureText


@dataclass(frozen=True, slots=True)
class ProposalOrder(_Message):
    """A signed proposal of a right; `enrolment` goes with the right to a device, and only with that."""

    document: DocumentText
    signature: SignatureText
    enrolment: ProposedEnrolment | None = None


@dataclass(frozen=True, slots=True)
class DecisionOrder(_Message):
    """A signed decision about a proposal."""

    document: DocumentText
    signature: SignatureText


@dataclass(frozen=True, slots=True)
class ProposalView(_Message):
    """A proposal. A decision names the SHA-256 of `document`."""

    id: UUID
    subject: UUID
    action: Literal["grant", "withdraw"]
    right: str
    proposer: UUID
    document: str
    enrolment: str | None
    proposed_at: datetime
    expires_at: datetime
    state: ProposalStateWord
    decided_by: UUID | None
    decided_at: datetime | None


@dataclass(frozen=True, slots=True)
class ProposalPage(_Message):
    """A page of proposals, the newest first; `next_cursor` is null on the last."""

    items: list[ProposalView]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class BootstrapOrder(_Message):
    """Who becomes one of the first two admins."""

    user: UUID
    role: Literal["admin"]


@dataclass(frozen=True, slots=True)
class RolesView(_Message):
    """The roles of a user."""

    user: UUID
    roles: list[RoleWord]


@dataclass(frozen=True, slots=True)
class AlgorithmView(_Message):
    """An algorithm of the bank: what it does, and whether it may authorise anything new."""

    name: str
    use: Literal["signature", "sealing", "field"]
    post_quantum: bool
    authorises: bool
    default: bool


@dataclass(frozen=True, slots=True)
class SecurityInfo(_Message):
    """How the bank protects itself, for everyone to see."""

    bank: str
    version: str
    library: str
    algorithms: list[AlgorithmView]
    token_keys: list[str]
    password_hash: str


class TokenOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """For which service a token is wanted."""

    audience: AudienceText


class TokenAnswer(Struct, frozen=True):
    """A token and for how many seconds it is good."""

    token: str
    expires_in: int

    def __repr__(self) -> str:
        return f"TokenAnswer(expires_in={self.expires_in})"


class ExchangeOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """The token of a session, and for which service a token of its user is wanted."""

    token: Annotated[str, Meta(max_length=200)]
    audience: AudienceText

    def __repr__(self) -> str:
        return f"ExchangeOrder(audience={self.audience!r})"


class Exchanged(Struct, frozen=True):
    """A token with which a service speaks for the user of a session, and for how many seconds it is good."""

    token: str
    expires_in: int
    session: UUID
    user: UUID

    def __repr__(self) -> str:
        return f"Exchanged(session={self.session}, user={self.user}, expires_in={self.expires_in})"


class TokenKeys(Struct, frozen=True):
    """The public keys of tokens, a JWKS (RFC 7517, 5; RFC 9964)."""

    keys: list[dict[str, str]]


Check = tuple[UUID, UUID, UUID]
"""Session, user and device."""


class StandingChecks(Struct, frozen=True, forbid_unknown_fields=True):
    """Which sessions, users and devices are asked about."""

    checks: Annotated[list[Check], Meta(min_length=1, max_length=MAX_CHECKS)]


class Standing(Struct, frozen=True, gc=False):
    """Whether a session, user and device count now; the rights of the user are empty unless they do."""

    user: UUID
    verdict: VerdictWord
    verified: bool
    parties: list[str]
    roles: list[str]


class StandingAnswer(Struct, frozen=True):
    """The answers, in the order of the checks."""

    standings: list[Standing]


class DevicesWanted(Struct, frozen=True, forbid_unknown_fields=True):
    """Devices to look up."""

    devices: Annotated[list[UUID], Meta(min_length=1, max_length=MAX_DEVICES_ASKED)]


class DeviceRecord(Struct, frozen=True, gc=False):
    """A device with the evidence of its enrolment. Nothing but `state` and `revoked_at` ever changes.

    `document` is the enrolment as it was signed; keys and signatures are base64url. A device without sponsor is a user's
    first, or came by the `proposal` of two members of staff.
    """

    device: UUID
    user: UUID
    algorithm: str
    public_key: str
    state: DeviceStateWord
    enrolled_at: datetime
    active_from: datetime
    revoked_at: datetime | None
    document: str
    signature: str
    sponsor: UUID | None
    sponsor_signature: str | None
    proposal: UUID | None


class DeviceRecords(Struct, frozen=True):
    """Those of the devices that exist, in the order asked."""

    devices: list[DeviceRecord]


class UsersWanted(Struct, frozen=True, forbid_unknown_fields=True):
    """Users of whom the evidence is wanted."""

    users: Annotated[list[UUID], Meta(max_length=MAX_USERS_ASKED)]


class ProposalRecord(Struct, frozen=True, gc=False):
    """An approved proposal as it was signed: `document` by the proposer, `decision` by the approver.

    The decision's document names the device that signed it.
    """

    proposal: UUID
    subject: UUID
    action: str
    right: str
    proposer: UUID
    device: UUID
    document: str
    signature: str
    proposed_at: datetime
    approver: UUID
    decision: str
    decision_signature: str
    decided_at: datetime


class EnrolledDevice(Struct, frozen=True, gc=False):
    """How a device came to its user: by a sponsor, by the proposal of staff, or as the first one, by neither."""

    device: UUID
    enrolled_at: datetime
    sponsor: UUID | None
    proposal: UUID | None


class UserRecord(Struct, frozen=True, gc=False):
    """All devices of a user and all approved proposals about this user, each in the order of time.

    `registered_device` is the first device that the registration, authenticated by a key of identity, was made with; null
    if there is no such. Nothing can be said of it once the profile is `erased`.
    """

    user: UUID
    registered_device: UUID | None
    erased: bool
    devices: list[EnrolledDevice]
    proposals: list[ProposalRecord]


class FirstAdmin(Struct, frozen=True, gc=False):
    """Whom the operator named an admin, and when."""

    user: UUID
    named_at: datetime


class UserRecords(Struct, frozen=True):
    """Those of the users who exist, in the order asked; and all admins by the operator's word, whoever was asked about."""

    users: list[UserRecord]
    first_admins: list[FirstAdmin]
