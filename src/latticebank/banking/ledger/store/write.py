"""The write path: what one batch reads under the lock of its shard, and what it writes.

READ COMMITTED is assumed: the advisory lock is taken by a statement of its own, so that everything after it sees what
the previous holder committed. The caller has one connection for one shard and calls `lock`, the loads, and `write` or
`give_up`, in that order.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from latticebank.banking.ledger.model.accounts import Account, AccountEvent
from latticebank.banking.ledger.model.desk import Desk
from latticebank.banking.ledger.model.transfers import Entry, Reservation, Transfer
from latticebank.banking.ledger.store import encoding
from latticebank.kernel.database import unavailability
from latticebank.kernel.outbox import OUTBOX_INSERT

COPY_FROM = 50
"""Batches of at least so many transfers are written by COPY, smaller ones by `unnest`."""
_PLANNED_FROM = 4_000
"""An update of at least so many accounts is planned for their number."""
_NUMBER, _ACCOUNT = attrgetter("number"), attrgetter("account")

Connection = psycopg.AsyncConnection[Any]


class AlreadyRecorded(Exception):
    """Something that the batch records under a name of its own is recorded already; nothing was written."""


@dataclass(frozen=True, slots=True)
class Head:
    """Where a shard stands: the next sequence number and account serial, the last link of the journal."""

    next_seq: int
    next_serial: int
    journal_link: bytes
    recorded_at: datetime
    writer: UUID


@dataclass(frozen=True, slots=True)
class Seal:
    """What closes a batch: the head of the shard after it, and the row of the outbox that tells of it."""

    head: Head
    outbox: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """What a batch writes: what the desk holds, and its seal, which is made while the database is busy already.

    `sent` is told when a large batch has been sent and the database will be busy with it for a while.
    """

    desk: Desk
    first_seq: int
    recorded_at: datetime
    seal: Callable[[], Seal]
    sent: Callable[[], None] = lambda: None


_LOCK = "SELECT pg_advisory_xact_lock(%s, %s)"
_HEAD = """
    SELECT next_seq, next_serial, journal_link, recorded_at, writer
    FROM shard_heads WHERE book = %s AND shard = %s
"""
_FOUND_SHARD = """
    INSERT INTO shard_heads (book, shard, journal_link, recorded_at, writer)
    VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
