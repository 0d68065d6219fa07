"""The events that payments publishes.

One event tells of up to `MAX_TOLD` payments of one shard that came to an end, or began to wait for approval, in one
transaction. Its data is MessagePack: `PaymentsSettled`. The partition key is the shard, the causation id that of the
group, the batch or the decision. Who pays whom for what is personal, so of texts there is nothing.
"""

from msgspec import Struct

SOURCE = "/latticebank/payments"
PAYMENTS_SETTLED = "latticebank.payments.payments-settled.v1"
MAX_TOLD = 2_000


class PaymentSettled(Struct, frozen=True, array_like=True):
    """One payment: identifiers and the hash of what was signed in bytes, accounts as numbers, amounts in minor units.

    `kind`, `state` and `hold_reason` are words as on the wire of payments; `reason` is the code of a refusal.
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


class PaymentsSettled(Struct, frozen=True):
    """Payments of one shard, in no order."""

    book: int
    shard: int
    payments: list[PaymentSettled]
