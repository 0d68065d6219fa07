"""A day at the bank on which everything that people do is done once, well and badly, by people with unmistakable names."""

from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from latticebank.bank import Bank
from latticebank.client import BankClient, Device, Payee, Signatory, SignedDocument
from latticebank.kernel.client import RemoteProblem
from latticebank.kernel.transports import Request, Response, Transport
from latticebank.security.keys.client import KeysClient
from latticebank.security.keys.wire import CustomerKey, CustomerKeyRequest
from latticebank.values.errors import BankError
from tests.e2e.townspeople import NAME, Staff, Townsperson, Village, all_told, decide, open_village

OTTILIE = {
    "email": "Ottilie.Quastenberg@zwirbelpost.example",
    "full_name": "Ottilie Quastenberg-Żółkiewska",
    "phone": "+4917698765432",
    "device_name": "Ottilies Samowar",
}
BARNABAS = {
    "email": "barnabas@fuenfzehnhorn.example",
    "full_name": "Barnabas Fünfzehnhorn",
    "phone": "+4915755501234",
    "device_name": "Barnabas' Grammophon",
}
COSIMA = {
    "email": "cosima.drosselbart@nebelhorn.example",
    "full_name": "Cosima Drosselbart",
    "phone": "+4916033344455",
    "device_name": "Cosimas Leierkasten",
}
PASSWORD = "seven lanterns above the marsh"
WRONG_PASSWORD = "eleven umbrellas in the hail"
NEW_PASSWORD = "thirteen herons on a jetty"
TABLET = "Küchentafel Quastenberg"
REPLACEMENT = "Ersatzdrehleier Drosselbart"
CREDITOR = "Schnurrbart & Söhne Wachswaren"
REFERENCE = "Wildrosenhonig für Tante Philippine"
CARD = "4111 1111 1111 1111"
BATCH_CREDITOR = "Zwiebelschneider Genossenschaft"
BATCH_REFERENCE = "Heuernte Wolkenkuckucksheim"
CASH_REFERENCE = "Sparschwein von Großonkel Leberecht"
BROKEN = "Mondscheintarif Sonderzeichen"

SEALED = [
    OTTILIE["email"], BARNABAS["email"], COSIMA["email"], OTTILIE["full_name"], BARNABAS["full_name"],
    COSIMA["full_name"], OTTILIE["phone"], BARNABAS["phone"], COSIMA["phone"], OTTILIE["device_name"],
    BARNABAS["device_name"], COSIMA["device_name"], TABLET, REPLACEMENT, CREDITOR, REFERENCE, BATCH_CREDITOR,
    BATCH_REFERENCE, CASH_REFERENCE,
]  # fmt: skip
"""What the bank must know of people, and therefore has, sealed."""
PARTS = [
    "Ottilie", "Quastenberg", "Żółkiewska", "zwirbelpost", "Barnabas", "Fünfzehnhorn", "Cosima", "Drosselbart",
    "nebelhorn", "17698765432", "15755501234", "16033344455", "Samowar", "Grammophon", "Leierkasten", "Schnurrbart",
    "Wildrosenhonig", "Philippine", "Wolkenkuckucksheim", "Zwiebelschneider", "Sparschwein", "Leberecht",
]  # fmt: skip
SECRETS = [PASSWORD, WRONG_PASSWORD, NEW_PASSWORD]
REFUSED = [CARD, CARD.replace(" ", ""), BROKEN, "Mondscheintarif"]
"""What was sent and refused: the bank does not even keep it."""


class Listening:
    """A way to the bank on which everything that the bank refuses is heard."""

    def __init__(self, way: Transport) -> None:
        self._way = way
        self.problems: list[bytes] = []

    async def send(self, request: Request) -> Response:
        response = await self._way.send(request)
        if response.status >= 400:
            self.problems.append(response.body)
        return response

    def stream(self, request: Request) -> Any:
        return self._way.stream(request)

    async def aclose(self) -> None:
        await self._way.aclose()


@dataclass
class Traces:
    """What a day leaves behind beside databases and logs: problems, metrics, the keys of people, tokens of sessions."""

    problems: bytes = b""
    codes: set[str] = field(default_factory=set)
    metrics: bytes = b""
    keys: list[CustomerKey] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)


