"""An erased profile is nowhere to be read with all keys that still open, in no old copy either; and money stays proved."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from latticebank.bank import Bank
from latticebank.banking.ledger.service.proof import prove
from latticebank.banking.payments.service.evidence import SignatureReport, check_signatures
from latticebank.banking.payments.service.foundation import Foundation
from latticebank.client import Device, Payee, Signatory
from latticebank.crypto.envelope import FieldKey, field_place, sealed_under
from latticebank.documents.document import from_base64url
from latticebank.kernel.telemetry import Metrics
from latticebank.runtime.postgres import EmbeddedPostgres
from latticebank.security.keys.client import KeysClient
from latticebank.security.keys.wire import CustomerKeyRequest, KindWord
from tests.conftest import Templates
from tests.e2e.busy_day import BARNABAS, OTTILIE, REPLACEMENT, TABLET
from tests.e2e.scanner import traces
from tests.e2e.test_no_personal_data import SEALED_COLUMNS, dump
from tests.e2e.townspeople import NAME, WITH_TABLES, Townsperson, Village, decide, open_village, refusal

OTTILIES = [*OTTILIE.values(), TABLET, REPLACEMENT]
"""All that the bank was told of Ottilie herself."""
REFERENCE = "Honig und Kerzen"
KEEPERS: dict[KindWord, str] = {"profile": "identity", "records": "payments"}
"""The services that open the keys of a kind."""


@dataclass
class Copies:
    """The databases of a bank, and copies of them while it is closed."""

    server: EmbeddedPostgres
    names: dict[str, str]
    made: list[str] = field(default_factory=list)

    @property
    def urls(self) -> dict[str, str]:
        """The URLs of the databases themselves."""
        return {tables: self.server.url(name) for tables, name in self.names.items()}

    def copy(self) -> dict[str, str]:
        """The URLs of copies as of now."""
        urls = {}
        for tables, name in self.names.items():
            self.made.append(f"{name}_old")
            self._run("CREATE DATABASE {} TEMPLATE {}", f"{name}_old", name)
            urls[tables] = self.server.url(f"{name}_old")
        return urls

    def drop(self) -> None:
        """Drop the copies."""
        for name in self.made:
            self._run("DROP DATABASE {} WITH (FORCE)", name)

    def _run(self, statement: str, *names: str) -> None:
        with psycopg.connect(self.server.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@pytest.fixture
def copies(postgres: EmbeddedPostgres, templates: Templates) -> Iterator[Copies]:
    """Fresh databases of a bank, which can be copied."""
    made = Copies(postgres, {tables: templates.copy(tables) for tables in WITH_TABLES})
    yield made
    made.drop()
    for name in made.names.values():
        templates.drop(name)


@dataclass
class Told:
    """What a bank has of people: dumps of its databases, and what opens of them with every key that can be opened."""

    dumps: bytes
    opened: bytes


async def all_that_opens(bank: Bank, urls: dict[str, str]) -> Told:
    """Open whatever opens."""
    with psycopg.connect(urls["identity"]) as connection:
        users = [row[0] for row in connection.execute("SELECT id FROM users")]
    keys: dict[tuple[UUID, int], FieldKey] = {}
    for kind, service in KEEPERS.items():
        client = KeysClient(bank.context.transport("keys"), bank.context.credential(service, "keys"))
        for version in (1, 2):
            for key in await client.customer_keys([CustomerKeyRequest(user, kind, version) for user in users]):
                secret = from_base64url(key.secret, "secret")
                keys[(key.key_id, key.version)] = FieldKey(key.key_id, key.version, secret)
    opened = []
    for (service, table, column), (_, query) in SEALED_COLUMNS.items():
        with psycopg.connect(urls[service]) as connection:
            for _, row, value in connection.execute(query.encode()):
                if (known := keys.get(sealed_under(value))) is not None:
                    opened.append(known.open(value, field_place(table, column, row)))
    return Told(b"\n".join(dump(url) for url in urls.values()), b"\n".join(opened))


async def proved(bank: Bank) -> SignatureReport:
    """What the check of all signatures finds."""
    return await check_signatures(Foundation.of(replace(bank.context, metrics=Metrics())))


async def befriended(village: Village) -> tuple[Townsperson, Townsperson, Townsperson, list[UUID]]:
    """Ottilie, who has done everything that leaves something of her, Barnabas, an auditor, and Ottilie's payments."""
    staff = await village.staff()
    (auditor,) = await village.customers("agnes")
    await village.grant("auditor", auditor, *staff.admins)
    ottilie = await village.settle(village.newcomer("ottilie", **OTTILIE))
    barnabas = await village.settle(village.newcomer("barnabas", **BARNABAS))
    await village.fund(ottilie, staff.till, "100.00")
    verified = await staff.teller.bank.propose(staff.teller.signs.rights("grant", "verified", ottilie.user))
    await decide(staff.manager, verified.id, "approve")
    tablet = Signatory(NAME, Device.new(village.ids), village.clock, village.ids)
    joining = tablet.enrolment(ottilie.user, ottilie.signs.device.id)
    await ottilie.bank.enrol_device(TABLET, joining, ottilie.signs.sponsor(joining, ottilie.user))
    other = Signatory(NAME, Device.new(village.ids), village.clock, village.ids).enrolment(ottilie.user)
    right = staff.teller.signs.rights("grant", f"device:{other.hash}", ottilie.user)
    proposed = await staff.teller.bank.propose(right, device_name=REPLACEMENT, enrolment=other)
    await decide(staff.manager, proposed.id, "approve")
    await ottilie.log_in()
    assert {TABLET, REPLACEMENT} < {each.name for each in await ottilie.bank.devices()}

    paid = await ottilie.bank.transfer(ottilie.pays(barnabas.account, "40.00", REFERENCE))
    payees = [Payee(barnabas.account, "A payee", amount, "EUR", REFERENCE) for amount in ("20.00", "30.00")]
    batch = ottilie.signs.batch(ottilie.account, payees)
    assert (await ottilie.bank.batch(batch)).posted == 2
    last = await ottilie.bank.transfer(ottilie.pays(barnabas.account, "9.00", REFERENCE))
    assert {paid.state, last.state} == {"posted"}
    assert await refusal(ottilie.bank.erase_profile(ottilie.password)) == (409, "money-left")
    last = await ottilie.bank.transfer(ottilie.pays(barnabas.account, "1.00", REFERENCE))
    return ottilie, barnabas, auditor, [paid.id, last.id]


