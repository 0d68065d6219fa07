"""What must be true of a customer's debit: that a device of the signer, good at the time, signed exactly this.

Each check yields the faults that it finds, in words that repeat nothing of what was signed.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from msgspec import Struct

from latticebank.banking.payments.model.payments import Choice, Decision, Kind, Payment
from latticebank.crypto.errors import InvalidSignature
from latticebank.crypto.signatures import VerifyingKey
from latticebank.documents.batch import BatchManifest, BatchPayment, leaves_of, read_payment, require_match
from latticebank.documents.cash import CashOrder
from latticebank.documents.decision import PAYMENT_DECISION
from latticebank.documents.decision import Decision as DecisionDocument
from latticebank.documents.document import CLOCKS_APART, Document, from_base64url, identity, instant, read
from latticebank.documents.enrolment import DeviceEnrolment
from latticebank.documents.payment import PaymentInstruction, minor_units
from latticebank.documents.signing import verify
from latticebank.values.errors import BankError

STORED_WITHIN = timedelta(minutes=5)
"""How long a document that was in time when it came may take to be stored: the longest that a request may take."""


class Device(Struct, frozen=True):
    """A device as identity keeps it, with the evidence of its enrolment; `key` is what its public key parses to."""

    id: UUID
    user: UUID
    key: VerifyingKey
    enrolled_at: datetime
    active_from: datetime
    revoked_at: datetime | None
    document: bytes
    signature: bytes
    sponsor: UUID | None
    sponsor_signature: bytes | None
    proposal: UUID | None

    def good_at(self, time: datetime) -> bool:
        """Whether it could sign at this time."""
        return self.active_from <= time and (self.revoked_at is None or time < self.revoked_at)


class Debit(Struct, frozen=True, gc=False):
    """A customer's debit as the ledger recorded it; `amount` in minor units."""

    id: UUID
    debtor: int
    creditor: int
    amount: int
    currency: str
    evidence_class: str
    evidence: bytes


class SignedBatch(Struct, frozen=True):
    """A batch whose manifest verified: its payments by id, with their amounts and leaves."""

    debtor: int
    device: UUID
    payments: dict[UUID, tuple[BatchPayment, int, bytes]]


def enrolment_faults(device: Device, sponsor: Device | None, bank: str) -> Iterator[str]:
    """Yield what is wrong with the enrolment of a device."""
    try:
        document = read(DeviceEnrolment, device.document)
        verify(device.key, device.document, device.signature, document.type)
        public = from_base64url(document.public_key, "public_key")
    except BankError as error:
        yield f"its enrolment is not signed by its own key ({error.code})"
        return
    said = (document.bank, document.device, document.user, document.algorithm, public)
    if said != (bank, str(device.id), str(device.user), device.key.algorithm, device.key.public_bytes):
        yield "its enrolment is that of another device, user or key"
    if document.sponsor != ("" if device.sponsor is None else str(device.sponsor)):
        yield "its enrolment names another sponsor"
    if device.sponsor is None:
        return
    if sponsor is None or device.sponsor_signature is None:
        yield "its sponsor is not known"
        return
    if sponsor.user != device.user or not sponsor.good_at(device.enrolled_at):
        yield "its sponsor was no active device of the same user"
    try:
        verify(sponsor.key, device.document, device.sponsor_signature, document.type)
    except InvalidSignature:
        yield "its sponsor did not sign its enrolment"


def single_faults(
    debit: Debit, payment: Payment, received: bytes, signature: bytes, device: Device, bank: str
) -> Iterator[str]:
    """Yield what is wrong with the evidence for a payment or cash order that was signed by itself."""
    try:
        document, movement = _read_single(Kind(payment.kind), received)
    except BankError as error:
        yield f"what is stored as signed is no such document ({error.code})"
        return
    if not identity(received) == payment.hash == debit.evidence:
        yield "the hash of what was signed is not that of the posting"
    yield from _movement_faults(debit, payment, movement)
    if document.id != str(debit.id):
        yield "what was signed has another id"
    yield from _signer_faults(payment, document, device, bank)
    try:
        verify(device.key, received, signature, document.type)
    except InvalidSignature:
        yield "the signature does not verify"


