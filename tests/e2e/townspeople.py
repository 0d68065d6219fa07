"""People who go to a whole bank through its door, in whatever way it is reached: in this process or over HTTP."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Literal
from uuid import UUID

from latticebank.bank import SERVICES, Bank, compose, open_context
from latticebank.banking.ledger.client import LedgerClient
from latticebank.banking.ledger.wire import AccountOpening, PostOrder
from latticebank.client import BankClient, Device, Payee, Signatory, SignedDocument
from latticebank.kernel.bus import PostgresEventBus
from latticebank.kernel.client import RemoteProblem
from latticebank.kernel.credential_file import operator_credential
from latticebank.kernel.relay import Relay
from latticebank.kernel.settings import BUS, EVERYTHING, Settings
from latticebank.kernel.transports import Transport
from latticebank.kernel.transports.memory import MemoryTransport
from latticebank.values.clock import Clock, SystemClock
from latticebank.values.errors import BankError
from latticebank.values.ids import Uuid7Source

NAME = "bank.test"
WITH_TABLES = (*SERVICES, BUS)
LIMITS = {"approval_from": "50", "unverified_payment_limit": "1000", "unverified_daily_limit": "1000000"}
"""Settings under which a payment of 50.00 waits for a manager, and newcomers may pay all day."""


class ShiftedClock:
    """The time of this machine, and so much more."""

    def __init__(self, offset: timedelta = timedelta()) -> None:
        self.offset = offset
        self._clock = SystemClock()

    def now(self) -> datetime:
        return self._clock.now() + self.offset


@dataclass
class Townsperson:
    """Somebody with a device, and with a client in whose session this person calls."""

    name: str
    user: UUID
    signs: Signatory
    bank: BankClient
    email: str
    full_name: str
    phone: str
    device_name: str
    password: str = field(default="a kettle under the bridge", repr=False)
    account: str = ""

    async def register(self) -> None:
        """Become a customer."""
        await self.bank.register(
            user=self.user,
            email=self.email,
            password=self.password,
            full_name=self.full_name,
            phone=self.phone,
            device_name=self.device_name,
            enrolment=self.signs.enrolment(self.user),
        )

    async def log_in(self) -> None:
        """Open a session, with the proof of the device."""
        await self.bank.login(self.email, self.password, self.signs.login_proof())

    def pays(self, account: str, amount: str, reference: str = "", name: str = "A payee") -> SignedDocument:
        """A payment in euros, signed."""
        return self.signs.payment(self.account, Payee(account, name, amount, "EUR", reference))


@dataclass(frozen=True)
class Staff:
    """Who works at the bank, and the account of its cash."""

    admins: tuple[Townsperson, Townsperson]
    manager: Townsperson
    teller: Townsperson
    till: str


class Village:
    """The people of a bank that is reached by one transport; `folder` holds the operator's token."""

    def __init__(self, way: Transport, folder: Path, clock: Clock | None = None) -> None:
        self.way = way
        self.clock = clock or SystemClock()
        self.ids = Uuid7Source(self.clock)
        self.operator = BankClient(way, credential=operator_credential(folder))
        self.ledger = LedgerClient(way, operator_credential(folder))

    async def is_open(self) -> None:
        """Wait until the bank has its keys."""
        async with asyncio.timeout(60):
            while True:
                try:
                    await self.operator.security_info()
                except BankError:
                    await asyncio.sleep(0.02)
                else:
                    return

    def newcomer(self, name: str, **facts: str) -> Townsperson:
        """Somebody whom the bank does not know yet."""
        told = {
            "email": f"{name}@example.org",
            "full_name": f"{name.capitalize()} Lovelace",
            "phone": "+4915112345678",
            "device_name": f"{name}'s laptop",
        }
        signs = Signatory(NAME, Device.new(self.ids), self.clock, self.ids)
        return Townsperson(name, self.ids(), signs, BankClient(self.way), **(told | facts))

    def met_before(self, person: Townsperson) -> Townsperson:
        """Somebody who became a customer at another time, with the same device and without a session."""
        signs = Signatory(NAME, person.signs.device, self.clock, self.ids)
        return replace(person, signs=signs, bank=BankClient(self.way))

    async def settle(self, person: Townsperson) -> Townsperson:
        """Let a newcomer become a customer with an account, and log in."""
        await person.register()
        await person.log_in()
        (own,) = await person.bank.accounts()
        person.account = own.account
        return person

    async def customers(self, *names: str) -> list[Townsperson]:
        """Customers who have logged in, all settled at once."""
        return list(await asyncio.gather(*(self.settle(self.newcomer(name)) for name in names)))

    async def staff(self) -> Staff:
        """Two admins, whom the operator makes, and a manager and a teller, whom these make; and the bank's till."""
        anna, axel, mary, tom = await self.customers("anna", "axel", "mary", "tom")
        for admin in (anna, axel):
            await self.operator.bootstrap_admin(admin.user)
            await admin.log_in()
        await asyncio.gather(self.grant("manager", mary, anna, axel), self.grant("teller", tom, anna, axel))
        till = await self.ledger.open_account(self.ids(), AccountOpening(kind="cash", currency="EUR"))
        return Staff((anna, axel), mary, tom, till.account)

    async def grant(self, right: str, to: Townsperson, proposer: Townsperson, approver: Townsperson) -> None:
        """Give somebody a right by four eyes, and a session that has it."""
        proposed = await proposer.bank.propose(proposer.signs.rights("grant", right, to.user))
        await decide(approver, proposed.id, "approve")
        await to.log_in()

    async def fund(self, person: Townsperson, till: str, amount: str) -> None:
        """Give somebody money of the bank, by the operator's own order."""
        order = PostOrder(id=self.ids(), debit=till, credit=person.account, amount=amount, currency="EUR")
        [answer] = await self.ledger.order([order])
        assert answer.outcome == "done", answer


