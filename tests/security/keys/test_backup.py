"""The tree of keys in a file apart: whole or refused, and never a way to bring back what was destroyed."""

import io
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from pydantic import SecretStr

from latticebank.crypto.errors import PassphraseWrong
from latticebank.kernel.database import Database
from latticebank.kernel.settings import Settings
from latticebank.security.keys.model import KeyDamaged, KeyState
from latticebank.security.keys.service import backup
from latticebank.security.keys.service.backup import (
    BackupBroken,
    DifferentKeyTree,
    KeysWentApart,
    Restored,
    restore_backup,
    write_backup,
)
from latticebank.security.keys.service.kek import KekRefused
from latticebank.security.keys.service.keyring import Keyring, open_keyring, opened_kek
from latticebank.values.ids import Uuid7Source
from tests.clocks import MovingClock
from tests.security.keys.desk import ADA_ID, BOB_ID, EMAIL_INDEX, TOKEN_SIGNING, opened, wanted

PASSPHRASE = "nine ladies dancing"
ACTOR = "Service:identity"
EVERYTHING = [wanted(owner, kind) for owner in (ADA_ID, BOB_ID) for kind in ("profile", "records")]
TABLES = "SELECT * FROM keys ORDER BY id", "SELECT * FROM key_history ORDER BY key, number"


class Vault:
    """A bank's keys, to be copied and restored."""

    def __init__(self, settings: Settings, url: str, clock: MovingClock) -> None:
        self.settings = settings
        self.url = url
        self.clock = clock
        self.database = Database(url, application_name="test-vault")

    async def keyring(self) -> Keyring:
        """The keyring of a process that starts now."""
        return await open_keyring(self.settings, self.database, self.clock, Uuid7Source(self.clock))

    async def copy(self) -> bytes:
        """A backup."""
        kek = await opened_kek(self.settings, self.database)
        file = io.BytesIO()
        await write_backup(self.database, self.settings.book, kek, PASSPHRASE, file, self.clock.now())
        return file.getvalue()

    async def restore(self, content: bytes, passphrase: str = PASSPHRASE) -> Restored:
        """Bring a backup back."""
        file, ids = io.BytesIO(content), Uuid7Source(self.clock)
        return await restore_backup(self.settings, self.database, file, passphrase, self.clock, ids)

    def rows(self) -> list[list[tuple[Any, ...]]]:
        """What stands in the tables."""
        with psycopg.connect(self.url) as connection:
            return [connection.execute(statement).fetchall() for statement in TABLES]


@pytest.fixture
async def vaults(database_url: Callable[[str], str], tmp_path: Path, clock: MovingClock) -> Any:
    """Makes banks, each with a database and a folder of its own; demo banks, unless said otherwise."""
    made: list[Vault] = []

    def make(**settings: Any) -> Vault:
        given = {"data": tmp_path / f"bank-{len(made)}", "demo": "kek_passphrase" not in settings, **settings}
        made.append(Vault(Settings(**given), database_url("keys"), clock))
        return made[-1]

    yield make
    for vault in made:
        await vault.database.close()


