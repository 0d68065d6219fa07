"""What is stored before anything happens: payments as they were received, what was signed, the counters of limits.

READ COMMITTED is assumed. Within one transaction the service calls `look`, decides, and then `write` or `write_batch`.
`look` locks the counters it finds; what appears in between, by another process, is found out when it is written.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

import psycopg
from msgspec import Struct

from latticebank.banking.payments.model.limits import UseKey
from latticebank.banking.payments.model.payments import Batch, Payment
from latticebank.banking.payments.store.encoding import (
    COPY_HEADER,
    COPY_TRAILER,
    PAYMENT_COLUMNS,
    BigintArray,
    ByteaArray,
    SmallintArray,
    TextArray,
    UuidArray,
    copy_payments,
)
from latticebank.banking.payments.store.rows import Driver, driver_of, payment_from
from latticebank.kernel.database import UnitOfWork

GROUP, BATCH, DECISION = 1, 2, 3
"""The kinds of unsettled work. The numbers are stored."""

_KNOWN = f"SELECT {PAYMENT_COLUMNS} FROM payments WHERE book = %s AND shard = %s AND id = ANY(%s)"  # noqa: S608
_LOCK_USES = """
    SELECT signer, currency, used FROM limit_uses
    WHERE book = %s AND shard = %s AND signer = ANY(%s) AND day = %s
    ORDER BY signer, currency FOR UPDATE
"""
_HIGH_VALUES = """
    SELECT signer, count(*) FROM payments
    WHERE book = %s AND shard = %s AND signer = ANY(%s) AND received_at > %s AND high_value AND state NOT IN (4, 6)
    GROUP BY signer
"""
_INSERT = """
    INSERT INTO payments (book, shard, received_at, day, id, kind, state, hold, high_value, signer, session, device, debtor,
                          creditor, amount, currency, hash, reason, final_at, approval_expires_at)
    SELECT %s, %s, %s, %s, n.id, n.kind, n.state, n.hold, n.high_value = 1, n.signer, n.session, n.device, n.debtor,
           n.creditor, n.amount, n.currency, n.hash, n.reason,
           CASE WHEN n.reason IS NOT NULL THEN %s END, CASE WHEN n.hold > 0 THEN %s END
    FROM unnest(%s::uuid[], %s::smallint[], %s::smallint[], %s::smallint[], %s::smallint[], %s::uuid[], %s::uuid[],
                %s::uuid[], %s::bigint[], %s::bigint[], %s::bigint[], %s::text[], %s::bytea[], %s::text[])
        AS n (id, kind, state, hold, high_value, signer, session, device, debtor, creditor, amount, currency, hash, reason)
    ON CONFLICT (book, shard, id) DO NOTHING
"""
_INSERT_DOCUMENTS = """
    INSERT INTO signed_documents (book, shard, id, document, signature)
    SELECT %s, %s, n.* FROM unnest(%s::uuid[], %s::bytea[], %s::bytea[]) AS n
    ON CONFLICT (book, shard, id) DO NOTHING
"""
_USE = """
    INSERT INTO limit_uses AS u (book, shard, day, signer, currency, used, bound)
    SELECT %s, %s, %s, n.* FROM unnest(%s::uuid[], %s::text[], %s::bigint[], %s::bigint[]) AS n
    ON CONFLICT (book, shard, signer, currency, day) DO UPDATE
        SET used = u.used + excluded.used, bound = excluded.bound
        WHERE u.used + excluded.used <= excluded.bound
"""
_LEAVE_TO_SETTLE = """
    INSERT INTO unsettled (book, shard, id, kind, members, claimed_until) VALUES (%s, %s, %s, %s, %s, %s)
"""
_COPY = f"COPY payments ({PAYMENT_COLUMNS}) FROM STDIN (FORMAT binary)"
_INSERT_BATCH = """
    INSERT INTO batches (book, shard, id, state, signer, session, device, count, hash, manifest, signature, received_at)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (book, shard, id) DO NOTHING
"""
_INSERT_TEXTS = """
    INSERT INTO batch_texts (book, shard, batch, piece, texts)
    SELECT %s, %s, %s, n.piece - 1, n.texts FROM unnest(%s::bytea[]) WITH ORDINALITY AS n (texts, piece)
