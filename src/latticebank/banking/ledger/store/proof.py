"""Finds what breaks the invariants of the books: the promises that no foreign key makes, and the journal's chain.

Everything is read in one snapshot. The statements scan and sort whole tables: minutes for tens of millions of rows.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from msgspec import Struct
from psycopg.rows import tuple_row

from latticebank.banking.ledger.model.accounts import AccountEvent
from latticebank.banking.ledger.model.journal import Link
from latticebank.banking.ledger.model.transfers import Transfer
from latticebank.banking.ledger.store.recall import transfer_from
from latticebank.kernel.database import Database, unavailability

Connection = psycopg.AsyncConnection[Any]
_AT_ONCE = 5_000
# Whole tables are joined: without statistics (fresh books) the planner would loop over them for minutes, or merge them by shard.
_FOR_WHOLE_TABLES = (
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL idle_in_transaction_session_timeout = 0",
    "SET LOCAL enable_nestloop = off",
    "SET LOCAL enable_mergejoin = off",
    "SET LOCAL work_mem = '64MB'",
)


class Invariant(Struct, frozen=True):
    """A promise of the books, and a statement that returns (where, what) for each place that breaks it."""

    name: str
    promise: str
    statement: str


INVARIANTS = (
    Invariant(
        "two-entries",
        "every posted transfer has two entries of its amount, dates and accounts, which sum to zero",
        """
        SELECT 'transfer ' || t.id,
               format('debit entry %%s/%%s: %%s, credit entry %%s/%%s: %%s, amount %%s', t.debit, t.debit_entry,
                      coalesce(d.amount::text, 'missing'), t.credit, t.credit_entry,
                      coalesce(c.amount::text, 'missing'), t.amount)
        FROM transfers t
        LEFT JOIN entries d ON (d.book, d.shard, d.account, d.number) = (t.book, t.shard, t.debit, t.debit_entry)
        LEFT JOIN entries c ON (c.book, c.shard, c.account, c.number) = (t.book, t.shard, t.credit, t.credit_entry)
        WHERE t.book = %(book)s AND t.outcome = 0 AND t.kind IN (1, 3, 6)
          AND (d.transfer, d.amount, d.booking_date, d.value_date, c.transfer, c.amount, c.booking_date, c.value_date)
              IS DISTINCT FROM
              (t.id, -t.amount, t.booking_date, t.value_date, t.id, t.amount, t.booking_date, t.value_date)
        """,
    ),
    Invariant(
        "entry-of-a-transfer",
        "every entry belongs to a posted transfer that names it",
        """
        SELECT format('entry %%s/%%s', e.account, e.number), 'no posted transfer names it; it names ' || e.transfer
        FROM entries e
        LEFT JOIN transfers t ON (t.book, t.shard, t.id) = (e.book, e.shard, e.transfer)
        WHERE e.book = %(book)s
          AND (t.outcome = 0 AND ((t.debit, t.debit_entry) = (e.account, e.number)
                                  OR (t.credit, t.credit_entry) = (e.account, e.number))) IS NOT TRUE
        """,
    ),
    Invariant(
        "running-balance",
        "entries are numbered without gaps, each balance is the one before plus the amount, booking dates never go back",
        """
        SELECT format('entry %%s/%%s', account, number),
               format('balance %%s after %%s and amount %%s, number %%s after %%s, booked %%s after %%s', balance,
                      balance_before, amount, number, number_before, booking_date, booked_before)
        FROM (SELECT account, number, amount, balance, booking_date,
                     lag(balance, 1, 0::bigint) OVER w AS balance_before,
                     lag(number, 1, 0::bigint) OVER w AS number_before,
                     lag(booking_date, 1, '0001-01-01'::date) OVER w AS booked_before
              FROM entries WHERE book = %(book)s
              WINDOW w AS (PARTITION BY book, shard, account ORDER BY number)) AS e
        WHERE balance <> balance_before + amount OR number <> number_before + 1 OR booking_date < booked_before
        """,
    ),
    Invariant(
        "balance-of-entries",
        "every account's balance is the sum of its entries, and it counts them rightly",
        """
        SELECT 'account ' || a.account,
               format('balance %%s, entries sum to %%s; counts %%s entries, has %%s', a.balance,
                      coalesce(e.total, 0), a.entries, coalesce(e.many, 0))
        FROM accounts a
        LEFT JOIN (SELECT book, shard, account, sum(amount) AS total, count(*) AS many, max(booking_date) AS last
                   FROM entries WHERE book = %(book)s GROUP BY book, shard, account) e
            ON (e.book, e.shard, e.account) = (a.book, a.shard, a.account)
        WHERE a.book = %(book)s
          AND (a.balance <> coalesce(e.total, 0) OR a.entries <> coalesce(e.many, 0)
               OR a.last_booking <> coalesce(e.last, '0001-01-01'::date))
        UNION ALL
        SELECT DISTINCT 'account ' || e.account, 'has entries and does not exist'
        FROM entries e
        WHERE e.book = %(book)s AND NOT EXISTS (
            SELECT FROM accounts a WHERE (a.book, a.shard, a.account) = (e.book, e.shard, e.account))
        """,
    ),
    Invariant(
        "held-by-reservations",
        "what is held on an account is the sum of its open reservations",
        """
        SELECT 'account ' || a.account, format('holds %%s, open reservations sum to %%s', a.held, coalesce(r.total, 0))
        FROM accounts a
        LEFT JOIN (SELECT book, shard, debit, sum(amount) AS total FROM reservations
                   WHERE book = %(book)s AND state = 1 GROUP BY book, shard, debit) r
            ON (r.book, r.shard, r.debit) = (a.book, a.shard, a.account)
        WHERE a.book = %(book)s AND a.held <> coalesce(r.total, 0)
        """,
    ),
    Invariant(
        "reservation-of-a-transfer",
        "every recorded reservation is kept as it was recorded, and what resolved it is recorded too",
        """
        SELECT 'reservation ' || coalesce(r.id, t.id),
               format('is %%s; recorded as %%s; resolved by: %%s', (r.state, r.debit, r.credit, r.amount, r.currency),
                      (t.debit, t.credit, t.amount, t.currency), coalesce(s.kind::text, 'nothing'))
        FROM (SELECT * FROM reservations WHERE book = %(book)s) r
        FULL JOIN (SELECT * FROM transfers WHERE book = %(book)s AND kind = 2 AND outcome = 0) t
            ON (t.shard, t.id) = (r.shard, r.id)
        LEFT JOIN transfers s ON (s.book, s.shard, s.id) = (r.book, r.shard, r.resolved_by)
        WHERE (t.debit, t.credit, t.amount, t.currency, t.purpose, t.evidence_class, t.evidence, t.chain)
              IS DISTINCT FROM
              (r.debit, r.credit, r.amount, r.currency, r.purpose, r.evidence_class, r.evidence, r.chain)
           OR (s.kind, s.outcome, s.reference, s.evidence_class, s.evidence) IS DISTINCT FROM
              (CASE r.state WHEN 2 THEN 3 WHEN 3 THEN 4 WHEN 4 THEN 5 END::smallint,
               CASE WHEN r.state > 1 THEN 0 END::smallint, CASE WHEN r.state > 1 THEN r.id END,
               CASE WHEN r.state > 1 THEN r.evidence_class END, CASE WHEN r.state > 1 THEN r.evidence END)
        """,
    ),
    Invariant(
        "reversal-of-a-posting",
        "every reversal moves the whole of a posted transfer back",
        """
        SELECT 'transfer ' || r.id, format('reverses %%s of %%s', r.reference, coalesce(t.amount::text, 'nothing'))
        FROM transfers r
        LEFT JOIN transfers t ON (t.book, t.shard, t.id) = (r.book, r.shard, r.reference)
        WHERE r.book = %(book)s AND r.kind = 6 AND r.outcome = 0
          AND (t.outcome, t.debit, t.credit, t.amount) IS DISTINCT FROM (0::smallint, r.credit, r.debit, r.amount)
        """,
    ),
    Invariant(
        "signed-debits",
        "customers are debited, and their money is held, by signed acts alone, or as history that was taken over",
        """
        SELECT 'transfer ' || t.id,
               format('takes %%s from the customer''s account %%s by evidence of class %%s, %%s bytes', t.amount, t.debit,
                      t.evidence_class, octet_length(t.evidence))
        FROM transfers t
        JOIN accounts d ON (d.book, d.shard, d.account) = (t.book, t.shard, t.debit)
        LEFT JOIN accounts c ON (c.book, c.shard, c.account) = (t.book, t.shard, t.credit)
        WHERE t.book = %(book)s AND t.outcome = 0 AND t.kind IN (1, 2, 3, 6) AND d.kind < 11
          AND (octet_length(t.evidence) = 32
               AND (t.evidence_class IN (4, 5, 6)
                    OR (t.evidence_class = 2 AND t.kind <> 6 AND c.kind = 16))) IS NOT TRUE
        """,
    ),
    Invariant(
        "account-of-an-act",
        "every account was opened once, and stands as the last act on it left it",
        """
        SELECT 'account ' || coalesce(a.account, h.account),
               format('opened %%s times; by its history %%s, it is %%s', coalesce(h.opened, 0),
                      (h.status, h.kind, h.currency, h.overdraft_limit),
                      (a.status, a.kind, a.currency, a.overdraft_limit))
        FROM (SELECT * FROM accounts WHERE book = %(book)s) a
        FULL JOIN (SELECT book, shard, account, count(*) FILTER (WHERE act = 1) AS opened,
                          (array_agg(CASE act WHEN 2 THEN 2 WHEN 4 THEN 3 ELSE 1 END ORDER BY seq DESC)
                              FILTER (WHERE act <> 5))[1] AS status,
                          max(details ->> 'kind') FILTER (WHERE act = 1) AS kind,
                          max(details ->> 'currency') FILTER (WHERE act = 1) AS currency,
                          (array_agg((details ->> 'overdraft_limit')::bigint ORDER BY seq DESC)
                              FILTER (WHERE act IN (1, 5)))[1] AS overdraft_limit
                   FROM account_acts WHERE book = %(book)s AND outcome = 0 GROUP BY book, shard, account) h
            ON (h.book, h.shard, h.account) = (a.book, a.shard, a.account)
        WHERE (h.opened, h.status, h.kind, h.currency,
               CASE WHEN a.kind < 11 THEN h.overdraft_limit ELSE 9223372036854775807 END)
              IS DISTINCT FROM
              (1::bigint, a.status::integer,
               CASE a.kind WHEN 1 THEN 'checking' WHEN 2 THEN 'savings' WHEN 11 THEN 'cash' WHEN 12 THEN 'fees'
                           WHEN 13 THEN 'interest' WHEN 14 THEN 'suspense' WHEN 15 THEN 'settlement'
                           WHEN 16 THEN 'migration' END,
               a.currency::text, a.overdraft_limit)
        """,
    ),
    Invariant(
        "parties-of-an-act",
        "every account has the owners, mandates and reference that it was opened with",
        """
        SELECT 'account ' || coalesce(o.account, f.account),
               format('opened for %%s, has %%s', coalesce(o.facts::text, 'nobody'), coalesce(f.facts::text, 'nobody'))
        FROM (SELECT book, shard, account, jsonb_build_array(party, role) AS facts
              FROM account_parties WHERE book = %(book)s
              UNION ALL SELECT book, shard, account, jsonb_build_array(reference)
              FROM account_references WHERE book = %(book)s) f
        FULL JOIN (SELECT book, shard, account, jsonb_array_elements(details -> 'parties') AS facts
                   FROM account_acts WHERE book = %(book)s AND act = 1 AND outcome = 0
                   UNION ALL SELECT book, shard, account, jsonb_build_array(details -> 'reference')
                   FROM account_acts
                   WHERE book = %(book)s AND act = 1 AND outcome = 0 AND details ->> 'reference' IS NOT NULL) o
            ON (o.book, o.shard, o.account, o.facts) = (f.book, f.shard, f.account, f.facts)
        WHERE o.account IS NULL OR f.account IS NULL
        """,
    ),
    Invariant(
        "head-of-a-shard",
        "every shard that holds anything has a head, which numbers the next account beyond all there are",
        """
        SELECT 'shard ' || s.shard,
               CASE WHEN h.shard IS NULL THEN 'has no head'
                    ELSE format('its head numbers the next account %%s, it has the number %%s', h.next_serial, s.last) END
        FROM (SELECT shard, max(serial) AS last
              FROM (SELECT shard, (account / 10) %% 10000000 AS serial FROM accounts WHERE book = %(book)s
                    UNION ALL SELECT DISTINCT shard, -1 FROM transfers WHERE book = %(book)s
                    UNION ALL SELECT DISTINCT shard, -1 FROM entries WHERE book = %(book)s
                    UNION ALL SELECT DISTINCT shard, -1 FROM account_acts WHERE book = %(book)s
                    UNION ALL SELECT DISTINCT shard, -1 FROM journal WHERE book = %(book)s) each
              GROUP BY shard) s
        LEFT JOIN shard_heads h ON h.book = %(book)s AND h.shard = s.shard
        WHERE h.shard IS NULL OR h.next_serial <= s.last
        """,
    ),
    Invariant(
        "within-the-limit",
        "no account stands below its overdraft limit, reservations included",
        """
        SELECT 'account ' || account, format('balance %%s, held %%s, limit %%s', balance, held, overdraft_limit)
        FROM accounts WHERE book = %(book)s AND balance::numeric - held < -overdraft_limit::numeric
        """,
    ),
    Invariant(
        "zero-sum",
        "the balances of a shard sum to zero in every currency",
        """
        SELECT format('shard %%s, %%s', shard, currency), format('balances sum to %%s', sum(balance))
        FROM accounts WHERE book = %(book)s GROUP BY shard, currency HAVING sum(balance) <> 0
        """,
    ),
)

_RECORDS = """
    SELECT recorded_at, seq, id, kind, outcome, debit, credit, amount, currency, purpose, booking_date, value_date,
           evidence_class, evidence, debit_entry, credit_entry, 0, 0, reference, chain
    FROM transfers WHERE book = %(book)s AND shard = %(shard)s ORDER BY seq
