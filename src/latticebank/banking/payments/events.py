"""The events that payments publishes.

One event tells of up to `MAX_TOLD` payments of one shard: `PaymentsAccepted` of what was accepted in one transaction,
before anything follows from it, `PaymentsSettled` of what came to an end, or began to wait for approval, in one. A third
kind tells of the decision on one payment that was held: `PaymentDecided`. Their data is MessagePack. The partition key
is the shard, the causation id that of the group, the batch or the payment. Who pays whom for what is personal, so of
texts there is nothing.
"""

from datetime import date, datetime
from uuid import UUID

from msgspec import Struct

SOURCE = "/latticebank/payments"
PAYMENTS_ACCEPTED = "latticebank.payments.payments-accepted.v1"
PAYMENTS_SETTLED = "latticebank.payments.payments-settled.v1"
PAYMENT_DECIDED = "latticebank.payments.payment-decided.v1"
PAYMENTS_READ = "latticebank.payments.payments-read.v1"
MAX_TOLD = 2_000


class PaymentAccepted(Struct, frozen=True, array_like=True):
    """What was signed and is accepted: a payment, a cash order, or a batch of `count` payments.

    `kind` is "payment", "batch" or "cash", `hash` the SHA-256 of the document signed; of a batch, of its manifest.
    """

    id: bytes
    kind: str
    signer: bytes
    device: bytes
    hash: bytes
    received_at: datetime
    count: int = 1


class PaymentsAccepted(Struct, frozen=True):
    """What was accepted of one shard, in no order. What is refused at once is not in it: that is settled already."""

    book: int
    shard: int
    accepted: list[PaymentAccepted]


class PaymentSettled(Struct, frozen=True, array_like=True):
    """One payment: identifiers and the hash of what was signed in bytes, accounts as numbers, amounts in minor units.

    `kind`, `state` and `hold_reason` are words as on the wire of payments; `reason` is the code of a refusal. The hash of
    a payment of a batch is its leaf hash (RFC 9162, 2.1). `booking_date` is set where it is posted.
    """

    id: bytes
    kind: str
    state: str
    reason: str | None
    signer: bytes
    device: bytes
    debtor: int
    creditor: int
    amount: int
    currency: str
    hash: bytes
    hold_reason: str | None
    batch: bytes | None
    received_at: datetime
    booking_date: date | None


class PaymentsSettled(Struct, frozen=True):
    """Payments of one shard, in no order."""

    book: int
    shard: int
    payments: list[PaymentSettled]


class PaymentDecided(Struct, frozen=True):
    """The decision on a payment that was held: `choice` is "approve", "reject", "cancel" or "expire".

    `signer` signed the payment. `by` is who decided, None where its time passed. What a manager decides is signed:
    `device` made the signature, and `document` is the SHA-256 of the decision in hex.
    """

    payment: UUID
    signer: UUID
    choice: str
    by: UUID | None
    device: UUID | None
    document: str | None


class PaymentsRead(Struct, frozen=True):
    """Somebody of the bank read what others had signed: the payments by their ids, `what` of them, and by whom.

    `what` is "payment", "instruction", "receipt" or "approvals"; `by` is "user:<id>", or "operator".
    """

    payments: list[UUID]
    what: str
    by: str
    session: UUID | None
