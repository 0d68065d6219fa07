"""What a check found: what holds, what is worth knowing, what is wrong, and what could not be shown."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

MAX_FAULTS = 100
"""The most faults that are told of one thing; its check ends there."""


class Fault(Exception):
    """Something is wrong: where, and what."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(where, what)
        self.where = where
        self.what = what


class Enough(Exception):
    """So much is wrong that nothing more is told."""


class FaultFound(NamedTuple):
    """A fault as it is told."""

    where: str
    what: str


@dataclass(slots=True)
class Findings:
    """What was found of one thing: `subject` names it, `kind` says what it is."""

    subject: str
    kind: str
    checked: list[str] = field(default_factory=list)
    noticed: list[str] = field(default_factory=list)
    not_shown: list[str] = field(default_factory=list)
    faults: list[FaultFound] = field(default_factory=list)

    def fault(self, where: str, what: str) -> None:
        """Note a fault.

        Raises:
            Enough: it is the last one that is told.

        """
        self.faults.append(FaultFound(where, what))
        if len(self.faults) == MAX_FAULTS:
            self.faults.append(FaultFound(self.subject, f"there are {MAX_FAULTS} faults or more: the check ended here"))
            raise Enough

    def faults_of(self, where: str, whats: Iterator[str]) -> None:
        """Note all faults of one place."""
        for what in whats:
            self.fault(where, what)

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Note the fault that ends the block, and go on after it."""
        try:
            yield
        except Fault as fault:
            self.fault(fault.where, fault.what)

    @contextmanager
    def to_the_end(self) -> Iterator[None]:
        """Note the fault that ends the block, whatever it is."""
        try:
            with self.going_on():
                yield
        except Enough:
            pass