"""
_ACTS = """
    SELECT recorded_at, seq, id, act, outcome, account, actor, details
    FROM account_acts WHERE book = %(book)s AND shard = %(shard)s ORDER BY seq
"""
_LINKS = """
    SELECT first_seq, next_seq, recorded_at, link FROM journal
    WHERE book = %(book)s AND shard = %(shard)s ORDER BY first_seq
"""
_HEADS = """
    SELECT shard, next_seq, journal_link, recorded_at FROM shard_heads WHERE book = %(book)s ORDER BY shard
"""
_SIZES = """
    SELECT (SELECT count(*) FROM accounts WHERE book = %(book)s), (SELECT count(*) FROM entries WHERE book = %(book)s),
           (SELECT count(*) FROM transfers WHERE book = %(book)s)
"""


class ShardEnd(Struct, frozen=True):
    """Where a shard's head says that its journal ends."""

    shard: int
    next_seq: int
    link: bytes
    recorded_at: datetime


class Snapshot:
    """The books of one instant, to be proved."""

    def __init__(self, connection: Connection, book: int) -> None:
        self._connection = connection
        self._book = {"book": book}

    async def sizes(self) -> tuple[int, int, int]:
        """Return how many accounts, entries and transfers there are."""
        cursor = await self._connection.execute(_SIZES, self._book)
        accounts, entries, transfers = (await cursor.fetchall())[0]
        return accounts, entries, transfers

    async def breaches(self, invariant: Invariant, limit: int) -> list[tuple[str, str]]:
        """Return up to `limit` places that break an invariant: where, and what is there."""
        cursor = await self._connection.execute(
            f"{invariant.statement} LIMIT %(limit)s",  # a constant of this module
            {**self._book, "limit": limit},
        )
        return await cursor.fetchall()

    async def shard_ends(self) -> list[ShardEnd]:
        """Return where each shard ends."""
        cursor = await self._connection.execute(_HEADS, self._book)
        return [ShardEnd(*row) for row in await cursor.fetchall()]

    async def links(self, shard: int) -> AsyncIterator[Link]:
        """Yield the links of a shard's journal in order."""
        async for row in self._stream(_LINKS, shard):
            yield Link(*row)

    async def transfers(self, shard: int) -> AsyncIterator[tuple[datetime, Transfer]]:
        """Yield the records of a shard in order, with the instant of their batch; balances are left out."""
        async for row in self._stream(_RECORDS, shard):
            yield row[0], transfer_from(row[1:])

    async def acts(self, shard: int) -> AsyncIterator[tuple[datetime, AccountEvent]]:
        """Yield the acts on accounts of a shard in order, with the instant of their batch."""
        async for row in self._stream(_ACTS, shard):
            identifier: UUID = row[2]
            yield row[0], AccountEvent(row[1], identifier.bytes, *row[3:])

    async def _stream(self, statement: str, shard: int) -> AsyncIterator[Any]:
        async with self._connection.cursor(f"proof_{id(statement)}_{shard}", row_factory=tuple_row) as cursor:
            cursor.itersize = _AT_ONCE
            await cursor.execute(statement, {**self._book, "shard": shard}, binary=True)
            async for row in cursor:
                yield row


@asynccontextmanager
async def snapshot(database: Database, book: int) -> AsyncIterator[Snapshot]:
    """Open the books of this instant; nothing that is written meanwhile is seen."""
    connection = await database.connect()
    with unavailability():
        async with connection:
            await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            for setting in _FOR_WHOLE_TABLES:
                await connection.execute(setting)
            yield Snapshot(connection, book)
