"""What goes over the wire of payments.

Documents and signatures are texts: the exact JSON that was signed, and base64url without padding. Accounts are ten
digits, amounts decimal strings with exactly the digits of their currency, times RFC 3339 in UTC.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import ClassVar, Literal
from uuid import UUID

import msgspec
from pydantic import ConfigDict

StateWord = Literal["received", "awaiting_approval", "posted", "rejected", "cancelled", "failed"]
KindWord = Literal["payment", "batch", "cash"]
HoldWord = Literal["over-threshold", "fifth-high-value"]


class _Message:
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


class SignedText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A document and the signature of a device over its bytes in UTF-8."""

    document: str
    signature: str


class SignedBatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A manifest, the signature of a device over it, and the payments that it speaks of, in its order."""

    manifest: str
    signature: str
    payments: list[str]


@dataclass(frozen=True, slots=True)
class SignedDecision(_Message):
    """A manager's decision on a payment, and the signature over it."""

    document: str
    signature: str


@dataclass(frozen=True, slots=True)
class PaymentView(_Message):
    """A payment as it stands. `reason` is a stable code where it was refused, `hold_reason` where it had to wait."""

    id: UUID
    state: StateWord
    reason: str | None
    reason_text: str | None
    kind: KindWord
    batch: UUID | None
    debtor_account: str
    creditor_account: str
    creditor_name: str
    amount: str
    currency: str
    reference: str
    device: UUID
    instruction_hash: str
    received_at: datetime
    final_at: datetime | None
    booking_date: date | None
    hold_reason: HoldWord | None
    approval_expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class InstructionView(_Message):
    """What was signed for a payment, its signature, and the device that made it.

    `document` is the exact text: the instruction, or the cash order. For a payment of a batch it is the manifest, and
    `batch_payment` the text of that payment, whose leaf hash (RFC 9162, 2.1) is the instruction hash of the payment.
    """

    document: str
    signature: str
    device: UUID
    batch_payment: str | None


@dataclass(frozen=True, slots=True)
class PaymentPage(_Message):
    """A page of payments; `next_cursor` is null on the last."""

    items: list[PaymentView]
    next_cursor: str | None


class BatchPaymentAnswer(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What became of one payment of a batch."""

    id: UUID
    state: str
    reason: str | None = None


class BatchView(msgspec.Struct, frozen=True):
    """What became of a signed batch: `state` is "received" or "completed"; the answers are in the manifest's order."""

    id: UUID
    state: str
    count: int
    posted: int
    rejected: int
    awaiting_approval: int
    received_at: datetime
    answers: list[BatchPaymentAnswer]


class PlaceInBatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The text of one payment of a batch, its place among `count`, and its inclusion proof (RFC 9162, 2.1.3.1).

    The proof leads to the root that the signed manifest names, and discloses no other payment.
    """

    payment: str
    place: int
    count: int
    proof: list[str]


class DeviceEvidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The enrolment of a device, signed by its own key and by that of the device that sponsored it, if one did."""

    document: str
    signature: str
    sponsor_signature: str | None


class LogEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry of the bank's log, opened, with its inclusion proof (RFC 9162, 2.1.3.1); hashes in hexadecimal."""

    index: int
    salt: str
    record: str
    proof: list[str]


class Receipt(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="latticebank/receipt/v1"):
    """What proves a posted payment to anybody: what was signed, by which device, and that the bank's log has it all.

    `document` is the text that was signed: the instruction, the cash order, or the manifest of a batch. The first of the
    devices signed it, each next one sponsored the one before. The proofs of all entries are for the tree of `checkpoint`,
    a signed note.
    """

    bank: str
    payment: UUID
    document: str
    signature: str
    in_batch: PlaceInBatch | None
    devices: list[DeviceEvidence]
    entries: list[LogEntry]
    checkpoint: str


WaitsFor = Literal["settlement", "approval", "log"]


class ReceiptPending(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="latticebank/receipt-pending/v1"
):
    """There is no receipt yet: the payment waits to be settled or approved, or to stand in a published checkpoint."""

    payment: UUID
    waits_for: WaitsFor


ReceiptAnswer = Receipt | ReceiptPending