"""


class Overtaken(Exception):
    """Another process stored one of these payments, or used a limit, in between: nothing is written, look again."""


class PaymentIdsTaken(Exception):
    """A payment of a batch has the id of a payment that exists."""


class Seen(Struct, frozen=True):
    """What is known before new payments are decided."""

    known: dict[UUID, Payment]
    used: dict[UseKey, int]
    high_values: dict[UUID, int]


class Received(Struct, frozen=True):
    """A payment with what was signed: the document sealed, and the signature."""

    payment: Payment
    document: bytes
    signature: bytes


async def look(
    work: UnitOfWork,
    book: int,
    shard: int,
    *,
    ids: Sequence[UUID],
    signers: Sequence[UUID],
    day: date,
    high_values_since: datetime | None,
) -> Seen:
    """Return those of the payments that exist, and what the signers have used, locked; the count only if it is asked."""
    driver = await driver_of(work)
    who = UuidArray.of(signers)
    async with driver.pipeline():
        known = await driver.execute(_KNOWN, (book, shard, UuidArray.of(ids)), binary=True) if ids else None
        used = await driver.execute(_LOCK_USES, (book, shard, who, day), binary=True)
        high = None
        if high_values_since is not None:
            high = await driver.execute(_HIGH_VALUES, (book, shard, who, high_values_since), binary=True)
    payments = [payment_from(row) for row in await known.fetchall()] if known else []
    return Seen(
        {payment.id: payment for payment in payments},
        {(signer, currency): amount for signer, currency, amount in await used.fetchall()},
        dict(await high.fetchall()) if high else {},
    )


async def write(
    work: UnitOfWork,
    book: int,
    shard: int,
    received: Sequence[Received],
    *,
    uses: dict[UseKey, int],
    bounds: dict[UseKey, int],
    approval_until: datetime,
    group: UUID | None,
    claimed_until: datetime,
) -> None:
    """Store new payments of one instant; those that are not rejected are left to be settled under the id `group`.

    Raises:
        Overtaken: one of them exists by now, or a limit would be passed; the transaction must not be committed.

    """
    driver = await driver_of(work)
    first = received[0].payment
    columns = _columns([each.payment for each in received])
    documents = (
        UuidArray.of([each.payment.id for each in received]),
        ByteaArray.of([each.document for each in received]),
        ByteaArray.of([each.signature for each in received]),
    )
    async with driver.pipeline():
        inserted = await driver.execute(
            _INSERT,
            (book, shard, first.received_at, first.day, first.received_at, approval_until, *columns),
        )
        await driver.execute(_INSERT_DOCUMENTS, (book, shard, *documents))
        used = await _use(driver, book, shard, first.day, uses, bounds) if uses else None
        if group is not None:
            members = UuidArray.of([each.payment.id for each in received if each.payment.reason is None])
            await driver.execute(_LEAVE_TO_SETTLE, (book, shard, group, GROUP, members, claimed_until))
    if inserted.rowcount != len(received) or (used is not None and used.rowcount != len(uses)):
        raise Overtaken


async def write_batch(
    work: UnitOfWork,
    book: int,
    shard: int,
    batch: Batch,
    payments: Sequence[Payment],
    *,
    manifest: bytes,
    signature: bytes,
    texts: Sequence[bytes],
    uses: dict[UseKey, int],
    bounds: dict[UseKey, int],
    claimed_until: datetime,
) -> None:
    """Store a signed batch with its payments; manifest and texts are sealed.

    Raises:
        Overtaken: the batch exists by now, or a limit would be passed; the transaction must not be committed.
        PaymentIdsTaken: a payment has the id of another; as above.

    """
    driver = await driver_of(work)
    facts = (batch.id, batch.state, batch.signer, batch.session, batch.device, batch.count, batch.hash)
    async with driver.pipeline():
        inserted = await driver.execute(
            _INSERT_BATCH, (book, shard, *facts, manifest, signature, batch.received_at), binary=True
        )
        await driver.execute(_INSERT_TEXTS, (book, shard, batch.id, ByteaArray.of(texts)))
        used = await _use(driver, book, shard, payments[0].day, uses, bounds) if uses else None
        await driver.execute(_LEAVE_TO_SETTLE, (book, shard, batch.id, BATCH, UuidArray.of(()), claimed_until))
    if inserted.rowcount != 1 or (used is not None and used.rowcount != len(uses)):
        raise Overtaken
    try:
        async with driver.cursor().copy(_COPY) as copy:
            await copy.write(COPY_HEADER + copy_payments(book, shard, payments) + COPY_TRAILER)
    except psycopg.errors.UniqueViolation as error:
        raise PaymentIdsTaken from error


async def _use(
    driver: Driver, book: int, shard: int, day: date, uses: dict[UseKey, int], bounds: dict[UseKey, int]
) -> psycopg.AsyncCursor[Any]:
    # In one order always, so that two processes never wait for each other's counters.
    keys = sorted(uses)
    return await driver.execute(
        _USE,
        (
            book,
            shard,
            day,
            UuidArray.of([signer for signer, _ in keys]),
            TextArray.of([currency for _, currency in keys]),
            BigintArray.of([uses[key] for key in keys]),
            BigintArray.of([bounds[key] for key in keys]),
        ),
    )


def _columns(payments: Sequence[Payment]) -> tuple[object, ...]:
    bigints, smallints, uuids = BigintArray.of, SmallintArray.of, UuidArray.of
    return (
        uuids([p.id for p in payments]),
        smallints([p.kind for p in payments]),
        smallints([p.state for p in payments]),
        smallints([p.hold for p in payments]),
        smallints([p.high_value for p in payments]),
        uuids([p.signer for p in payments]),
        uuids([p.session for p in payments]),
        uuids([p.device for p in payments]),
        bigints([p.debtor for p in payments]),
        bigints([p.creditor for p in payments]),
        bigints([p.amount for p in payments]),
        TextArray.of([p.currency for p in payments]),
        ByteaArray.of([p.hash for p in payments]),
        TextArray.of([p.reason for p in payments]),
    )
