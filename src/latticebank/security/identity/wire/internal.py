"""What services ask identity: tokens, what counts at this instant, and evidence."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from latticebank.security.identity.wire.words import (
    MAX_CHECKS,
    MAX_DEVICES_ASKED,
    MAX_USERS_ASKED,
    AudienceText,
    DeviceStateWord,
    VerdictWord,
)


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