_ACCOUNTS = """
    SELECT account, kind, currency, status, balance, held, overdraft_limit, entries, version, last_booking
    FROM accounts WHERE book = %s AND shard = %s AND account = ANY(%s)
"""
_MOVE_ACCOUNTS = """
    WITH changed AS (
        UPDATE accounts a
        SET balance = n.balance, entries = n.entries, version = n.version, last_booking = n.last_booking
        FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::date[])
            AS n (account, balance, entries, version, last_booking)
        WHERE a.book = %s AND a.shard = %s AND a.account = n.account AND a.version = n.version - 1
        RETURNING 1
    )
    SELECT require_rows(count(*), %s) FROM changed
"""
_UPDATE_ACCOUNTS = """
    WITH changed AS (
        UPDATE accounts a
        SET balance = n.balance, entries = n.entries, version = n.version, last_booking = n.last_booking, held = n.held,
            overdraft_limit = n.overdraft_limit, status = n.status
        FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::date[], %s::bigint[], %s::bigint[],
                    %s::smallint[])
            AS n (account, balance, entries, version, last_booking, held, overdraft_limit, status)
        WHERE a.book = %s AND a.shard = %s AND a.account = n.account AND a.version = n.version - 1
        RETURNING 1
    )
    SELECT require_rows(count(*), %s) FROM changed
"""
_INSERT_ACCOUNTS = """
    INSERT INTO accounts (book, shard, account, balance, held, overdraft_limit, entries, last_booking, kind, status,
                          currency)
    SELECT %s, %s, n.*
    FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::date[], %s::smallint[],
                %s::smallint[], %s::text[]) AS n
"""
_INSERT_REFERENCES = """
    INSERT INTO account_references (book, shard, reference, account)
    SELECT %s, %s, n.* FROM unnest(%s::text[], %s::bigint[]) AS n
"""
_INSERT_PARTIES = """
    INSERT INTO account_parties (book, shard, account, party, role)
    SELECT %s, %s, n.* FROM unnest(%s::bigint[], %s::text[], %s::smallint[]) AS n
"""
_INSERT_ACTS = """
    INSERT INTO account_acts (book, shard, recorded_at, id, seq, act, outcome, account, actor, details)
    SELECT %s, %s, %s, n.*
    FROM unnest(%s::uuid[], %s::bigint[], %s::smallint[], %s::smallint[], %s::bigint[], %s::text[], %s::jsonb[]) AS n
"""
_TRANSFER_COLUMNS = """
    (book, shard, seq, id, kind, outcome, debit, credit, amount, currency, purpose, booking_date, value_date,
     recorded_at, evidence_class, evidence, debit_entry, credit_entry, reference, chain)
"""
_COPY_TRANSFERS = f"COPY transfers {_TRANSFER_COLUMNS} FROM STDIN (FORMAT binary)"
_INSERT_TRANSFERS = f"""
    INSERT INTO transfers {_TRANSFER_COLUMNS}
    SELECT %s, %s, n.seq, n.id, n.kind, n.outcome, n.debit, n.credit, n.amount, n.currency, n.purpose, n.booking,
           n.value, %s, n.evidence_class, n.evidence, n.debit_entry, n.credit_entry, n.reference, n.chain
    FROM unnest(%s::bigint[], %s::uuid[], %s::smallint[], %s::smallint[], %s::bigint[], %s::bigint[], %s::bigint[],
                %s::text[], %s::smallint[], %s::date[], %s::date[], %s::smallint[], %b::bytea[], %s::bigint[], %s::bigint[],
                %s::uuid[], %s::uuid[])
        AS n (seq, id, kind, outcome, debit, credit, amount, currency, purpose, booking, value, evidence_class, evidence,
              debit_entry, credit_entry, reference, chain)
"""  # noqa: S608  # only the list of columns is put in
_ENTRY_COLUMNS = "(book, shard, account, number, transfer, amount, balance, booking_date, value_date)"
_COPY_ENTRIES = f"COPY entries {_ENTRY_COLUMNS} FROM STDIN (FORMAT binary)"
_INSERT_ENTRIES = f"""
    INSERT INTO entries {_ENTRY_COLUMNS}
    SELECT %s, %s, n.* FROM unnest(%s::bigint[], %s::bigint[], %s::uuid[], %s::bigint[], %s::bigint[], %s::date[],
                                   %s::date[]) AS n
"""  # noqa: S608  # only the list of columns is put in
_WRITE_RESERVATIONS = """
    WITH changed AS (
        INSERT INTO reservations (book, shard, id, chain, debit, credit, amount, currency, purpose, evidence_class,
                                  evidence, expires_at, state, resolved_by)
        SELECT %s, %s, n.*
        FROM unnest(%s::uuid[], %s::uuid[], %s::bigint[], %s::bigint[], %s::bigint[], %s::text[], %s::smallint[],
                    %s::smallint[], %b::bytea[], %s::timestamptz[], %s::smallint[], %s::uuid[]) AS n
        ON CONFLICT (book, shard, id) DO UPDATE SET state = excluded.state, resolved_by = excluded.resolved_by
        WHERE reservations.state = 1
        RETURNING 1
    )
    SELECT require_rows(count(*), %s) FROM changed
"""
_INSERT_LINK = """
    INSERT INTO journal (book, shard, first_seq, next_seq, recorded_at, link) VALUES (%s, %s, %s, %s, %s, %s)
"""
_MOVE_HEAD = """
    UPDATE shard_heads SET next_seq = %s, next_serial = %s, journal_link = %s, recorded_at = %s, writer = %s
    WHERE book = %s AND shard = %s
"""


async def lock(connection: Connection, book: int, shard: int) -> Head | None:
    """Begin a transaction, wait for the shard's lock and return its head; None when the shard was never written."""
    async with connection.pipeline():
        await connection.execute("BEGIN")
        await connection.execute(_LOCK, (book, shard))
        cursor = await connection.execute(_HEAD, (book, shard), binary=True)
        row = await cursor.fetchone()
    return Head(*row) if row else None


async def found(connection: Connection, book: int, shard: int, head: Head) -> None:
    """Write the first head of a shard, within the transaction that `lock` began."""
    await connection.execute(_FOUND_SHARD, (book, shard, head.journal_link, head.recorded_at, head.writer))


async def give_up(connection: Connection) -> None:
    """Roll back what `lock` began."""
    await connection.rollback()


async def load_accounts(connection: Connection, book: int, shard: int, numbers: Collection[int]) -> dict[int, Account]:
    """Return those of the accounts that exist."""
    cursor = await connection.execute(_ACCOUNTS, (book, shard, encoding.BigintArray.of(list(numbers))), binary=True)
    return {row[0]: Account(*row) for row in await cursor.fetchall()}


