"""When the profile of a customer may be erased: nothing is left to settle, and nobody needs it by law."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from latticebank.crypto.canonical import canonical_json, parse_canonical
from latticebank.crypto.errors import NotCanonical
from latticebank.security.identity.model.rights import STAFF_ROLES
from latticebank.values.errors import BankError, Fault
from latticebank.values.ids import parse_uuid


class HeldByLaw(BankError):
    """A legal hold stands over the customer: the profile must be kept."""

    code = "legal-hold"
    title = "A legal hold stands"
    fault = Fault.CONFLICT


class MoneyLeft(BankError):
    """An account of the customer is not settled; how much is on it is not said."""

    code = "money-left"
    title = "There is money left on an account"
    fault = Fault.CONFLICT


class RolesLeft(BankError):
    """The user works for the bank."""

    code = "roles-left"
    title = "This is a member of staff"
    fault = Fault.CONFLICT


class ErasureLineDamaged(BankError):
    """What is kept of erasures cannot be read, and people who were erased might come back."""

    code = "erasure-damaged"
    title = "What is kept of an erasure is damaged"
    fault = Fault.INTERNAL


@dataclass(frozen=True, slots=True)
class Erasure:
    """The erasure of a profile, begun by the user or (None) by the operator; it is done once it has `erased_at`."""

    user: UUID
    requested_by: UUID | None
    requested_at: datetime
    erased_at: datetime | None = None
    sessions_ended: int = 0
    devices_revoked: int = 0

    def to_line(self, book: int) -> bytes:
        """Return what is kept of the erasure apart from the database."""
        members = {"at": self.requested_at.isoformat(), "book": str(book), "user": str(self.user)}
        return canonical_json(members if self.requested_by is None else members | {"by": str(self.requested_by)})


@dataclass(frozen=True, slots=True)
class Ownership:
    """An account of a customer: its status, who owns it but those erased, its balance and what is reserved, as decimal text."""

    account: str
    status: str
    owners: Collection[str]
    balance: str
    held: str

    @property
    def is_settled(self) -> bool:
        """Whether nothing is on it, owed or reserved."""
        return Decimal(self.balance) == 0 and Decimal(self.held) == 0

    def has_no_owner_but(self, parties: Collection[str]) -> bool:
        """Whether nobody owns it but whoever is known under these references."""
        return bool(self.owners) and set(self.owners) <= set(parties)


def require_no_role(rights: Collection[str]) -> None:
    """Check that a user with these rights does not work for the bank.

    Raises:
        RolesLeft: they do.

    """
    if any(role in rights for role in STAFF_ROLES):
        raise RolesLeft("this user works for the bank", hint="let two others withdraw the roles first")


def require_settled(parties: Collection[str], accounts: Iterable[Ownership]) -> None:
    """Check that whoever is known under these references owns no account that is not settled, or alone one that is frozen.

    Raises:
        MoneyLeft: they do.

    """
    for account in accounts:
        if not account.is_settled and set(parties) & set(account.owners):
            raise money_left()
        if account.status == "frozen" and account.has_no_owner_but(parties):
            raise MoneyLeft("an account is frozen", hint="ask again when the bank has released it")


def money_left() -> MoneyLeft:
    """Return the refusal for an account with something on it."""
    return MoneyLeft("an account is not settled", hint="pay out or pay in what is on it, then ask again")


def accounts_to_close(parties: Collection[str], accounts: Iterable[Ownership]) -> list[str]:
    """Return the accounts that nobody could act for any more once whoever is known under these references is gone."""
    return [each.account for each in accounts if each.status != "closed" and each.has_no_owner_but(parties)]


def erasure_of(line: bytes) -> tuple[int, Erasure]:
    """Return the book and the erasure that `Erasure.to_line` wrote.

    Raises:
        ErasureLineDamaged: it wrote something else.

    """
    try:
        members = {name: str(value) for name, value in parse_canonical(line).items()}
        by = parse_uuid(members["by"], "by") if "by" in members else None
        book = int(members["book"])
        told = Erasure(parse_uuid(members["user"], "user"), by, datetime.fromisoformat(members["at"]))
        if told.to_line(book) == line:
            return book, told
    except (NotCanonical, BankError, KeyError, ValueError):
        pass
    raise ErasureLineDamaged(f"this is no erasure: {line[:120]!a}", hint="bring back an undamaged copy of the file")
