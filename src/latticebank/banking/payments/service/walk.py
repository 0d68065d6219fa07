"""The walk of single payments and cash orders of one shard: whatever arrives while a group walks makes the next one.

Each stage takes the whole group and costs one durable statement. While one group is in the ledger, the next one is
accepted.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from contextvars import Context
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog

from latticebank.banking.payments.model.limits import HIGH_VALUE_SPAN, Screening
from latticebank.banking.payments.model.payments import Hold, Kind, Payment, State
from latticebank.banking.payments.model.refusals import (
    BankBusy,
    NotYourAccount,
    OwnPayment,
    PaymentIdReused,
    RecordsErased,
    RoleNeeded,
    refusal_of,
)
from latticebank.banking.payments.service.admission import Admitted
from latticebank.banking.payments.service.foundation import CLAIM, Foundation
from latticebank.banking.payments.service.messages import accepted_events, accepted_payment, settled_events
from latticebank.banking.payments.service.records import document_place
from latticebank.banking.payments.service.settlement import Settlement
from latticebank.banking.payments.store import accept
from latticebank.crypto.envelope import FieldKey
from latticebank.kernel.database import DatabaseUnavailable, UnitOfWork
from latticebank.security.identity.wire import Standing
from latticebank.values.clock import business_date
from latticebank.values.errors import BankError

MAX_GROUP = 512
MAX_WAITING = 4_096
GROUPS_AT_ONCE = 2
_ATTEMPTS = 5
TELLER = "teller"


@dataclass(slots=True)
class _Entry:
    """An order on its walk. `answer` comes when the payment is settled, or the bank has accepted it and cannot go on."""

    admitted: Admitted
    answer: "asyncio.Future[Payment]"
    verified: bool = False


class Walk:
    """Takes admitted orders, whose signatures are verified, through the bank while it is `running`."""

    def __init__(self, foundation: Foundation, shard: int, settlement: Settlement) -> None:
        self._bank = foundation
        self._shard = shard
        self._settlement = settlement
        self._waiting: deque[_Entry] = deque()
        self._bell = asyncio.Event()
        self._places = asyncio.Semaphore(GROUPS_AT_ONCE)
        self._under_way: dict[UUID, list[_Entry]] = {}
        self._groups: set[asyncio.Task[None]] = set()
        self._closing = False
        foundation.metrics.waiting.labels(str(shard)).set_function(lambda: len(self._waiting))
        self._group_size = foundation.metrics.group_size.labels("single")
        self._group_seconds = foundation.metrics.group_seconds.labels("single")

    async def submit(self, admitted: Admitted) -> Payment:
        """Return the payment once it is settled; as `received` if the bank has accepted it and cannot go on now.

        Raises:
            BankBusy: too much waits already; nothing was stored.
            SessionEnded, UnknownDevice, DeviceRevoked, DeviceCooling, NotYourAccount, RoleNeeded, OwnPayment: nothing was
                stored.
            PaymentIdReused: the id names another payment.
            DatabaseUnavailable, ServiceUnavailable: not now; whoever tries again does so under the same id.

        """
        if self._closing or len(self._waiting) >= MAX_WAITING:
            raise BankBusy
        entry = _Entry(admitted, asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        self._bell.set()
        return await entry.answer

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the walk; groups that were accepted are left to the next start."""
        runner = asyncio.get_running_loop().create_task(self._run(), context=Context())
        try:
            yield
        finally:
            self._closing = True
            tasks = [runner, *self._groups]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            _fail(self._waiting, BankBusy("the bank is closing"))
            # A group whose task had not begun: what it accepted is stored, and settled after the next start.
            for entries in self._under_way.values():
                _fail(entries, DatabaseUnavailable("the bank is closing; the outcome is not known"))

    async def _run(self) -> None:
        while True:
            await self._places.acquire()
            while not self._waiting:
                self._bell.clear()
                await self._bell.wait()
            group = [self._waiting.popleft() for _ in range(min(MAX_GROUP, len(self._waiting)))]
            accepted: list[Payment] = []
            identifier = self._bank.ids()
            try:
                accepted = await self._admit([entry for entry in group if not entry.answer.done()], identifier)
            except asyncio.CancelledError:
                _fail(group, DatabaseUnavailable("the bank is closing; the outcome is not known"))
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, it is answered, and the walk goes on
                if not isinstance(error, BankError):
                    structlog.get_logger().error("a group could not be accepted", exc_info=error)
                _fail(group, error)
            if not accepted:
                self._places.release()
                continue
            task = asyncio.create_task(self._settle(identifier, accepted))
            self._groups.add(task)
            task.add_done_callback(self._end_of_group)

    def _end_of_group(self, task: "asyncio.Task[None]") -> None:
        self._groups.discard(task)
        self._places.release()

    async def _admit(self, group: Sequence[_Entry], identifier: UUID) -> list[Payment]:
        """Store what may be done of a group; return the payments that the ledger has to hear of."""
        if not group:
            return []
        # Before the standings are asked for: whatever was revoked by now is told, so a device was good at this time.
        now = self._bank.now()
        standings = await self._bank.identity.standing(
            [(e.admitted.session, e.admitted.signer, e.admitted.device) for e in group]
        )
        good: dict[UUID, list[_Entry]] = {}
        for entry, standing in zip(group, standings, strict=True):
            refusal = _refusal(entry.admitted, standing)
            if refusal is None:
                entry.verified = standing.verified
                good.setdefault(entry.admitted.id, []).append(entry)
            else:
                _fail([entry], refusal)
        self._join_under_way(good)
        firsts = [entries[0] for entries in good.values()]
        keys = await self._bank.records.active({e.admitted.signer for e in firsts})
        for entry in [e for e in firsts if e.admitted.signer not in keys]:
            _fail(good.pop(entry.admitted.id), RecordsErased("the records of this customer are closed"))
        firsts = [entry for entry in firsts if entry.admitted.id in good]
        if not firsts:
            return []
        for _ in range(_ATTEMPTS):
            try:
                stored, known = await self._accept(firsts, keys, identifier, now)
            except accept.Overtaken:
                continue
            return self._follow(good, stored, known)
        raise BankBusy("another process is in the way of these payments")

    def _join_under_way(self, good: dict[UUID, list[_Entry]]) -> None:
        """Let those whose payment another group has wait for the end of it; whoever only has its id is refused."""
        for identifier in good.keys() & self._under_way.keys():
            first = self._under_way[identifier][0].admitted
            same, others = _apart(good.pop(identifier), first.signer, first.hash)
            _fail(others, _id_reused())
            self._under_way[identifier].extend(same)

    async def _accept(
        self, firsts: Sequence[_Entry], keys: dict[UUID, FieldKey], group: UUID, now: datetime
    ) -> tuple[list[Payment], dict[UUID, Payment]]:
        """Store new payments in one transaction; return them, and those that existed."""
        bank, shard = self._bank, self._shard
        day, until = business_date(now), now + bank.limits.approval
        highs = any(e.admitted.amount >= bank.limits.of(e.admitted.currency).high_value_from for e in firsts)
        async with bank.database.begin(shard=shard) as work:
            seen = await accept.look(
                work,
                bank.book,
                shard,
                ids=[e.admitted.id for e in firsts],
                signers=sorted({e.admitted.signer for e in firsts}),
                day=day,
                high_values_since=now - HIGH_VALUE_SPAN if highs else None,
            )
            screening = Screening(bank.limits, seen.used, seen.high_values)
            received: list[accept.Received] = []
            for entry in firsts:
                a = entry.admitted
                if a.id in seen.known:
                    continue
                payment = _received(entry, screening, now, until)
                sealed = keys[a.signer].seal(a.document, document_place(a.id))
                received.append(accept.Received(payment, sealed, a.signature))
            rejected = [each.payment for each in received if each.payment.reason is not None]
            if received:
                await accept.write(
                    work,
                    bank.book,
                    shard,
                    received,
                    uses=screening.uses,
                    bounds=screening.bounds,
                    approval_until=until,
                    group=group if len(rejected) < len(received) else None,
                    claimed_until=now + CLAIM,
                )
                self._publish(work, group, [each.payment for each in received], now)
        for payment in rejected:
            bank.metrics.payments.labels(Kind(payment.kind).word, State.REJECTED.word).inc()
        return [each.payment for each in received], seen.known

    def _publish(self, work: UnitOfWork, group: UUID, received: Sequence[Payment], now: datetime) -> None:
        """Tell of payments that were received, and of those that were rejected at once."""
        bank, shard = self._bank, self._shard
        accepted = [accepted_payment(payment) for payment in received if payment.reason is None]
        rejected = [payment for payment in received if payment.reason is not None]
        for event in accepted_events(bank.ids, bank.book, shard, group, accepted, now):
            work.publish(event)
        for event in settled_events(bank.ids, bank.book, shard, group, rejected, now):
            work.publish(event)

    def _follow(
        self, good: dict[UUID, list[_Entry]], stored: Sequence[Payment], known: dict[UUID, Payment]
    ) -> list[Payment]:
        """Answer what is decided already, and whoever reuses an id; return the payments that the ledger has to hear of."""
        new = {payment.id: payment for payment in stored}
        accepted = []
        for identifier, entries in good.items():
            payment = new.get(identifier) or known[identifier]
            same, others = _apart(entries, payment.signer, payment.hash)
            _fail(others, _id_reused())
            if payment.state != State.RECEIVED:
                _answer(same, payment)
            elif identifier in new:
                self._under_way[identifier] = same
                accepted.append(payment)
            else:  # another process, or the recovery worker, has it
                _answer(same, payment)
        return accepted

    async def _settle(self, identifier: UUID, accepted: Sequence[Payment]) -> None:
        """Take an accepted group to its end; where that cannot be done now, tell that the bank goes on."""
        answers = {payment.id: payment for payment in accepted}
        self._group_size.observe(len(accepted))
        try:
            with self._group_seconds.time():
                ended = await self._settlement.payments(self._shard, identifier, accepted)
            answers = {payment.id: payment for payment in ended}
        except BankError as error:
            structlog.get_logger().warning("a group is left to recovery", group=str(identifier), reason=str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, the payments are stored, and recovery goes on
            structlog.get_logger().error("a group is left to recovery", group=str(identifier), exc_info=error)
        finally:
            for payment_id, payment in answers.items():
                _answer(self._under_way.pop(payment_id), payment)


def _received(entry: _Entry, screening: Screening, now: datetime, until: datetime) -> Payment:
    """Return what is stored of a new payment: received, or rejected for a limit."""
    a = entry.admitted
    said = screening.decide(a.kind, a.signer, a.amount, a.currency, verified=entry.verified)
    return Payment(
        a.id,
        a.kind,
        State.RECEIVED if said.reason is None else State.REJECTED,
        a.signer,
        a.session,
        a.device,
        a.debtor,
        a.creditor,
        a.amount,
        a.currency,
        business_date(now),
        a.hash,
        said.hold,
        said.high_value,
        now,
        said.reason,
        None if said.reason is None else now,
        approval_expires_at=None if said.hold is Hold.NONE else until,
    )


def _refusal(admitted: Admitted, standing: Standing) -> BankError | None:
    """Return why identity's word is against an order now, or None."""
    if standing.verdict != "good":
        return refusal_of(standing.verdict)
    if admitted.kind is Kind.CASH:
        if TELLER not in standing.roles:
            return RoleNeeded("cash is a teller's", field="Authorization")
        if not admitted.parties.isdisjoint(standing.parties):
            return OwnPayment("nobody orders cash for an account of one's own", field="account")
    elif admitted.parties.isdisjoint(standing.parties):
        return NotYourAccount("you neither own this account nor may act for it", field="debtor_account")
    return None


def _apart(entries: Iterable[_Entry], signer: UUID, document_hash: bytes) -> tuple[list[_Entry], list[_Entry]]:
    """Return the entries that are this payment sent again, and those that only have its id."""
    same: list[_Entry] = []
    others: list[_Entry] = []
    for entry in entries:
        is_same = (entry.admitted.signer, entry.admitted.hash) == (signer, document_hash)
        (same if is_same else others).append(entry)
    return same, others


def _id_reused() -> PaymentIdReused:
    return PaymentIdReused("another payment has this id", field="id", hint="sign it with a new id")


def _answer(entries: Iterable[_Entry], payment: Payment) -> None:
    for entry in entries:
        if not entry.answer.done():
            entry.answer.set_result(payment)


def _fail(entries: Iterable[_Entry], error: Exception) -> None:
    for entry in entries:
        if not entry.answer.done():
            entry.answer.set_exception(error)