@asynccontextmanager
async def opened_again(
    folder: Path, urls: dict[str, str], *people: Townsperson
) -> AsyncIterator[tuple[Bank, Village, list[Townsperson]]]:
    """The bank, closed and opened again on these databases, and the same people with new sessions."""
    async with open_village(folder, urls) as (bank, village):
        met = [village.met_before(person) for person in people]
        for person in met:
            await person.log_in()
        yield bank, village, met


async def test_an_erased_profile_is_nowhere_and_what_was_paid_is_proved(copies: Copies, tmp_path: Path) -> None:
    folder = tmp_path / "bank"
    async with open_village(folder, copies.urls) as (bank, village):
        ottilie, barnabas, auditor, payments = await befriended(village)
        before = await all_that_opens(bank, copies.urls)
        assert {text for text, _ in traces(OTTILIES, before.opened)} == set(OTTILIES)
        report = await proved(bank)
        assert (report.sound, report.checked, report.erased) == (True, 5, 0), report.findings
    old = copies.copy()

    async with opened_again(folder, copies.urls, ottilie, barnabas, auditor) as (bank, _, (ottilie, barnabas, auditor)):
        erased = await ottilie.bank.erase_profile(ottilie.password)
        assert (erased.sessions_ended, erased.devices_revoked) == (3, 3)
        await _is_forgotten(bank, copies.urls, barnabas)
        assert (await refusal(barnabas.bank.transfer(barnabas.pays(ottilie.account, "1.00"))))[1] == "account-closed"
        assert (await prove(bank.context.database("ledger"), bank.context.settings.book)).sound
        report = await proved(bank)
        assert (report.sound, report.checked, report.erased) == (True, 5, 1), report.findings
        for payment in payments:
            assert REFERENCE in (await auditor.bank.instruction(payment)).document
        assert await refusal(auditor.bank.profile(ottilie.user)) == (404, "profile-erased")

    async with opened_again(folder, old, barnabas, auditor) as (bank, village, (barnabas, auditor)):
        assert (await refusal(village.met_before(ottilie).log_in()))[1] == "login-refused"
        await _is_erased(old["identity"], ottilie)
        await _is_forgotten(bank, old, barnabas)
        assert (await proved(bank)).sound
        assert REFERENCE in (await auditor.bank.instruction(payments[0])).document
        newcomer = village.newcomer("ottilie", **OTTILIE)
        await newcomer.register()
        await newcomer.log_in()
        assert (await newcomer.bank.profile()).full_name == OTTILIE["full_name"]


async def _is_forgotten(bank: Bank, urls: dict[str, str], other: Townsperson) -> None:
    """Nothing of Ottilie is found, and all of somebody else opens: the search was a search."""
    told = await all_that_opens(bank, urls)
    assert traces(OTTILIES, told.dumps + told.opened) == []
    assert len(traces([other.full_name, other.email], told.opened)) >= 2
    assert traces([REFERENCE], told.opened)


async def _is_erased(url: str, person: Townsperson) -> None:
    """Wait until the bank has carried out by itself what the old copy did not know of."""
    async with asyncio.timeout(60):
        while True:
            with psycopg.connect(url) as connection:
                found = connection.execute(
                    "SELECT erased_at FROM erasures WHERE user_id = %s", (person.user,)
                ).fetchall()
            if found and found[0][0] is not None:
                return
            await asyncio.sleep(0.1)
