"""Decisions on payments that are held: the first one counts, and is stored before anything follows from it."""

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from latticebank.banking.payments.model.payments import Choice, Decision, Payment
from latticebank.banking.payments.store.accept import DECISION
from latticebank.banking.payments.store.encoding import PAYMENT_COLUMNS, UuidArray
from latticebank.banking.payments.store.rows import DECISION_COLUMNS, decision_from, driver_of, payment_from
from latticebank.kernel.database import UnitOfWork

_LOCK = f"SELECT {PAYMENT_COLUMNS} FROM payments WHERE book = %s AND shard = %s AND id = %s FOR UPDATE"  # noqa: S608
_DECISION = f"SELECT {DECISION_COLUMNS} FROM decisions WHERE book = %s AND shard = %s AND payment = %s"  # noqa: S608
_DECIDE = """
    INSERT INTO decisions (book, shard, payment, choice, decided_at, decided_by, device, document, signature)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_NO_LONGER_WAITS = "DELETE FROM approvals WHERE book = %s AND shard = %s AND payment = %s"
_LEAVE_TO_SETTLE = """
    INSERT INTO unsettled (book, shard, id, kind, members, claimed_until) VALUES (%s, %s, %s, %s, %s, %s)
"""
# The payments are locked, as by `take_up`, and nothing else first: so nobody waits for each other in a circle.
_EXPIRED = """
    SELECT a.payment, p.signer FROM approvals a JOIN payments p ON (p.book, p.shard, p.id) = (a.book, a.shard, a.payment)
    WHERE a.book = %s AND a.shard = %s AND a.expires_at <= %s
    ORDER BY a.expires_at LIMIT %s FOR UPDATE OF p SKIP LOCKED
"""
_EXPIRE = """
    INSERT INTO decisions (book, shard, payment, choice, decided_at)
    SELECT %s, %s, n.payment, %s, %s FROM unnest(%s::uuid[]) AS n (payment)
    ON CONFLICT (book, shard, payment) DO NOTHING RETURNING payment
"""
_LEAVE_ALL = """
    INSERT INTO unsettled (book, shard, id, kind, members, claimed_until)
    SELECT %s, %s, n.payment, %s, ARRAY[n.payment], %s FROM unnest(%s::uuid[]) AS n (payment)
"""
_NONE_WAITS = "DELETE FROM approvals WHERE book = %s AND shard = %s AND payment = ANY(%s)"


class Matter(Struct, frozen=True):
    """A payment, locked, and the decision on it if there is one."""

    payment: Payment
    decision: Decision | None


async def take_up(work: UnitOfWork, book: int, shard: int, payment: UUID) -> Matter | None:
    """Lock a payment for a decision."""
    driver = await driver_of(work)
    row = await (await driver.execute(_LOCK, (book, shard, payment), binary=True)).fetchone()
    if row is None:
        return None
    # A statement of its own after the lock, so that it sees what the one before committed.
    decided = await (await driver.execute(_DECISION, (book, shard, payment), binary=True)).fetchone()
    return Matter(payment_from(row), decision_from(decided) if decided else None)


async def decide(work: UnitOfWork, book: int, shard: int, decision: Decision, claimed_until: datetime) -> None:
    """Store the decision on a payment that was taken up and waits for one, and leave it to be carried out."""
    driver = await driver_of(work)
    parts = (decision.decided_by, decision.device, decision.document, decision.signature)
    async with driver.pipeline():
        await driver.execute(
            _DECIDE, (book, shard, decision.payment, decision.choice, decision.decided_at, *parts), binary=True
        )
        gone = await driver.execute(_NO_LONGER_WAITS, (book, shard, decision.payment))
        members = UuidArray.of([decision.payment])
        await driver.execute(_LEAVE_TO_SETTLE, (book, shard, decision.payment, DECISION, members, claimed_until))
    assert gone.rowcount == 1, "a payment that awaits approval is on the list of those that do"


async def expire(work: UnitOfWork, book: int, shard: int, *, now: datetime, limit: int) -> dict[UUID, UUID]:
    """Decide payments for which nobody decided in time; return which, with who signed them.

    They are left to be carried out at once.
    """
    driver = await driver_of(work)
    rows = await (await driver.execute(_EXPIRED, (book, shard, now, limit), binary=True)).fetchall()
    if not rows:
        return {}
    signers: dict[UUID, UUID] = dict(rows)
    due = UuidArray.of(list(signers))
    decided = await driver.execute(_EXPIRE, (book, shard, Choice.EXPIRE, now, due), binary=True)
    expired = [row[0] for row in await decided.fetchall()]
    payments = UuidArray.of(expired)
    async with driver.pipeline():
        await driver.execute(_NONE_WAITS, (book, shard, payments))
        await driver.execute(_LEAVE_ALL, (book, shard, DECISION, now, payments))
    return {payment: signers[payment] for payment in expired}
