"""The transfers that took money from customers, in the order in which they were recorded."""

from datetime import datetime
from typing import Any

from msgspec import Struct
from sqlalchemy import Row, text

from latticebank.banking.ledger.model.transfers import Transfer
from latticebank.banking.ledger.store.read import Connection
from latticebank.banking.ledger.store.recall import transfer_from

_AT_ONCE = 8_192
"""How many records are looked through by one statement."""

_SHARDS = text("SELECT shard, next_seq FROM shard_heads WHERE book = :book AND shard >= :shard ORDER BY shard")
_DEBITS = text(
    """
    SELECT t.seq, t.id, t.kind, t.outcome, t.debit, t.credit, t.amount, t.currency, t.purpose, t.booking_date,
           t.value_date, t.evidence_class, t.evidence, t.debit_entry, t.credit_entry, 0, 0, t.reference, t.chain,
           t.recorded_at
    FROM transfers t
    JOIN accounts a ON (a.book, a.shard, a.account) = (t.book, t.shard, t.debit)
    WHERE t.book = :book AND t.shard = :shard AND t.seq > :after AND t.seq <= :last
      AND t.outcome = 0 AND t.kind IN (1, 3, 6) AND a.kind < 11
    ORDER BY t.seq LIMIT :limit
    """
)


class RecordedDebit(Struct, frozen=True):
    """A posted transfer that debited a customer, the shard that keeps it, and when it was recorded."""

    shard: int
    transfer: Transfer
    recorded_at: datetime


async def customer_debits(
    connection: Connection, book: int, *, after: tuple[int, int], limit: int
) -> list[RecordedDebit]:
    """Return the first `limit` customers' debits after a shard and sequence number, in order of both.

    Within a shard, what is recorded later comes later. So pages that follow each other leave nothing out of what was
    recorded when the first was asked for.
    """
    found: list[RecordedDebit] = []
    start, seq = after
    shards = (await connection.execute(_SHARDS, {"book": book, "shard": start})).all()
    for shard, next_seq in shards:
        seen = seq if shard == start else 0
        while seen < next_seq - 1 and len(found) < limit:
            bounds = {"after": seen, "last": seen + _AT_ONCE, "limit": limit - len(found)}
            rows = await connection.execute(_DEBITS, {"book": book, "shard": shard, **bounds})
            found += [_debit(shard, row) for row in rows]
            seen += _AT_ONCE
    return found


def _debit(shard: int, row: Row[Any]) -> RecordedDebit:
    return RecordedDebit(shard, transfer_from(row[:-1]), row[-1])
