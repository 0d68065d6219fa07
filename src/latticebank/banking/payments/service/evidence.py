"""`latticebank ledger check --signatures`: every debit of a customer is proved by a signature, or named.

The ledger says what was debited; payments keeps what was signed, identity whose devices signed and who gave them the
right to. What an intruder edits in one of their databases no longer fits the others, and nobody but a device can sign anew.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import msgspec

from latticebank.banking.ledger.wire import CustomerDebit
from latticebank.banking.payments.model.authority import FIRST_ADMINS
from latticebank.banking.payments.model.evidence import (
    Debit,
    Device,
    SignedBatch,
    approval_faults,
    in_batch_faults,
    read_batch,
    single_faults,
)
from latticebank.banking.payments.model.payments import Decision, Hold, Kind, Payment
from latticebank.banking.payments.service.authority import Learning
from latticebank.banking.payments.service.foundation import Foundation
from latticebank.banking.payments.service.records import document_place, manifest_place, texts_place
from latticebank.banking.payments.store import read
from latticebank.crypto.errors import SealBroken
from latticebank.documents.rights import PARTY
from latticebank.values.money import CURRENCY_DIGITS, parse_amount

THREADS = 2
MAX_FINDINGS = 1_000
"""The most findings that are kept; all are counted."""
_LOT = 64
_BATCHES_REMEMBERED = 64
_IMPORT = "import"
_USER = "user:"
_TELLER = "teller"
_MANAGER = "manager"

_pieces = msgspec.msgpack.Decoder(list[bytes])


@dataclass(frozen=True, slots=True)
class SignatureFinding:
    """A debit that is not proved, and why; without a transfer it is about the bank as a whole."""

    transfer: UUID | None
    fault: str


@dataclass(slots=True)
class SignatureReport:
    """How many debits were checked, by class of evidence, how many were taken over, and what is not proved.

    `by_mandate` counts the proved ones from accounts whose parties are known by references of another system: by a right
    that two members of staff signed, the signer speaks for such a party. `roots` are the admins whom the operator named:
    all rights are traced back to them, and nothing proves theirs. `erased` counts users whose profile is erased, so that
    their first device can no longer be compared with their registration.
    """

    checked: int = 0
    by_class: Counter[str] = field(default_factory=Counter)
    imported: int = 0
    by_mandate: int = 0
    erased: int = 0
    roots: list[UUID] = field(default_factory=list)
    faults: int = 0
    findings: list[SignatureFinding] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether every debit is proved."""
        return self.faults == 0

    def add(self, transfer: UUID | None, faults: Iterable[str]) -> None:
        """Keep what was found of a debit."""
        for fault in faults:
            self.faults += 1
            if len(self.findings) < MAX_FINDINGS:
                self.findings.append(SignatureFinding(transfer, fault))


async def check_signatures(
    foundation: Foundation, told: Callable[[SignatureReport], None] = lambda _: None
) -> SignatureReport:
    """Return what every customer's debit of the ledger is proved by; `told` hears of the report after each page.

    Raises:
        ServiceUnavailable, RemoteProblem, DatabaseUnavailable: a neighbour cannot be asked.

    """
    with ThreadPoolExecutor(THREADS, thread_name_prefix="evidence") as pool:
        check = _Check(foundation, pool)
        await check.roots()
        after: tuple[int, int] | None = None
        while True:
            page = await foundation.ledger.customer_debits(after=after)
            await check.page(page.items)
            told(check.report)
            if page.next is None:
                return check.report
            after = page.next


class _Stored(msgspec.Struct, frozen=True):
    """What payments keeps about the debits of a page, still sealed."""

    payments: dict[UUID, Payment]
    documents: dict[UUID, read.Signed]
    decisions: dict[UUID, Decision]


