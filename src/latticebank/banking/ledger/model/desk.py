"""The desk on which a batch is decided: what is known, and what the batch has changed so far.

Nothing known is ever altered: an account is copied when a command first changes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from msgspec.structs import replace

from latticebank.banking.ledger.model.accounts import Account, AccountEvent, Party
from latticebank.banking.ledger.model.transfers import Entry, Reservation, Transfer


@dataclass(frozen=True, slots=True)
class Books:
    """What the writer knows before a batch: everything that the batch's commands name.

    `recorded` holds the transfers that already carry an identifier of the batch or that a command refers to,
    `acts` the account acts likewise, `reversed` the identifiers of transfers that were reversed, `references` the
    accounts by their names in other systems.
    """

    shard: int
    next_seq: int
    next_serial: int
    accounts: Mapping[int, Account]
    recorded: Mapping[bytes, Transfer] = field(default_factory=dict)
    acts: Mapping[bytes, AccountEvent] = field(default_factory=dict)
    reservations: Mapping[bytes, Reservation] = field(default_factory=dict)
    reversed: frozenset[bytes] = frozenset()
    references: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Opened:
    """A new account with the facts that its row does not keep."""

    account: Account
    reference: str | None
    parties: tuple[Party, ...]


@dataclass(slots=True)
class _Mark:
    """Where a chain began, so that it can be undone; `accounts` as they were before the chain changed them."""

    transfers: int
    entries: int
    next_seq: int
    resolved: dict[bytes, Reservation]
    reversed: set[bytes]
    accounts: dict[int, Account | None]


class Desk:
    """Collects what a batch decides. `now` is the instant of the batch, `today` its business date."""

    __slots__ = (
        "_links", "_mark", "acts", "changed", "entries", "events", "known", "next_seq", "next_serial", "now", "opened",
        "recorded", "references", "reservations", "resolved", "reversed", "shard", "today", "transfers",
    )  # fmt: skip

    def __init__(self, books: Books, now: datetime, today: date) -> None:
        self.now = now
        self.today = today
        self.shard = books.shard
        self.known = books.accounts
        self.reservations = books.reservations
        self.recorded = dict(books.recorded)
        self.acts = dict(books.acts)
        self.reversed = set(books.reversed)
        self.references = dict(books.references)
        self.next_seq = books.next_seq
        self.next_serial = books.next_serial
        self.changed: dict[int, Account] = {}
        self.resolved: dict[bytes, Reservation] = {}
        self.transfers: list[Transfer] = []
        self.entries: list[Entry] = []
        self.events: list[AccountEvent] = []
        self.opened: list[Opened] = []
        self._mark: _Mark | None = None
        self._links: dict[bytes, set[bytes]] = {}
        for known in self.reservations.values():
            self._link(known)

    def account(self, number: int) -> Account | None:
        """Return an account as the batch has left it so far; to be looked at only."""
        return self.changed.get(number) or self.known.get(number)

    def change(self, account: Account) -> Account:
        """Return the batch's own copy of an account; to be altered."""
        number = account.number
        mine = self.changed.get(number)
        if self._mark is not None and number not in self._mark.accounts:
            self._mark.accounts[number] = replace(mine) if mine else None
        if mine is None:
            mine = self.changed[number] = replace(account)
            mine.version += 1
        return mine

    def reservation(self, identifier: bytes) -> Reservation | None:
        """Return a reservation as the batch has left it so far."""
        return self.resolved.get(identifier) or self.reservations.get(identifier)

    def reservations_of_chain(self, leader: bytes) -> list[Reservation]:
        """Return the reservations of the chain that `leader` leads, in order of their identifiers."""
        links = map(self.reservation, sorted(self._links[leader]))
        return [link for link in links if link is not None]

    def hold(self, reservation: Reservation) -> None:
        """Keep a new reservation."""
        self.resolved[reservation.id] = reservation
        self._link(reservation)

    def _link(self, reservation: Reservation) -> None:
        if reservation.chain is not None:
            self._links.setdefault(reservation.chain, set()).add(reservation.id)

    def record(self, transfer: Transfer) -> Transfer:
        """Keep the record of a command, which takes the next sequence number."""
        self.next_seq += 1
        self.transfers.append(transfer)
        self.recorded[transfer.id] = transfer
        return transfer

    def record_act(self, event: AccountEvent) -> AccountEvent:
        """Keep the record of an act on an account, which takes the next sequence number."""
        self.next_seq += 1
        self.events.append(event)
        self.acts[event.id] = event
        return event

    def begin_chain(self) -> None:
        """Remember where a chain of commands begins."""
        self._mark = _Mark(
            len(self.transfers), len(self.entries), self.next_seq, dict(self.resolved), set(self.reversed), {}
        )

    def keep_chain(self) -> None:
        """Let what the chain did stand."""
        self._mark = None

    def undo_chain(self) -> None:
        """Undo everything since the chain began."""
        mark = self._mark
        if mark is None:
            raise AssertionError("no chain was begun")
        for number, before in mark.accounts.items():
            if before is None:
                del self.changed[number]
            else:
                self.changed[number] = before
        for transfer in self.transfers[mark.transfers :]:
            del self.recorded[transfer.id]
        del self.transfers[mark.transfers :]
        del self.entries[mark.entries :]
        self.next_seq, self.resolved, self.reversed = mark.next_seq, mark.resolved, mark.reversed
        self._mark = None
