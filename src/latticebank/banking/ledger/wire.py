"""What goes over the ledger's wire.

Accounts are ten digits, amounts decimal strings with exactly the digits of their currency, times RFC 3339 in UTC.
Bulk messages are msgspec structures (a fifth of the cost of an item); the others are dataclasses, which Pydantic
checks at the edge and msgspec reads in the client.
"""

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Annotated, ClassVar, Literal
from uuid import UUID

import msgspec
from pydantic import ConfigDict, Field

MAX_ORDERS = 8_192
"""The most orders in one batch."""
MAX_PARTIES = 20
_REFERENCE = r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}$"

Reference = Annotated[str, Field(pattern=_REFERENCE, examples=["berka/576"])]
ReferenceText = Annotated[str, msgspec.Meta(pattern=_REFERENCE)]
PartyTexts = Annotated[list[ReferenceText], msgspec.Meta(max_length=MAX_PARTIES)]
Amount = Annotated[str, Field(max_length=24, examples=["12.34"])]
Currency = Annotated[str, Field(pattern="^[A-Z]{3}$", examples=["EUR"])]
AccountKindWord = Literal["checking", "savings", "cash", "fees", "interest", "suspense", "settlement", "migration"]
AccountStatusWord = Literal["open", "frozen", "closed"]
FreezeWord = Literal["freeze", "unfreeze"]
RestrictionWord = FreezeWord | Literal["close"]
Reason = Literal["customer-request", "fraud-suspected", "sanctions", "court-order", "error", "no-longer-needed"]
"""Why an account is frozen, unfrozen or closed: a fixed list, since free text would gather personal data."""
Basis = Literal["booking", "value"]


class _Message:
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class AccountOpening(_Message):
    """What is asked for when an account is opened. Without an overdraft limit there is none.

    The bank chooses the shard that keeps the account unless it is named.
    """

    kind: AccountKindWord
    currency: Currency
    overdraft_limit: Amount | None = None
    reference: Reference | None = None
    owners: Annotated[list[Reference], Field(max_length=MAX_PARTIES)] = field(default_factory=list)
    mandates: Annotated[list[Reference], Field(max_length=MAX_PARTIES)] = field(default_factory=list)
    shard: Annotated[int, Field(ge=0, le=89)] | None = None


@dataclass(frozen=True, slots=True)
class AccountView(_Message):
    """An account as it stands. `available` and `overdraft_limit` are null where the bank's own account has no bound."""

    account: Annotated[str, Field(examples=["1000000015"])]
    kind: AccountKindWord
    currency: Currency
    status: AccountStatusWord
    balance: Amount
    held: Amount
    available: Amount | None
    overdraft_limit: Amount | None
    entries: int
    last_booking_date: date | None
    reference: str | None
    owners: list[str]
    mandates: list[str]


@dataclass(frozen=True, slots=True)
class AccountPage(_Message):
    """A page of accounts in order of their numbers; `next_cursor` is null on the last."""

    items: list[AccountView]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class AccountsByReference(_Message):
    """The accounts that have these references; a reference that no account has is left out."""

    accounts: dict[str, str]


@dataclass(frozen=True, slots=True)
class References(_Message):
    """References to look up."""

    references: Annotated[list[Reference], Field(min_length=1, max_length=MAX_ORDERS)]


@dataclass(frozen=True, slots=True)
class Restriction(_Message):
    """Why an account is frozen, unfrozen or closed."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class OverdraftLimit(_Message):
    """By how much an account may go below zero."""

    overdraft_limit: Amount


@dataclass(frozen=True, slots=True)
class BalanceView(_Message):
    """The balance of an account at the end of a day, by booking or by value date."""

    account: str
    currency: Currency
    as_of: date
    basis: Basis
    balance: Amount


@dataclass(frozen=True, slots=True)
class EntryView(_Message):
    """One entry of an account: a signed amount, and the balance after it."""

    number: int
    transfer: UUID
    amount: Amount
    balance: Amount
    booking_date: date
    value_date: date
    counterparty: str
    purpose: str
    kind: str
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class EntryPage(_Message):
    """A page of entries in the order of booking; `next_cursor` is null on the last."""

    account: str
    currency: Currency
    items: list[EntryView]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class TransferView(_Message):
    """The ledger's record of one command; `outcome` is "done" or the code of the refusal, told in `reason`."""

    id: UUID
    seq: int
    kind: str
    outcome: str
    reason: str | None
    debit: str | None
    credit: str | None
    amount: Amount
    currency: Currency
    purpose: str
    booking_date: date
    value_date: date
    recorded_at: datetime
    debit_entry: int | None
    credit_entry: int | None
    reference: UUID | None
    chain: UUID | None
    evidence_class: str
    evidence: str | None


class OpeningOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """One account to be opened in bulk, under an id of its own; otherwise as `AccountOpening`."""

    id: UUID
    kind: AccountKindWord
    currency: str
    overdraft_limit: str | None = None
    reference: ReferenceText | None = None
    owners: PartyTexts = []
    mandates: PartyTexts = []
    shard: Annotated[int, msgspec.Meta(ge=0, le=89)] | None = None


class OpeningBatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Accounts to be opened; each stands alone."""

    openings: Annotated[list[OpeningOrder], msgspec.Meta(min_length=1, max_length=MAX_ORDERS)]


class OpeningAnswer(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The answer to one opening: "done" with the account's number, or the code of the refusal."""

    id: UUID
    outcome: str
    account: str | None = None


class OpeningsAnswer(msgspec.Struct, frozen=True):
    """The answers, in the order of the openings."""

    answers: list[OpeningAnswer]


class _Order(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag_field="kind",
    kw_only=True,
    gc=False,
):
    """One command of a batch. `linked` ties it to the next: all of a run of linked orders are done, or none.

    An order that names a reservation or a transfer may name an `account` of it, which tells the shard; it must where
    the bank has several.
    """

    id: UUID
    linked: bool = False


PurposeWord = Literal["transfer", "cash", "fee", "interest", "import", "rounding"]
SignedWord = Literal["payment", "batch", "cash"]
"""The classes of evidence that stand for a signature: only a caller who has checked it may give one."""


class PostOrder(_Order, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag="post", gc=False):
    """Move an amount at once. `evidence` is the SHA-256 of what authorises it, in hexadecimal.

    `evidence_class` says what was signed: it goes with evidence, and a customer's account is debited only with it.
    """

    debit: str
    credit: str
    amount: str
    currency: str
    purpose: PurposeWord = "transfer"
    booking_date: date | None = None
    value_date: date | None = None
    evidence: str | None = None
    evidence_class: SignedWord | None = None


class ReserveOrder(_Order, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag="reserve", gc=False):
    """Hold an amount for a posting to come, until `expires_at` if that is given; evidence as for a posting."""

    debit: str
    credit: str
    amount: str
    currency: str
    purpose: PurposeWord = "transfer"
    expires_at: datetime | None = None
    evidence: str | None = None
    evidence_class: SignedWord | None = None


class PostReservedOrder(
    _Order, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag="post-reserved", gc=False
):
    """Post a reservation in full, or a part of it; `currency` goes with the amount."""

    reservation: UUID
    account: str | None = None
    amount: str | None = None
    currency: str | None = None
    booking_date: date | None = None
    value_date: date | None = None


class VoidOrder(_Order, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag="void", gc=False):
    """Release a reservation, or the chain of reservations that it leads."""

    reservation: UUID
    account: str | None = None


class ReverseOrder(_Order, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag="reverse", gc=False):
    """Move the money of a posted transfer back; evidence as for a posting, since whoever got it is debited."""

    transfer: UUID
    account: str | None = None
    evidence: str | None = None
    evidence_class: SignedWord | None = None


Order = PostOrder | ReserveOrder | PostReservedOrder | VoidOrder | ReverseOrder


class OrderBatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Orders that are decided in this order; each stands alone unless it is linked."""

    orders: Annotated[list[Order], msgspec.Meta(min_length=1, max_length=MAX_ORDERS)]


class OrderAnswer(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The answer to one order: "done", or the code of the refusal. Balances are those after the entries made."""

    id: UUID
    outcome: str
    seq: int | None = None
    booking_date: date | None = None
    debit_entry: int | None = None
    debit_balance: str | None = None
    credit_entry: int | None = None
    credit_balance: str | None = None


class BatchAnswer(msgspec.Struct, frozen=True):
    """The answers, in the order of the orders."""

    answers: list[OrderAnswer]


class AccountNumbers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Accounts to look up."""

    accounts: Annotated[list[str], msgspec.Meta(min_length=1, max_length=MAX_ORDERS)]


class AccountFacts(msgspec.Struct, frozen=True, gc=False):
    """What is fixed of an account, and its status; nothing of its money."""

    account: str
    kind: AccountKindWord
    currency: str
    status: AccountStatusWord
    owners: list[str]
    mandates: list[str]


class KnownAccounts(msgspec.Struct, frozen=True):
    """The accounts that exist, in order of their numbers."""

    accounts: list[AccountFacts]


class CustomerDebitsAfter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which customers' debits are asked for: those after this shard and sequence number, from the first if null."""

    after: tuple[Annotated[int, msgspec.Meta(ge=0, le=89)], Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]] | None = (
        None
    )
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_ORDERS)] = MAX_ORDERS


class CustomerDebit(msgspec.Struct, frozen=True, gc=False):
    """A posted transfer that took money from a customer, with the evidence by which it did.

    `kind` is "post", "post-reserved" or "reverse"; `reference` is the reservation or the reversed transfer.
    """

    shard: int
    seq: int
    id: UUID
    kind: str
    debit: str
    credit: str
    amount: str
    currency: str
    purpose: str
    evidence_class: str
    evidence: str
    reference: UUID | None
    recorded_at: datetime


class CustomerDebitsPage(msgspec.Struct, frozen=True):
    """Customers' debits in order of shard and sequence number; `next` is the `after` of the next page, null on the last."""

    items: list[CustomerDebit]
    next: tuple[int, int] | None
