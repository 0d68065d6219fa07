"""Transfers: the commands that move money, and what the ledger records of each."""

from datetime import date, datetime
from enum import IntEnum

from msgspec import Struct

from latticebank.values.words import Word

MAX_CHAIN = 1_000
"""How many commands may be linked into one chain."""
VALUE_DATE_REACH = 366
"""How many days a value date may lie from its booking date; it bounds the look-up of balances by value date."""


class Kind(Word):
    """What a transfer does."""

    POST = 1
    RESERVE = 2
    POST_RESERVED = 3
    VOID = 4
    EXPIRE = 5
    REVERSE = 6


class Purpose(Word):
    """Why money moves."""

    TRANSFER = 1
    CASH = 2
    FEE = 3
    INTEREST = 4
    IMPORT = 5
    ROUNDING = 6
    REVERSAL = 7


class EvidenceClass(Word):
    """What kind of act stands behind a transfer; `evidence` is the SHA-256 of its bytes.

    `PAYMENT` is an instruction that the customer signed, `BATCH` a payment of a manifest that the customer signed (the
    evidence is its Merkle leaf hash), `CASH` an order that a teller signed.
    """

    NONE = 0
    OPERATOR = 1
    IMPORT = 2
    RULE = 3
    PAYMENT = 4
    BATCH = 5
    CASH = 6


SIGNED = frozenset({EvidenceClass.PAYMENT, EvidenceClass.BATCH, EvidenceClass.CASH})
"""The classes of evidence that stand for a signature: by one of these, customers' accounts are debited."""


class Rejection(Word):
    """Why the ledger refused. The numbers are stored: they are never given another meaning."""

    DEBIT_ACCOUNT_UNKNOWN = 1
    CREDIT_ACCOUNT_UNKNOWN = 2
    ACCOUNT_FROZEN = 3
    ACCOUNT_CLOSED = 4
    CURRENCY_MISMATCH = 5
    INSUFFICIENT_FUNDS = 6
    SAME_ACCOUNT = 7
    BALANCE_OVERFLOW = 8
    EVIDENCE_MISSING = 9
    BOOKING_DATE_BEFORE_LAST = 10
    BOOKING_DATE_IN_FUTURE = 11
    VALUE_DATE_OUT_OF_REACH = 12
    EXPIRY_IN_PAST = 13
    EVIDENCE_NOT_SIGNED = 14
    RESERVATION_UNKNOWN = 20
    RESERVATION_RESOLVED = 21
    RESERVATION_EXPIRED = 22
    RESERVATION_NOT_EXPIRED = 23
    RESERVATION_IN_CHAIN = 24
    AMOUNT_OVER_RESERVATION = 25
    VOIDED_BEFORE_RESERVE = 26
    TRANSFER_UNKNOWN = 30
    NOT_REVERSIBLE = 31
    ALREADY_REVERSED = 32
    CHAIN_BROKEN = 40
    ID_REUSED = 41
    ACCOUNT_UNKNOWN = 50
    REFERENCE_TAKEN = 51
    BALANCE_NOT_ZERO = 52
    ALREADY_SO = 53
    LIMIT_BELOW_USE = 54
    NUMBERS_EXHAUSTED = 55
    LIMIT_NOT_OF_CUSTOMER = 56


NO_CURRENCY = "XXX"
"""ISO 4217: no currency; in the record of a command that names no amount."""

DONE = 0
"""The outcome of a command that took effect; any other outcome is a `Rejection`."""


class Post(Struct, frozen=True, gc=False):
    """Move `amount` minor units from `debit` to `credit` at once.

    Without a booking date it is the business date of the batch, or the last booking date of either account if that
    is later; without a value date it is the booking date.
    """

    id: bytes
    debit: int
    credit: int
    amount: int
    currency: str
    purpose: int
    evidence_class: int
    evidence: bytes
    booking_date: date | None = None
    value_date: date | None = None


class Reserve(Struct, frozen=True, gc=False):
    """Hold `amount` on `debit` for a later posting to `credit`, until `expires_at` if that is given."""

    id: bytes
    debit: int
    credit: int
    amount: int
    currency: str
    purpose: int
    evidence_class: int
    evidence: bytes
    expires_at: datetime | None = None


class PostReserved(Struct, frozen=True, gc=False):
    """Post a reservation in full, or only `amount` of it; the rest is released.

    The first reservation of a chain stands for all of them: they are posted together, in full.
    """

    id: bytes
    reservation: bytes
    amount: int | None = None
    currency: str | None = None
    booking_date: date | None = None
    value_date: date | None = None


class Void(Struct, frozen=True, gc=False):
    """Release a reservation, or the chain of reservations that it leads.

    Voiding an identifier that the ledger does not know leaves a tombstone that refuses the reservation should it
    still arrive.
    """

    id: bytes
    reservation: bytes


class Expire(Struct, frozen=True, gc=False):
    """Release a reservation whose time is over."""

    id: bytes
    reservation: bytes


class Reverse(Struct, frozen=True, gc=False):
    """Move the money of a posted transfer back, as a transfer of its own; once."""

    id: bytes
    transfer: bytes
    evidence_class: int
    evidence: bytes


TransferCommand = Post | Reserve | PostReserved | Void | Expire | Reverse


class Transfer(Struct, frozen=True, gc=False, array_like=True):
    """The ledger's record of one command, done or refused, and its answer to it for ever.

    `reference` is the reservation or the reversed transfer, `chain` the first command of its chain. `debit_entry` and
    `credit_entry` are the numbers of the two entries in their accounts, 0 where none was made; the balances after them
    are kept in the entries.
    """

    seq: int
    id: bytes
    kind: int
    outcome: int
    debit: int
    credit: int
    amount: int
    currency: str
    purpose: int
    booking_date: date
    value_date: date
    evidence_class: int = EvidenceClass.NONE
    evidence: bytes = b""
    debit_entry: int = 0
    credit_entry: int = 0
    debit_balance: int = 0
    credit_balance: int = 0
    reference: bytes | None = None
    chain: bytes | None = None


class Entry(Struct, frozen=True, gc=False):
    """One side of a posted transfer: `amount` is signed, `balance` is the account's after it; minor units."""

    account: int
    number: int
    transfer: bytes
    amount: int
    balance: int
    booking_date: date
    value_date: date


class ReservationState(IntEnum):
    """A reservation is open until it is posted, voided or expired; none of these can be undone."""

    OPEN = 1
    POSTED = 2
    VOIDED = 3
    EXPIRED = 4


class Reservation(Struct, frozen=True, gc=False):
    """Money held on an account for a posting to come. `chain` is the first reservation of its chain."""

    id: bytes
    chain: bytes | None
    debit: int
    credit: int
    amount: int
    currency: str
    purpose: int
    evidence_class: int
    evidence: bytes
    expires_at: datetime | None
    state: int
    resolved_by: bytes | None
