"""The events that identity publishes: identifiers only. Their data is the JSON of `Happening`.

The partition key is the user, and the causation id what made it happen: a session, a device, a proposal, or the user.
"""

from datetime import datetime
from uuid import UUID

from msgspec import Struct

SOURCE = "/latticebank/identity"
USER_REGISTERED = "latticebank.identity.user-registered.v1"
LOGGED_IN = "latticebank.identity.logged-in.v1"
LOGIN_FAILED = "latticebank.identity.login-failed.v1"
"""The first failure of each hour on an account."""
LOCKED_OUT = "latticebank.identity.locked-out.v1"
DEVICE_ENROLLED = "latticebank.identity.device-enrolled.v1"
"""A device joined, the first one of a registration too."""
DEVICE_REVOKED = "latticebank.identity.device-revoked.v1"
RIGHTS_CHANGED = "latticebank.identity.rights-changed.v1"
PROFILE_READ = "latticebank.identity.profile-read.v1"
"""A member of staff read the profile of a customer."""
PROFILE_ERASED = "latticebank.identity.profile-erased.v1"
"""A profile was erased: by the user, or by the operator, who has no id."""
PASSWORD_CHANGED = "latticebank.identity.password-changed.v1"  # noqa: S105 - the type of an event
SESSION_ENDED = "latticebank.identity.session-ended.v1"
"""A session was ended, by its user or since it was one too many; those whose time passes end untold."""


class Happening(Struct, frozen=True, omit_defaults=True):
    """What happened to `user`: with which session or device, by which proposal, by whom if it was another.

    `right` and `action` go with changed rights; the first admins are named by nobody's proposal. With an enrolled device
    go the SHA-256 of its enrolment document in hex, its algorithm, when it was enrolled and from when it counts, and the
    device that sponsored it if one did; with a revoked one, when and why. With an erasure goes whether the operator, who has
    no id, asked for it.
    """

    user: UUID
    session: UUID | None = None
    device: UUID | None = None
    proposal: UUID | None = None
    by: UUID | None = None
    right: str | None = None
    action: str | None = None
    document: str | None = None
    algorithm: str | None = None
    enrolled_at: datetime | None = None
    active_from: datetime | None = None
    sponsor: UUID | None = None
    revoked_at: datetime | None = None
    reason: str | None = None
    by_operator: bool = False
