"""An erasure that a crash broke off is carried out, and one that an old copy of the databases forgot is done again."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from latticebank.kernel.kept_apart import KeptApart, KeptApartUnavailable
from latticebank.security.identity.model.erasure import (
    Erasure,
    ErasureLineDamaged,
    erasure_of,
)
from latticebank.security.identity.service.erasures import KEPT, RESUMED_AFTER, Erasures
from tests.clocks import NOON, MovingClock
from tests.security.identity.erasing import erase, key_states, stored
from tests.security.identity.people import Branch, open_branch, said


@pytest.mark.parametrize("broken", ["keys", "kept", "identity"])
async def test_an_erasure_that_breaks_off_anywhere_is_carried_out_by_the_bank(branch: Branch, broken: str) -> None:
    ada = await branch.register("ada")
    folder = branch.bank.context.settings.kept_folders[0]

    async def fails() -> None:
        assert (await erase(branch, ada)).status >= 500

    if broken == "kept":
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / KEPT).mkdir()
        await fails()
        (folder / KEPT).rmdir()
    else:
        table = {"keys": "key_history", "identity": "login_attempts"}[broken]
        if broken == "identity":
            branch.write("ALTER TABLE erasures ADD CONSTRAINT never CHECK (erased_at IS NULL)")
            await fails()
            branch.write("ALTER TABLE erasures DROP CONSTRAINT never")
        else:
            with branch.out_of_order(broken, table):
                await fails()
    assert stored(branch, ada)[0] == 3
    assert (await branch.try_log_in(ada.email, ada.password)).status == 401
    assert await branch.rooms.erasures.resume() == 0
    branch.clock.advance(RESUMED_AFTER)
    assert await branch.rooms.erasures.resume() == 1
    assert await branch.rooms.erasures.resume() == 0
    assert await key_states(branch, ada) == {"profile": "destroyed", "records": "active"}
    assert stored(branch, ada)[3] == "erased"
    assert [kind for kind, _ in branch.events()].count("profile-erased") == 1
    assert said(await erase(branch, ada, "operator"))["devices_revoked"] == 1


async def test_one_erasure_that_cannot_go_on_holds_up_no_other(branch: Branch, monkeypatch: pytest.MonkeyPatch) -> None:
    ada, bob = await branch.register("ada"), await branch.register("bob")
    with branch.out_of_order("keys", "key_history"):
        for person in (ada, bob):
            assert (await erase(branch, person)).status >= 500
    branch.clock.advance(RESUMED_AFTER)
    carry_out = Erasures._carry_out

    async def not_ada(self: Erasures, erasure: Erasure) -> Erasure:
        if erasure.user == ada.user:
            raise KeptApartUnavailable("the folder is away")
        return await carry_out(self, erasure)

    with monkeypatch.context() as patch:
        patch.setattr(Erasures, "_carry_out", not_ada)
        with pytest.raises(KeptApartUnavailable):
            await branch.rooms.erasures.resume()
    assert (stored(branch, ada)[3] == "erased", stored(branch, bob)[3]) == (False, "erased")
    assert await branch.rooms.erasures.resume() == 1


@asynccontextmanager
async def branch_on(urls: dict[str, str], folder: Path, clock: MovingClock) -> AsyncIterator[Branch]:
    async with open_branch(urls, folder, clock) as opened:
        await opened.ready()
        yield opened


async def test_an_old_copy_of_the_databases_brings_nobody_back(
    urls: dict[str, str], clock: MovingClock, tmp_path: Path
) -> None:
    folder = tmp_path / "bank"
    async with branch_on(urls, folder, clock) as branch:
        ada = await branch.register("ada")
        bob = await branch.register("bob")
        account = (await branch.ledger.accounts(party=f"user:{ada.user}")).items[0].account
    old = {name: _copied(url) for name, url in urls.items()}
    try:
        async with branch_on(urls, folder, clock) as branch:
            await branch.log_in(ada)
            first = await erase(branch, ada)
            assert first.status == 200, first.body
        clock.advance(timedelta(days=1))
        async with branch_on(old, folder, clock) as branch:
            assert stored(branch, ada)[0] == 3
            assert await key_states(branch, ada) == {"profile": "destroyed", "records": "active"}
            assert (await branch.try_log_in(ada.email, ada.password)).status == 401
            again = await erase(branch, ada, "operator")
            assert said(again)["requested_at"] == said(first)["requested_at"]
            assert (await branch.ledger.account(account)).status == "closed"
            assert stored(branch, ada)[3] == "erased"
            await branch.log_in(bob)
            assert (await branch.ask("GET", f"/api/users/{bob.user}/profile", who=bob)).status == 200
            assert (await branch.register("ada")).user != ada.user
            assert await branch.rooms.erasures.replay() == 0
    finally:
        for url in old.values():
            _dropped(url)


async def test_what_is_kept_of_another_book_or_of_unknown_users_changes_nothing(branch: Branch) -> None:
    ada = await branch.register("ada")
    kept = KeptApart(branch.bank.context.settings.kept_folders, KEPT)
    kept.append(Erasure(ada.user, None, NOON).to_line(2))
    kept.append(Erasure(branch.ids(), ada.user, NOON).to_line(1))
    assert await branch.rooms.erasures.replay() == 0
    assert stored(branch, ada)[0] == 2
    kept.append(b'{"user":"ada"}')
    with pytest.raises(ErasureLineDamaged):
        await branch.rooms.erasures.replay()


def test_what_is_kept_of_an_erasure_reads_as_it_was_written() -> None:
    for by in (None, UUID(int=2)):
        erasure = Erasure(UUID(int=1), by, NOON)
        assert erasure_of(erasure.to_line(4)) == (4, erasure)


def _copied(url: str) -> str:
    """The URL of a copy of a database that nobody is connected to."""
    name = url.rpartition("/")[2].partition("?")[0]
    _on_server(url, f'CREATE DATABASE "{name}_old" TEMPLATE "{name}"')
    return url.replace(f"/{name}", f"/{name}_old")


def _dropped(url: str) -> None:
    name = url.rpartition("/")[2].partition("?")[0]
    _on_server(url, f'DROP DATABASE "{name}" WITH (FORCE)')


def _on_server(url: str, statement: str) -> None:
    name = url.rpartition("/")[2].partition("?")[0]
    with psycopg.connect(url.replace(f"/{name}", "/postgres"), autocommit=True) as connection:
        connection.execute(statement.encode())