def read_batch(
    manifest: bytes, signature: bytes, texts: Sequence[bytes], payment: Payment, device: Device, bank: str
) -> tuple[SignedBatch | None, list[str]]:
    """Return a batch that was signed as it is stored, and what is wrong with it; `payment` is any of its payments."""
    try:
        document = read(BatchManifest, manifest)
        payments = [read_payment(text, place) for place, text in enumerate(texts)]
        leaves = leaves_of(texts)
        require_match(document, payments, leaves)
        verify(device.key, manifest, signature, document.type)
    except BankError as error:
        return None, [f"its batch is not what was signed ({error.code})"]
    faults = list(_signer_faults(payment, document, device, bank))
    if document.id != str(payment.batch):
        faults.append("its batch was signed under another id")
    found = {UUID(p.id): (p, amount, leaf) for (p, amount), leaf in zip(payments, leaves, strict=True)}
    return SignedBatch(int(document.debtor_account), UUID(document.device), found), faults


def in_batch_faults(debit: Debit, payment: Payment, batch: SignedBatch) -> Iterator[str]:
    """Yield what is wrong with the evidence for a payment of a signed batch."""
    if debit.id not in batch.payments:
        yield "its batch does not hold it"
        return
    document, amount, leaf = batch.payments[debit.id]
    if not leaf == payment.hash == debit.evidence:
        yield "the leaf of what was signed is not that of the posting"
    yield from _movement_faults(
        debit, payment, (batch.debtor, int(document.creditor_account), amount, document.currency)
    )


def approval_faults(payment: Payment, decision: Decision | None, device: Device | None, bank: str) -> Iterator[str]:
    """Yield what is wrong with the approval of a payment that was held."""
    if decision is None or decision.choice != Choice.APPROVE:
        yield "nobody approved it"
        return
    if device is None or decision.document is None or decision.signature is None:
        yield "its approval is not signed by a known device"
        return
    try:
        document = read(DecisionDocument, decision.document)
        verify(device.key, decision.document, decision.signature, document.type)
    except BankError as error:
        yield f"its approval is not signed ({error.code})"
        return
    said = (document.bank, document.type, document.decision, document.subject, document.subject_hash)
    if said != (bank, PAYMENT_DECISION, "approve", str(payment.id), payment.hash.hex()):
        yield "its approval is about something else"
    if device.user != decision.decided_by or document.device != str(device.id):
        yield "its approval was signed by a device of somebody else"
    if not device.good_at(decision.decided_at):
        yield "its approval was signed by a device that was not active"
    if decision.decided_by == payment.signer:
        yield "its signer approved it"


def _read_single(kind: Kind, received: bytes) -> tuple[Document, tuple[int, int, int, str]]:
    """Return a document, and debtor, creditor, amount and currency as it names them."""
    if kind is Kind.CASH:
        order = read(CashOrder, received)
        debtor, creditor = int(order.account), int(order.till)
        if order.direction == "deposit":
            debtor, creditor = creditor, debtor
        return order, (debtor, creditor, minor_units(order.amount, order.currency), order.currency)
    paid = read(PaymentInstruction, received)
    amount = minor_units(paid.amount, paid.currency)
    return paid, (int(paid.debtor_account), int(paid.creditor_account), amount, paid.currency)


def _movement_faults(debit: Debit, payment: Payment, signed: tuple[int, int, int, str]) -> Iterator[str]:
    names = ("account debited", "account credited", "amount", "currency")
    posted = (debit.debtor, debit.creditor, debit.amount, debit.currency)
    stored = (payment.debtor, payment.creditor, payment.amount, payment.currency)
    for name, said, in_ledger, in_payments in zip(names, signed, posted, stored, strict=True):
        if said != in_ledger:
            yield f"the {name} is not the one that was signed"
        if said != in_payments:
            yield f"the {name} was changed where the payment is stored"
    if debit.evidence_class != Kind(payment.kind).word:
        yield "the posting names another class of evidence"


def _signer_faults(payment: Payment, document: Document, device: Device, bank: str) -> Iterator[str]:
    if document.bank != bank:
        yield "it was signed for another bank"
    if document.device != str(payment.device) or device.id != payment.device:
        yield "it was signed by another device"
    if device.user != payment.signer:
        yield "the device is not the signer's"
    if not device.good_at(payment.received_at):
        yield "the device was not active when it was received"
    created, expires = instant(document.created, "created"), instant(document.expires, "expires")
    if not created - CLOCKS_APART <= payment.received_at < expires + STORED_WITHIN:
        yield "it was not received in the time for which it was signed"
