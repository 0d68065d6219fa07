"""Customers of a whole bank, each with a device and a client of their own that come in through the door."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

from starlette.types import ASGIApp

from latticebank.bank import Bank, compose, open_context
from latticebank.banking.ledger.client import LedgerClient
from latticebank.banking.ledger.wire import AccountOpening
from latticebank.client import BankClient, Device, Payee, Signatory, SignedDocument
from latticebank.kernel.bus import PostgresEventBus
from latticebank.kernel.credential_file import operator_credential
from latticebank.kernel.relay import Relay
from latticebank.kernel.settings import BUS, EVERYTHING, SERVICES, Settings
from latticebank.kernel.transports import Transport
from latticebank.kernel.transports.memory import MemoryTransport
from latticebank.values.ids import Uuid7Source
from tests.clocks import MovingClock

NAME = "bank.test"
PASSWORD = "a kettle under the bridge"


@dataclass
class Person:
    """A customer with a device, and a client in whose session the customer calls."""

    name: str
    user: UUID
    signs: Signatory
    bank: BankClient

    @property
    def email(self) -> str:
        return f"{self.name}@example.org"

    async def register(self, enrolment: SignedDocument | None = None) -> SignedDocument:
        """Become a customer; the enrolment that did it."""
        enrolment = enrolment or self.signs.enrolment(self.user)
        await self.bank.register(
            user=self.user,
            email=self.email,
            password=PASSWORD,
            full_name=f"{self.name.capitalize()} Lovelace",
            phone="+4915112345678",
            device_name=f"{self.name}'s laptop",
            enrolment=enrolment,
        )
        return enrolment

    async def log_in(self) -> None:
        """Open a session."""
        await self.bank.login(self.email, PASSWORD, self.signs.login_proof())

    async def account(self) -> str:
        """The number of the only account."""
        (own,) = await self.bank.accounts()
        return own.account


class Town:
    """A bank with its door, and the people who go there."""

    def __init__(self, bank: Bank, clock: MovingClock) -> None:
        self.door: ASGIApp = bank.app
        self.clock = clock
        self.ids = Uuid7Source(clock)
        self.folder = bank.context.settings.data
        self.ledger = LedgerClient(bank.context.transport("ledger"), operator_credential(self.folder))

    def transport(self) -> Transport:
        """The way to the door."""
        return MemoryTransport(self.door)

    def operator(self) -> BankClient:
        """The operator of the bank."""
        return BankClient(self.transport(), credential=operator_credential(self.folder))

    def stranger(self, name: str) -> Person:
        """Somebody whom the bank does not know yet."""
        return Person(name, self.ids(), self.signatory(Device.new(self.ids)), BankClient(self.transport()))

    def signatory(self, device: Device) -> Signatory:
        """What signs with a device."""
        return Signatory(NAME, device, self.clock, self.ids)

    async def customer(self, name: str) -> Person:
        """A customer who has logged in."""
        person = self.stranger(name)
        await person.register()
        await person.log_in()
        return person

    async def admins(self) -> tuple[Person, Person]:
        """The first two admins, whom the operator made."""
        first, second = await self.customer("anna"), await self.customer("axel")
        for admin in (first, second):
            await self.operator().bootstrap_admin(admin.user)
            await admin.log_in()
        return first, second

    async def grant(self, right: str, to: Person, proposer: Person, approver: Person) -> None:
        """Give somebody a right by four eyes."""
        proposed = await proposer.bank.propose(proposer.signs.rights("grant", right, to.user))
        await decide(approver, proposed.id, "approve")
        await to.log_in()

    async def staff(self) -> "Staff":
        """A manager and a teller, made by two admins, and the teller's till."""
        anna, axel = await self.admins()
        mary, tom = await self.customer("mary"), await self.customer("tom")
        await self.grant("manager", mary, anna, axel)
        await self.grant("teller", tom, anna, axel)
        till = await self.ledger.open_account(self.ids(), AccountOpening(kind="cash", currency="EUR"))
        return Staff(mary, tom, till.account)


@dataclass
class Staff:
    """Who works at the bank, and the account of its cash."""

    manager: Person
    teller: Person
    till: str

    async def pay_in(self, account: str, amount: str) -> None:
        """Take in cash for an account."""
        order = self.teller.signs.cash("deposit", account, self.till, amount, "EUR")
        assert (await self.teller.bank.cash(order)).state == "posted"


async def decide(person: Person, proposal: UUID, decision: Any) -> str:
    """Decide a proposal as the bank shows it; the state that it has then."""
    (shown,) = [each for each in (await person.bank.proposals()).items if each.id == proposal]
    signed = person.signs.proposal_decision(proposal, sha256(shown.document.encode()).hexdigest(), decision)
    return (await person.bank.decide_proposal(proposal, signed)).state


def to(account: str, amount: str, reference: str = "") -> Payee:
    """Somebody who is paid in EUR."""
    return Payee(account, "A payee", amount, "EUR", reference)


@asynccontextmanager
async def open_town(urls: dict[str, str], folder: Path, clock: MovingClock, **settings: Any) -> AsyncIterator[Town]:
    """Run a whole bank on these databases, and the relays that take its events to the bus."""
    told = Settings(data=folder, demo=True, bank=NAME, **settings)
    async with open_context(told, urls, clock=clock) as context:
        bank = compose(EVERYTHING, context)
        bus = PostgresEventBus(context.database(BUS))
        async with bank.running(), asyncio.TaskGroup() as group:
            relays = [group.create_task(Relay(context.database(name), bus).run()) for name in SERVICES]
            try:
                yield Town(bank, clock)
            finally:
                for relay in relays:
                    relay.cancel()
