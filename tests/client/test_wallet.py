"""The wallet keeps keys, tells nobody, and is never half written."""

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from latticebank.client.device import Device
from latticebank.client.private_file import CannotUseFile, OpenToOthers
from latticebank.client.session import Session
from latticebank.client.wallet import Customer, NotInWallet, NoWallet, Wallet, WalletDamaged
from latticebank.crypto.errors import PassphraseWrong
from latticebank.crypto.registry import ML_DSA_65
from latticebank.values.clock import SystemClock
from latticebank.values.errors import InvalidValue
from latticebank.values.ids import Uuid7Source

PASSPHRASE = "correct horse battery"
TOKEN = "lbs_" + "t" * 43
NOW = datetime(2026, 3, 31, 8, 0, tzinfo=UTC)
ids = Uuid7Source(SystemClock())


def customer(email: str = "ada@example.org", bank: str = "bank.example") -> Customer:
    return Customer(bank, "https://bank.example", ids(), Device.new(ids, ML_DSA_65), email=email)


def session_of(owner: Customer) -> Session:
    return Session(ids(), owner.user, NOW, 300, ("customer",), TOKEN)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "purse" / "wallet"


@pytest.fixture
def wallet(path: Path) -> Wallet:
    """A wallet with Ada in it."""
    made = Wallet.open_or_new(path, PASSPHRASE)
    made.keep(customer())
    return made


def test_a_wallet_that_is_opened_again_signs_with_the_same_keys(wallet: Wallet) -> None:
    kept, again = wallet.customers[0], Wallet.open(wallet.path, PASSPHRASE).customers[0]
    assert again.device.key.public_bytes == kept.device.key.public_bytes
    assert again.device.key.sign(b"m", b"c") != b""
    assert (again.bank, again.address, again.user, again.device.id, again.email, again.confirmed) == (
        kept.bank, kept.address, kept.user, kept.device.id, "ada@example.org", True,
    )  # fmt: skip


def test_the_files_are_their_owners_alone(wallet: Wallet) -> None:
    wallet.keep_session(wallet.customers[0], session_of(wallet.customers[0]))
    assert stat.S_IMODE(wallet.path.parent.stat().st_mode) == 0o700
    files = list(wallet.path.parent.iterdir())
    assert len(files) == 2
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_no_file_and_no_repr_shows_a_secret_or_a_person(wallet: Wallet) -> None:
    ada = wallet.customers[0]
    session = session_of(ada)
    wallet.keep_session(ada, session)
    written = b"".join(file.read_bytes() for file in wallet.path.parent.iterdir())
    for secret in (TOKEN, PASSPHRASE, "ada@example.org", ada.device.key.seed.hex()):
        assert secret.encode() not in written
        for thing in (wallet, ada, session, vars(wallet)["customers"]):
            assert secret not in repr(thing)


def test_a_wrong_passphrase_is_told_from_a_damaged_file(wallet: Wallet) -> None:
    with pytest.raises(PassphraseWrong, match="does not open with this passphrase"):
        Wallet.open(wallet.path, "wrong horse battery")
    whole = wallet.path.read_bytes()
    members = json.loads(whole)
    flipped = ("A" if members["ciphertext"][0] != "A" else "B") + members["ciphertext"][1:]
    changed = json.dumps(members | {"ciphertext": flipped}, separators=(",", ":"), sort_keys=True).encode()
    for damaged in (changed, whole[:-1], b"", b"not a wallet", whole.replace(b"wallet/v1", b"wallet/v2")):
        wallet.path.write_bytes(damaged)
        with pytest.raises(WalletDamaged, match="was changed after it was sealed"):
            Wallet.open(wallet.path, PASSPHRASE)


def test_a_wallet_that_others_could_read_or_replace_is_refused(wallet: Wallet) -> None:
    wallet.path.chmod(0o640)
    with pytest.raises(OpenToOthers, match="others can read"):
        Wallet.open(wallet.path, PASSPHRASE)
    wallet.path.chmod(0o600)
    wallet.path.parent.chmod(0o770)
    with pytest.raises(OpenToOthers, match="others can write"):
        Wallet.open(wallet.path, PASSPHRASE)
    with pytest.raises(OpenToOthers, match="others can write"):
        wallet.keep(customer("bob@example.org"))


