"""Sessions: five minutes idle and two hours at most (Commission Delegated Regulation (EU) 2018/389, article 4)."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from latticebank.values.errors import BankError, Fault

IDLE = timedelta(minutes=5)
AT_MOST = timedelta(hours=2)
KEPT = timedelta(hours=24)
"""How long the row of a session outlives it."""
MAX_SESSIONS = 10
"""The most sessions of one user at a time; a further one ends the oldest."""
TOKEN_PREFIX = "lbs_"  # noqa: S105 - how every token begins


class LoginRefused(BankError):
    """The address is unknown or the password wrong; it is never said which."""

    code = "login-refused"
    title = "Address or password is wrong"
    fault = Fault.UNAUTHENTICATED

    def __init__(self) -> None:
        super().__init__("no customer has this address and this password")


class SessionEnded(BankError):
    """The session was ended, stood idle for too long, is past its time, or never was."""

    code = "session-ended"
    title = "This session is over"
    fault = Fault.UNAUTHENTICATED

    def __init__(self) -> None:
        super().__init__("this session is over", hint="log in again")


@dataclass(frozen=True, slots=True)
class Session:
    """A session as it is stored."""

    id: UUID
    user: UUID
    last_seen: datetime
    ends_at: datetime
    ended_at: datetime | None

    def is_open(self, now: datetime) -> bool:
        """Whether the session can still be spoken in."""
        return self.ended_at is None and now < self.ends_at and now < self.last_seen + IDLE
