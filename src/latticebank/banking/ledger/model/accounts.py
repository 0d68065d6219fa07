"""Accounts and what can be done to them.

The structures of the ledger are `msgspec.Struct`s: dataclasses in shape, but made and copied in a fifth of the time,
which counts when a batch makes forty thousand of them.
"""

from datetime import date
from enum import IntEnum

from msgspec import Struct

from latticebank.values.account_number import format_account_number
from latticebank.values.money import MAX_BALANCE
from latticebank.values.words import Word

UNBOUNDED = MAX_BALANCE
"""The overdraft limit of the bank's own accounts, which may stand on either side."""


class AccountKind(Word):
    """What an account is for. Kinds below 10 belong to customers, the others to the bank itself."""

    CHECKING = 1
    SAVINGS = 2
    CASH = 11
    FEES = 12
    INTEREST = 13
    SUSPENSE = 14
    SETTLEMENT = 15
    MIGRATION = 16

    @property
    def of_customer(self) -> bool:
        """Whether accounts of this kind belong to customers."""
        return self < AccountKind.CASH


class AccountStatus(Word):
    """A frozen account neither gives nor takes money; a closed one never will again."""

    OPEN = 1
    FROZEN = 2
    CLOSED = 3


class PartyRole(IntEnum):
    """What a party may do with an account: an owner's it is, a mandate holder may act for the owner."""

    OWNER = 1
    MANDATE = 2


class Account(Struct, gc=False):
    """An account as the writer keeps it: a working copy that `decide` may change, never the original.

    Amounts are minor units of `currency`. `balance` is what has been posted, positive where the bank owes;
    `held` is the part of it that open reservations may still take. `entries` counts the account's entries,
    `version` the writes to its row.
    """

    number: int
    kind: int
    currency: str
    status: int
    balance: int
    held: int
    overdraft_limit: int
    entries: int
    version: int
    last_booking: date

    @property
    def available(self) -> int:
        """What may still be taken, the overdraft included; minor units."""
        return self.balance - self.held + self.overdraft_limit


class Party(Struct, frozen=True, gc=False):
    """A reference to a person or firm that `identity` knows; never personal data."""

    reference: str
    role: int


class OpenAccount(Struct, frozen=True, gc=False):
    """Open an account. `reference` is the account's name in another system, unique in its book."""

    id: bytes
    kind: int
    currency: str
    overdraft_limit: int
    reference: str | None
    parties: tuple[Party, ...]
    actor: str


class FreezeAccount(Struct, frozen=True, gc=False):
    """Stop all movement of money on an account."""

    id: bytes
    account: int
    reason: str
    actor: str


class UnfreezeAccount(Struct, frozen=True, gc=False):
    """Let money move on an account again."""

    id: bytes
    account: int
    reason: str
    actor: str


class CloseAccount(Struct, frozen=True, gc=False):
    """Close an account for ever; only when nothing is on it and nothing reserved."""

    id: bytes
    account: int
    reason: str
    actor: str


class SetOverdraftLimit(Struct, frozen=True, gc=False):
    """Let an account go below zero by at most `overdraft_limit` minor units."""

    id: bytes
    account: int
    overdraft_limit: int
    actor: str


AccountCommand = OpenAccount | FreezeAccount | UnfreezeAccount | CloseAccount | SetOverdraftLimit


class AccountAct(Word):
    """The acts that an account's history records."""

    OPENED = 1
    FROZEN = 2
    UNFROZEN = 3
    CLOSED = 4
    OVERDRAFT_SET = 5


class AccountEvent(Struct, frozen=True, gc=False, array_like=True):
    """One act in an account's history, or its refusal: `outcome` 0 means done, else a `Rejection`."""

    seq: int
    id: bytes
    act: int
    outcome: int
    account: int
    actor: str
    details: dict[str, object]

    def __str__(self) -> str:
        """Return the act and the account."""
        return f"{AccountAct(self.act).word} {format_account_number(self.account)}"
