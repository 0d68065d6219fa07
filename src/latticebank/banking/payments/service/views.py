"""Payments as they are told: what is stored of them, with the texts of what was signed."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import msgspec

from latticebank.banking.payments.model.payments import Batch, BatchState, Hold, Kind, Payment, State
from latticebank.banking.payments.model.reasons import reason_text
from latticebank.banking.payments.model.refusals import RecordsErased
from latticebank.banking.payments.service.batches import PIECE
from latticebank.banking.payments.service.foundation import Foundation
from latticebank.banking.payments.service.records import document_place, manifest_place, texts_place
from latticebank.banking.payments.store import read
from latticebank.banking.payments.wire import HoldWord, InstructionView, KindWord, PaymentView, StateWord
from latticebank.documents.document import base64url
from latticebank.values.account_number import format_account_number
from latticebank.values.money import CURRENCY_DIGITS, format_amount

_STATES: dict[int, StateWord] = {
    State.RECEIVED: "received",
    State.AWAITING_APPROVAL: "awaiting_approval",
    State.POSTED: "posted",
    State.REJECTED: "rejected",
    State.CANCELLED: "cancelled",
    State.FAILED: "failed",
}
_KINDS: dict[int, KindWord] = {Kind.PAYMENT: "payment", Kind.BATCH: "batch", Kind.CASH: "cash"}
_HOLDS: dict[int, HoldWord] = {Hold.OVER_THRESHOLD: "over-threshold", Hold.FIFTH_HIGH_VALUE: "fifth-high-value"}


class Texts(msgspec.Struct, frozen=True):
    """The texts of a signed document for people; empty once the customer's records are closed."""

    creditor_name: str = ""
    reference: str = ""


NO_TEXTS = Texts()
_texts = msgspec.json.Decoder(Texts)
_pieces = msgspec.msgpack.Decoder(list[bytes])


def state_of(payment: Payment, batch: Batch | None) -> State:
    """Return the state of a payment; one of a batch without a state of its own has that of the batch."""
    if payment.state != State.IN_BATCH:
        return State(payment.state)
    assert batch is not None, "a payment of a batch is told with the batch"
    return State.POSTED if batch.state == BatchState.COMPLETED else State.RECEIVED


def payment_view(payment: Payment, texts: Texts, batch: Batch | None = None) -> PaymentView:
    """Return a payment as it is told."""
    state, final_at, booking_date = state_of(payment, batch), payment.final_at, payment.booking_date
    if batch is not None and payment.state == State.IN_BATCH:
        final_at, booking_date = batch.final_at, batch.booking_date
    return PaymentView(
        payment.id,
        _STATES[state],
        payment.reason,
        None if payment.reason is None else reason_text(payment.reason),
        _KINDS[payment.kind],
        payment.batch,
        format_account_number(payment.debtor),
        format_account_number(payment.creditor),
        texts.creditor_name,
        format_amount(payment.amount, CURRENCY_DIGITS[payment.currency]),
        payment.currency,
        texts.reference,
        payment.device,
        payment.hash.hex(),
        payment.received_at,
        final_at,
        booking_date,
        _HOLDS.get(payment.hold),
        payment.approval_expires_at,
    )


@dataclass(frozen=True)
class Telling:
    """Tells of stored payments: opens what was signed for the texts in it."""

    foundation: Foundation

    async def views(self, payments: Sequence[Payment]) -> list[PaymentView]:
        """Return payments as they are told, in their order."""
        bank = self.foundation
        batched = {p.batch: p for p in payments if p.batch is not None}
        singles = [p.id for p in payments if p.batch is None]
        wanted = {
            (p.batch, p.place // PIECE): p.signer for p in payments if p.batch is not None and p.place is not None
        }
        shards = sorted({bank.shard_of(p.signer) for p in payments})
        async with bank.database.read() as connection:
            documents = await read.documents(connection, bank.book, shards, singles) if singles else {}
            batches = await read.batches(connection, bank.book, shards, list(batched)) if batched else {}
            pieces = await read.pieces(connection, bank.book, shards, list(wanted)) if wanted else {}
        opened = {key: await self._piece(wanted[key], key, sealed) for key, sealed in pieces.items()}
        views = []
        for payment in payments:
            if payment.batch is None or payment.place is None:
                texts = await self._single(payment, documents.get(payment.id))
                views.append(payment_view(payment, texts))
            else:
                piece = opened.get((payment.batch, payment.place // PIECE), [])
                place = payment.place % PIECE
                texts = _texts.decode(piece[place]) if place < len(piece) else NO_TEXTS
                views.append(payment_view(payment, texts, batches.get(payment.batch)))
        return views

    async def instruction(self, payment: Payment) -> InstructionView:
        """Return what was signed for a payment.

        Raises:
            RecordsErased: the key of what was signed is gone.

        """
        bank, shards = self.foundation, [self.foundation.shard_of(payment.signer)]
        if payment.batch is None or payment.place is None:
            async with bank.database.read() as connection:
                documents = await read.documents(connection, bank.book, shards, [payment.id])
            return await self._shown(payment, documents.get(payment.id), document_place(payment.id))
        piece = (payment.batch, payment.place // PIECE)
        async with bank.database.read() as connection:
            manifests = await read.manifests(connection, bank.book, shards, [payment.batch])
            pieces = await read.pieces(connection, bank.book, shards, [piece])
        texts = await self._piece(payment.signer, piece, pieces[piece]) if piece in pieces else []
        text = b"".join(texts[payment.place % PIECE :][:1]).decode()
        return await self._shown(payment, manifests.get(payment.batch), manifest_place(payment.batch), text)

    async def _shown(
        self, payment: Payment, signed: read.Signed | None, place: bytes, text: str | None = None
    ) -> InstructionView:
        opened = await self.foundation.records.open(payment.signer, signed.document, place) if signed else None
        if signed is None or opened is None:
            raise RecordsErased("what was signed can no longer be read", field="id")
        return InstructionView(opened.decode(), base64url(signed.signature), payment.device, text)

    async def _single(self, payment: Payment, signed: read.Signed | None) -> Texts:
        if signed is None:
            return NO_TEXTS
        opened = await self.foundation.records.open(payment.signer, signed.document, document_place(payment.id))
        return NO_TEXTS if opened is None else _texts.decode(opened)

    async def _piece(self, signer: UUID, key: tuple[UUID, int], sealed: bytes) -> list[bytes]:
        opened = await self.foundation.records.open(signer, sealed, texts_place(*key))
        return [] if opened is None else _pieces.decode(opened)
