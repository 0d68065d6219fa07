"""Whether an import can go on from what the ledger holds of it. Asked before anything is posted.

The ledger keeps its refusals for ever: an order that comes too late would never be accepted under its id. Orders are
posted strictly in their order, so the ledger holds a beginning of them, and its end is found by halving.
"""

from collections.abc import Collection, Sequence
from datetime import date

from latticebank.banking.ledger.client import LedgerClient
from latticebank.banking.takeover.errors import CannotContinue
from latticebank.banking.takeover.orders import Books, Movement, order_id
from latticebank.banking.takeover.reading import Row
from latticebank.kernel.client import RemoteProblem

_UNKNOWN = "transfer-not-found"


async def refuse_if_too_late(
    client: LedgerClient, books: Books, rows: Sequence[Row], last_booking: date | None
) -> None:
    """Refuse rows that are new to the ledger and dated before what was posted last against their migration account.

    Raises:
        CannotContinue: names the first such row.

    """
    low, high = 0, len(rows)
    while low < high:
        middle = (low + high) // 2
        if await _is_recorded(client, books, rows[middle]):
            low = middle + 1
        else:
            high = middle
    if low < len(rows) and last_booking is not None and rows[low].day < last_booking:
        raise CannotContinue(
            f"line {rows[low].line} is new and dated {rows[low].day}, but history of {books.source} is posted up to "
            f"{last_booking}, and booking dates never go back",
            field="date",
            hint="import files in the order of their dates, or this one under another source name",
        )


async def refuse_if_otherwise_corrected(
    client: LedgerClient, books: Books, rows: Sequence[Row], differences: Collection[int], *, correct_rounding: bool
) -> None:
    """Refuse to correct what was imported without correction, and the other way round.

    `differences` has the lines whose steps are off by a rounding.

    Raises:
        CannotContinue: the first rounding of these rows is in the ledger, or has been passed over.

    """
    place = next((place for place, row in enumerate(rows) if row.line in differences), None)
    if place is None:
        return
    corrected = await _is_recorded(client, books, rows[place], rounding=True)
    if corrected and not correct_rounding:
        raise CannotContinue(
            "this history was imported with its rounding corrected", hint="ask for the correction again"
        )
    if correct_rounding and not corrected and place + 1 < len(rows):
        if await _is_recorded(client, books, rows[place + 1]):
            raise CannotContinue(
                f"this history was imported without correction; the rounding of line {rows[place].line} can no longer "
                f"be entered on its own day, {rows[place].day}",
                hint="import without correction, or into books that do not hold this source yet",
            )


async def _is_recorded(client: LedgerClient, books: Books, row: Row, *, rounding: bool = False) -> bool:
    try:
        await client.transfer(order_id(Movement(row, row.amount, rounding), books))
    except RemoteProblem as error:
        if error.code == _UNKNOWN:
            return False
        raise
    return True
