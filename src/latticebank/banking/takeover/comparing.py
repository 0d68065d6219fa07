"""What the ledger answered against what the source states, movement by movement."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import Struct

from latticebank.banking.ledger.wire import OrderAnswer
from latticebank.banking.takeover.orders import Books, Movement
from latticebank.values.money import CURRENCY_DIGITS, parse_signed_amount

MAX_REFUSED_NAMED = 10_000
_DONE = "done"
_WITHHELD = "withheld: an earlier row of this account was refused"
_REASONS = {
    "id-reused": "the ledger knows this row with other content: it changed since it was imported",
    "booking-date-before-last": "the account, or the migration account, was booked on a later day already",
}


class Refusal(Struct, frozen=True):
    """A movement that the ledger refused, or that was withheld after one was."""

    line: int
    account: int
    reason: str
    rounding: bool


class Drift(Struct):
    """How far the ledger's balance is from the stated one: after the last row, and at most; minor units."""

    final: int = 0
    largest: int = 0
    line_of_largest: int = 0


class MigrationSums(Struct):
    """What went through one migration account: to customers and from them, in this run and before; minor units."""

    credited: int = 0
    debited: int = 0
    posted_now: int = 0
    posted_before: int = 0
    moved_now: int = 0


class Comparison:
    """Takes the answers in the order of the movements. `entries_before` has the entries of each migration account."""

    def __init__(self, books: Books, entries_before: Mapping[str, int], corrected: Collection[int]) -> None:
        self.drift: dict[int, Drift] = {}
        self.refused: list[Refusal] = []
        self.refused_count = 0
        self.sums = {number: MigrationSums() for number in entries_before}
        self.rows_posted = 0
        self.rows_repeated = 0
        self.roundings_posted = 0
        self.roundings_repeated = 0
        self._books = books
        self._digits = [CURRENCY_DIGITS[currency] for currency in books.currencies]
        self._entries_before = entries_before
        self._corrected = corrected
        self._stopped: set[int] = set()

    def withholds(self, movement: Movement) -> bool:
        """Whether a movement must not be sent, since one before it was refused; it is noted as such."""
        if movement.row.account not in self._stopped:
            return False
        self._refuse(movement, _WITHHELD)
        return True

    def note_refusals(self, movements: Sequence[Movement], answers: Sequence[OrderAnswer]) -> None:
        """Stop the accounts of refused movements."""
        for movement, answer in zip(movements, answers, strict=True):
            if answer.outcome != _DONE:
                self._stopped.add(movement.row.account)
                self._refuse(movement, _REASONS.get(answer.outcome, answer.outcome))

    def compare(self, movements: Iterable[Movement], answers: Iterable[OrderAnswer]) -> None:
        """Note what was posted, now or before, and how far each balance is from the stated one."""
        for movement, answer in zip(movements, answers, strict=True):
            if answer.outcome != _DONE:
                continue
            row, amount, account = movement.row, movement.amount, movement.row.account
            if amount > 0:
                migration_entry, text = answer.debit_entry, answer.credit_balance
            else:
                migration_entry, text = answer.credit_entry, answer.debit_balance
            if text is None or migration_entry is None:
                raise AssertionError("a posting is answered with its entries and balances")
            self._count(movement, migration_entry)
            if row.balance is not None and (movement.rounding or row.line not in self._corrected):
                difference = parse_signed_amount(text, self._digits[account]) - row.balance
                if difference or account in self.drift:
                    self._drift(account, row.line, difference)

    def _count(self, movement: Movement, migration_entry: int) -> None:
        number = self._books.migration[movement.row.account]
        sums = self.sums[number]
        if movement.amount > 0:
            sums.credited += movement.amount
        else:
            sums.debited -= movement.amount
        if migration_entry > self._entries_before[number]:
            sums.posted_now += 1
            sums.moved_now -= movement.amount
            if movement.rounding:
                self.roundings_posted += 1
            else:
                self.rows_posted += 1
        else:
            sums.posted_before += 1
            if movement.rounding:
                self.roundings_repeated += 1
            else:
                self.rows_repeated += 1

    def _drift(self, account: int, line: int, difference: int) -> None:
        drift = self.drift.setdefault(account, Drift())
        drift.final = difference
        if abs(difference) > abs(drift.largest):
            drift.largest, drift.line_of_largest = difference, line

    def _refuse(self, movement: Movement, reason: str) -> None:
        self.refused_count += 1
        if len(self.refused) < MAX_REFUSED_NAMED:
            self.refused.append(Refusal(movement.row.line, movement.row.account, reason, movement.rounding))