async def decide(person: Townsperson, proposal: UUID, decision: Literal["approve", "reject"]) -> None:
    """Decide about a proposal as the bank shows it."""
    (shown,) = [each for each in (await person.bank.proposals()).items if each.id == proposal]
    signed = person.signs.proposal_decision(proposal, sha256(shown.document.encode()).hexdigest(), decision)
    await person.bank.decide_proposal(proposal, signed)


async def refusal(asked: object) -> tuple[int, str]:
    """Status and code of the problem with which the bank answers."""
    assert asyncio.iscoroutine(asked)
    try:
        answer = await asked
    except RemoteProblem as problem:
        return problem.status, problem.code
    raise AssertionError(f"the bank did it: {answer}")


async def rows_in(bank: Bank, service: str, table: str) -> int:
    """How many rows a table of a service has."""
    async with bank.context.database(service).read() as connection:
        found: int = (await connection.exec_driver_sql(f"SELECT count(*) FROM {table}")).scalar_one()
        return found


async def all_told(bank: Bank) -> None:
    """Wait until the bus has every event of every service."""
    async with asyncio.timeout(60):
        for name in SERVICES:
            while await rows_in(bank, name, "outbox"):  # noqa: ASYNC110 - nobody rings
                await asyncio.sleep(0.005)


@asynccontextmanager
async def open_bank(
    folder: Path, urls: Mapping[str, str], clock: Clock | None = None, *, relays: bool = True, **settings: str
) -> AsyncIterator[Bank]:
    """Run the whole bank with its door in this process, and the relays that take its events to the bus, if wanted."""
    chosen = Settings.model_validate({"data": folder, "demo": True, "bank": NAME, **LIMITS, **settings})
    async with open_context(chosen, urls, clock=clock) as context:
        bank = compose(EVERYTHING, context)
        bus = PostgresEventBus(bank.context.database(BUS))
        async with bank.running(), asyncio.TaskGroup() as group:
            running = [group.create_task(Relay(bank.context.database(name), bus).run()) for name in SERVICES if relays]
            try:
                yield bank
            finally:
                for relay in running:
                    relay.cancel()


@asynccontextmanager
async def open_village(
    folder: Path, urls: Mapping[str, str], clock: Clock | None = None, *, relays: bool = True, **settings: str
) -> AsyncIterator[tuple[Bank, Village]]:
    """Run the whole bank in this process, with the people who go there."""
    async with open_bank(folder, urls, clock, relays=relays, **settings) as bank:
        village = Village(MemoryTransport(bank.app), folder, clock)
        await village.is_open()
        yield bank, village
