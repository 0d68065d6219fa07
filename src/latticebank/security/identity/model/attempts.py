"""Guessing is bounded: five failures lock an address, a device or a user for half an hour.

An attempt is charged as a failure before the password is looked at, and cleared if it was right: those who try many
passwords at once get no more of them than those who try one after the other.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil

from latticebank.values.errors import BankError, Fault
from latticebank.values.words import Word

MAX_FAILURES = 5
LOCK = timedelta(minutes=30)
FORGOTTEN = timedelta(minutes=30)
"""Failures no longer count when none has come for so long."""


class CounterKind(Word):
    """What failures are counted of: an address (known or not), a device that proved itself, a user in a session."""

    EMAIL = 1
    DEVICE = 2
    USER = 3


class TooManyAttempts(BankError):
    """Too many wrong passwords; `retry_after` is in seconds."""

    code = "too-many-attempts"
    title = "There were too many attempts"
    fault = Fault.TOO_MANY

    def __init__(self, retry_after: int) -> None:
        super().__init__(
            "there were too many attempts to log in", hint="wait, or log in with a device that the bank knows"
        )
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Attempts:
    """What is known of attempts on one subject. `told_at` is when an event last told of a failure."""

    failures: int
    last_at: datetime
    locked_until: datetime | None = None
    told_at: datetime | None = None


def charge(known: Attempts | None, now: datetime) -> Attempts:
    """Return the attempts with one more, as if it had failed.

    Raises:
        TooManyAttempts: the subject is locked.

    """
    if known is not None and known.locked_until is not None and now < known.locked_until:
        raise TooManyAttempts(max(1, ceil((known.locked_until - now).total_seconds())))
    told_at = None if known is None else known.told_at
    starts_anew = known is None or known.locked_until is not None or now >= known.last_at + FORGOTTEN
    failures = 1 if starts_anew or known is None else known.failures + 1
    return Attempts(failures, now, now + LOCK if failures >= MAX_FAILURES else None, told_at)


def give_back(known: Attempts) -> Attempts:
    """Return the attempts without one that was charged and never looked at."""
    return replace(known, failures=max(0, known.failures - 1), locked_until=None)


def is_worth_telling(known: Attempts, now: datetime) -> bool:
    """Whether an event tells of this failure: the first of each hour."""
    return known.told_at is None or now >= known.told_at + timedelta(hours=1)