async def write(connection: Connection, book: int, shard: int, batch: Batch) -> None:
    """Write a batch and commit it.

    The accounts go first, guarded by their versions: when another writer was there in between, nothing is written.

    Raises:
        DatabaseUnavailable: an account has another version than the writer knew, or the database is down.
        AlreadyRecorded: an identifier or a reference of the batch is in use; look before the next attempt.

    """
    try:
        with unavailability():
            await _write(connection, book, shard, batch)
    except psycopg.errors.UniqueViolation as error:
        await give_up(connection)
        raise AlreadyRecorded from error


async def _write(connection: Connection, book: int, shard: int, batch: Batch) -> None:
    desk, at = batch.desk, batch.recorded_at
    opened = {new.account.number for new in desk.opened}
    known = sorted((account for account in desk.changed.values() if account.number not in opened), key=_NUMBER)
    if len(desk.transfers) >= COPY_FROM:
        seal = await _copy(connection, book, shard, batch, known)
        async with connection.pipeline():
            await _write_rest(connection, book, shard, batch, seal)
            await connection.execute("COMMIT")
        return
    seal = batch.seal()
    async with connection.pipeline():
        if known:
            await _update_accounts(connection, book, shard, known, moved_only=not (desk.resolved or desk.events))
        if desk.transfers:
            await connection.execute(_INSERT_TRANSFERS, (book, shard, at, *_transfer_columns(desk.transfers)))
        if desk.entries:
            await connection.execute(_INSERT_ENTRIES, (book, shard, *_entry_columns(desk.entries)))
        await _write_rest(connection, book, shard, batch, seal)
        await connection.execute("COMMIT")


async def _copy(connection: Connection, book: int, shard: int, batch: Batch, known: Sequence[Account]) -> Seal:
    """Write accounts, transfers and entries of a large batch, while the seal and the rows to come are made."""
    desk, at = batch.desk, batch.recorded_at
    update = asyncio.create_task(
        _update_accounts(connection, book, shard, known, moved_only=not (desk.resolved or desk.events))
    )
    await asyncio.sleep(0)  # the statement is sent: the server works on it while the rest of this is made
    try:
        seal = batch.seal()
        transfers = encoding.copy_transfers(book, shard, at, desk.transfers)
    finally:
        await update
    cursor = connection.cursor()
    async with cursor.copy(_COPY_TRANSFERS) as copy:
        await copy.write(encoding.COPY_HEADER + transfers + encoding.COPY_TRAILER)
        # In the order of the index, so that an insert finds its page where the one before it left it; and made before
        # the block ends, which waits for the server.
        entries = encoding.copy_entries(book, shard, sorted(desk.entries, key=_ACCOUNT))
    async with cursor.copy(_COPY_ENTRIES) as copy:
        await copy.write(encoding.COPY_HEADER + entries + encoding.COPY_TRAILER)
        batch.sent()
    return seal


async def _write_rest(connection: Connection, book: int, shard: int, batch: Batch, seal: Seal) -> None:
    """Write what batches have little of, and the head; to be called within a pipeline."""
    desk, head = batch.desk, seal.head
    if desk.opened:
        await _insert_opened(connection, book, shard, desk)
    if desk.events:
        await connection.execute(_INSERT_ACTS, (book, shard, head.recorded_at, *_act_columns(desk.events)))
    if desk.resolved:
        columns = _reservation_columns(list(desk.resolved.values()))
        await connection.execute(_WRITE_RESERVATIONS, (book, shard, *columns, len(desk.resolved)))
    await connection.execute(
        _INSERT_LINK, (book, shard, batch.first_seq, head.next_seq, head.recorded_at, head.journal_link)
    )
    await connection.execute(OUTBOX_INSERT, seal.outbox)
    await connection.execute(
        _MOVE_HEAD,
        (head.next_seq, head.next_serial, head.journal_link, head.recorded_at, head.writer, book, shard),
    )


