"""The demo town is at home in its bank: everyone has a role and an account, and everything is signed."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from latticebank.client import RemoteProblem, Wallet
from latticebank.runtime.postgres import EmbeddedPostgres
from latticebank.runtime.town.books import DemoBankExposed, refuse_exposed_demo
from latticebank.runtime.town.moving_in import TownLost
from latticebank.runtime.town.papers import NoSuchResident, Papers
from latticebank.runtime.town.people import CUSTOMERS, EVERYONE, MAX_TOWNSPEOPLE, townsperson
from latticebank.values.account_number import account_number, format_account_number
from tests.conftest import Templates
from tests.runtime.townhall import Snapping, Townhall, open_townhall

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def townhall(
    templates: Templates, postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Townhall]:
    """A bank that the town has moved into."""
    async with open_townhall(templates, postgres.url, tmp_path_factory.mktemp("town") / "bank") as opened:
        await refuse_exposed_demo(opened.books, exposed=True)  # an empty bank may be served to anyone
        assert await opened.seeded() is not None
        yield opened


async def test_everyone_has_their_role_and_customers_are_verified(townhall: Townhall) -> None:
    assert {each.name for each in townhall.papers.existing_town().residents} == {each.name for each in EVERYONE}
    for name, roles, verified in [
        ("iris", ["customer", "admin"], False),
        ("tilda", ["customer", "teller"], False),
        ("marek", ["customer", "manager"], False),
        ("aude", ["customer", "auditor"], False),
        ("ada", ["customer"], True),
        ("grocer", ["customer"], True),
    ]:
        actor = await townhall.actor(name)
        profile = await actor.asks(lambda bank: bank.profile())
        assert (profile.roles, profile.verified) == (roles, verified), name


async def test_customers_have_the_account_numbers_that_the_documentation_shows(townhall: Townhall) -> None:
    town = townhall.papers.existing_town()
    accounts = {each.name: each.account for each in town.residents if not each.is_staff}
    first = sum(each.kind != "checking" for each in await townhall.accounts())
    assert accounts == {
        newcomer.name: format_account_number(account_number(0, first + place))
        for place, newcomer in enumerate(CUSTOMERS)
    }
    assert (accounts["ada"], accounts["grocer"]) == ("1000000056", "1000000110")


async def test_the_first_payments_are_made_and_one_waits_for_the_manager(townhall: Townhall) -> None:
    by_account = {account.account: account for account in await townhall.accounts()}
    town = townhall.papers.existing_town()
    assert by_account[town.resident("bruno").account].balance == "1026.85"
    clara = by_account[town.resident("clara").account]
    assert (clara.balance, clara.held) == ("18000.00", "12500.00")
    manager = await townhall.actor("marek")
    waiting = (await manager.asks(lambda bank: bank.approvals())).items
    assert [(each.amount, each.hold_reason) for each in waiting] == [("12500.00", "over-threshold")]


async def test_every_payment_is_proved_by_a_signature(townhall: Townhall) -> None:
    report = await townhall.signatures()
    assert (report.faults, report.imported, dict(report.by_class)) == (0, 0, {"payment": 4})
    assert await townhall.findings() == []


async def test_a_second_start_changes_nothing_and_logs_nobody_in(townhall: Townhall) -> None:
    before = await townhall.accounts()
    way = Snapping(townhall.bank, after=1_000)
    assert await townhall.seeded(way) == townhall.papers.existing_town()
    assert way.calls == 1
    assert await townhall.accounts() == before


async def test_demo_books_are_refused_where_others_could_reach_them(townhall: Townhall) -> None:
    await refuse_exposed_demo(townhall.books, exposed=False)
    with pytest.raises(DemoBankExposed):
        await refuse_exposed_demo(townhall.books, exposed=True)


async def test_the_papers_are_for_their_owner_only_and_show_no_password(townhall: Townhall) -> None:
    papers = townhall.papers
    town = papers.existing_town()
    ada = town.resident("ada@town.example")
    wallet = await asyncio.to_thread(papers.wallet, ada, "latticebank.localhost", "http://localhost:8000")
    assert papers.folder.stat().st_mode & 0o777 == 0o700
    for path in (wallet, *(path for path in papers.folder.iterdir() if path.is_file())):
        assert path.stat().st_mode & 0o777 == 0o600, path
        assert ada.password.encode() not in path.read_bytes()
    assert ada.password not in repr(town)
    assert len({each.password for each in town.residents}) == len(town.residents)
    [customer] = Wallet.open(wallet, papers.passphrase()).customers
    assert (customer.user, customer.device.id) == (ada.user, ada.device)


async def test_a_resident_whose_session_has_ended_comes_in_again(townhall: Townhall) -> None:
    actor = await townhall.actor("elif")
    first = await actor.asks(lambda bank: bank.profile())
    await actor.asks(lambda bank: bank.change_password(actor.resident.password, actor.resident.password + "-new"))
    other = await townhall.actor("elif")
    with pytest.raises(RemoteProblem):  # the password of the papers is the old one
        await other.asks(lambda bank: bank.profile())
    actor.resident.password += "-new"
    await actor.asks(lambda bank: bank.logout())
    assert await actor.asks(lambda bank: bank.profile()) == first


async def test_a_town_whose_papers_are_gone_is_told_so(townhall: Townhall) -> None:
    folder = townhall.papers.folder
    folder.rename(folder.with_name("elsewhere"))
    try:
        with pytest.raises(TownLost, match="not in the folder"):
            await townhall.seeded()
    finally:
        folder.rename(folder.with_name("strangers"))
        folder.with_name("elsewhere").rename(folder)
    assert Papers(townhall.settings.data).existing_town().complete


async def test_nobody_lives_in_the_town_under_another_name(townhall: Townhall) -> None:
    with pytest.raises(NoSuchResident):
        townhall.papers.existing_town().resident("mallory")


async def test_no_two_who_may_move_in_have_the_same_name() -> None:
    names = {townsperson(number).name for number in range(MAX_TOWNSPEOPLE)} | {each.name for each in EVERYONE}
    assert len(names) == MAX_TOWNSPEOPLE + len(EVERYONE)
