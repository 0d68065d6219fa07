"""A town that was broken off while it moved in is finished by the next start; books of others get no town."""

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from latticebank.banking.ledger.wire import AccountOpening
from latticebank.crypto import passphrase
from latticebank.runtime.postgres import EmbeddedPostgres
from latticebank.runtime.town.people import EVERYONE
from latticebank.values.ids import derived_id
from tests.conftest import Templates
from tests.runtime.townhall import Broken, Snapping, Townhall, open_townhall


@pytest.fixture(autouse=True)
def least_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passphrase, "MEMORY_KIB", 65_536)
    monkeypatch.setattr(passphrase, "PASSES", 1)


@pytest.fixture
async def townhall(templates: Templates, postgres: EmbeddedPostgres, tmp_path: Path) -> AsyncIterator[Townhall]:
    async with open_townhall(templates, postgres.url, tmp_path / "bank") as opened:
        yield opened


@pytest.mark.parametrize("calls", [[4, 14], [25, 40], [65, 50]])
async def test_a_town_that_was_broken_off_twice_is_finished_by_the_third_start(
    townhall: Townhall, calls: list[int]
) -> None:
    for after in calls:
        with pytest.raises(Broken):
            await townhall.seeded(Snapping(townhall.bank, after))
    town = await townhall.seeded()
    assert town is not None
    assert town.complete

    accounts = await townhall.accounts()
    assert len(accounts) == 5 + len(EVERYONE)
    balances = {each.account: Decimal(each.balance) for each in accounts}
    brought = sum(sum(each.cash) for each in EVERYONE)
    [cash] = [each for each in accounts if each.kind == "cash"]
    assert balances[cash.account] == -brought
    assert sum(balances[each.account] for each in town.residents) == brought
    assert balances[town.resident("ada").account] == Decimal("2531.70")
    manager = await townhall.actor("marek")
    assert len((await manager.asks(lambda bank: bank.approvals())).items) == 1
    assert dict((await townhall.signatures()).by_class) == {"payment": 4}
    assert await townhall.findings() == []


async def test_books_of_somebody_else_get_no_town(townhall: Townhall) -> None:
    opening = AccountOpening("checking", "EUR", owners=["berka:client/1"])
    await townhall.books.open_account(derived_id("somebody", "else"), opening)
    assert await townhall.seeded() is None
    assert len(await townhall.accounts()) == 1
    assert not townhall.papers.folder.exists()
