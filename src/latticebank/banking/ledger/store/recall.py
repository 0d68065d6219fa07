"""What the writer looks up before it decides: earlier answers, and the things that commands refer to."""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from latticebank.banking.ledger.model.accounts import AccountEvent
from latticebank.banking.ledger.model.transfers import Reservation, Transfer
from latticebank.banking.ledger.store.write import Connection

# The balances are looked up one by one: a join could be planned over all entries of the shard where the tables are young
# and have no statistics yet.
TRANSFER_WITH_BALANCES = """
    SELECT t.seq, t.id, t.kind, t.outcome, t.debit, t.credit, t.amount, t.currency, t.purpose, t.booking_date,
           t.value_date, t.evidence_class, t.evidence, t.debit_entry, t.credit_entry,
           coalesce((SELECT d.balance FROM entries d
                     WHERE (d.book, d.shard, d.account, d.number) = (t.book, t.shard, t.debit, t.debit_entry)), 0),
           coalesce((SELECT c.balance FROM entries c
                     WHERE (c.book, c.shard, c.account, c.number) = (t.book, t.shard, t.credit, t.credit_entry)), 0),
           t.reference, t.chain
    FROM transfers t
"""
_RECORDED = TRANSFER_WITH_BALANCES + "WHERE t.book = %s AND t.shard = %s AND t.id = ANY(%s)"
_ACTS = """
    SELECT seq, id, act, outcome, account, actor, details
    FROM account_acts WHERE book = %s AND shard = %s AND id = ANY(%s)
"""
_RESERVATIONS = """
    SELECT id, chain, debit, credit, amount, currency, purpose, evidence_class, evidence, expires_at, state, resolved_by
    FROM reservations WHERE book = %s AND shard = %s AND (id = ANY(%s) OR chain = ANY(%s))
"""
_REVERSED = """
    SELECT reference FROM transfers
    WHERE book = %s AND shard = %s AND reference = ANY(%s) AND kind = 6 AND outcome = 0
"""
_REFERENCES = "SELECT reference, account FROM account_references WHERE book = %s AND shard = %s AND reference = ANY(%s)"


async def recorded(
    connection: Connection, book: int, shard: int, identifiers: Collection[bytes]
) -> dict[bytes, Transfer]:
    """Return the records that carry one of the identifiers."""
    rows = await _rows(connection, _RECORDED, (book, shard, _uuids(identifiers)))
    return {transfer.id: transfer for transfer in map(transfer_from, rows)}


async def acts(
    connection: Connection, book: int, shard: int, identifiers: Collection[bytes]
) -> dict[bytes, AccountEvent]:
    """Return the acts on accounts that carry one of the identifiers."""
    rows = await _rows(connection, _ACTS, (book, shard, _uuids(identifiers)))
    return {row[1].bytes: AccountEvent(row[0], row[1].bytes, *row[2:]) for row in rows}


async def reservations(
    connection: Connection, book: int, shard: int, identifiers: Collection[bytes]
) -> dict[bytes, Reservation]:
    """Return the reservations of these identifiers, and those of the chains that they lead."""
    uuids = _uuids(identifiers)
    rows = await _rows(connection, _RESERVATIONS, (book, shard, uuids, uuids))
    return {
        row[0].bytes: Reservation(*[row[0].bytes, _bytes(row[1]), *row[2:11], _bytes(row[11])])
        for row in rows
    }  # fmt: skip


async def reversed_ones(
    connection: Connection, book: int, shard: int, identifiers: Collection[bytes]
) -> frozenset[bytes]:
    """Return which of the transfers were reversed."""
    return frozenset(row[0].bytes for row in await _rows(connection, _REVERSED, (book, shard, _uuids(identifiers))))


async def references(connection: Connection, book: int, shard: int, names: Collection[str]) -> dict[str, int]:
    """Return the accounts that have one of these names in another system."""
    return dict(await _rows(connection, _REFERENCES, (book, shard, list(names))))


def transfer_from(row: Sequence[Any]) -> Transfer:
    """Return the record in a row of `TRANSFER_WITH_BALANCES`."""
    return Transfer(*[row[0], row[1].bytes, *row[2:17], _bytes(row[17]), _bytes(row[18])])


async def _rows(connection: Connection, statement: str, parameters: tuple[object, ...]) -> list[Any]:
    cursor = await connection.execute(statement, parameters, binary=True)
    return await cursor.fetchall()


def _uuids(identifiers: Collection[bytes]) -> list[UUID]:
    return [UUID(bytes=identifier) for identifier in identifiers]


def _bytes(value: UUID | None) -> bytes | None:
    return None if value is None else value.bytes
