"""Signed batches: one signature, one transaction to accept, one call to the ledger, one transaction to settle."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import Context
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import msgspec
import structlog
from msgspec.structs import replace

from latticebank.banking.payments.model.limits import HIGH_VALUE_SPAN, Screening
from latticebank.banking.payments.model.payments import Batch, BatchState, Ending, Kind, Payment, State
from latticebank.banking.payments.model.refusals import (
    BankBusy,
    BatchIdReused,
    NotYourAccount,
    PaymentIdReused,
    RecordsErased,
    refusal_of,
)
from latticebank.banking.payments.service.admission import (
    LATER_THAN_ACCEPTED,
    account_of,
    device_of,
    document_bytes,
    require_key,
    require_one_shard,
    session_of,
    signature_bytes,
)
from latticebank.banking.payments.service.foundation import CLAIM, Foundation, KnownAccount
from latticebank.banking.payments.service.messages import accepted_batch, accepted_events, settled_events
from latticebank.banking.payments.service.records import manifest_place, texts_place
from latticebank.banking.payments.service.settlement import Settlement
from latticebank.banking.payments.service.verification import Verifier
from latticebank.banking.payments.store import accept, read
from latticebank.banking.payments.wire import BatchPaymentAnswer, BatchView, SignedBatch
from latticebank.crypto.envelope import FieldKey
from latticebank.documents.batch import (
    MAX_PAYMENTS,
    BatchManifest,
    BatchPayment,
    leaves_of,
    read_payment,
    require_match,
)
from latticebank.documents.document import identity, judge
from latticebank.documents.document import read as read_document
from latticebank.kernel.caller import Caller
from latticebank.values.clock import business_date
from latticebank.values.errors import BankError, InvalidValue

PIECE = 250
"""How many payments are sealed together: whoever looks at one opens so many."""
AT_ONCE = 2
MAX_WAITING = 16
IN_A_THREAD_FROM = 200
"""So many payments take longer to read than others should wait for."""
_ATTEMPTS = 5


class _Read(msgspec.Struct, frozen=True):
    """The payments of a batch: as texts, as what they say with their amounts, and their leaves."""

    texts: list[bytes]
    payments: list[tuple[BatchPayment, int]]
    leaves: list[bytes]


class _PaymentId(msgspec.Struct, frozen=True):
    id: UUID


_PIECE = msgspec.msgpack.Decoder(list[bytes])
_PAYMENT_ID = msgspec.json.Decoder(_PaymentId)
_WORDS = {state: state.word for state in State}
_NOT_MADE = frozenset({State.REJECTED, State.CANCELLED, State.FAILED})


class _Order(msgspec.Struct, frozen=True):
    """A batch whose signature verified: who sent it, and what of it is stored."""

    batch: Batch
    debtor: int
    account: KnownAccount
    manifest: bytes
    signature: bytes
    read: _Read


@dataclass(frozen=True, slots=True)
class _UnderWay:
    digest: bytes
    task: "asyncio.Task[BatchView]"


class Batches:
    """Takes signed batches through the bank."""

    def __init__(self, foundation: Foundation, verifier: Verifier, settlement: Settlement) -> None:
        self._bank = foundation
        self._verifier = verifier
        self._settlement = settlement
        self._places = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self._under_way: dict[tuple[UUID, UUID], _UnderWay] = {}
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="batch")
        self._group_size = foundation.metrics.group_size.labels("batch")
        self._group_seconds = foundation.metrics.group_seconds.labels("batch")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """End with no batch half-way in this process: what was accepted is left to the next start."""
        try:
            yield
        finally:
            tasks = [under_way.task for under_way in self._under_way.values()]
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)
            self._reader.shutdown(wait=True)

    async def submit(self, caller: Caller, signed: SignedBatch, key: UUID | None = None) -> BatchView:
        """Return what became of a signed batch: all of its payments, in the order of the manifest.

        Raises:
            BankError: it is not accepted, and nothing of it is stored; the code says why.

        """
        received = document_bytes(signed.manifest, "manifest")
        manifest = read_document(BatchManifest, received)
        identifier, digest = UUID(manifest.id), identity(received)
        require_key(key, identifier)
        if self._waiting >= MAX_WAITING:
            raise BankBusy(f"more than {MAX_WAITING} batches wait")
        self._waiting += 1
        try:
            async with self._places:
                judge(manifest, self._bank.bank, self._bank.now())
                order = await self._verified(caller, manifest, received, digest, signed)
                return await self._shared_walk(order)
        except LATER_THAN_ACCEPTED:
            known = await self._known(caller.user, identifier, digest)
            if known is None:
                raise
            return known
        finally:
            self._waiting -= 1

    async def _shared_walk(self, order: _Order) -> BatchView:
        """Take a batch on its walk, or join it there; once accepted it goes on, whoever waits for it or not."""
        name = (order.batch.signer, order.batch.id)
        under_way = self._under_way.get(name)
        if under_way is None:
            task = asyncio.get_running_loop().create_task(self._walk(order), context=Context())
            under_way = self._under_way[name] = _UnderWay(order.batch.hash, task)
            task.add_done_callback(lambda done: self._over(name, done))
        elif under_way.digest != order.batch.hash:
            raise _reused()
        return await asyncio.shield(under_way.task)

    def _over(self, name: tuple[UUID, UUID], done: "asyncio.Task[BatchView]") -> None:
        del self._under_way[name]
        if not done.cancelled():
            done.exception()  # nobody may be left to hear of it

    async def stored_view(self, batch: Batch) -> BatchView:
        """Return what became of a batch that is stored.

        Raises:
            RecordsErased: nobody can open any more what was signed.

        """
        shard = self._bank.shard_of(batch.signer)
        ids = await self.payment_ids(batch)
        async with self._bank.database.read() as connection:
            payments = await read.payments(connection, self._bank.book, [shard], ids)
        follows = State.POSTED if batch.state == BatchState.COMPLETED else State.RECEIVED
        states = {p.id: (follows if p.state == State.IN_BATCH else State(p.state), p.reason) for p in payments.values()}
        return batch_view(batch, [(identifier, *states[identifier]) for identifier in ids])

    async def payment_ids(self, batch: Batch) -> list[UUID]:
        """Return the ids of the payments of a stored batch, in the order of its manifest.

        Raises:
            RecordsErased: nobody can open any more what was signed.

        """
        async with self._bank.database.read() as connection:
            shard = self._bank.shard_of(batch.signer)
            pieces = await read.texts(connection, self._bank.book, shard, batch.id)
        ids: list[UUID] = []
        for number, sealed in enumerate(pieces):
            opened = await self._bank.records.open(batch.signer, sealed, texts_place(batch.id, number))
            if opened is None:
                raise RecordsErased("the records of this customer are closed")
            ids += [_PAYMENT_ID.decode(text).id for text in _PIECE.decode(opened)]
        return ids

    async def _verified(
        self, caller: Caller, manifest: BatchManifest, received: bytes, digest: bytes, signed: SignedBatch
    ) -> _Order:
        """Check everything about a batch that the batch itself can tell, its signature before its many payments."""
        bank = self._bank
        signature = signature_bytes(signed.signature)
        if not 1 <= len(signed.payments) <= MAX_PAYMENTS:
            raise InvalidValue(f"a batch has 1 to {MAX_PAYMENTS} payments", field="/payments")
        device = await device_of(bank, UUID(manifest.device), caller.user)
        debtor = int(manifest.debtor_account)
        account = await account_of(bank, caller, debtor, "debtor_account")
        await self._verifier.verify(caller.user, device.key, received, signature, manifest.type)
        if len(signed.payments) < IN_A_THREAD_FROM:
            found = _read_all(manifest, signed.payments)
        else:
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(self._reader, _read_all, manifest, signed.payments)
        for place, creditor in enumerate({int(payment.creditor_account): None for payment, _ in found.payments}):
            require_one_shard(bank, debtor, creditor, f"/payments/{place}/creditor_account")
        batch = Batch(
            UUID(manifest.id),
            BatchState.RECEIVED,
            caller.user,
            session_of(caller),
            UUID(manifest.device),
            len(found.payments),
            digest,
            bank.now(),
        )
        return _Order(batch, debtor, account, received, signature, found)

    async def _known(self, signer: UUID, identifier: UUID, digest: bytes) -> BatchView | None:
        """Return the answer to a batch that is stored.

        Raises:
            BatchIdReused: the id names another.

        """
        async with self._bank.database.read() as connection:
            found = await read.batches(connection, self._bank.book, [self._bank.shard_of(signer)], [identifier])
        if identifier not in found:
            return None
        batch = found[identifier]
        if (batch.signer, batch.hash) != (signer, digest):
            raise _reused()
        return await self.stored_view(batch)

    async def _walk(self, order: _Order) -> BatchView:
        bank, batch = self._bank, order.batch
        shard = bank.shard_of(batch.signer)
        known = await self._known(batch.signer, batch.id, batch.hash)
        if known is not None:
            return known
        # Before the standing is asked for: whatever was revoked by now is told, so the device was good at this time.
        batch = replace(batch, received_at=bank.now())
        [standing] = await bank.identity.standing([(batch.session, batch.signer, batch.device)])
        if standing.verdict != "good":
            raise refusal_of(standing.verdict)
        if order.account.parties.isdisjoint(standing.parties):
            raise NotYourAccount("you neither own this account nor may act for it", field="debtor_account")
        key = (await bank.records.active([batch.signer])).get(batch.signer)
        if key is None:
            raise RecordsErased("the records of this customer are closed")
        for _ in range(_ATTEMPTS):
            try:
                payments = await self._accept(shard, order, batch, key, verified=standing.verified)
            except accept.Overtaken:
                known = await self._known(batch.signer, batch.id, batch.hash)
                if known is not None:
                    return known
                continue
            except accept.PaymentIdsTaken:
                raise await self._taken(shard, order) from None
            return await self._settle(shard, batch, payments)
        raise BankBusy("another process is in the way of this batch")

    async def _accept(self, shard: int, order: _Order, batch: Batch, key: FieldKey, *, verified: bool) -> list[Payment]:
        """Store a batch and its payments in one transaction."""
        bank, now = self._bank, batch.received_at
        async with bank.database.begin(shard=shard) as work:
            seen = await accept.look(
                work,
                bank.book,
                shard,
                ids=(),
                signers=[batch.signer],
                day=business_date(now),
                high_values_since=now - HIGH_VALUE_SPAN,
            )
            screening = Screening(bank.limits, seen.used, seen.high_values)
            payments = _payments(order, batch, screening, now, now + bank.limits.approval, verified=verified)
            pack = msgspec.msgpack.encode
            await accept.write_batch(
                work,
                bank.book,
                shard,
                batch,
                payments,
                manifest=key.seal(order.manifest, manifest_place(batch.id)),
                signature=order.signature,
                texts=[
                    key.seal(pack(order.read.texts[start : start + PIECE]), texts_place(batch.id, start // PIECE))
                    for start in range(0, len(payments), PIECE)
                ],
                uses=screening.uses,
                bounds=screening.bounds,
                claimed_until=now + CLAIM,
            )
            rejected = [payment for payment in payments if payment.reason is not None]
            for event in (
                *accepted_events(bank.ids, bank.book, shard, batch.id, [accepted_batch(batch)], now),
                *settled_events(bank.ids, bank.book, shard, batch.id, rejected, now),
            ):
                work.publish(event)
        bank.metrics.payments.labels(Kind.BATCH.word, State.REJECTED.word).inc(len(rejected))
        return payments

    async def _settle(self, shard: int, batch: Batch, payments: Sequence[Payment]) -> BatchView:
        """Take an accepted batch to its end; where that cannot be done now, tell that the bank goes on."""
        open_ones = [payment for payment in payments if payment.state == State.IN_BATCH]
        self._group_size.observe(len(payments))
        endings: dict[UUID, Ending] = {}
        try:
            with self._group_seconds.time():
                batch, endings = await self._settlement.batch(shard, batch, open_ones)
        except BankError as error:
            structlog.get_logger().warning("a batch is left to recovery", batch=str(batch.id), reason=str(error))
        return batch_view(batch, [(payment.id, *_end_of(payment, endings)) for payment in payments])

    async def _taken(self, shard: int, order: _Order) -> PaymentIdReused:
        """Return the error that names a payment of a batch whose id is taken."""
        ids = [UUID(payment.id) for payment, _ in order.read.payments]
        async with self._bank.database.read() as connection:
            existing = await read.payments(connection, self._bank.book, [shard], ids)
        place = next((place for place, identifier in enumerate(ids) if identifier in existing), 0)
        return PaymentIdReused(
            "another payment has this id; nothing of the batch was done", field=f"/payments/{place}/id"
        )


def batch_view(batch: Batch, answers: Sequence[tuple[UUID, State, str | None]]) -> BatchView:
    """Return the view of a batch and of the states and reasons of its payments."""
    states = [state for _, state, _ in answers]
    return BatchView(
        batch.id,
        BatchState(batch.state).word,
        batch.count,
        states.count(State.POSTED),
        sum(state in _NOT_MADE for state in states),
        states.count(State.AWAITING_APPROVAL),
        batch.received_at,
        [BatchPaymentAnswer(identifier, _WORDS[state], reason) for identifier, state, reason in answers],
    )


def _end_of(payment: Payment, endings: dict[UUID, Ending]) -> tuple[State, str | None]:
    ending = endings.get(payment.id)
    if ending is not None:
        return ending.state, ending.reason
    return (State.RECEIVED if payment.state == State.IN_BATCH else State(payment.state)), payment.reason


def _read_all(manifest: BatchManifest, texts: Sequence[str]) -> _Read:
    """Read the payments of a batch, and check that the manifest speaks of exactly these."""
    received = [document_bytes(text, f"/payments/{place}") for place, text in enumerate(texts)]
    payments = [read_payment(text, place) for place, text in enumerate(received)]
    leaves = leaves_of(received)
    require_match(manifest, payments, leaves)
    return _Read(received, payments, leaves)


def _payments(
    order: _Order, batch: Batch, screening: Screening, now: datetime, until: datetime, *, verified: bool
) -> list[Payment]:
    """Return what is stored of the payments of a batch, each screened in its turn."""
    day = business_date(now)
    signer, session, device, debtor = batch.signer, batch.session, batch.device, order.debtor
    payments = []
    for place, ((document, amount), leaf) in enumerate(zip(order.read.payments, order.read.leaves, strict=True)):
        said = screening.decide(Kind.BATCH, signer, amount, document.currency, verified=verified)
        good = said.reason is None
        payments.append(
            Payment(
                UUID(document.id), 2, 7 if good else 4, signer, session, device, debtor, int(document.creditor_account),
                amount, document.currency, day, leaf, said.hold, said.high_value, now, said.reason, None if good else now,
                None, until if said.hold else None, batch.id, place,
            )
        )  # fmt: skip
    return payments


def _reused() -> BatchIdReused:
    return BatchIdReused("another batch has this id", field="/manifest/id", hint="sign it with a new id")
