"""What must be true of payments, limits, books and events whenever nothing is half-way, told from the tables alone."""

from collections import Counter
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec
import psycopg

from latticebank.banking.ledger.service.proof import prove
from latticebank.banking.payments.events import (
    PAYMENTS_ACCEPTED,
    PAYMENTS_SETTLED,
    PaymentsAccepted,
    PaymentsSettled,
)
from latticebank.banking.payments.model.payments import Kind, State, hold_id
from latticebank.kernel.database import Database
from latticebank.kernel.outbox import events_of
from tests.banking.ledger.audit import broken_promises

FINAL = frozenset({State.POSTED, State.REJECTED, State.CANCELLED})
Rows = list[tuple[Any, ...]]

_PAYMENTS = """
    SELECT p.id, CASE WHEN p.state = 7 AND b.state = 2 THEN 3 ELSE p.state END, p.hold, p.debtor, p.creditor, p.amount,
           p.currency, p.kind
    FROM payments p LEFT JOIN batches b ON (b.book, b.shard, b.id) = (p.book, p.shard, p.batch)
"""
_UNFIT_LIMITS = """
    SELECT u.signer, u.used, coalesce(p.amount, 0)
    FROM limit_uses u FULL JOIN (
        SELECT book, shard, signer, currency, day, sum(amount)::bigint AS amount FROM payments
        WHERE kind IN (1, 2) AND state IN (1, 2, 3, 7) GROUP BY book, shard, signer, currency, day
    ) p USING (book, shard, signer, currency, day)
    WHERE coalesce(u.used, 0) <> coalesce(p.amount, 0)
"""
_POSTED = """
    SELECT id, debit, credit, amount, currency FROM transfers
    WHERE outcome = 0 AND kind IN (1, 3) AND evidence_class >= 4
"""


def rows(url: str, query: str) -> Rows:
    """The rows of a database as anybody with its password reads them."""
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(query.encode()).fetchall()


def promises_broken_by_payments(urls: Mapping[str, str]) -> dict[str, object]:
    """Return every promise that is broken although nothing is half-way, with what breaks it."""
    payments = rows(urls["payments"], _PAYMENTS)
    posted = {row[0]: row[3:7] for row in payments if row[1] == State.POSTED}
    held = {hold_id(row[0]) for row in payments if row[1] == State.AWAITING_APPROVAL}
    booked = {row[0]: row[1:] for row in rows(urls["ledger"], _POSTED)}
    reserved = {row[0] for row in rows(urls["ledger"], "SELECT id FROM reservations WHERE state = 1")}
    listed = {hold_id(row[0]) for row in rows(urls["payments"], "SELECT payment FROM approvals")}
    found: dict[str, object] = {
        "nothing waits to be settled": rows(urls["payments"], "SELECT id, kind, claimed_until FROM unsettled"),
        "each payment is at its end, or waits for a manager": [
            row[:2] for row in payments if row[1] not in FINAL | {State.AWAITING_APPROVAL}
        ],
        "what is posted is in the books, as it was ordered, and nothing else is": {
            identifier: (posted.get(identifier), booked.get(identifier))
            for identifier in posted.keys() | booked.keys()
            if posted.get(identifier) != booked.get(identifier)
        },
        "money is held for what waits, and for nothing else": held ^ reserved,
        "what waits is on the list of approvals, and nothing else is": held ^ listed,
        "limits count what is posted or held": rows(urls["payments"], _UNFIT_LIMITS),
        "the bus tells of each payment once for each of its states": _ill_told(urls, payments),
        "the bus tells once of each payment and each batch that was accepted": _ill_accepted(urls, payments),
    }
    with psycopg.connect(urls["ledger"], autocommit=True) as connection:
        found |= broken_promises(connection)
    return {promise: what for promise, what in found.items() if what}


async def findings_in_the_books(urls: Mapping[str, str]) -> list[object]:
    """Return what the bank's own proof finds in the ledger."""
    database = Database(urls["ledger"], application_name="auditor", pool_size=1)
    try:
        return list((await prove(database, 1)).findings)
    finally:
        await database.close()


def _ill_told(urls: Mapping[str, str], payments: Rows) -> dict[UUID, tuple[list[str], list[str]]]:
    """Payments by what is told of them, on the bus or on the way there, and what should be."""
    told: dict[UUID, Counter[str]] = {}
    for event in _told(urls, PAYMENTS_SETTLED):
        for payment in msgspec.msgpack.decode(event, type=PaymentsSettled).payments:
            told.setdefault(UUID(bytes=payment.id), Counter())[payment.state] += 1
    wrong = {}
    for identifier, state, hold, *_ in payments:
        before = [State.AWAITING_APPROVAL.word] if hold and state != State.REJECTED else []
        expected = Counter({*before, State(state).word})
        # What is held may be refused when it is received, or by a manager later: then it waited first.
        refused_later = expected + Counter([State.AWAITING_APPROVAL.word])
        heard = told.pop(identifier, Counter())
        if heard != expected and not (hold and heard == refused_later):
            wrong[identifier] = (sorted(heard.elements()), sorted(expected.elements()))
    return wrong | {identifier: (sorted(heard.elements()), []) for identifier, heard in told.items()}


def _ill_accepted(urls: Mapping[str, str], payments: Rows) -> dict[UUID, int]:
    """What was signed and is told as accepted more or less often than once; what was refused at once, never."""
    told = Counter(
        UUID(bytes=each.id)
        for event in _told(urls, PAYMENTS_ACCEPTED)
        for each in msgspec.msgpack.decode(event, type=PaymentsAccepted).accepted
    )
    singles = {row[0]: row[1] for row in payments if row[7] != Kind.BATCH}
    wanted = {identifier for identifier, state in singles.items() if state != State.REJECTED}
    wanted |= {row[0] for row in rows(urls["payments"], "SELECT id FROM batches")}
    known = wanted | singles.keys()
    return {each: told[each] for each in wanted | told.keys() if told[each] != (1 if each in known else 0)}


def _told(urls: Mapping[str, str], kind: str) -> list[bytes]:
    """The data of all events of a kind that payments published, on the bus or on the way there."""
    # The outbox first: what leaves it meanwhile is on the bus, and what is in both is one event by its id.
    events = {
        event.id: event.data
        for (batch,) in rows(urls["payments"], "SELECT events FROM outbox")
        for event in events_of(batch)
        if event.type == kind
    }
    events |= dict(rows(urls["bus"], f"SELECT id, data FROM events WHERE type = '{kind}'"))
    return list(events.values())
