"""The two ways in which rows reach the tables, COPY and arrays, write the same rows, whatever is in them."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from latticebank.banking.ledger.model.accounts import UNBOUNDED, Account
from latticebank.banking.ledger.model.desk import Books, Desk
from latticebank.banking.ledger.model.transfers import Entry, Kind, Rejection, Transfer
from latticebank.banking.ledger.store import encoding, write
from latticebank.kernel.database import Database
from latticebank.kernel.events import Event
from latticebank.kernel.outbox import outbox_parameters
from latticebank.values.account_number import account_number
from tests.banking.ledger.samples import EVIDENCE, named
from tests.clocks import NOON

TOP = 2**63 - 1
SIZES = [0, 1, 49, 50, 51, 8_192]
DATES = [date.min, date(1899, 12, 31), date(1999, 12, 31), date(2000, 1, 1), date(2026, 3, 2), date.max]
INSTANTS = [
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(2000, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(2026, 3, 2, 0, 30, tzinfo=UTC).astimezone(None),
]


def transfer(n: int) -> Transfer:
    """The n-th of a row of transfers that together have every kind of value in every column."""
    posted = n % 3 == 0
    amount = [1, 10**18, TOP][n % 3]
    return Transfer(
        seq=[n + 1, n + 2**40][n % 2],
        id=named(n),
        kind=[Kind.POST, Kind.VOID, Kind.REVERSE][n % 3] if posted else Kind.POST,
        outcome=0 if posted else Rejection(1 + n % 13),
        debit=[account_number(0, n % 7), 9_999_999_999][n % 2],
        credit=account_number(89, n),
        amount=amount,
        currency=["EUR", "XXX", "KWD"][n % 3],
        purpose=1 + n % 7,
        booking_date=DATES[n % len(DATES)],
        value_date=DATES[(n + 1) % len(DATES)],
        evidence_class=n % 4,
        evidence=[EVIDENCE, b"", bytes(32)][n % 3],
        debit_entry=[1, TOP][n % 2] if posted else 0,
        credit_entry=n + 1 if posted else 0,
        reference=[None, named("other"), bytes(16)][n % 3] if n % 3 else named(("reversed", n)),
        chain=[None, named("leader")][n % 2],
    )


def entry(n: int) -> Entry:
    """The n-th of a row of entries."""
    amount = [1, -1, TOP, -TOP, -(2**63)][n % 5]
    balance = [0, TOP, -(2**63), 7][n % 4]
    return Entry(account_number(0, n % 9), n + 1, named(n), amount, balance, DATES[n % 6], DATES[(n + 3) % 6])


def batch(size: int, at: datetime) -> write.Batch:
    """A batch of so many transfers, each with an entry."""
    accounts = {
        number: Account(number, 11, "EUR", 1, -(2**63) + 1 + number, 0, UNBOUNDED, number, 0, date.min)
        for number in (account_number(0, n) for n in range(3))
    }
    desk = Desk(Books(0, 1, 3, accounts), at, at.date())
    for number, account in accounts.items():
        mine = desk.change(account)
        mine.balance, mine.last_booking, mine.status = -number, DATES[number % 6], 2
    desk.transfers = [transfer(n) for n in range(size)]
    desk.entries = [entry(n) for n in range(size)]
    head = write.Head(2**62, 9_999_999, bytes(range(32)), at, UUID(bytes=named("writer")))
    told = Event(UUID(bytes=named("event")), "/latticebank/ledger", "a.b.v1", NOON, "s", "p", "c", "x/y", b"")
    return write.Batch(desk, 1, at, lambda: write.Seal(head, outbox_parameters(7, 3, [told])))


TABLES = ("accounts", "transfers", "entries", "journal", "shard_heads")


async def written(url: str, by_copy: bool, size: int, at: datetime, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the tables hold after a batch was written in one of the two ways."""
    monkeypatch.setattr(write, "COPY_FROM", 0 if by_copy else 10**9)
    database = Database(url, application_name="encoding")
    connection = await database.connect()
    try:
        encoding.register(connection)
        assert await write.lock(connection, 7, 3) is None
        rows = batch(size, at)
        await write.found(connection, 7, 3, rows.seal().head)
        for account in rows.desk.known.values():
            await connection.execute(
                "INSERT INTO accounts VALUES (7, 3, %s, 0, 0, %s, 0, 0, '2020-01-01', 11, 1, 'EUR')",
                (account.number, UNBOUNDED),
            )
        await write.write(connection, 7, 3, rows)
    finally:
        await connection.close()
        await database.close()
    with psycopg.connect(url) as reader:
        return {table: reader.execute(f"SELECT {table}::text FROM {table} ORDER BY 1").fetchall() for table in TABLES}


@pytest.mark.parametrize("size", SIZES)
async def test_both_ways_write_the_same_rows(
    size: int, database_url: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    at = NOON + timedelta(microseconds=1)

    copied = await written(database_url("ledger"), True, size, at, monkeypatch)
    sent = await written(database_url("ledger"), False, size, at, monkeypatch)

    assert len(copied["transfers"]) == len(copied["entries"]) == size
    assert len(copied["accounts"]) == 3
    assert copied == sent


@pytest.mark.parametrize("at", INSTANTS, ids=str)
async def test_both_ways_write_the_same_instants(
    at: datetime, database_url: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = database_url("ledger")
    copied = await written(url, True, 3, at, monkeypatch)
    sent = await written(database_url("ledger"), False, 3, at, monkeypatch)

    assert copied == sent
    if at.year < 9999 and at.year > 1:
        with psycopg.connect(url) as reader:
            assert reader.execute("SELECT DISTINCT recorded_at FROM transfers").fetchall() == [(at,)]


async def test_what_was_written_reads_back_as_it_was(
    database_url: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = database_url("ledger")
    await written(url, True, 60, NOON, monkeypatch)

    with psycopg.connect(url) as reader:
        found = reader.execute(
            "SELECT book, shard, seq, id, kind, outcome, debit, credit, amount, currency, purpose, booking_date::text,"
            " value_date::text, recorded_at, evidence_class, evidence, debit_entry, credit_entry, reference, chain"
            " FROM transfers ORDER BY id"
        ).fetchall()
    told = [
        (7, 3, t.seq, UUID(bytes=t.id), t.kind, t.outcome, t.debit, t.credit, t.amount, t.currency, t.purpose,
         t.booking_date.isoformat(), t.value_date.isoformat(), NOON, t.evidence_class, t.evidence, t.debit_entry, t.credit_entry,
         t.reference and UUID(bytes=t.reference), t.chain and UUID(bytes=t.chain))
        for t in map(transfer, range(60))
    ]  # fmt: skip
    assert found == sorted(told, key=lambda row: row[3].bytes)


@pytest.mark.parametrize("count", SIZES)
async def test_arrays_of_every_size_arrive_whole(count: int, url: str) -> None:
    bigints = [(TOP, -(2**63), 0, -1, n)[n % 5] for n in range(count)]
    smallints = [(32_767, -32_768, 0, n % 100)[n % 4] for n in range(count)]
    days = [DATES[n % len(DATES)] for n in range(count)]
    arrays = (
        encoding.BigintArray.of(bigints), encoding.SmallintArray.of(smallints), encoding.DateArray.of(days),
    )  # fmt: skip
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        encoding.register(connection)
        cursor = await connection.execute("SELECT %s::bigint[], %s::smallint[], %s::date[]::text[]", arrays)
        row = await cursor.fetchone()

    assert row == (bigints, smallints, [day.isoformat() for day in days])