class Day:
    """The acts of a day, one after another."""

    def __init__(self, bank: Bank, village: Village, urls: dict[str, str]) -> None:
        self._bank = bank
        self._urls = urls
        self.way = Listening(village.way)
        self.village = Village(self.way, bank.context.settings.data)
        self.codes: set[str] = set()
        self.people: tuple[Townsperson, ...] = ()

    async def pass_by(self) -> Traces:
        """Do everything, and return what it leaves."""
        staff = await self.village.staff()
        ottilie, barnabas, cosima = [await self._comes(name, facts) for name, facts in _NEWCOMERS]
        for person in (ottilie, barnabas):
            await self.village.fund(person, staff.till, "1000.00")
        await self._registering_badly(ottilie)
        await self._staff_acts(staff, cosima)
        await self._paying(staff, ottilie, barnabas)
        await self._batches(ottilie, barnabas)
        await self._cash(staff, barnabas)
        await self._with_databases_out_of_order(ottilie, barnabas)
        await self._devices_and_passwords(ottilie, barnabas)
        people = (ottilie, barnabas, cosima, staff.teller)
        self.people = (ottilie, barnabas)
        await all_told(self._bank)
        return Traces(
            b"\n".join(self.way.problems),
            self.codes,
            self._bank.context.metrics.render(),
            await self._keys_of([person.user for person in people]),
            {person.bank.session.token for person in people if person.bank.session is not None},
        )

    async def go_on(self) -> None:
        """Do a little more, of which nobody takes the events to the bus."""
        ottilie, barnabas = [self.village.met_before(person) for person in self.people]
        await self._refused(ottilie.bank.login(ottilie.email, WRONG_PASSWORD))
        await ottilie.log_in()
        await ottilie.bank.transfer(ottilie.pays(barnabas.account, "1.23", REFERENCE, CREDITOR))

    async def _comes(self, name: str, facts: dict[str, str]) -> Townsperson:
        person = self.village.newcomer(name, **facts)
        person.password = PASSWORD
        return await self.village.settle(person)

    async def _refused(self, asked: Awaitable[object]) -> None:
        try:
            await asked
        except RemoteProblem as problem:
            self.codes.add(problem.code)
        else:
            raise AssertionError("the bank did it")

    async def _registering_badly(self, ottilie: Townsperson) -> None:
        """Somebody comes again, and others with what cannot be."""
        again = self.village.newcomer("again", **OTTILIE)
        again.password = PASSWORD
        await again.register()
        for changed in (
            {"email": f"{BROKEN} at home"},
            {"phone": BROKEN},
            {"full_name": f"{BROKEN}\u202e"},
            {"device_name": f"{BROKEN}\n"},
        ):
            await self._refused(self.village.newcomer("nobody", **(COSIMA | changed)).register())
        easy = self.village.newcomer("easy", **(COSIMA | {"email": "wildrosenhonig@example.org"}))
        easy.password = "wildrosenhonig1"
        await self._refused(easy.register())
        for _ in range(5):
            await self._refused(BankClient(self.way).login(ottilie.email, WRONG_PASSWORD))
        await self._refused(BankClient(self.way).login(ottilie.email, PASSWORD))
        await ottilie.log_in()
        assert (await ottilie.bank.profile()).full_name == OTTILIE["full_name"]

    async def _staff_acts(self, staff: Staff, cosima: Townsperson) -> None:
        """Two members of staff verify Cosima and give her a device in place of a lost one; an admin reads of her."""
        verified = await staff.teller.bank.propose(staff.teller.signs.rights("grant", "verified", cosima.user))
        await decide(staff.manager, verified.id, "approve")
        device = Device.new(self.village.ids)
        enrolment = Signatory(NAME, device, self.village.clock, self.village.ids).enrolment(cosima.user)
        right = staff.teller.signs.rights("grant", f"device:{enrolment.hash}", cosima.user)
        proposed = await staff.teller.bank.propose(right, device_name=REPLACEMENT, enrolment=enrolment)
        await decide(staff.manager, proposed.id, "approve")
        await staff.admins[0].bank.profile(cosima.user)
        assert REPLACEMENT in [each.name for each in await cosima.bank.devices()]

    async def _paying(self, staff: Staff, ottilie: Townsperson, barnabas: Townsperson) -> None:
        paid = await ottilie.bank.transfer(ottilie.pays(barnabas.account, "12.34", REFERENCE, CREDITOR))
        assert (await ottilie.bank.payment(paid.id)).reference == REFERENCE
        held = await ottilie.bank.transfer(ottilie.pays(barnabas.account, "60.00", REFERENCE, CREDITOR))
        (waiting,) = (await staff.manager.bank.approvals()).items
        assert waiting.creditor_name == CREDITOR
        decision = staff.manager.signs.payment_decision(held.id, held.instruction_hash, "reject")
        await staff.manager.bank.decide(held.id, decision)
        cancelled = await ottilie.bank.transfer(ottilie.pays(barnabas.account, "70.00", REFERENCE, CREDITOR))
        await ottilie.bank.cancel(cancelled.id)
        good = ottilie.pays(barnabas.account, "1.00", REFERENCE, CREDITOR)
        for wrong in (
            ottilie.pays("1000009998", "1.00", REFERENCE, CREDITOR),
            ottilie.pays(barnabas.account, "1000.01", REFERENCE, CREDITOR),
            ottilie.pays(barnabas.account, "999.99", REFERENCE, CREDITOR),
            _altered(good, '"1.00"', '"9.00"'),
            _altered(good, REFERENCE, f"card {CARD}"),
            _altered(good, REFERENCE, f"{BROKEN}\\u202e"),
            _altered(good, '"1.00"', f'"{BROKEN}"'),
            _altered(good, "{", f"{{{BROKEN}"),
        ):
            await self._refused(ottilie.bank.transfer(wrong))
        await self._refused(barnabas.bank.transfer(good))
        assert len((await ottilie.bank.history()).items) == 6
        await ottilie.bank.entries(ottilie.account)

    async def _batches(self, ottilie: Townsperson, barnabas: Townsperson) -> None:
        payees = [
            Payee(account, BATCH_CREDITOR, amount, "EUR", BATCH_REFERENCE)
            for account, amount in ((barnabas.account, "2.00"), ("1000009998", "3.00"), (barnabas.account, "55.00"))
        ]
        batch = ottilie.signs.batch(ottilie.account, payees)
        assert (await ottilie.bank.batch(batch)).posted == 1
        assert (await ottilie.bank.payment(batch.payment_ids[0])).reference == BATCH_REFERENCE
        other = ottilie.signs.batch(ottilie.account, payees)
        texts = (other.payments[0], f'{{"{BROKEN}"', *other.payments[2:])
        await self._refused(ottilie.bank.batch(type(other)(other.manifest, texts, other.payment_ids)))
        await self._refused(ottilie.bank.batch(type(other)(other.manifest, other.payments[:1], other.payment_ids)))

    async def _cash(self, staff: Staff, barnabas: Townsperson) -> None:
        signs = staff.teller.signs
        for direction in ("deposit", "withdrawal"):
            order = signs.cash(direction, barnabas.account, staff.till, "5.00", "EUR", CASH_REFERENCE)
            assert (await staff.teller.bank.cash(order)).state == "posted"
        unknown = signs.cash("deposit", "1000009998", staff.till, "5.00", "EUR", CASH_REFERENCE)
        await self._refused(staff.teller.bank.cash(unknown))

    async def _with_databases_out_of_order(self, ottilie: Townsperson, barnabas: Townsperson) -> None:
        """What fails deep inside is logged with its cause, and its cause must not tell either."""
        for database, table in (("payments", "signed_documents"), ("payments", "payments"), ("ledger", "transfers")):
            with self._without(database, table):
                payment = ottilie.pays(barnabas.account, "1.50", REFERENCE, CREDITOR)
                await self._failing(BankClient(self.way, ottilie.bank.session, patience=0.1).transfer(payment))
        for table in ("devices", "users", "login_attempts"):
            with self._without("identity", table):
                await self._failing(BankClient(self.way, patience=0.1).login(barnabas.email, PASSWORD))
                newcomer = self.village.newcomer("late", **(COSIMA | {"email": "cosima@fuenfzehnhorn.example"}))
                newcomer.bank = BankClient(self.way, patience=0.1)
                await self._failing(newcomer.register())

    async def _failing(self, asked: Awaitable[object]) -> None:
        try:
            await asked
        except BankError as error:
            self.codes.add(error.code)

    @contextmanager
    def _without(self, database: str, table: str) -> Iterator[None]:
        """Let what a service writes into a table fail on the row itself, which the database tells of at length."""
        self._write(database, f"ALTER TABLE {table} ADD CONSTRAINT refuse CHECK (book = 0) NOT VALID")
        try:
            yield
        finally:
            self._write(database, f"ALTER TABLE {table} DROP CONSTRAINT refuse")

    def _write(self, database: str, statement: str) -> None:
        with psycopg.connect(self._urls[database], autocommit=True) as connection:
            connection.execute(statement.encode())

    async def _devices_and_passwords(self, ottilie: Townsperson, barnabas: Townsperson) -> None:
        tablet = Device.new(self.village.ids)
        request = Signatory(NAME, tablet, self.village.clock, self.village.ids).enrolment(
            ottilie.user, ottilie.signs.device.id
        )
        await ottilie.bank.enrol_device(TABLET, request, ottilie.signs.sponsor(request, ottilie.user))
        assert TABLET in [each.name for each in await ottilie.bank.devices()]
        await ottilie.bank.revoke_device(tablet.id, "lost")
        await self._refused(barnabas.bank.change_password(WRONG_PASSWORD, NEW_PASSWORD))
        await barnabas.bank.change_password(PASSWORD, NEW_PASSWORD)
        await barnabas.bank.logout()

    async def _keys_of(self, people: list[UUID]) -> list[CustomerKey]:
        """Open the keys of people, as the services do that seal under them."""
        context = self._bank.context
        keys = []
        for service, kind in (("identity", "profile"), ("payments", "records")):
            client = KeysClient(context.transport("keys"), context.credential(service, "keys"))
            keys += await client.customer_keys([CustomerKeyRequest(user, kind) for user in people])  # type: ignore[arg-type]
        return keys


def _altered(signed: SignedDocument, old: str, new: str) -> SignedDocument:
    assert old in signed.document
    return replace(signed, document=signed.document.replace(old, new, 1))


_NEWCOMERS = (("ottilie", OTTILIE), ("barnabas", BARNABAS), ("cosima", COSIMA))


async def pass_a_day(folder: Path, urls: dict[str, str]) -> Traces:
    """Open a bank, and let a day pass there."""
    async with open_village(folder, urls, log_level="debug") as (bank, village):
        day = Day(bank, village, urls)
        traces = await day.pass_by()
    async with open_village(folder, urls, relays=False, log_level="debug") as (bank, village):
        evening = Day(bank, village, urls)
        evening.people = day.people
        await evening.go_on()
    return traces