async def _insert_opened(connection: Connection, book: int, shard: int, desk: Desk) -> None:
    bigints, smallints = encoding.BigintArray.of, encoding.SmallintArray.of
    rows = [desk.changed[new.account.number] for new in desk.opened]
    columns = (
        bigints([a.number for a in rows]),
        bigints([a.balance for a in rows]),
        bigints([a.held for a in rows]),
        bigints([a.overdraft_limit for a in rows]),
        bigints([a.entries for a in rows]),
        encoding.DateArray.of([a.last_booking for a in rows]),
        smallints([a.kind for a in rows]),
        smallints([a.status for a in rows]),
        [a.currency for a in rows],
    )
    await connection.execute(_INSERT_ACCOUNTS, (book, shard, *columns))
    named = [new for new in desk.opened if new.reference is not None]
    if named:
        numbers = bigints([new.account.number for new in named])
        await connection.execute(_INSERT_REFERENCES, (book, shard, [new.reference for new in named], numbers))
    parties = [(new.account.number, party) for new in desk.opened for party in new.parties]
    if parties:
        numbers = bigints([number for number, _ in parties])
        roles = smallints([party.role for _, party in parties])
        names = [party.reference for _, party in parties]
        await connection.execute(_INSERT_PARTIES, (book, shard, numbers, names, roles))


def _act_columns(events: Sequence[AccountEvent]) -> tuple[object, ...]:
    bigints, smallints = encoding.BigintArray.of, encoding.SmallintArray.of
    return (
        [UUID(bytes=e.id) for e in events],
        bigints([e.seq for e in events]),
        smallints([e.act for e in events]),
        smallints([e.outcome for e in events]),
        bigints([e.account for e in events]),
        [e.actor for e in events],
        [Jsonb(e.details) for e in events],
    )


async def _update_accounts(
    connection: Connection, book: int, shard: int, accounts: Sequence[Account], *, moved_only: bool
) -> None:
    """Write accounts; those of which postings alone moved something need fewer columns."""
    bigints = encoding.BigintArray.of
    statement = _MOVE_ACCOUNTS if moved_only else _UPDATE_ACCOUNTS
    columns: list[object] = [
        bigints([a.number for a in accounts]),
        bigints([a.balance for a in accounts]),
        bigints([a.entries for a in accounts]),
        bigints([a.version for a in accounts]),
        encoding.DateArray.of([a.last_booking for a in accounts]),
    ]
    if not moved_only:
        columns += [bigints([a.held for a in accounts]), bigints([a.overdraft_limit for a in accounts])]
        columns.append(encoding.SmallintArray.of([a.status for a in accounts]))
    # A prepared plan, made for any number of rows, looks up one account after the other: for many that is dear.
    prepare = len(accounts) < _PLANNED_FROM
    await connection.execute(statement, (*columns, book, shard, len(accounts)), prepare=prepare)


def _transfer_columns(rows: Sequence[Transfer]) -> tuple[object, ...]:
    bigints, smallints, dates = encoding.BigintArray.of, encoding.SmallintArray.of, encoding.DateArray.of
    return (
        bigints([t.seq for t in rows]),
        [UUID(bytes=t.id) for t in rows],
        smallints([t.kind for t in rows]),
        smallints([t.outcome for t in rows]),
        bigints([t.debit for t in rows]),
        bigints([t.credit for t in rows]),
        bigints([t.amount for t in rows]),
        [t.currency for t in rows],
        smallints([t.purpose for t in rows]),
        dates([t.booking_date for t in rows]),
        dates([t.value_date for t in rows]),
        smallints([t.evidence_class for t in rows]),
        [t.evidence for t in rows],
        bigints([t.debit_entry for t in rows]),
        bigints([t.credit_entry for t in rows]),
        [_uuid(t.reference) for t in rows],
        [_uuid(t.chain) for t in rows],
    )


def _entry_columns(rows: Sequence[Entry]) -> tuple[object, ...]:
    bigints, dates = encoding.BigintArray.of, encoding.DateArray.of
    return (
        bigints([e.account for e in rows]),
        bigints([e.number for e in rows]),
        [UUID(bytes=e.transfer) for e in rows],
        bigints([e.amount for e in rows]),
        bigints([e.balance for e in rows]),
        dates([e.booking_date for e in rows]),
        dates([e.value_date for e in rows]),
    )


def _reservation_columns(rows: Sequence[Reservation]) -> tuple[object, ...]:
    bigints, smallints = encoding.BigintArray.of, encoding.SmallintArray.of
    return (
        [UUID(bytes=r.id) for r in rows],
        [_uuid(r.chain) for r in rows],
        bigints([r.debit for r in rows]),
        bigints([r.credit for r in rows]),
        bigints([r.amount for r in rows]),
        [r.currency for r in rows],
        smallints([r.purpose for r in rows]),
        smallints([r.evidence_class for r in rows]),
        [r.evidence for r in rows],
        [r.expires_at for r in rows],
        smallints([r.state for r in rows]),
        [_uuid(r.resolved_by) for r in rows],
    )


def _uuid(value: bytes | None) -> UUID | None:
    return None if value is None else UUID(bytes=value)
