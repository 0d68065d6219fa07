"""Clocks for tests: time stands still, or moves when the test says so."""

from datetime import UTC, datetime, timedelta

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
"""A Monday."""


class FixedClock:
    """Always the same instant."""

    def __init__(self, instant: datetime = NOON) -> None:
        self._instant = instant

    def now(self) -> datetime:
        return self._instant


class MovingClock:
    """An instant that moves when it is told to."""

    def __init__(self, instant: datetime = NOON) -> None:
        self._instant = instant

    def now(self) -> datetime:
        return self._instant

    def advance(self, by: timedelta | None = None, *, seconds: float = 0) -> None:
        """Let time pass: `by`, or so many seconds."""
        self._instant += by or timedelta(seconds=seconds)

    def set(self, instant: datetime) -> None:
        """Jump to an instant, backwards too."""
        self._instant = instant
