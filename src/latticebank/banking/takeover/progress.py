"""How a long import tells how far it is."""

from enum import Enum
from typing import Protocol


class Phase(Enum):
    """What an import does, in this order; `total` counts what stands behind each."""

    READING = "reading"  # bytes of the source
    OPENING = "opening accounts"  # accounts that rows name
    POSTING = "posting"  # orders, of rows and of rounding
    COMPARING = "comparing"  # answers of the ledger


class Progress(Protocol):
    """Is told how far a phase is; may be called from another thread, never from two at once."""

    def __call__(self, phase: Phase, done: int, total: int) -> None:
        """Take note that `done` of `total` are done; the last call of a phase has both equal."""
        ...


def no_progress(phase: Phase, done: int, total: int) -> None:
    """Tell nobody."""
