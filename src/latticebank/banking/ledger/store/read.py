"""Questions about the books. Every statement names book and shard first, as every key does."""

from collections.abc import Collection
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from latticebank.banking.ledger.model.accounts import Account
from latticebank.banking.ledger.model.transfers import VALUE_DATE_REACH, Transfer
from latticebank.banking.ledger.store.recall import TRANSFER_WITH_BALANCES, transfer_from
from latticebank.values.account_number import shard_of

Connection = AsyncConnection
_REACH = timedelta(days=VALUE_DATE_REACH)


class AccountRow(Struct, frozen=True):
    """An account with the facts that the writer does not need."""

    account: Account
    reference: str | None
    owners: list[str]
    mandates: list[str]


class EntryRow(Struct, frozen=True):
    """An entry with what its transfer knows: the other account, why, and when it was recorded."""

    number: int
    transfer: UUID
    amount: int
    balance: int
    booking_date: date
    value_date: date
    counterparty: int
    purpose: int
    kind: int
    recorded_at: datetime


class Period(Struct, frozen=True):
    """The days from `since` to `until`, both included, by booking or by value date."""

    since: date
    until: date
    by_value: bool


class RecordedTransfer(Struct, frozen=True):
    """The record of a command and when it was made."""

    transfer: Transfer
    recorded_at: datetime


_ACCOUNT = """
    SELECT a.account, a.kind, a.currency, a.status, a.balance, a.held, a.overdraft_limit, a.entries, a.version,
           a.last_booking, r.reference,
           array(SELECT p.party FROM account_parties p
                 WHERE (p.book, p.shard, p.account) = (a.book, a.shard, a.account) AND p.role = 1 ORDER BY p.party),
           array(SELECT p.party FROM account_parties p
                 WHERE (p.book, p.shard, p.account) = (a.book, a.shard, a.account) AND p.role = 2 ORDER BY p.party)
    FROM accounts a
    LEFT JOIN account_references r ON (r.book, r.shard, r.account) = (a.book, a.shard, a.account)
"""
_ONE_ACCOUNT = text(_ACCOUNT + "WHERE a.book = :book AND a.shard = :shard AND a.account = :account")
_PAGE_OF_ACCOUNTS = text(
    _ACCOUNT
    + """
    WHERE a.book = :book AND a.account > :after
      AND (:kind = 0 OR a.kind = :kind)
      AND (:currency = '' OR a.currency = :currency)
    ORDER BY a.shard, a.account LIMIT :limit
    """
)
_ACCOUNTS_OF_PARTIES = text(
    _ACCOUNT  # noqa: S608  # both are constants
    + """
    WHERE a.book = :book AND a.account > :after AND (:currency = '' OR a.currency = :currency)
      AND (:kind = 0 OR a.kind = :kind)
      AND (a.shard, a.account) IN (SELECT shard, account FROM account_parties WHERE book = :book AND party = ANY(:parties))
    ORDER BY a.shard, a.account LIMIT :limit
    """
)
_ACCOUNTS_NUMBERED = text(
    _ACCOUNT
    + """
    WHERE a.book = :book AND a.shard = ANY(:shards) AND a.account = ANY(:numbers)
    ORDER BY a.shard, a.account
    """
)
_BY_REFERENCE = text("SELECT reference, account FROM account_references WHERE book = :book AND reference = ANY(:names)")
# Booking dates never go back within an account, so the last entry up to a day is found by halving.
_ENTRIES_BOOKED_BY = text(
    """
    WITH RECURSIVE search (low, high) AS (
        SELECT 0::bigint, a.entries FROM accounts a
        WHERE a.book = :book AND a.shard = :shard AND a.account = :account
        UNION ALL
        SELECT CASE WHEN e.booking_date <= :day THEN e.number ELSE s.low END,
               CASE WHEN e.booking_date <= :day THEN s.high ELSE e.number - 1 END
        FROM search s
        JOIN entries e ON e.book = :book AND e.shard = :shard AND e.account = :account
                      AND e.number = (s.low + s.high + 1) / 2
        WHERE s.low < s.high
    )
    SELECT low FROM search WHERE low = high
    """
)
_BALANCE_AFTER = text(
    """
    SELECT balance FROM entries
    WHERE book = :book AND shard = :shard AND account = :account AND number = :number
    """
)
_VALUED_BETWEEN = text(
    """
    SELECT coalesce(sum(amount), 0) FROM entries
    WHERE book = :book AND shard = :shard AND account = :account AND number > :after AND number <= :last
      AND value_date <= :day
    """
)
# LIMIT keeps the planner from joining a page of entries with all transfers where young tables have no statistics.
_ENTRIES = text(
    """
    SELECT e.number, e.transfer, e.amount, e.balance, e.booking_date, e.value_date,
           CASE WHEN t.debit = e.account THEN t.credit ELSE t.debit END, t.purpose, t.kind, t.recorded_at
    FROM entries e,
         LATERAL (SELECT debit, credit, purpose, kind, recorded_at FROM transfers
                  WHERE (book, shard, id) = (e.book, e.shard, e.transfer) LIMIT 1) t
    WHERE e.book = :book AND e.shard = :shard AND e.account = :account AND e.number > :after AND e.number <= :last
      AND (NOT :by_value OR e.value_date BETWEEN :since AND :until)
    ORDER BY e.number LIMIT :limit
    """
)
_TRANSFER = text(
    TRANSFER_WITH_BALANCES.replace("t.chain\n", "t.chain, t.recorded_at\n")
    + "WHERE t.book = :book AND t.shard = ANY(:shards) AND t.id = :id ORDER BY t.shard LIMIT 1"
)
_DUE = text(
    """
    SELECT DISTINCT coalesce(chain, id) FROM reservations
    WHERE book = :book AND shard = :shard AND state = 1 AND expires_at <= :now LIMIT :limit
    """
)