@pytest.fixture
async def bank(vaults: Callable[..., Vault]) -> Vault:
    """A bank with the keys of a service and of two customers, one of whom has rotated."""
    vault = vaults()
    keyring = await vault.keyring()
    await keyring.own_keys("identity", [TOKEN_SIGNING, EMAIL_INDEX])
    for customer in (ADA_ID, BOB_ID):
        await keyring.create_customer_keys(customer, ACTOR)
    await keyring.rotate(BOB_ID, UUID(int=1), ACTOR)
    return vault


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backup of a few keys has several parts."""
    monkeypatch.setattr(backup, "KEYS_IN_A_PART", 4)


async def test_a_lost_bank_gets_all_keys_back_with_their_history(bank: Vault, vaults: Callable[..., Vault]) -> None:
    before = await opened(await bank.keyring(), *EVERYTHING, wanted(BOB_ID, version=1))
    own = await (await bank.keyring()).own_keys("identity", [TOKEN_SIGNING, EMAIL_INDEX])
    new = vaults(kek_passphrase=SecretStr("ten lords a-leaping"))

    assert await new.restore(await bank.copy()) == Restored(in_backup=10, added=10)
    assert new.rows() == bank.rows()
    assert await opened(await new.keyring(), *EVERYTHING, wanted(BOB_ID, version=1)) == before
    assert await (await new.keyring()).own_keys("identity", [TOKEN_SIGNING, EMAIL_INDEX]) == own
    assert [path.name for path in new.settings.data.iterdir()] == ["kek.sealed"]


@pytest.mark.parametrize("number", [4, 8, 9])
async def test_parts_that_are_full_or_not_are_all_restored(
    vaults: Callable[..., Vault], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(backup, "KEYS_IN_A_PART", 4)
    vault, new = vaults(), vaults()
    keyring = await vault.keyring()
    for each in range(number):
        await keyring.own_keys(f"service-{chr(97 + each)}", [EMAIL_INDEX])
    assert await new.restore(await vault.copy()) == Restored(in_backup=number, added=number)
    assert new.rows() == vault.rows()


async def test_restoring_over_the_same_tree_changes_nothing(bank: Vault) -> None:
    content, rows = await bank.copy(), bank.rows()
    assert await bank.restore(content) == Restored(in_backup=10)
    assert bank.rows() == rows


async def test_what_was_destroyed_since_stays_destroyed(bank: Vault) -> None:
    content = await bank.copy()
    await (await bank.keyring()).destroy_customer_key(ADA_ID, "profile", "erasure-requested", ACTOR)
    rows = bank.rows()
    assert await bank.restore(content) == Restored(in_backup=10)
    assert bank.rows() == rows
    assert len(await opened(await bank.keyring(), *EVERYTHING)) == 3


async def test_what_was_destroyed_before_the_backup_does_not_come_back_with_older_data(
    bank: Vault, vaults: Callable[..., Vault], clock: MovingClock
) -> None:
    old = await bank.copy()
    clock.advance(timedelta(days=1))
    keyring = await bank.keyring()
    await keyring.destroy_customer_key(ADA_ID, "profile", "erasure-requested", ACTOR)
    await keyring.rotate(BOB_ID, UUID(int=2), ACTOR)
    new = await bank.copy()

    other = vaults()
    await other.restore(old)
    assert len(await opened(await other.keyring(), *EVERYTHING)) == 4
    assert await other.restore(new) == Restored(in_backup=12, added=2, advanced=3)
    assert other.rows() == bank.rows()
    assert await other.restore(old) == Restored(in_backup=10)
    assert other.rows() == bank.rows()


async def test_a_destruction_in_the_backup_counts_even_where_the_histories_part(
    bank: Vault, vaults: Callable[..., Vault]
) -> None:
    other = vaults()
    await other.restore(await bank.copy())
    [[_, key, _]] = await (await bank.keyring()).open_customer_keys([wanted(ADA_ID)])
    await (await bank.keyring()).destroy_customer_key(ADA_ID, "profile", "erasure-requested", ACTOR)
    for state in (KeyState.SUSPENDED, KeyState.ACTIVE):
        await (await other.keyring()).change_state(key.id, state, "error", ACTOR)
    assert (await other.restore(await bank.copy())).advanced == 1
    [found] = [each for each in await (await other.keyring()).keys_of_customer(ADA_ID) if each.id == key.id]
    assert (found.state, found.wrapped, found.changes) == (KeyState.DESTROYED, None, 4)


async def test_versions_that_bank_and_backup_made_apart_are_not_mixed(
    bank: Vault, vaults: Callable[..., Vault]
) -> None:
    other = vaults()
    await other.restore(await bank.copy())
    for number, vault in enumerate((bank, other)):
        await (await vault.keyring()).rotate(ADA_ID, UUID(int=number + 5), ACTOR)
    before = await opened(await other.keyring(), *EVERYTHING)
    with pytest.raises(KeysWentApart, match="key of customer"):
        await other.restore(await bank.copy())
    assert await opened(await other.keyring(), *EVERYTHING) == before


async def test_a_key_that_was_changed_in_the_database_is_repaired(bank: Vault) -> None:
    content, rows = await bank.copy(), bank.rows()
    with psycopg.connect(bank.url) as intruder:
        intruder.execute("UPDATE keys SET wrapped = wrapped || 'x' WHERE purpose = 'profile'")
    with pytest.raises(KeyDamaged):
        await opened(await bank.keyring(), wanted(ADA_ID))
    assert (await bank.restore(content)).repaired == 3
    assert bank.rows() == rows


async def test_the_file_of_the_kek_comes_back(bank: Vault) -> None:
    content, before = await bank.copy(), await opened(await bank.keyring(), *EVERYTHING)
    (bank.settings.data / "kek.demo").unlink()
    with pytest.raises(KekRefused):
        await bank.keyring()
    await bank.restore(content)
    assert await opened(await bank.keyring(), *EVERYTHING) == before


async def test_another_tree_is_never_overwritten(bank: Vault, vaults: Callable[..., Vault]) -> None:
    content = await bank.copy()
    other = vaults()
    await (await other.keyring()).create_customer_keys(ADA_ID, ACTOR)
    rows, files = other.rows(), (other.settings.data / "kek.demo").read_bytes()
    with pytest.raises(DifferentKeyTree):
        await other.restore(content)
    (other.settings.data / "kek.demo").unlink()
    with pytest.raises(DifferentKeyTree):
        await other.restore(content)
    assert other.rows() == rows
    assert not (other.settings.data / "kek.demo").exists()
    empty = vaults()
    empty.settings.data.mkdir()
    (empty.settings.data / "kek.demo").write_bytes(files)
    (empty.settings.data / "kek.demo").chmod(0o600)
    with pytest.raises(DifferentKeyTree):
        await empty.restore(content)
    with pytest.raises(DifferentKeyTree):
        await vaults(book=2).restore(content)


async def test_a_restored_kek_is_not_left_unsealed(bank: Vault, vaults: Callable[..., Vault]) -> None:
    content = await bank.copy()
    neither = vaults(demo=False)
    with pytest.raises(KekRefused):
        await neither.restore(content)
    assert neither.rows() == [[], []]


async def test_a_file_that_is_not_whole_restores_nothing(bank: Vault, vaults: Callable[..., Vault]) -> None:
    content = await bank.copy()
    header, *parts = content.splitlines(keepends=True)
    assert len(parts) == 3
    flipped = bytearray(content)
    flipped[-100] ^= 1
    broken = {
        "without its end": header + b"".join(parts[:-1]),
        "without its middle": header + parts[0] + parts[2],
        "in another order": header + parts[1] + parts[0] + parts[2],
        "a part twice": header + parts[0] + parts[0] + parts[1] + parts[2],
        "more than its end": content + parts[2],
        "the header alone": header,
        "cut": content[:-10],
        "changed": bytes(flipped),
        "parts of another backup": header + b"".join((await bank.copy()).splitlines(keepends=True)[1:]),
        "the header changed": header.replace(b'"passes":"3"', b'"passes":"99"') + b"".join(parts),
        "no backup": b"hello\n",
        "nothing": b"",
    }
    new = vaults()
    for what, file in broken.items():
        with pytest.raises(BackupBroken):
            pytest.fail(f"{what}: {await new.restore(file)}")
    with pytest.raises(PassphraseWrong):
        await new.restore(content, "another passphrase")
    assert new.rows() == [[], []]
    assert not new.settings.data.exists()


async def test_a_backup_shows_nothing_without_its_passphrase(bank: Vault) -> None:
    content = await bank.copy()
    kek = await opened_kek(bank.settings, bank.database)
    secrets = await opened(await bank.keyring(), *EVERYTHING)
    for told in (kek.secret, str(kek.key_id).encode(), str(ADA_ID).encode(), b"token-signing", *secrets):
        assert told not in content
