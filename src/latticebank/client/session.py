"""A customer's session at a bank, as the customer's program keeps it."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Session:
    """An open session: whose, and until when at most; it ends earlier if it is not used for `idle_seconds`.

    `token` is the opaque bearer token (RFC 6750).
    """

    id: UUID
    user: UUID
    expires_at: datetime
    idle_seconds: int
    roles: tuple[str, ...] = ()
    token: str = field(default="", repr=False)

    def is_over(self, now: datetime) -> bool:
        """Whether the session has ended by its age; whether by idleness only the bank knows."""
        return now >= self.expires_at
