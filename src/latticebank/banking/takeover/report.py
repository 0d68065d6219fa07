"""What came of an import, as values that can be written as JSON and as lines that people read. Amounts are strings."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from latticebank.banking.takeover.errors import BadRow

_SHOWN = 20
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OffStep:
    """A row whose stated balance differs from the one before by more than its amount and the tolerance allow."""

    line: int
    account: str
    difference: str


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row, or the rounding of a row, that the ledger refused or that was withheld after one was."""

    line: int
    account: str
    reason: str
    rounding: bool


@dataclass(frozen=True, slots=True)
class AccountDrift:
    """By how much the ledger's balance of an account differs from the stated one: at the end, and at most."""

    account: str
    number: str
    currency: str
    final: str
    largest: str
    line_of_largest: int


@dataclass(frozen=True, slots=True)
class GrantedOverdraft:
    """The overdraft limit of an account and the lowest balance that its history takes it to."""

    account: str
    number: str
    currency: str
    limit: str
    lowest: str


@dataclass(frozen=True, slots=True)
class MigrationAccount:
    """What the ledger holds on a migration account after the import.

    `credited` went to customers' accounts and `debited` came from them, rounding included. `other_entries` are those
    of other files of the source. `agrees` says that balance and entries are what this import makes them.
    """

    number: str
    reference: str
    currency: str
    credited: str
    debited: str
    balance: str
    entries: int
    other_entries: int
    agrees: bool


@dataclass(frozen=True, slots=True)
class Report:
    """What came of an import. Of long lists the first are named; the counts are whole."""

    source: str
    file: str
    rows: int
    posted: int
    already_posted: int
    rounding_posted: int
    rounding_already_posted: int
    exact: int
    within_tolerance: int
    off: int
    uncompared: int
    skipped: int
    refused: int
    accounts: int
    accounts_opened: int
    drifting: int
    drifting_at_end: int
    off_steps: tuple[OffStep, ...]
    skipped_rows: tuple[BadRow, ...]
    refused_rows: tuple[RefusedRow, ...]
    drifts: tuple[AccountDrift, ...]
    overdrafts: tuple[GrantedOverdraft, ...]
    migration: tuple[MigrationAccount, ...]

    @property
    def reconciled(self) -> bool:
        """Whether every row is in the ledger, every step within the tolerance, and the ledger's sums agree."""
        return not (self.skipped or self.refused or self.off) and all(each.agrees for each in self.migration)

    def as_json(self) -> dict[str, Any]:
        """Return the whole report as values of JSON."""
        report = asdict(self)
        report["skipped_rows"] = [
            {"line": row.line, "column": row.column, "reason": row.reason} for row in self.skipped_rows
        ]
        return {"reconciled": self.reconciled, **report}

    def figures(self) -> list[tuple[str, str]]:
        """Return the name and the value of each figure, for a table."""
        counts = [
            ("rows", self.rows),
            ("posted now", self.posted),
            ("posted before", self.already_posted),
            ("rounding entries posted now", self.rounding_posted),
            ("rounding entries posted before", self.rounding_already_posted),
            ("steps exact", self.exact),
            ("steps within tolerance", self.within_tolerance),
            ("steps off", self.off),
            ("rows without a stated balance", self.uncompared),
            ("rows skipped", self.skipped),
            ("orders refused or withheld", self.refused),
            ("accounts", self.accounts),
            ("accounts opened now", self.accounts_opened),
            ("accounts with overdraft", len(self.overdrafts)),
            ("accounts that drift", self.drifting),
            ("accounts that drift at the end", self.drifting_at_end),
        ]
        return [(name, f"{count:,}") for name, count in counts]

    def lines(self) -> Iterator[str]:
        """Yield the report as people read it: all figures, and the first of each list."""
        yield f"{self.file} as {self.source}: {'reconciled' if self.reconciled else 'NOT reconciled'}"
        yield from (f"  {name:<32}{value:>14}" for name, value in self.figures())
        yield from _list("rows skipped", list(self.skipped_rows), self.skipped, str)
        yield from _list("refused by the ledger", list(self.refused_rows), self.refused, _refused)
        yield from _list("steps off", list(self.off_steps), self.off, _off)
        yield from _list("drift, ledger minus stated", list(self.drifts), self.drifting, _drift)
        yield from _list("overdrafts", list(self.overdrafts), len(self.overdrafts), _overdraft)
        yield from _list("migration accounts", list(self.migration), len(self.migration), _migration)


def _list(title: str, items: list[T], count: int, line: Callable[[T], str]) -> Iterator[str]:
    if count:
        yield f"{title}:"
        yield from (f"  {line(item)}" for item in items[:_SHOWN])
        if count > _SHOWN:
            yield f"  and {count - min(_SHOWN, len(items)):,} more"


def _refused(row: RefusedRow) -> str:
    return f"line {row.line}{', rounding' if row.rounding else ''}, {row.account}: {row.reason}"


def _off(step: OffStep) -> str:
    return f"line {step.line}, {step.account}: off by {step.difference}"


def _drift(drift: AccountDrift) -> str:
    largest = f"at most {drift.largest} at line {drift.line_of_largest}"
    return f"{drift.account} ({drift.number}): {drift.final} {drift.currency} at the end, {largest}"


def _overdraft(granted: GrantedOverdraft) -> str:
    return f"{granted.account} ({granted.number}): {granted.limit} {granted.currency}, lowest {granted.lowest}"


def _migration(account: MigrationAccount) -> str:
    agrees = "agrees" if account.agrees else "DOES NOT AGREE"
    return (
        f"{account.reference} ({account.number}): {account.balance} {account.currency}, credited {account.credited}, "
        f"debited {account.debited}: {agrees}"
    )