def test_a_link_is_no_wallet(wallet: Wallet) -> None:
    link = wallet.path.with_name("link")
    link.symlink_to(wallet.path)
    with pytest.raises(OpenToOthers, match="is a link"):
        Wallet.open(link, PASSPHRASE)


def test_a_wallet_that_is_not_there_is_told_and_not_made(path: Path) -> None:
    with pytest.raises(NoWallet):
        Wallet.open(path, PASSPHRASE)
    Wallet.open_or_new(path, PASSPHRASE)
    assert not path.parent.exists()


def test_a_new_wallet_wants_a_passphrase_of_some_length(path: Path) -> None:
    with pytest.raises(InvalidValue, match="at least 8 characters"):
        Wallet.open_or_new(path, "1234567")


def test_a_write_that_fails_leaves_the_wallet_as_it_was(wallet: Wallet, monkeypatch: pytest.MonkeyPatch) -> None:
    before = wallet.path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CannotUseFile, match="No space left"):
        wallet.keep(customer("bob@example.org"))
    assert wallet.path.read_bytes() == before
    assert [file.name for file in wallet.path.parent.iterdir()] == [wallet.path.name]


def test_two_programs_that_write_at_once_lose_no_key(wallet: Wallet) -> None:
    def keep(name: str) -> None:
        Wallet.open(wallet.path, PASSPHRASE).keep(customer(f"{name}@example.org"))

    stale = Wallet.open(wallet.path, PASSPHRASE)
    with ThreadPoolExecutor() as pool:
        list(pool.map(keep, "abcdef"))
    stale.keep(customer("last@example.org"))
    assert len(Wallet.open(wallet.path, PASSPHRASE).customers) == 8
    assert len(stale.customers) == 8


def test_a_customer_is_found_by_e_mail_and_by_bank(wallet: Wallet) -> None:
    assert wallet.customer().email == "ada@example.org"
    bob = customer("bob@example.org")
    wallet.keep(bob)
    wallet.keep(customer("bob@example.org", "other.example"))
    assert wallet.customer("Bob@Example.org", "bank.example").device.id == bob.device.id
    with pytest.raises(NotInWallet, match="2 customers"):
        wallet.customer("bob@example.org")
    with pytest.raises(NotInWallet, match="3 customers"):
        wallet.customer()
    with pytest.raises(NotInWallet, match="no such customer"):
        wallet.customer("eve@example.org")


def test_an_unanswered_registration_is_confirmed_or_forgotten(wallet: Wallet) -> None:
    bob = replace(customer("bob@example.org"), confirmed=False)
    wallet.keep(bob)
    assert not Wallet.open(wallet.path, PASSPHRASE).customer("bob@example.org").confirmed
    wallet.confirm(bob)
    assert Wallet.open(wallet.path, PASSPHRASE).customer("bob@example.org").confirmed
    wallet.forget(bob)
    assert [each.email for each in Wallet.open(wallet.path, PASSPHRASE).customers] == ["ada@example.org"]


def test_a_session_is_kept_until_it_is_dropped(wallet: Wallet) -> None:
    ada = wallet.customers[0]
    assert wallet.session(ada) is None
    session = session_of(ada)
    wallet.keep_session(ada, session)
    again = Wallet.open(wallet.path, PASSPHRASE)
    assert again.session(ada) == session
    assert session.is_over(NOW)
    assert again.session(replace(ada, address="https://elsewhere.example")) is None
    wallet.drop_session(ada)
    assert wallet.session(ada) is None
    wallet.drop_session(ada)


def test_a_session_of_another_wallet_or_another_user_is_none(wallet: Wallet, tmp_path: Path) -> None:
    ada, bob = wallet.customers[0], customer("bob@example.org")
    wallet.keep(bob)
    wallet.keep_session(ada, session_of(ada))
    files = [file for file in wallet.path.parent.iterdir() if file.suffix == ".session"]
    os.link(files[0], files[0].with_name(f"{wallet.path.name}.{bob.user}.session"))
    assert wallet.session(bob) is None
    foreign = Wallet.open_or_new(tmp_path / "other" / "wallet", PASSPHRASE)
    foreign.keep(ada)
    (tmp_path / "other" / files[0].name).write_bytes(files[0].read_bytes())
    (tmp_path / "other" / files[0].name).chmod(0o600)
    assert foreign.session(ada) is None
