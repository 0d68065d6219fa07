"""What is read of payments, outside of their walk."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from latticebank.banking.payments.model.payments import Batch, Decision, Payment
from latticebank.banking.payments.store.encoding import PAYMENT_COLUMNS, UuidArray
from latticebank.banking.payments.store.rows import (
    BATCH_COLUMNS,
    DECISION_COLUMNS,
    batch_from,
    decision_from,
    driver_of,
    payment_from,
)

_COLUMNS = ", ".join(f"p.{name.strip()}" for name in PAYMENT_COLUMNS.split(","))
_PAYMENTS = f"SELECT {_COLUMNS} FROM payments p WHERE p.book = %s AND p.shard = ANY(%s) AND p.id = ANY(%s)"  # noqa: S608
_HISTORY = f"""
    SELECT {_COLUMNS} FROM payments p
    WHERE p.book = %s AND p.shard = %s AND p.signer = %s AND (%s = 0 OR p.debtor = %s)
      AND (p.received_at, p.id) < (%s, %s)
    ORDER BY p.received_at DESC, p.id DESC LIMIT %s
"""  # noqa: S608
_HELD = f"""
    SELECT {_COLUMNS} FROM approvals a JOIN payments p ON (p.book, p.shard, p.id) = (a.book, a.shard, a.payment)
    WHERE a.book = %s AND a.shard = ANY(%s) AND (a.expires_at, a.payment) > (%s, %s)
    ORDER BY a.expires_at, a.payment LIMIT %s
"""  # noqa: S608
_BATCHES = f"SELECT {BATCH_COLUMNS} FROM batches WHERE book = %s AND shard = ANY(%s) AND id = ANY(%s)"  # noqa: S608
_DOCUMENTS = """
    SELECT id, document, signature FROM signed_documents WHERE book = %s AND shard = ANY(%s) AND id = ANY(%s)
"""
_MANIFESTS = "SELECT id, manifest, signature FROM batches WHERE book = %s AND shard = ANY(%s) AND id = ANY(%s)"
_TEXTS = "SELECT piece, texts FROM batch_texts WHERE book = %s AND shard = %s AND batch = %s ORDER BY piece"
_PIECES = """
    SELECT t.batch, t.piece, t.texts FROM batch_texts t
    JOIN unnest(%s::uuid[], %s::integer[]) AS n (batch, piece) ON (t.batch, t.piece) = (n.batch, n.piece)
    WHERE t.book = %s AND t.shard = ANY(%s)
"""
# All payments of a batch were received at one time, by which the index of their signer finds them.
_LEAVES = """
    SELECT hash FROM payments WHERE book = %s AND shard = %s AND signer = %s AND received_at = %s AND batch = %s
    ORDER BY place
"""
_DECISIONS = f"SELECT {DECISION_COLUMNS} FROM decisions WHERE book = %s AND shard = ANY(%s) AND payment = ANY(%s)"  # noqa: S608


class Signed(Struct, frozen=True):
    """What was signed, sealed, and its signature."""

    document: bytes
    signature: bytes


async def payments(
    connection: AsyncConnection, book: int, shards: Sequence[int], ids: Sequence[UUID]
) -> dict[UUID, Payment]:
    """Return those of the payments that exist."""
    rows = await _rows(connection, _PAYMENTS, (book, list(shards), UuidArray.of(ids)))
    return {payment.id: payment for payment in map(payment_from, rows)}


async def history(
    connection: AsyncConnection,
    book: int,
    shard: int,
    signer: UUID,
    *,
    debtor: int,
    before: tuple[datetime, UUID],
    limit: int,
) -> list[Payment]:
    """Return a page of what a user signed, newest first; a debtor of 0 is any."""
    rows = await _rows(connection, _HISTORY, (book, shard, signer, debtor, debtor, *before, limit))
    return [payment_from(row) for row in rows]


async def held(
    connection: AsyncConnection, book: int, shards: Sequence[int], *, after: tuple[datetime, UUID], limit: int
) -> list[Payment]:
    """Return a page of the payments that wait for a decision, those that expire first in front."""
    rows = await _rows(connection, _HELD, (book, list(shards), *after, limit))
    return [payment_from(row) for row in rows]


async def batches(
    connection: AsyncConnection, book: int, shards: Sequence[int], ids: Sequence[UUID]
) -> dict[UUID, Batch]:
    """Return those of the signed batches that exist."""
    rows = await _rows(connection, _BATCHES, (book, list(shards), UuidArray.of(ids)))
    return {batch.id: batch for batch in map(batch_from, rows)}


async def documents(
    connection: AsyncConnection, book: int, shards: Sequence[int], ids: Sequence[UUID]
) -> dict[UUID, Signed]:
    """Return what was signed for these single payments and cash orders."""
    rows = await _rows(connection, _DOCUMENTS, (book, list(shards), UuidArray.of(ids)))
    return {identifier: Signed(document, signature) for identifier, document, signature in rows}


async def manifests(
    connection: AsyncConnection, book: int, shards: Sequence[int], ids: Sequence[UUID]
) -> dict[UUID, Signed]:
    """Return what was signed for these batches."""
    rows = await _rows(connection, _MANIFESTS, (book, list(shards), UuidArray.of(ids)))
    return {identifier: Signed(manifest, signature) for identifier, manifest, signature in rows}


async def texts(connection: AsyncConnection, book: int, shard: int, batch: UUID) -> list[bytes]:
    """Return the sealed pieces of a batch's payments, in order."""
    return [piece for _, piece in await _rows(connection, _TEXTS, (book, shard, batch))]


async def pieces(
    connection: AsyncConnection, book: int, shards: Sequence[int], wanted: Sequence[tuple[UUID, int]]
) -> dict[tuple[UUID, int], bytes]:
    """Return single sealed pieces of batches' payments."""
    parameters = (UuidArray.of([batch for batch, _ in wanted]), [piece for _, piece in wanted], book, list(shards))
    return {(batch, piece): sealed for batch, piece, sealed in await _rows(connection, _PIECES, parameters)}


async def leaves(connection: AsyncConnection, book: int, shard: int, batch: Batch) -> list[bytes]:
    """Return the leaf hashes of a batch's payments, in order."""
    parameters = (book, shard, batch.signer, batch.received_at, batch.id)
    return [leaf for (leaf,) in await _rows(connection, _LEAVES, parameters)]


async def decisions(
    connection: AsyncConnection, book: int, shards: Sequence[int], ids: Sequence[UUID]
) -> dict[UUID, Decision]:
    """Return the decisions on these payments."""
    rows = await _rows(connection, _DECISIONS, (book, list(shards), UuidArray.of(ids)))
    return {decision.payment: decision for decision in map(decision_from, rows)}


async def _rows(connection: AsyncConnection, statement: str, parameters: tuple[object, ...]) -> list[Any]:
    driver = await driver_of(connection)
    return await (await driver.execute(statement, parameters, binary=True)).fetchall()
