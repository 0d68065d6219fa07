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
    """Where to post: the number and currency of each account by its index, and the migration account it has."""

    source: str
    numbers: Sequence[str]
    currencies: Sequence[str]
    migration: Sequence[str]


def movements(rows: Iterable[Row], roundings: Mapping[int, int]) -> Iterator[Movement]:
    """Yield what is to be posted, in order: each row, followed by the rounding, by its line, that it asks for."""
    for row in rows:
        yield Movement(row, row.amount, rounding=False)
        if row.line in roundings:
            yield Movement(row, roundings[row.line], rounding=True)


def row_id(source: str, row: Row) -> UUID:
    """Return the id under which a row is posted."""
    return derived_id(source, *row.identity)


def rounding_id(source: str, row: Row) -> UUID:
    """Return the id under which the rounding of a row is posted."""
    return derived_id(source, *row.identity, "rounding")


def order_of(movement: Movement, books: Books) -> PostOrder:
    """Return the order for a movement: a credit comes from the migration account, a debit goes to it."""
    row, amount, account = movement.row, movement.amount, movement.row.account
    number, migration, currency = books.numbers[account], books.migration[account], books.currencies[account]
    digits = CURRENCY_DIGITS[currency]
    return PostOrder(
        id=rounding_id(books.source, row) if movement.rounding else row_id(books.source, row),
        debit=migration if amount > 0 else number,
        credit=number if amount > 0 else migration,
        amount=format_amount(amount if amount > 0 else -amount, digits),
        currency=currency,
        purpose="rounding" if movement.rounding else "import",
        booking_date=row.day,
        evidence=row.evidence.hex(),
    )
