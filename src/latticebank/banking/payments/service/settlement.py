"""From what was accepted, or decided, to the end: the ledger is told, and what it answers is settled.

All of it may be done again by the same ids: the ledger gives the same answers for ever, and each payment comes to its
end once, by whoever settles it first.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from uuid import UUID

from msgspec.structs import replace

from latticebank.banking.ledger.wire import (
    Order,
    OrderAnswer,
    PostOrder,
    PostReservedOrder,
    PurposeWord,
    ReserveOrder,
    SignedWord,
    VoidOrder,
)
from latticebank.banking.payments.model.payments import (
    Batch,
    Choice,
    Decision,
    Ending,
    Hold,
    Kind,
    Payment,
    State,
    hold_id,
    void_id,
)
from latticebank.banking.payments.model.reasons import (
    APPROVAL_EXPIRED,
    APPROVAL_REJECTED,
    LEDGER_REFUSALS,
    NOT_FEASIBLE,
)
from latticebank.banking.payments.service.foundation import Foundation
from latticebank.banking.payments.service.messages import settled_events
from latticebank.banking.payments.store import settle
from latticebank.kernel.client import RemoteProblem
from latticebank.kernel.database import UnitOfWork
from latticebank.values.account_number import format_account_number
from latticebank.values.clock import business_date
from latticebank.values.errors import Fault
from latticebank.values.money import CURRENCY_DIGITS, format_amount

_DONE = "done"
_NOT_DIGESTED = frozenset({Fault.INVALID, Fault.REFUSED, Fault.CONFLICT, Fault.TOO_LARGE, Fault.NOT_FOUND})
_RESERVATION_OVER = frozenset({"reservation-expired", "reservation-resolved"})
_EVIDENCE: dict[int, SignedWord] = {Kind.PAYMENT: "payment", Kind.BATCH: "batch", Kind.CASH: "cash"}
_GIVES_BACK = frozenset({State.REJECTED, State.CANCELLED, State.FAILED})


class Settlement:
    """Carries out what was accepted and decided."""

    def __init__(self, foundation: Foundation) -> None:
        self._bank = foundation

    async def payments(self, shard: int, group: UUID, payments: Sequence[Payment]) -> list[Payment]:
        """Return received payments as the ledger leaves them, settled as the group that they were accepted in.

        Raises:
            ServiceUnavailable, DeadlineExceeded, DatabaseUnavailable, RemoteProblem: not now; it is done later.

        """
        endings = await self._order(payments)
        now = self._bank.now()
        async with self._bank.database.begin(shard=shard) as work:
            await self._end(work, shard, group, payments, endings, now, since=State.RECEIVED)
            await settle.done(work, self._bank.book, shard, group)
        return [ended_payment(payment, endings[payment.id], now) for payment in payments]

    async def batch(self, shard: int, batch: Batch, payments: Sequence[Payment]) -> tuple[Batch, dict[UUID, Ending]]:
        """Order the payments of a signed batch, and complete it; those that are posted follow it without a word.

        Raises:
            ServiceUnavailable, DeadlineExceeded, DatabaseUnavailable, RemoteProblem: not now; it is done later.

        """
        bank = self._bank
        endings = await self._order(payments)
        now = bank.now()
        booked = booking_date_of(endings.values()) or business_date(now)
        own = [p for p in payments if (e := endings[p.id]).state is not State.POSTED or e.booking_date != booked]
        async with bank.database.begin(shard=shard) as work:
            if await settle.complete(work, bank.book, shard, batch.id, now, booked):
                posted = [
                    p for p in payments if endings[p.id].state is State.POSTED and endings[p.id].booking_date == booked
                ]
                if own:
                    await self._end(work, shard, batch.id, own, endings, now, since=State.IN_BATCH)
                self._publish(work, shard, batch.id, [ended_payment(p, endings[p.id], now) for p in posted])
            await settle.done(work, bank.book, shard, batch.id)
        return replace(batch, state=2, final_at=now, booking_date=booked), endings

    async def decision(self, shard: int, payment: Payment, decision: Decision) -> Payment:
        """Return a payment that was held as the decision on it leaves it.

        Raises:
            ServiceUnavailable, DeadlineExceeded, DatabaseUnavailable, RemoteProblem: not now; it is done later.

        """
        ending = await self._decided(payment, Choice(decision.choice))
        now, endings = self._bank.now(), {payment.id: ending}
        async with self._bank.database.begin(shard=shard) as work:
            await self._end(work, shard, payment.id, [payment], endings, now, since=State.AWAITING_APPROVAL)
            await settle.done(work, self._bank.book, shard, payment.id)
        return ended_payment(payment, ending, now)

    async def _end(
        self,
        work: UnitOfWork,
        shard: int,
        cause: UUID,
        payments: Sequence[Payment],
        endings: Mapping[UUID, Ending],
        now: datetime,
        *,
        since: State,
    ) -> None:
        bank = self._bank
        ended = await settle.end(work, bank.book, shard, [endings[p.id] for p in payments], now, since=since)
        mine = [ended_payment(p, endings[p.id], now) for p in payments if p.id in ended]
        unused = [p for p in mine if p.state in _GIVES_BACK and p.kind != Kind.CASH]
        if unused:
            await settle.give_back(work, bank.book, shard, unused)
        self._publish(work, shard, cause, mine)

    def _publish(self, work: UnitOfWork, shard: int, cause: UUID, payments: Sequence[Payment]) -> None:
        bank = self._bank
        for event in settled_events(bank.ids, bank.book, shard, cause, payments, bank.now()):
            work.publish(event)
        for (kind, state), count in Counter((payment.kind, payment.state) for payment in payments).items():
            bank.metrics.payments.labels(Kind(kind).word, State(state).word).inc(count)

    async def _order(self, payments: Sequence[Payment]) -> dict[UUID, Ending]:
        """Return what the ledger makes of payments; one that it cannot digest does not take the others with it."""
        if not payments:
            return {}
        try:
            answers = await self._bank.ledger.order([_order(payment) for payment in payments])
        except RemoteProblem as problem:
            if problem.fault not in _NOT_DIGESTED:
                raise
            if len(payments) == 1:
                return {payments[0].id: Ending(payments[0].id, State.FAILED, NOT_FEASIBLE)}
            middle = len(payments) // 2
            return await self._order(payments[:middle]) | await self._order(payments[middle:])
        return {p.id: _ending(p, answer) for p, answer in zip(payments, answers, strict=True)}

    async def _decided(self, payment: Payment, choice: Choice) -> Ending:
        account = format_account_number(payment.debtor)
        if choice is Choice.APPROVE:
            post = PostReservedOrder(id=payment.id, reservation=hold_id(payment.id), account=account)
            [answer] = await self._bank.ledger.order([post])
            if answer.outcome == _DONE:
                return Ending(payment.id, State.POSTED, None, answer.booking_date)
            await self._release(payment)
            if answer.outcome in _RESERVATION_OVER:
                return Ending(payment.id, State.REJECTED, APPROVAL_EXPIRED)
            return _refused(payment.id, answer.outcome)
        await self._release(payment)
        if choice is Choice.CANCEL:
            return Ending(payment.id, State.CANCELLED)
        return Ending(payment.id, State.REJECTED, APPROVAL_REJECTED if choice is Choice.REJECT else APPROVAL_EXPIRED)

    async def _release(self, payment: Payment) -> None:
        """Give the reserved money back; it is back already if the reservation expired."""
        void = VoidOrder(
            id=void_id(payment.id), reservation=hold_id(payment.id), account=format_account_number(payment.debtor)
        )
        await self._bank.ledger.order([void])


def ended_payment(payment: Payment, ending: Ending, now: datetime) -> Payment:
    """Return a payment as its ending leaves it."""
    return replace(
        payment,
        state=int(ending.state),
        reason=ending.reason,
        booking_date=ending.booking_date,
        final_at=now if ending.state.final else None,
    )


def booking_date_of(endings: Iterable[Ending]) -> date | None:
    """Return the first booking date of payments that were posted; None if none was."""
    return min((each.booking_date for each in endings if each.booking_date is not None), default=None)


def _order(p: Payment) -> Order:
    debit, credit = format_account_number(p.debtor), format_account_number(p.creditor)
    amount = format_amount(p.amount, CURRENCY_DIGITS[p.currency])
    purpose: PurposeWord = "cash" if p.kind == Kind.CASH else "transfer"
    evidence, evidence_class = p.hash.hex(), _EVIDENCE[p.kind]
    if p.hold == Hold.NONE:
        return PostOrder(
            id=p.id, debit=debit, credit=credit, amount=amount, currency=p.currency, purpose=purpose, evidence=evidence,
            evidence_class=evidence_class,
        )  # fmt: skip
    return ReserveOrder(
        id=hold_id(p.id), debit=debit, credit=credit, amount=amount, currency=p.currency, purpose=purpose,
        expires_at=p.approval_expires_at, evidence=evidence, evidence_class=evidence_class,
    )  # fmt: skip


def _ending(payment: Payment, answer: OrderAnswer) -> Ending:
    expected = payment.id if payment.hold == Hold.NONE else hold_id(payment.id)
    assert answer.id == expected, "the ledger answers in the order in which it is asked"
    if answer.outcome != _DONE:
        return _refused(payment.id, answer.outcome)
    if payment.hold == Hold.NONE:
        return Ending(payment.id, State.POSTED, None, answer.booking_date)
    return Ending(payment.id, State.AWAITING_APPROVAL)


def _refused(identifier: UUID, outcome: str) -> Ending:
    if outcome in LEDGER_REFUSALS:
        return Ending(identifier, State.REJECTED, outcome)
    return Ending(identifier, State.FAILED, outcome)
