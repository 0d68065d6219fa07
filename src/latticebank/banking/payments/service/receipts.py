"""Receipts: everything that shows anybody, without the bank's word, that a payment was signed, allowed and booked."""

from dataclasses import dataclass
from uuid import UUID

import msgspec

from latticebank.banking.payments.model.payments import Batch, Hold, Payment, State
from latticebank.banking.payments.model.refusals import PaymentNotPosted, ReceiptUnavailable
from latticebank.banking.payments.service.foundation import Foundation
from latticebank.banking.payments.service.views import Telling, state_of
from latticebank.banking.payments.store import read
from latticebank.banking.payments.wire import (
    DeviceEvidence,
    InstructionView,
    LogEntry,
    PlaceInBatch,
    Receipt,
    ReceiptAnswer,
    ReceiptPending,
)
from latticebank.crypto.merkle import inclusion_proof
from latticebank.security.audit.client import AuditClient
from latticebank.security.audit.wire import MAX_THINGS, ProvenEntry
from latticebank.security.identity.wire import DeviceRecord

MAX_DEVICES = MAX_THINGS - 2
"""The most devices that a receipt shows: the log proves these, the payment and its batch at once."""


class _Entry(msgspec.Struct, frozen=True):
    """What a record of the log is about."""

    kind: str
    payment: str = ""
    device: str = ""


_entry = msgspec.json.Decoder(_Entry)


@dataclass(frozen=True)
class Receipts:
    """Puts receipts together."""

    foundation: Foundation
    telling: Telling
    audit: AuditClient

    async def of(self, payment: Payment) -> ReceiptAnswer:
        """Return the receipt of a stored payment, or what it still waits for.

        Raises:
            PaymentNotPosted: it came to another end.
            RecordsErased: what was signed can no longer be opened.
            ReceiptUnavailable: too many devices stand behind it, or one that identity does not know.
            RemoteProblem, ServiceUnavailable: identity or audit is not there.

        """
        batch = await self._batch_of(payment)
        state = state_of(payment, batch)
        if not state.final:
            return ReceiptPending(payment.id, "approval" if state is State.AWAITING_APPROVAL else "settlement")
        if state is not State.POSTED:
            raise PaymentNotPosted(state.word)
        signed = await self.telling.instruction(payment)
        devices = await self._devices(payment.device)
        things = [payment.id, *([] if batch is None else [batch.id]), *(device.device for device in devices)]
        proofs = await self.audit.proofs(payment.signer, things)
        if proofs.pending or not _expected(payment, devices) <= _found(proofs.entries):
            return ReceiptPending(payment.id, "log")
        return Receipt(
            self.foundation.bank,
            payment.id,
            signed.document,
            signed.signature,
            None if batch is None else await self._place(payment, batch, signed),
            [DeviceEvidence(each.document, each.signature, each.sponsor_signature) for each in devices],
            [LogEntry(each.index, each.salt, each.record, each.proof) for each in proofs.entries],
            proofs.checkpoint,
        )

    async def _batch_of(self, payment: Payment) -> Batch | None:
        bank = self.foundation
        if payment.batch is None:
            return None
        async with bank.database.read() as connection:
            found = await read.batches(connection, bank.book, [bank.shard_of(payment.signer)], [payment.batch])
        return found[payment.batch]

    async def _place(self, payment: Payment, batch: Batch, signed: InstructionView) -> PlaceInBatch:
        bank = self.foundation
        async with bank.database.read() as connection:
            leaves = await read.leaves(connection, bank.book, bank.shard_of(payment.signer), batch)
        assert len(leaves) == batch.count, "a batch is stored with all of its payments"
        assert payment.place is not None, "a payment of a batch has its place"
        assert signed.batch_payment is not None, "a payment of a batch is shown with its text"
        proof = [each.hex() for each in inclusion_proof(leaves, payment.place)]
        return PlaceInBatch(signed.batch_payment, payment.place, batch.count, proof)

    async def _devices(self, first: UUID) -> list[DeviceRecord]:
        """Return a device, the one that sponsored it, and so on up to one that had no sponsor."""
        chain: list[DeviceRecord] = []
        wanted: UUID | None = first
        while wanted is not None:
            if len(chain) == MAX_DEVICES:
                raise ReceiptUnavailable(f"more than {MAX_DEVICES} devices vouch for each other", field="id")
            records = await self.foundation.identity.devices([wanted])
            if not records:
                raise ReceiptUnavailable("a device behind this payment is not known", field="id")
            chain += records
            wanted = records[0].sponsor
        return chain


def _expected(payment: Payment, devices: list[DeviceRecord]) -> set[_Entry]:
    """Return what the log has to tell of a posting; what it tells besides is proved as well."""
    own = ["payment.posted"] if payment.hold == Hold.NONE else ["payment.held", "payment.approved", "payment.posted"]
    return {
        _Entry("payment.accepted", payment=str(payment.batch or payment.id)),
        *(_Entry(kind, payment=str(payment.id)) for kind in own),
        *(_Entry("device.enrolled", device=str(each.device)) for each in devices),
    }


def _found(entries: list[ProvenEntry]) -> set[_Entry]:
    found = [_entry.decode(each.record) for each in entries]
    # A payment is told with the device that signed it, and is about itself alone.
    return {_Entry(each.kind, each.payment, "" if each.payment else each.device) for each in found}
