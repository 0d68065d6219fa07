"""Accounts, commands and books for the tests of the ledger, small enough to be read in a line."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from hashlib import sha256

from msgspec.structs import replace as changed

from latticebank.banking.ledger.model.account_rules import BEFORE_ALL
from latticebank.banking.ledger.model.accounts import (
    UNBOUNDED,
    Account,
    AccountEvent,
    AccountKind,
    AccountStatus,
    OpenAccount,
)
from latticebank.banking.ledger.model.decide import Answer, Chain, Command, decide
from latticebank.banking.ledger.model.desk import Books, Desk
from latticebank.banking.ledger.model.transfers import (
    EvidenceClass,
    Post,
    PostReserved,
    Purpose,
    Reserve,
    Reverse,
    Transfer,
    Void,
)
from latticebank.values.account_number import account_number
from tests.clocks import NOON

TODAY = NOON.date()
YESTERDAY = TODAY - timedelta(days=1)
TOMORROW = TODAY + timedelta(days=1)
SOON = NOON + timedelta(minutes=5)
EVIDENCE = sha256(b"what authorised it").digest()
ACTOR = "Operator:break-glass"

ANNA, BERT, CASH = (account_number(0, serial) for serial in range(3))
"""Two customers, and the cash of the bank."""
STRANGER = account_number(0, 4_711)
"""An account that nobody has opened."""


def named(name: object) -> bytes:
    """The identifier that always belongs to this name."""
    return sha256(str(name).encode()).digest()[:16]


def account(
    number: int,
    *,
    balance: int = 0,
    held: int = 0,
    limit: int = 0,
    kind: AccountKind = AccountKind.CHECKING,
    currency: str = "EUR",
    status: AccountStatus = AccountStatus.OPEN,
    last_booking: date = BEFORE_ALL,
) -> Account:
    """An account as the writer knows it."""
    bound = limit if kind.of_customer else UNBOUNDED
    entries = 0 if last_booking == BEFORE_ALL else 1
    return Account(number, kind, currency, status, balance, held, bound, entries, 3, last_booking)


def books(*accounts: Account) -> Books:
    """Books in which Anna has 100, Bert 50, and the cash of the bank the other side of it, unless told otherwise."""
    usual = (
        account(ANNA, balance=100),
        account(BERT, balance=50),
        account(CASH, balance=-150, kind=AccountKind.CASH),
    )
    known = {each.number: each for each in (*usual, *accounts)}
    return Books(0, 1, len(usual), known)


def post(name: object, debit: int = ANNA, credit: int = BERT, amount: int = 10, **more: object) -> Post:
    """A posting from Anna to Bert."""
    usual = Post(named(name), debit, credit, amount, "EUR", Purpose.TRANSFER, EvidenceClass.PAYMENT, EVIDENCE)
    return changed(usual, **more)


def reserve(name: object, debit: int = ANNA, credit: int = BERT, amount: int = 10, **more: object) -> Reserve:
    """A reservation of Anna's money for Bert."""
    usual = Reserve(named(name), debit, credit, amount, "EUR", Purpose.TRANSFER, EvidenceClass.PAYMENT, EVIDENCE)
    return changed(usual, **more)


def post_reserved(name: object, reservation: object, amount: int | None = None, **more: object) -> PostReserved:
    """The posting of a reservation, in full or in part."""
    currency = None if amount is None else "EUR"
    return changed(PostReserved(named(name), named(reservation), amount, currency), **more)


def void(name: object, reservation: object) -> Void:
    """The release of a reservation."""
    return Void(named(name), named(reservation))


def reverse(name: object, transfer: object, **more: object) -> Reverse:
    """The reversal of a posting."""
    return changed(Reverse(named(name), named(transfer), EvidenceClass.PAYMENT, EVIDENCE), **more)


def opening(name: object, kind: AccountKind = AccountKind.CHECKING, **more: object) -> OpenAccount:
    """The opening of an account."""
    return changed(OpenAccount(named(name), kind, "EUR", 0, None, (), ACTOR), **more)


def alone(commands: Iterable[Command]) -> list[Chain]:
    """Each command in a chain of its own."""
    return [(command,) for command in commands]


class Ledger:
    """The rules, applied batch after batch as the writer does, with nothing but dictionaries in between."""

    def __init__(self, start: Books | None = None, now: datetime = NOON) -> None:
        self.books = start or books()
        self.now = now
        self.desk = Desk(self.books, now, now.date())

    def batch(self, chains: Sequence[Chain]) -> list[list[Answer]]:
        """Decide a batch and keep what it did."""
        answers, desk = decide(self.books, chains, self.now)
        known = self.books
        transfers = {transfer.id: transfer for transfer in desk.transfers}
        reversals = frozenset(t.reference for t in desk.transfers if t.kind == 6 and t.outcome == 0 and t.reference)
        self.books = replace(
            known,
            next_seq=desk.next_seq,
            next_serial=desk.next_serial,
            accounts={**known.accounts, **desk.changed},
            recorded={**known.recorded, **transfers},
            acts={**known.acts, **{event.id: event for event in desk.events}},
            reservations={**known.reservations, **desk.resolved},
            reversed=known.reversed | reversals,
            references=desk.references,
        )
        self.desk = desk
        return answers

    def answer(self, command: Command) -> Answer:
        """Decide one command."""
        [[answer]] = self.batch([(command,)])
        return answer

    def outcome(self, command: Command) -> int:
        """Decide one command and return its outcome: 0, or a rejection."""
        return outcome(self.answer(command))

    def outcomes(self, *chain: Command) -> list[int]:
        """Decide one chain and return the outcome of each link."""
        [answers] = self.batch([chain])
        return [outcome(answer) for answer in answers]

    def balances(self) -> tuple[int, int]:
        """What Anna and Bert have."""
        return self.account(ANNA).balance, self.account(BERT).balance

    def account(self, number: int) -> Account:
        """An account as it stands."""
        return self.books.accounts[number]


def outcome(answer: Answer) -> int:
    """0 for done, or the rejection."""
    return answer.outcome if isinstance(answer, Transfer | AccountEvent) else answer
