"""Payments: what is stored of each, and the states that it goes through."""

from datetime import date, datetime
from enum import IntEnum
from uuid import UUID

from msgspec import Struct

from latticebank.values.ids import derived_id


class _Name(IntEnum):
    @property
    def word(self) -> str:
        """The member as it is written on the wire."""
        return self.name.lower()


class State(_Name):
    """Where a payment stands. The numbers are stored.

    `IN_BATCH` follows its batch: received until the batch is completed, posted from then on. A payment of a batch that
    ends otherwise has a state of its own.
    """

    RECEIVED = 1
    AWAITING_APPROVAL = 2
    POSTED = 3
    REJECTED = 4
    CANCELLED = 5
    FAILED = 6
    IN_BATCH = 7

    @property
    def final(self) -> bool:
        """Whether nothing follows this state."""
        return State.POSTED <= self <= State.FAILED


class BatchState(_Name):
    """Where a signed batch stands. The numbers are stored."""

    RECEIVED = 1
    COMPLETED = 2


class Kind(_Name):
    """What was signed: one payment, a manifest of many, or a teller's order. The numbers are stored."""

    PAYMENT = 1
    BATCH = 2
    CASH = 3


class Hold(IntEnum):
    """Why a payment waits for a manager. The numbers are stored."""

    NONE = 0
    OVER_THRESHOLD = 1
    FIFTH_HIGH_VALUE = 2

    @property
    def word(self) -> str:
        """The member as it is written on the wire."""
        return self.name.lower().replace("_", "-")


class Choice(_Name):
    """What is decided about a payment that is held. The numbers are stored."""

    APPROVE = 1
    REJECT = 2
    CANCEL = 3
    EXPIRE = 4


class Payment(Struct, frozen=True, gc=False):
    """What is stored of a payment, beside what was signed.

    `signer` is the user whose device signed: the payer, or the teller of a cash order. `hash` is the SHA-256 of the
    instruction, or of the leaf of a batch. `day` is the business day on which it counts against the limits. `amount` is
    in minor units. `batch` and `place` are set for payments of a batch.
    """

    id: UUID
    kind: int
    state: int
    signer: UUID
    session: UUID
    device: UUID
    debtor: int
    creditor: int
    amount: int
    currency: str
    day: date
    hash: bytes
    hold: int
    high_value: bool
    received_at: datetime
    reason: str | None = None
    final_at: datetime | None = None
    booking_date: date | None = None
    approval_expires_at: datetime | None = None
    batch: UUID | None = None
    place: int | None = None


class Batch(Struct, frozen=True):
    """What is stored of a signed batch; `hash` is the SHA-256 of its manifest."""

    id: UUID
    state: int
    signer: UUID
    session: UUID
    device: UUID
    count: int
    hash: bytes
    received_at: datetime
    final_at: datetime | None = None
    booking_date: date | None = None


class Decision(Struct, frozen=True):
    """A decision on a payment that was held. What a manager decides is signed; `hash` is that of the document."""

    payment: UUID
    choice: int
    decided_at: datetime
    decided_by: UUID | None = None
    device: UUID | None = None
    document: bytes | None = None
    signature: bytes | None = None


class Ending(Struct, frozen=True, gc=False):
    """The state that a payment comes to, `reason` where it is refused, `booking_date` where it is posted."""

    id: UUID
    state: State
    reason: str | None = None
    booking_date: date | None = None


def hold_id(payment: UUID) -> UUID:
    """Return the id of the ledger's reservation for a payment that is held."""
    return derived_id("hold", str(payment))


def void_id(payment: UUID) -> UUID:
    """Return the id of the order that releases this reservation."""
    return derived_id("void", str(payment))


def shard_of_signer(signer: UUID, shards: int) -> int:
    """Return the shard that keeps everything that a user signed."""
    return signer.int % shards
