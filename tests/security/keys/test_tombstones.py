"""What was destroyed stays destroyed: after a crash, and whatever old copy of the database or of the keys comes back."""

import io
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from latticebank.kernel.database import Database
from latticebank.kernel.kept_apart import KeptApartUnavailable
from latticebank.kernel.settings import Settings
from latticebank.runtime.postgres import EmbeddedPostgres
from latticebank.security.keys.model import KeyState, Tombstone, TombstoneDamaged
from latticebank.security.keys.service import keyring as keyring_module
from latticebank.security.keys.service import tombstones
from latticebank.security.keys.service.backup import restore_backup, write_backup
from latticebank.security.keys.service.holds import Holds
from latticebank.security.keys.service.keyring import Keyring, open_keyring, opened_kek
from latticebank.security.keys.service.tombstones import tombstones_of
from latticebank.values.ids import Uuid7Source
from tests.clocks import NOON, MovingClock
from tests.security.keys.desk import ADA_ID, BOB_ID, opened, wanted

PASSPHRASE = "nine ladies dancing"
ACTOR = "Service:identity"
ADA = f"customer:{ADA_ID}"
EVERYTHING = [wanted(owner, kind) for owner in (ADA_ID, BOB_ID) for kind in ("profile", "records")]


class Copies:
    """Copies of databases, made as the server copies them while nobody is connected."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self._server = server
        self._made: list[str] = []

    def of(self, url: str) -> str:
        """The URL of a copy of a database as it is now."""
        name = f"copy_{len(self._made)}_of_{url.rpartition('/')[2].partition('?')[0]}"
        self._run("CREATE DATABASE {} TEMPLATE {}", name, url.rpartition("/")[2].partition("?")[0])
        self._made.append(name)
        return self._server.url(name)

    def drop(self) -> None:
        """Drop all copies."""
        for name in self._made:
            self._run("DROP DATABASE {} WITH (FORCE)", name)

    def _run(self, statement: str, *names: str) -> None:
        with psycopg.connect(self._server.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


class Bank:
    """The keys of a bank: its database, its folder, and a folder of its archive."""

    def __init__(self, folder: Path, url: str, clock: MovingClock) -> None:
        self.url = url
        self.clock = clock
        (folder / "archive").mkdir(parents=True, exist_ok=True)
        self.settings = Settings(data=folder / "data", archive=folder / "archive", demo=True)
        self.database = Database(url, application_name="test-tombstones")

    async def start(self) -> Keyring:
        """The keyring of a process that starts now."""
        return await open_keyring(self.settings, self.database, self.clock, Uuid7Source(self.clock))

    def holds(self) -> Holds:
        """The legal holds."""
        kept = tombstones_of(self.settings)
        return Holds(self.database, 1, kept, self.clock, Uuid7Source(self.clock))

    async def restart_on(self, url: str) -> Keyring:
        """The keyring of a process that starts on another copy of the database."""
        await self.database.close()
        self.url = url
        self.database = Database(url, application_name="test-tombstones")
        return await self.start()

    async def back_up(self) -> bytes:
        """A backup of the keys."""
        file = io.BytesIO()
        kek = await opened_kek(self.settings, self.database)
        await write_backup(self.database, 1, kek, PASSPHRASE, file, self.clock.now())
        return file.getvalue()

    async def restore(self, content: bytes) -> int:
        """Bring a backup of the keys back; how many keys were destroyed again."""
        file, ids = io.BytesIO(content), Uuid7Source(self.clock)
        done = await restore_backup(self.settings, self.database, file, PASSPHRASE, self.clock, ids)
        return done.destroyed

    def states(self) -> list[tuple[Any, ...]]:
        """Owner, purpose, version and state of the keys of customers that are destroyed, with the reason told."""
        with psycopg.connect(self.url) as connection:
            return connection.execute(
                """
                SELECT right(k.owner, 1), k.purpose, k.version, h.reason FROM keys k
                JOIN key_history h ON (h.book, h.key, h.number) = (k.book, k.id, k.changes)
                WHERE k.state = 6 ORDER BY 1, 2, 3
                """
            ).fetchall()


@pytest.fixture
def copies(postgres: EmbeddedPostgres) -> Iterator[Copies]:
    """Makes copies of databases."""
    made = Copies(postgres)
    yield made
    made.drop()


@pytest.fixture
async def banks(database_url: Callable[[str], str], clock: MovingClock, tmp_path: Path) -> AsyncIterator[Any]:
    """Makes banks, each with an empty database and a folder of its own."""
    made: list[Bank] = []

    def make() -> Bank:
        made.append(Bank(tmp_path / f"bank-{len(made)}", database_url("keys"), clock))
        return made[-1]

    yield make
    for bank in made:
        await bank.database.close()


@pytest.fixture
async def bank(banks: Callable[[], Bank]) -> Bank:
    """A bank where Ada and Bob have keys, and Ada has rotated hers."""
    made = banks()
    keyring = await made.start()
    for customer in (ADA_ID, BOB_ID):
        await keyring.create_customer_keys(customer, ACTOR)
    await keyring.rotate(ADA_ID, UUID(int=1), "User:ada")
    return made


async def erase_ada(keyring: Keyring) -> None:
    await keyring.destroy_customer_key(ADA_ID, "profile", "erasure-requested", ACTOR)


async def test_an_old_copy_of_the_database_does_not_bring_an_erased_key_back(bank: Bank, copies: Copies) -> None:
    await bank.database.close()
    old = copies.of(bank.url)
    await erase_ada(await bank.start())
    bank.clock.advance(timedelta(days=1))

    keyring = await bank.restart_on(old)
    assert len(await opened(keyring, *EVERYTHING)) == 3
    assert await opened(keyring, wanted(ADA_ID), wanted(ADA_ID, version=1)) == []
    assert bank.states() == [("1", "profile", 1, "destroyed-before"), ("1", "profile", 2, "destroyed-before")]
    await bank.start()
    assert len(bank.states()) == 2


async def test_a_hold_that_the_old_copy_knows_of_does_not_bring_it_back_either(bank: Bank, copies: Copies) -> None:
    await bank.holds().place(ADA_ID, "court-order", "Operator:break-glass")
    await bank.database.close()
    old = copies.of(bank.url)
    await bank.holds().lift(ADA_ID, None, "Operator:break-glass")
    await erase_ada(await bank.start())

    keyring = await bank.restart_on(old)
    assert len(await opened(keyring, *EVERYTHING)) == 3
    assert [hold.lifted_at for hold in await bank.holds().of_customer(ADA_ID)] == [None]


async def test_neither_an_old_backup_of_the_keys_nor_both_together_bring_it_back(
    bank: Bank, banks: Callable[[], Bank], copies: Copies
) -> None:
    backup = await bank.back_up()
    await bank.database.close()
    old = copies.of(bank.url)
    await erase_ada(await bank.start())

    keyring = await bank.restart_on(banks().url)
    assert await opened(keyring, *EVERYTHING) == []
    assert await bank.restore(backup) == 2
    assert len(await opened(await bank.start(), *EVERYTHING)) == 3

    keyring = await bank.restart_on(old)
    assert await bank.restore(backup) == 0
    assert len(await opened(keyring, *EVERYTHING)) == 3
    assert len(bank.states()) == 2


@pytest.mark.parametrize("left", ["data", "archive"])
async def test_the_tombstones_of_one_folder_are_enough(bank: Bank, copies: Copies, left: str) -> None:
    await bank.database.close()
    old = copies.of(bank.url)
    await erase_ada(await bank.start())
    for folder in bank.settings.kept_folders:
        if folder.parent.name != left:
            shutil.rmtree(folder)
    assert len(await opened(await bank.restart_on(old), *EVERYTHING)) == 3


async def test_a_copy_of_the_tombstones_is_taken_in_where_all_folders_are_lost(
    bank: Bank, banks: Callable[[], Bank]
) -> None:
    backup = await bank.back_up()
    await erase_ada(await bank.start())
    lines = (bank.settings.kept_folders[0] / "tombstones").read_bytes().split(b"\n")

    new = banks()
    kept = tombstones_of(new.settings)
    with pytest.raises(TombstoneDamaged):
        await kept.add_copy([*lines, b'{"owner":"nobody"}'])
    assert await kept.graves() == {}
    assert (await kept.add_copy(lines), await kept.add_copy(lines)) == (1, 0)
    assert await new.restore(backup) == 2
    assert len(await opened(await new.start(), *EVERYTHING)) == 3


async def test_a_destruction_that_a_crash_broke_off_is_completed_at_the_next_start(bank: Bank) -> None:
    await tombstones_of(bank.settings).put(Tombstone(1, ADA, "profile", bank.clock.now()))
    assert len(await opened(await bank.start(), *EVERYTHING)) == 3
    assert len(bank.states()) == 2


async def test_a_hold_comes_too_late_for_a_destruction_that_was_begun(bank: Bank) -> None:
    keyring = await bank.start()
    await tombstones_of(bank.settings).put(Tombstone(1, ADA, "profile", bank.clock.now()))
    await bank.holds().place(ADA_ID, "court-order", "Operator:break-glass")
    assert len(await opened(keyring, *EVERYTHING)) == 3


async def test_nothing_is_destroyed_while_its_tombstone_cannot_be_written_everywhere(bank: Bank) -> None:
    keyring, folder = await bank.start(), bank.settings.kept_folders[1]
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("in the way")
    with pytest.raises(KeptApartUnavailable):
        await erase_ada(keyring)
    assert len(await opened(keyring, *EVERYTHING)) == 4
    folder.unlink()
    await erase_ada(keyring)
    assert len(await opened(keyring, *EVERYTHING)) == 3


async def test_one_version_that_was_destroyed_is_the_only_one_that_stays_so(bank: Bank, copies: Copies) -> None:
    await bank.database.close()
    old = copies.of(bank.url)
    keyring = await bank.start()
    [first] = [key for key in await keyring.keys_of_customer(ADA_ID) if (key.purpose, key.version) == ("profile", 1)]
    await keyring.change_state(first.id, KeyState.DESTROYED, "compromise-known", "Operator:break-glass")

    keyring = await bank.restart_on(old)
    assert bank.states() == [("1", "profile", 1, "destroyed-before")]
    assert len(await opened(keyring, *EVERYTHING)) == 4


async def test_what_was_destroyed_before_there_were_tombstones_gets_one_at_the_next_start(
    bank: Bank, copies: Copies
) -> None:
    await bank.database.close()
    old = copies.of(bank.url)
    await erase_ada(await bank.start())
    for folder in bank.settings.kept_folders:
        shutil.rmtree(folder)
    await bank.start()
    assert len(await opened(await bank.restart_on(old), *EVERYTHING)) == 3


async def test_of_two_banks_in_one_folder_each_keeps_its_own_tombstones(bank: Bank) -> None:
    await tombstones_of(bank.settings).put(Tombstone(2, ADA, "profile", bank.clock.now()))
    assert len(await opened(await bank.start(), *EVERYTHING)) == 4


@pytest.mark.parametrize(
    "line", [b"hello", b'{"book":"1"}', b'{"at":"2026","book":"1","owner":"x","purpose":"profile"}']
)
async def test_keys_does_not_start_on_tombstones_that_cannot_be_read(bank: Bank, line: bytes) -> None:
    folder = bank.settings.kept_folders[0]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tombstones").write_bytes(line + b"\n")
    with pytest.raises(TombstoneDamaged):
        await bank.start()


async def test_whoever_has_more_versions_than_one_transaction_takes_is_destroyed_too(
    bank: Bank, copies: Copies, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring = await bank.start()
    for number in range(2, 8):
        bank.clock.advance(timedelta(hours=1))
        await keyring.rotate(ADA_ID, UUID(int=number), "User:ada")
    await bank.database.close()
    old = copies.of(bank.url)
    for module in (keyring_module, tombstones):
        monkeypatch.setattr(module, "KEYS_AT_ONCE", 3)
    await erase_ada(await bank.start())
    assert [version for _, _, version, _ in bank.states()] == list(range(1, 9))
    await bank.restart_on(old)
    assert [version for _, _, version, _ in bank.states()] == list(range(1, 9))


async def test_a_hold_survives_in_the_backup_of_the_keys(bank: Bank, banks: Callable[[], Bank]) -> None:
    await bank.holds().place(ADA_ID, "court-order", "Operator:break-glass")
    await bank.holds().place(ADA_ID, "tax-audit", "Operator:break-glass")
    standing = await bank.back_up()
    new = banks()
    await new.restore(standing)
    assert await new.holds().of_customer(ADA_ID) == await bank.holds().of_customer(ADA_ID)
    # What was lifted in the meantime is lifted there, too, and stays so.
    await bank.holds().lift(ADA_ID, "tax-audit", "Operator:break-glass")
    await new.restore(await bank.back_up())
    standing_there = {hold.reason: hold.lifted_at is None for hold in await new.holds().of_customer(ADA_ID)}
    assert standing_there == {"court-order": True, "tax-audit": False}
    await new.restore(standing)
    assert await new.holds().of_customer(ADA_ID) == await bank.holds().of_customer(ADA_ID)


async def test_what_a_backup_knows_to_be_destroyed_is_destroyed_under_a_later_hold(
    bank: Bank, banks: Callable[[], Bank]
) -> None:
    new = banks()
    await new.restore(await bank.back_up())
    await new.holds().place(ADA_ID, "dispute", "Operator:break-glass")
    await erase_ada(await bank.start())
    await new.restore(await bank.back_up())
    assert {reason for *_, reason in new.states()} == {"destroyed-in-the-backup"}
    assert len(await opened(await new.start(), *EVERYTHING)) == 3


def test_a_tombstone_reads_as_it_was_written() -> None:
    for tombstone in (Tombstone(1, ADA, "profile", NOON), Tombstone(3, ADA, "records", NOON, 7)):
        assert Tombstone.from_line(tombstone.to_line()) == tombstone
