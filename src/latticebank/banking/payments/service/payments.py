"""The service of payments: each use case from what was sent to what is answered, and the work in the background."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

from msgspec.structs import replace

from latticebank.banking.payments.model.payments import Payment, State
from latticebank.banking.payments.model.refusals import (
    PaymentIdReused,
    PaymentNotFound,
)
from latticebank.banking.payments.service.admission import (
    LATER_THAN_ACCEPTED,
    Admitted,
    account_of,
    cash_accounts,
    device_of,
    read_cash,
    read_payment,
    require_key,
    require_one_shard,
)
from latticebank.banking.payments.service.batches import Batches
from latticebank.banking.payments.service.decisions import Decisions
from latticebank.banking.payments.service.foundation import Foundation
from latticebank.banking.payments.service.messages import read_event
from latticebank.banking.payments.service.receipts import Receipts
from latticebank.banking.payments.service.recovery import Recovery
from latticebank.banking.payments.service.settlement import Settlement
from latticebank.banking.payments.service.verification import Verifier
from latticebank.banking.payments.service.views import Telling, Texts, payment_view
from latticebank.banking.payments.service.walk import Walk
from latticebank.banking.payments.store import read
from latticebank.banking.payments.wire import (
    BatchView,
    InstructionView,
    PaymentView,
    ReceiptAnswer,
    SignedBatch,
    SignedDecision,
    SignedText,
)
from latticebank.documents.cash import CASH
from latticebank.documents.document import judge
from latticebank.documents.payment import PAYMENT
from latticebank.kernel.caller import Caller, CallerKind
from latticebank.kernel.worker import Pace, Wake, keep_working
from latticebank.security.audit.client import AuditClient

_RECOVERY_PACE = Pace(idle=1)
_EXPIRY_PACE = Pace(idle=5)
_NEWEST = (datetime(9999, 1, 1, tzinfo=UTC), UUID(int=(1 << 128) - 1))
_OLDEST = (datetime(1, 1, 1, tzinfo=UTC), UUID(int=0))


class Payments:
    """Everything that payments does; `running` while it is open."""

    def __init__(self, foundation: Foundation, audit: AuditClient) -> None:
        self._bank = foundation
        self._verifier = Verifier(foundation.metrics)
        settlement = Settlement(foundation)
        self._walks = [Walk(foundation, shard, settlement) for shard in foundation.all_shards]
        self._batches = Batches(foundation, self._verifier, settlement)
        self.decisions = Decisions(foundation, self._verifier, settlement)
        self.recovery = Recovery(foundation, settlement, self._batches)
        self._telling = Telling(foundation)
        self._receipts = Receipts(foundation, self._telling, audit)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Take payments, finish what was left, and let what nobody approves expire."""
        async with AsyncExitStack() as open_ones:
            open_ones.push_async_callback(self._bank.aclose)
            await open_ones.enter_async_context(self._background())
            await open_ones.enter_async_context(self._batches.running())
            for walk in self._walks:
                await open_ones.enter_async_context(walk.running())
            await open_ones.enter_async_context(self._verifier.running())
            yield

    async def transfer(self, caller: Caller, signed: SignedText, key: UUID | None = None) -> PaymentView:
        """Return a payment that a customer signed, once it is settled; `received` if the bank goes on without waiting.

        `key` is the Idempotency-Key, if one is given.

        Raises:
            BankError: it is not accepted, and nothing of it is stored; the code says why.

        """
        document, admitted = read_payment(caller, signed.document, signed.signature)
        require_key(key, admitted.id)
        bank = self._bank
        try:
            judge(document, bank.bank, bank.now())
            device = await device_of(bank, admitted.device, admitted.signer)
            account = await account_of(bank, caller, admitted.debtor, "debtor_account")
            require_one_shard(bank, admitted.debtor, admitted.creditor, "creditor_account")
            await self._verifier.verify(admitted.signer, device.key, admitted.document, admitted.signature, PAYMENT)
            payment = await self._walk_of(admitted).submit(replace(admitted, parties=account.parties))
        except LATER_THAN_ACCEPTED:
            answered = await self._answered_before(admitted)
            if answered is None:
                raise
            payment = answered
        return payment_view(payment, Texts(admitted.creditor_name, admitted.reference))

    async def order_cash(self, caller: Caller, signed: SignedText, key: UUID | None = None) -> PaymentView:
        """Return a cash order that a teller signed, as `transfer` does a payment.

        Raises:
            BankError: it is not accepted, and nothing of it is stored; the code says why.

        """
        document, admitted = read_cash(caller, signed.document, signed.signature)
        require_key(key, admitted.id)
        bank = self._bank
        try:
            judge(document, bank.bank, bank.now())
            device = await device_of(bank, admitted.device, admitted.signer)
            account = await cash_accounts(bank, document)
            require_one_shard(bank, admitted.debtor, admitted.creditor, "account")
            await self._verifier.verify(admitted.signer, device.key, admitted.document, admitted.signature, CASH)
            payment = await self._walk_of(admitted).submit(replace(admitted, parties=account.parties))
        except LATER_THAN_ACCEPTED:
            answered = await self._answered_before(admitted)
            if answered is None:
                raise
            payment = answered
        return payment_view(payment, Texts(admitted.creditor_name, admitted.reference))

    async def batch(self, caller: Caller, signed: SignedBatch, key: UUID | None = None) -> BatchView:
        """Return what became of a signed batch, as `Batches.submit`."""
        return await self._batches.submit(caller, signed, key)

    async def history(
        self, caller: Caller, *, debtor: int, before: tuple[datetime, UUID] | None, limit: int
    ) -> list[PaymentView]:
        """Return a page of what the caller signed, newest first; a debtor of 0 is any."""
        bank, signer = self._bank, caller.user
        async with bank.database.read() as connection:
            payments = await read.history(
                connection,
                bank.book,
                bank.shard_of(signer),
                signer,
                debtor=debtor,
                before=before or _NEWEST,
                limit=limit,
            )
        return await self._telling.views(payments)

    async def held(self, reader: Caller, *, after: tuple[datetime, UUID] | None, limit: int) -> list[PaymentView]:
        """Return a page of the payments that wait for a manager, those that expire first in front; an event tells of it."""
        bank = self._bank
        async with bank.database.read() as connection:
            payments = await read.held(connection, bank.book, bank.all_shards, after=after or _OLDEST, limit=limit)
        await self._tell_of_reading(reader, "approvals", payments)
        return await self._telling.views(payments)

    async def payment(self, identifier: UUID, reader: Caller, *, any_one: bool) -> PaymentView:
        """Return a payment, the reader's own or `any_one`.

        Raises:
            PaymentNotFound: there is none that may be told.

        """
        return (await self._telling.views([await self._read(identifier, reader, "payment", any_one=any_one)]))[0]

    async def instruction(self, identifier: UUID, reader: Caller, *, any_one: bool) -> InstructionView:
        """Return what was signed for a payment, the reader's own or `any_one`.

        Raises:
            PaymentNotFound: there is none that may be told.
            RecordsErased: what was signed can no longer be opened.

        """
        return await self._telling.instruction(await self._read(identifier, reader, "instruction", any_one=any_one))

    async def receipt(self, identifier: UUID, reader: Caller, *, any_one: bool) -> ReceiptAnswer:
        """Return the receipt of a payment, the reader's own or `any_one`, as `Receipts.of`.

        Raises:
            PaymentNotFound: there is none that may be told.

        """
        return await self._receipts.of(await self._read(identifier, reader, "receipt", any_one=any_one))

    async def decide(self, caller: Caller, identifier: UUID, signed: SignedDecision) -> PaymentView:
        """Return a payment as a manager's decision leaves it, as `Decisions.decide`."""
        return (await self._telling.views([await self.decisions.decide(caller, identifier, signed)]))[0]

    async def cancel(self, caller: Caller, identifier: UUID) -> PaymentView:
        """Return a payment as its signer's cancellation leaves it, as `Decisions.cancel`."""
        return (await self._telling.views([await self.decisions.cancel(caller, identifier)]))[0]

    async def _read(self, identifier: UUID, reader: Caller, what: str, *, any_one: bool) -> Payment:
        """Return a payment for a reader. Where somebody reads what another signed an event tells of it first."""
        payment = await self._told(identifier, None if any_one else reader.user)
        await self._tell_of_reading(reader, what, [payment])
        return payment

    async def _tell_of_reading(self, reader: Caller, what: str, payments: Sequence[Payment]) -> None:
        bank = self._bank
        own = reader.user if reader.kind is CallerKind.USER else None
        others = [payment.id for payment in payments if payment.signer != own]
        if others:
            async with bank.database.begin() as work:
                work.publish(read_event(bank.ids, reader, what, others, bank.now()))

    def _walk_of(self, admitted: Admitted) -> Walk:
        return self._walks[self._bank.shard_of(admitted.signer)]

    async def _answered_before(self, admitted: Admitted) -> Payment | None:
        """Return the stored answer to an order that would no longer be accepted; None if it never was.

        Raises:
            PaymentIdReused: the id names another payment of this signer.

        """
        found = await self._stored(admitted.id)
        if found is None or found.signer != admitted.signer:
            return None
        if found.hash != admitted.hash:
            raise PaymentIdReused("another payment has this id", field="id", hint="sign it with a new id")
        return found

    async def _told(self, identifier: UUID, signer: UUID | None) -> Payment:
        found = await self._stored(identifier)
        if found is None or signer not in (None, found.signer):
            raise PaymentNotFound
        return found

    async def _stored(self, identifier: UUID) -> Payment | None:
        bank = self._bank
        async with bank.database.read() as connection:
            found = await read.payments(connection, bank.book, bank.all_shards, [identifier])
        return found.get(identifier)

    @asynccontextmanager
    async def _background(self) -> AsyncIterator[None]:
        recovery = keep_working("recovery of payments", self.recovery.step, wake=Wake(), pace=_RECOVERY_PACE)
        expiry = keep_working("expiry of approvals", self.decisions.expire_due, wake=Wake(), pace=_EXPIRY_PACE)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(recovery), group.create_task(expiry)]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()


def is_refused(view: PaymentView) -> bool:
    """Whether a payment was decided and is not made."""
    return view.state in (State.REJECTED.word, State.FAILED.word)
