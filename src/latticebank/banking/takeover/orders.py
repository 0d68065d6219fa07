"""Rows as orders to the ledger. Every id is derived from the row, so that none can be posted twice."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from uuid import UUID

from msgspec import Struct

from latticebank.banking.ledger.wire import PostOrder
from latticebank.banking.takeover.reading import Row
from latticebank.values.ids import derived_id
from latticebank.values.money import CURRENCY_DIGITS, format_amount


class Movement(Struct, frozen=True, gc=False):
    """What one order moves: a row's amount, or with `rounding` what makes the row's stated balance exact."""

    row: Row
    amount: int
    rounding: bool


class Books(Struct, frozen=True):
    """Where to post: the number and currency of each account by its index, and the migration account it has.

    `identified_by` says whether rows are known by their "id" or by their "content".
    """

    source: str
    identified_by: str
    numbers: Sequence[str]
    currencies: Sequence[str]
    migration: Sequence[str]


def movements(rows: Iterable[Row], roundings: Mapping[int, int]) -> Iterator[Movement]:
    """Yield what is to be posted, in order: each row, followed by the rounding, by its line, that it asks for."""
    for row in rows:
        yield Movement(row, row.amount, rounding=False)
        if row.line in roundings:
            yield Movement(row, roundings[row.line], rounding=True)


def order_id(movement: Movement, books: Books) -> UUID:
    """Return the id under which a movement is posted, always the same."""
    kind = "rounding" if movement.rounding else "row"
    return derived_id(books.source, kind, books.identified_by, movement.row.identity)


def order_of(movement: Movement, books: Books) -> PostOrder:
    """Return the order for a movement: a credit comes from the migration account, a debit goes to it."""
    row, amount, account = movement.row, movement.amount, movement.row.account
    number, migration, currency = books.numbers[account], books.migration[account], books.currencies[account]
    digits = CURRENCY_DIGITS[currency]
    return PostOrder(
        id=order_id(movement, books),
        debit=migration if amount > 0 else number,
        credit=number if amount > 0 else migration,
        amount=format_amount(amount if amount > 0 else -amount, digits),
        currency=currency,
        purpose="rounding" if movement.rounding else "import",
        booking_date=row.day,
        evidence=row.evidence.hex(),
    )
