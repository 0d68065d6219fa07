"""Time comes from outside: every use case is given its clock."""

import re
from datetime import UTC, date, datetime
from typing import Protocol

_FULL_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """Tells the present instant in UTC."""

    def now(self) -> datetime:
        """Return the present instant, aware, in UTC."""
        ...


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        """Return the present instant, aware, in UTC."""
        return datetime.now(UTC)


def business_date(instant: datetime) -> date:
    """Return the bank's business date of an instant: its date in UTC."""
    if instant.tzinfo is None:
        raise ValueError("an instant must be aware")
    return instant.astimezone(UTC).date()


def iso_day(text: object) -> date:
    """Return the day that ten characters such as "2026-03-31" name (RFC 3339, full-date).

    Raises:
        ValueError: any other form, also one that ISO 8601 knows.

    """
    if not isinstance(text, str) or _FULL_DATE.fullmatch(text) is None:
        raise ValueError('a day is written like "2026-03-31"')
    return date.fromisoformat(text)
