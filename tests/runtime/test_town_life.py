"""The town goes on paying at a chosen rate, everything signed, and the books stay sound."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest
import pytest_asyncio

from latticebank.banking.ledger.wire import AccountOpening, PostOrder
from latticebank.crypto import passphrase
from latticebank.kernel.transports.memory import MemoryTransport
from latticebank.runtime.postgres import EmbeddedPostgres
from latticebank.runtime.town import life
from latticebank.runtime.town.founding import ways_to
from latticebank.runtime.town.life import Wish, live
from latticebank.runtime.town.moving_in import grant
from latticebank.runtime.town.owners import NoImportedAccounts
from latticebank.runtime.town.papers import NoTown
from latticebank.runtime.town.people import CUSTOMERS
from latticebank.runtime.town.tally import Tally
from latticebank.values.ids import derived_id
from tests.conftest import Templates
from tests.runtime.townhall import Townhall, open_townhall

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(autouse=True)
def least_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passphrase, "MEMORY_KIB", 65_536)
    monkeypatch.setattr(passphrase, "PASSES", 1)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the town wait for a machine that has other work."""
    monkeypatch.setattr(life, "PATIENCE_SECONDS", 60.0)
    monkeypatch.setattr(life, "_LAST_ANSWERS_SECONDS", 60.0)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def townhall(
    templates: Templates, postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Townhall]:
    """A bank that the town has moved into."""
    async with open_townhall(templates, postgres.url, tmp_path_factory.mktemp("life") / "bank") as opened:
        await opened.seeded()
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def empty(templates: Templates, postgres: EmbeddedPostgres, tmp_path: Path) -> AsyncIterator[Townhall]:
    """A bank with empty books."""
    async with open_townhall(templates, postgres.url, tmp_path / "bank") as opened:
        yield opened


async def lived(townhall: Townhall, wish: Wish, until_paid: int | None = None) -> Tally:
    """Have the town pay until its time is over, or until so many payments were made, however long that takes."""
    ways = await ways_to(townhall.settings, MemoryTransport(townhall.bank.app))
    stop = asyncio.Event()

    def tell(tally: Tally) -> None:
        if until_paid is not None and tally.paid >= until_paid:
            stop.set()

    async with asyncio.timeout(300):
        return await live(townhall.papers, ways, wish, stop, progress=lambda _: None, tell=tell)


async def test_the_town_pays_for_as_long_as_it_is_asked_to_and_the_books_prove(
    townhall: Townhall, monkeypatch: pytest.MonkeyPatch
) -> None:
    tally = await lived(townhall, Wish(rate=30, people=len(CUSTOMERS) + 2), until_paid=20)
    assert tally.paid >= 20
    assert tally.orders <= tally.paid + tally.held + tally.refused.total()
    assert not tally.failed

    town = townhall.papers.existing_town()
    newcomers = [each for each in town.residents if "-" in each.name]
    assert len(newcomers) == 2
    balances = {each.account: each for each in await townhall.accounts()}
    for each in newcomers:
        assert (await (await townhall.actor(each.name)).asks(lambda bank: bank.profile())).verified
        assert balances[each.account].entries > 0

    monkeypatch.setattr(life, "MOST_IN_FLIGHT", 1)
    monkeypatch.setattr(life, "MOST_BEHIND_SECONDS", 0.05)
    hurried = await lived(townhall, Wish(rate=2_000, people=4, seconds=1))
    assert hurried.seconds >= 1
    assert hurried.given_up > 0
    assert hurried.orders + hurried.given_up > hurried.rate * 2, "what was given up is not told"
    assert len(townhall.papers.existing_town().residents) == len(town.residents)

    report = await townhall.signatures()
    assert report.faults == 0
    assert report.checked >= 4 + tally.paid + hurried.paid
    assert await townhall.findings() == []


async def test_a_run_ends_when_it_is_told_to_stop(townhall: Townhall) -> None:
    stop = asyncio.Event()
    ways = await ways_to(townhall.settings, MemoryTransport(townhall.bank.app))
    told = []

    def tell(tally: Tally) -> None:
        told.append(tally.line())
        stop.set()

    async with asyncio.timeout(60):
        await live(townhall.papers, ways, Wish(5, 4), stop, progress=lambda _: None, tell=tell)
    assert told[0].startswith("0 paid, 0 refused")


async def test_owners_of_imported_accounts_become_customers_and_pay_from_them(empty: Townhall) -> None:
    books = empty.books
    migration = await books.open_account(derived_id("test", "migration"), AccountOpening("migration", "CZK"))
    imported = []
    for number in range(3):
        opening = AccountOpening("checking", "CZK", reference=f"berka/{number}", owners=[f"berka:client/{number}"])
        imported.append((await books.open_account(derived_id("test", str(number)), opening)).account)
    await books.order(
        [
            PostOrder(
                id=derived_id("test", "balance", account),
                debit=migration.account,
                credit=account,
                amount="5000.00",
                currency="CZK",
                purpose="import",
            )
            for account in imported
        ]
    )
    with pytest.raises(NoTown):
        await lived(empty, Wish(rate=20, people=4, seconds=1))
    for _ in range(2):  # the second run finds everyone there
        tally = await lived(empty, Wish(rate=20, people=20, imported=3), until_paid=4)
        assert tally.paid >= 4
        assert not tally.failed

    town = empty.papers.existing_town()
    owners = [each for each in town.residents if each.party]
    assert sorted(each.party for each in owners) == [f"berka:client/{number}" for number in range(3)]
    client = await empty.actor(owners[0].name)
    seen = await client.asks(lambda bank: bank.accounts())
    assert sorted(each.currency for each in seen) == ["CZK", "EUR"]
    balances = {each.account: each for each in await empty.accounts()}
    assert sum(Decimal(balances[account].balance) for account in imported) == 15_000
    assert any(balances[account].entries > 1 for account in imported)
    opening = AccountOpening("checking", "CZK", owners=["berka:client/9"])
    await books.open_account(derived_id("test", "9"), opening)
    linked = (town.resident("aude").user, "party:berka:client/9")
    await grant(await empty.actor("tilda"), await empty.actor("marek"), [linked])
    assert (await lived(empty, Wish(rate=20, people=20, imported=4), until_paid=1)).paid >= 1
    assert len(empty.papers.existing_town().residents) == len(town.residents) + 1

    town = empty.papers.existing_town()
    assert await empty.seeded() == town, "a later start would add people to books that were taken over"
    report = await empty.signatures()
    assert (report.faults, report.by_mandate > 0) == (0, True)
    assert await empty.findings() == []


async def test_a_bank_without_imported_accounts_says_so(townhall: Townhall) -> None:
    with pytest.raises(NoImportedAccounts):
        await lived(townhall, Wish(rate=1, people=4, seconds=1, imported=2))