async def account(connection: Connection, book: int, shard: int, number: int) -> AccountRow | None:
    """Return an account, or None where there is no such."""
    result = await connection.execute(_ONE_ACCOUNT, {"book": book, "shard": shard, "account": number})
    row = result.one_or_none()
    return None if row is None else _account_row(row)


async def accounts(
    connection: Connection,
    book: int,
    *,
    after: int,
    limit: int,
    kind: int = 0,
    currency: str = "",
    parties: Collection[str] | None = None,
) -> list[AccountRow]:
    """Return a page of accounts in order of their numbers; 0, the empty string and None ask for any.

    Of several parties an account is found that has one of them; there is none that has one of no parties.
    """
    statement = _PAGE_OF_ACCOUNTS if parties is None else _ACCOUNTS_OF_PARTIES
    parameters: dict[str, Any] = {"book": book, "after": after, "limit": limit, "kind": kind, "currency": currency}
    result = await connection.execute(statement, parameters | ({} if parties is None else {"parties": [*parties]}))
    return [_account_row(row) for row in result]


async def accounts_numbered(connection: Connection, book: int, numbers: Collection[int]) -> list[AccountRow]:
    """Return those of these accounts that exist, in order of their numbers."""
    shards = sorted({shard_of(number) for number in numbers})
    result = await connection.execute(_ACCOUNTS_NUMBERED, {"book": book, "shards": shards, "numbers": [*numbers]})
    return [_account_row(row) for row in result]


async def accounts_by_reference(connection: Connection, book: int, names: Collection[str]) -> dict[str, int]:
    """Return the accounts that have these names in another system."""
    result = await connection.execute(_BY_REFERENCE, {"book": book, "names": list(names)})
    return {row[0]: row[1] for row in result}


async def balance_booked_by(connection: Connection, book: int, shard: int, number: int, day: date) -> int:
    """Return the balance of all entries booked up to and on a day; minor units."""
    key = {"book": book, "shard": shard, "account": number}
    return await _balance_after(connection, key, await _booked_by(connection, key, day))


async def balance_valued_by(connection: Connection, book: int, shard: int, number: int, day: date) -> int:
    """Return the balance of all entries valued up to and on a day; minor units.

    Value dates lie within `VALUE_DATE_REACH` of booking dates, so only entries booked near the day are looked at.
    """
    key = {"book": book, "shard": shard, "account": number}
    certain = await _booked_by(connection, key, day, -_REACH)
    possible = await _booked_by(connection, key, day, _REACH)
    valued = await connection.execute(_VALUED_BETWEEN, {**key, "after": certain, "last": possible, "day": day})
    return await _balance_after(connection, key, certain) + int(valued.scalar_one())


async def entries(
    connection: Connection, book: int, shard: int, number: int, period: Period, *, after: int, limit: int
) -> list[EntryRow]:
    """Return a page of an account's entries of a period, in order."""
    key = {"book": book, "shard": shard, "account": number}
    reach = _REACH if period.by_value else timedelta(0)
    before = await _booked_by(connection, key, period.since, -reach - timedelta(days=1))
    last = await _booked_by(connection, key, period.until, reach)
    bounds = {"after": max(after, before), "last": last, "limit": limit}
    dates = {"by_value": period.by_value, "since": period.since, "until": period.until}
    result = await connection.execute(_ENTRIES, {**key, **bounds, **dates})
    return [EntryRow(*row) for row in result]


async def transfer(connection: Connection, book: int, shards: int, identifier: UUID) -> RecordedTransfer | None:
    """Return the record of a command and when it was made, or None where there is none."""
    result = await connection.execute(_TRANSFER, {"book": book, "shards": list(range(shards)), "id": identifier})
    row: Row[Any] | None = result.one_or_none()
    return None if row is None else RecordedTransfer(transfer_from(row[:-1]), row[-1])


async def due_reservations(connection: Connection, book: int, shard: int, now: datetime, limit: int) -> list[bytes]:
    """Return reservations whose time is over; of a chain the one that leads it."""
    result = await connection.execute(_DUE, {"book": book, "shard": shard, "now": now, "limit": limit})
    return [row[0].bytes for row in result]


async def _booked_by(connection: Connection, key: dict[str, int], day: date, later: timedelta = timedelta(0)) -> int:
    """Return how many entries of the account were booked up to and on a day, or so much later."""
    try:
        moved = day + later
    except OverflowError:
        if later < timedelta(0):
            return 0  # before the calendar begins nothing was booked
        moved = date.max
    result = await connection.execute(_ENTRIES_BOOKED_BY, {**key, "day": moved})
    return int(result.scalar_one_or_none() or 0)


async def _balance_after(connection: Connection, key: dict[str, int], number: int) -> int:
    result = await connection.execute(_BALANCE_AFTER, {**key, "number": number})
    return int(result.scalar_one_or_none() or 0)


def _account_row(row: Row[Any]) -> AccountRow:
    values = list(row)
    return AccountRow(Account(*values[:10]), *values[10:])