class _Check:
    def __init__(self, foundation: Foundation, pool: ThreadPoolExecutor) -> None:
        self._bank = foundation
        self._pool = pool
        self._learning = Learning(foundation, pool)
        self._authority = self._learning.authority
        self._batches: dict[UUID, tuple[SignedBatch | None, list[str]]] = {}
        self.report = SignatureReport()

    async def roots(self) -> None:
        """Learn the admins to whom all rights are traced back; more than the operator ever needs to name are a finding."""
        await self._learning.learn_roots()
        self.report.roots = self._authority.roots
        if len(self.report.roots) > FIRST_ADMINS:
            self.report.add(
                None, [f"the operator named {len(self.report.roots)} admins, and {FIRST_ADMINS} are enough"]
            )

    async def page(self, debits: Sequence[CustomerDebit]) -> None:
        """Check a page of debits."""
        self.report.checked += len(debits)
        self.report.by_class.update(debit.evidence_class for debit in debits)
        self.report.imported += sum(debit.evidence_class == _IMPORT for debit in debits)
        signed = [_debit(debit) for debit in debits if debit.evidence_class != _IMPORT]
        stored = await self._stored([debit.id for debit in signed])
        await self._learn(stored)
        singles: list[tuple[Debit, Payment, bytes, bytes, Device]] = []
        for debit in signed:
            payment = stored.payments.get(debit.id)
            if payment is None:
                self.report.add(debit.id, ["no payment is stored for it"])
                continue
            device = self._authority.devices.get(payment.device)
            if device is None:
                self.report.add(debit.id, ["it was signed by a device that nobody knows"])
                continue
            self.report.add(debit.id, _of("the device that signed", self._authority.device_faults(device.id)))
            if payment.kind == Kind.CASH:
                self.report.add(
                    debit.id, self._role_faults("whoever signed", payment.signer, _TELLER, payment.received_at)
                )
            if payment.hold != Hold.NONE:
                self.report.add(debit.id, self._approval_faults(payment, stored.decisions.get(debit.id)))
            if payment.kind == Kind.BATCH:
                batch, faults = await self._batch(payment, device)
                self.report.add(debit.id, [*faults, *(in_batch_faults(debit, payment, batch) if batch else ())])
            elif (opened := await self._opened(payment, stored.documents)) is not None:
                singles.append((debit, payment, *opened, device))
        for (debit, *_), faults in zip(singles, await self._in_threads(singles), strict=True):
            self.report.add(debit.id, faults)
        await self._check_owners([(d, stored.payments[d.id]) for d in signed if d.id in stored.payments])

    async def _stored(self, ids: Sequence[UUID]) -> _Stored:
        bank = self._bank
        async with bank.database.read() as connection:
            payments = await read.payments(connection, bank.book, bank.all_shards, ids)
            alone = [payment.id for payment in payments.values() if payment.kind != Kind.BATCH]
            documents = await read.documents(connection, bank.book, bank.all_shards, alone)
            held = [payment.id for payment in payments.values() if payment.hold != Hold.NONE]
            decisions = await read.decisions(connection, bank.book, bank.all_shards, held)
        return _Stored(payments, documents, decisions)

    async def _opened(self, payment: Payment, documents: dict[UUID, read.Signed]) -> tuple[bytes, bytes] | None:
        """Return what was signed for a payment, and its signature; None, with a finding, where it cannot be told."""
        signed = documents.get(payment.id)
        if signed is None:
            self.report.add(payment.id, ["what was signed is not stored"])
            return None
        try:
            received = await self._bank.records.open(payment.signer, signed.document, document_place(payment.id))
        except SealBroken:
            self.report.add(payment.id, ["what was signed was changed where it is stored"])
            return None
        if received is None:
            self.report.add(payment.id, ["the key of what was signed is gone"])
            return None
        return received, signed.signature

    async def _batch(self, payment: Payment, device: Device) -> tuple[SignedBatch | None, list[str]]:
        assert payment.batch is not None, "the database keeps it so"
        if payment.batch not in self._batches:
            if len(self._batches) >= _BATCHES_REMEMBERED:
                self._batches.clear()
            self._batches[payment.batch] = await self._read_batch(payment, payment.batch, device)
        batch, faults = self._batches[payment.batch]
        # The other payments of the batch are those of this signer and device, or they are not of this batch.
        if batch is not None and (batch.device, device.user) != (payment.device, payment.signer):
            return batch, [*faults, "its batch was signed by another device"]
        return batch, faults

    async def _read_batch(
        self, payment: Payment, identifier: UUID, device: Device
    ) -> tuple[SignedBatch | None, list[str]]:
        bank = self._bank
        shard = bank.shard_of(payment.signer)
        async with bank.database.read() as connection:
            manifests = await read.manifests(connection, bank.book, [shard], [identifier])
            pieces = await read.texts(connection, bank.book, shard, identifier)
        if identifier not in manifests:
            return None, ["its batch is not stored"]
        signed, texts = manifests[identifier], []
        try:
            manifest = await bank.records.open(payment.signer, signed.document, manifest_place(identifier))
            for number, sealed in enumerate(pieces):
                opened = await bank.records.open(payment.signer, sealed, texts_place(identifier, number))
                texts += _pieces.decode(opened or b"\x90")
        except SealBroken:
            return None, ["its batch was changed where it is stored"]
        if manifest is None:
            return None, ["the key of what was signed is gone"]
        loop = asyncio.get_running_loop()
        work = (manifest, signed.signature, texts, payment, device, bank.bank)
        return await loop.run_in_executor(self._pool, read_batch, *work)

    def _approval_faults(self, payment: Payment, decision: Decision | None) -> list[str]:
        device = None
        if decision is not None and decision.device is not None:
            device = self._authority.devices.get(decision.device)
        faults = list(approval_faults(payment, decision, device, self._bank.bank))
        if device is not None:
            faults += _of("the device that approved", self._authority.device_faults(device.id))
        if decision is not None and decision.decided_by is not None:
            faults += self._role_faults("whoever approved", decision.decided_by, _MANAGER, decision.decided_at)
        return faults

    def _role_faults(self, who: str, user: UUID, role: str, at: datetime) -> list[str]:
        return _of(f"{who} is not proved to have been a {role}", self._authority.right_faults(user, role, at))

    async def _in_threads(self, singles: Sequence[tuple[Debit, Payment, bytes, bytes, Device]]) -> list[list[str]]:
        bank = self._bank.bank

        def faults_of(lot: Sequence[tuple[Debit, Payment, bytes, bytes, Device]]) -> list[list[str]]:
            return [list(single_faults(*single, bank)) for single in lot]

        loop = asyncio.get_running_loop()
        lots = [singles[start : start + _LOT] for start in range(0, len(singles), _LOT)]
        done = await asyncio.gather(*(loop.run_in_executor(self._pool, faults_of, lot) for lot in lots))
        return [faults for lot in done for faults in lot]

    async def _learn(self, stored: _Stored) -> None:
        """Learn of the devices and the people who signed, and of whoever vouched for them."""
        payments, decisions = stored.payments.values(), stored.decisions.values()
        devices = {payment.device for payment in payments}
        devices |= {decision.device for decision in decisions if decision.device is not None}
        users = {payment.signer for payment in payments}
        users |= {decision.decided_by for decision in decisions if decision.decided_by is not None}
        times = [payment.received_at for payment in payments] + [decision.decided_at for decision in decisions]
        if times:
            await self._learning.learn(devices, users, max(times))
        self.report.erased = sum(person.erased for person in self._authority.people.values())

    async def _check_owners(self, debits: Sequence[tuple[Debit, Payment]]) -> None:
        """Check that whoever signed may act for the account debited; a teller acts for the bank."""
        bank = self._bank
        paid = [(debit, payment) for debit, payment in debits if payment.kind != Kind.CASH]
        accounts = await bank.accounts.get_all({debit.debtor for debit, _ in paid})
        for debit, payment in paid:
            account = accounts.get(debit.debtor)
            parties = account.parties if account is not None else frozenset[str]()
            if f"{_USER}{payment.signer}" in parties:
                continue
            references = sorted(party for party in parties if not party.startswith(_USER))
            found = [self._mandate_faults(payment, reference) for reference in references]
            if [] in found:
                self.report.by_mandate += 1
            else:
                reasons = [fault for faults in found for fault in faults]
                self.report.add(debit.id, ["whoever signed may not act for the account debited", *reasons])

    def _mandate_faults(self, payment: Payment, reference: str) -> list[str]:
        faults = self._authority.right_faults(payment.signer, f"{PARTY}{reference}", payment.received_at)
        return _of("that the signer speaks for its party is not proved", faults)


def _debit(debit: CustomerDebit) -> Debit:
    amount = parse_amount(debit.amount, CURRENCY_DIGITS[debit.currency])
    return Debit(
        debit.id, int(debit.debit), int(debit.credit), amount, debit.currency, debit.evidence_class,
        bytes.fromhex(debit.evidence),
    )  # fmt: skip


def _of(what: str, faults: Iterable[str]) -> list[str]:
    return [f"{what}: {fault}" for fault in faults]
