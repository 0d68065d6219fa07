"""How payments come to their end: each exactly once, by whoever comes first; and the work that waits for it."""

from collections.abc import Sequence
from datetime import date, datetime
from uuid import UUID

from msgspec import Struct

from latticebank.banking.payments.model.payments import Batch, Ending, Payment, State
from latticebank.banking.payments.store.encoding import (
    PAYMENT_COLUMNS,
    BigintArray,
    DateArray,
    SmallintArray,
    TextArray,
    UuidArray,
)
from latticebank.banking.payments.store.rows import BATCH_COLUMNS, Driver, batch_from, driver_of, payment_from
from latticebank.kernel.database import UnitOfWork

# Where a list is joined to a table, the column of the index is compared with the list as well: so the index alone finds
# the rows, also while the table was never analysed and the planner knows nothing of it.
_END = """
    UPDATE payments p
    SET state = n.state, reason = n.reason, booking_date = n.booking_date, final_at = CASE WHEN n.state <> 2 THEN %s END
    FROM unnest(%s::uuid[], %s::smallint[], %s::text[], %s::date[]) AS n (id, state, reason, booking_date)
    WHERE p.book = %s AND p.shard = %s AND p.id = ANY(%s) AND p.id = n.id AND p.state = %s
    RETURNING p.id
"""
_WAIT_FOR_APPROVAL = """
    INSERT INTO approvals (book, shard, payment, expires_at)
    SELECT book, shard, id, approval_expires_at FROM payments WHERE book = %s AND shard = %s AND id = ANY(%s)
"""
_LOCK_USES = """
    SELECT 1 FROM limit_uses u JOIN unnest(%s::uuid[], %s::text[], %s::date[]) AS n (signer, currency, day)
        ON u.signer = n.signer AND u.currency = n.currency AND u.day = n.day
    WHERE u.book = %s AND u.shard = %s AND u.signer = ANY(%s) ORDER BY u.signer, u.currency, u.day FOR UPDATE OF u
"""
_GIVE_BACK = """
    UPDATE limit_uses u SET used = u.used - n.amount
    FROM unnest(%s::uuid[], %s::text[], %s::date[], %s::bigint[]) AS n (signer, currency, day, amount)
    WHERE u.book = %s AND u.shard = %s AND u.signer = ANY(%s) AND u.signer = n.signer AND u.currency = n.currency
      AND u.day = n.day
"""
_SETTLED = "DELETE FROM unsettled WHERE book = %s AND shard = %s AND id = %s"
_COMPLETE = """
    UPDATE batches SET state = 2, final_at = %s, booking_date = %s
    WHERE book = %s AND shard = %s AND id = %s AND state = 1
"""
_CLAIM = """
    UPDATE unsettled u SET claimed_until = %s
    WHERE u.book = %s AND u.shard = %s AND u.id IN (
        SELECT id FROM unsettled WHERE book = %s AND shard = %s AND claimed_until <= %s
        ORDER BY claimed_until LIMIT %s FOR UPDATE SKIP LOCKED
    )
    RETURNING u.id, u.kind, u.members
"""
_OF_STATE = f"""
    SELECT {PAYMENT_COLUMNS} FROM payments WHERE book = %s AND shard = %s AND id = ANY(%s) AND state = %s ORDER BY id
"""  # noqa: S608
_BATCH = f"SELECT {BATCH_COLUMNS} FROM batches WHERE book = %s AND shard = %s AND id = %s"  # noqa: S608


class Unsettled(Struct, frozen=True):
    """Work that was accepted and is not done: its kind, its id, and the payments of a group."""

    id: UUID
    kind: int
    members: list[UUID]


async def end(
    work: UnitOfWork, book: int, shard: int, endings: Sequence[Ending], at: datetime, *, since: State
) -> frozenset[UUID]:
    """Bring payments that are in the state `since` to their next one; return which were: nobody else ends these."""
    driver = await driver_of(work)
    ids = UuidArray.of([ending.id for ending in endings])
    cursor = await driver.execute(
        _END,
        (
            at,
            ids,
            SmallintArray.of([ending.state for ending in endings]),
            TextArray.of([ending.reason for ending in endings]),
            DateArray.of([ending.booking_date for ending in endings]),
            book,
            shard,
            ids,
            since,
        ),
        binary=True,
    )
    ended = frozenset(row[0] for row in await cursor.fetchall())
    waiting = [each.id for each in endings if each.state is State.AWAITING_APPROVAL and each.id in ended]
    if waiting:
        await driver.execute(_WAIT_FOR_APPROVAL, (book, shard, UuidArray.of(waiting)))
    return ended


async def give_back(work: UnitOfWork, book: int, shard: int, payments: Sequence[Payment]) -> None:
    """Take payments that were not made off the counters of their limits."""
    amounts: dict[tuple[UUID, str, date], int] = {}
    for payment in payments:
        key = (payment.signer, payment.currency, payment.day)
        amounts[key] = amounts.get(key, 0) + payment.amount
    keys = sorted(amounts)
    columns = (
        UuidArray.of([k[0] for k in keys]),
        TextArray.of([k[1] for k in keys]),
        DateArray.of([k[2] for k in keys]),
    )
    driver = await driver_of(work)
    async with driver.pipeline():
        await driver.execute(_LOCK_USES, (*columns, book, shard, columns[0]))
        amounts_back = BigintArray.of([amounts[k] for k in keys])
        given = await driver.execute(_GIVE_BACK, (*columns, amounts_back, book, shard, columns[0]))
    assert given.rowcount == len(keys), "every payment that counts has its counter"


async def complete(work: UnitOfWork, book: int, shard: int, batch: UUID, at: datetime, booking_date: date) -> bool:
    """Complete a signed batch; return whether it was not completed before: then nobody else completes it."""
    driver = await driver_of(work)
    return (await driver.execute(_COMPLETE, (at, booking_date, book, shard, batch))).rowcount == 1


async def done(work: UnitOfWork, book: int, shard: int, identifier: UUID) -> None:
    """Forget work that is settled."""
    driver = await driver_of(work)
    await driver.execute(_SETTLED, (book, shard, identifier))


async def claim(
    work: UnitOfWork, book: int, shard: int, *, now: datetime, until: datetime, limit: int
) -> list[Unsettled]:
    """Claim work whose claim is over, for this process alone until another time."""
    driver = await driver_of(work)
    cursor = await driver.execute(_CLAIM, (until, book, shard, book, shard, now, limit), binary=True)
    return [Unsettled(*row) for row in await cursor.fetchall()]


async def payments_in(work: UnitOfWork, book: int, shard: int, ids: Sequence[UUID], state: State) -> list[Payment]:
    """Return those of the payments that are in a state, in order of their ids."""
    return await _payments(await driver_of(work), book, shard, ids, state)


async def batch(work: UnitOfWork, book: int, shard: int, identifier: UUID) -> Batch | None:
    """Return a signed batch."""
    driver = await driver_of(work)
    row = await (await driver.execute(_BATCH, (book, shard, identifier), binary=True)).fetchone()
    return batch_from(row) if row else None


async def _payments(driver: Driver, book: int, shard: int, ids: Sequence[UUID], state: State) -> list[Payment]:
    cursor = await driver.execute(_OF_STATE, (book, shard, UuidArray.of(ids), state), binary=True)
    return [payment_from(row) for row in await cursor.fetchall()]
