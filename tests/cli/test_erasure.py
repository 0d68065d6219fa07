"""Customers leave, and the operator erases whom the law lets go: at a bank that runs, and at one that is closed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Folder, RunningBank
from tests.cli.test_people import Street


@pytest.fixture
def street(open_bank: RunningBank, tmp_path: Path) -> Street:
    """The people around the bank."""
    return Street(open_bank.folder, tmp_path)


def test_a_customer_leaves_unless_a_hold_stands(street: Street) -> None:
    ada, folder = street.customer("ada"), street.folder
    assert folder.run("keys", "hold", ada.user, "--reason", "tax-audit").returncode == 0
    assert "(legal-hold)" in ada.refused("erase-profile", "--yes")
    assert "--yes" in ada.refused("erase-profile")
    assert folder.run("keys", "release", ada.user).returncode == 0
    assert "(password-wrong)" in ada.refused("erase-profile", "--yes", LATTICEBANK_CLIENT_PASSWORD="not at all this")
    erased = ada.json("erase-profile", "--yes")
    assert (erased["user"], erased["sessions_ended"], erased["devices_revoked"]) == (ada.user, 1, 1)
    assert ada.json("whoami", "--all") == []
    assert folder.json("keys", "list", "--customer", ada.user)[0]["state"] == "destroyed"
    again = street.customer("ada")
    assert again.user != ada.user


def test_the_operator_erases_a_profile_while_the_bank_is_open(street: Street) -> None:
    bob = street.customer("bob")
    erased = street.folder.json("keys", "erase-profile", bob.user, "--yes")
    assert street.folder.json("keys", "erase-profile", bob.user, "--yes") == erased
    assert "is erased" in street.folder.run("keys", "erase-profile", bob.user, "--yes").stdout
    assert "(login-refused)" in bob.refused("login")
    assert "(no-session)" in bob.refused("whoami")


def test_the_operator_erases_a_profile_while_the_bank_is_closed(
    town_folder: Callable[[], Folder], tmp_path: Path
) -> None:
    folder = town_folder()
    bank = RunningBank(folder)
    eve = Street(folder, tmp_path).customer("eve")
    bank.end()
    erased = folder.json("keys", "erase-profile", eve.user, "--yes")
    assert (erased["user"], erased["devices_revoked"]) == (eve.user, 1)
    assert folder.json("keys", "list", "--customer", eve.user)[0]["state"] == "destroyed"
    unknown = folder.run("keys", "erase-profile", "00000000-0000-4000-8000-000000000000", "--yes")
    assert (unknown.returncode, "(user-unknown)" in unknown.stderr) == (1, True)
