"""The demo town at the command line: who lives there, acting as one of them, and having them pay."""

import json
import re
import signal
import subprocess
from collections.abc import Callable

import pytest

from tests.cli.conftest import COMMAND, Folder, RunningBank

NewFolder = Callable[[], Folder]


@pytest.fixture(scope="module")
def accounts(open_bank: RunningBank) -> dict[str, str]:
    """The account of each of the town by name."""
    return {each["name"]: each["account"] for each in open_bank.folder.json("demo", "people")}


def test_who_lives_in_the_town_is_listed_with_what_opens_the_bank_to_them(open_bank: RunningBank) -> None:
    people = open_bank.folder.json("demo", "people")
    assert len(people) == 13
    shown = open_bank.folder.run("demo", "people").stdout
    for person in people:
        assert all(person[what] in shown for what in ("email", "password", "role", "account"))


def test_one_command_acts_as_somebody_and_pays(open_bank: RunningBank, accounts: dict[str, str]) -> None:
    folder = open_bank.folder
    before = folder.json("demo", "as", "ada", "history")
    paid = folder.json("demo", "as", "ada", "transfer", accounts["grocer"], "12.34", "--to", "Corner Grocery")
    assert (paid["state"], paid["debtor_account"], paid["amount"]) == ("posted", accounts["ada"], "12.34")
    after = folder.json("demo", "as", "ada@town.example", "history")
    assert [each["id"] for each in after] == [paid["id"], *(each["id"] for each in before)]
    waiting = folder.json("demo", "as", "marek", "approvals")
    assert [each["amount"] for each in waiting] == ["12500.00"]


def test_what_is_refused_or_wrong_ends_with_the_code_of_the_command(
    open_bank: RunningBank, accounts: dict[str, str]
) -> None:
    folder = open_bank.folder
    too_much = folder.run("demo", "as", "ada", "transfer", accounts["grocer"], "99999.00", "--to", "Corner Grocery")
    assert (too_much.returncode, "insufficient-funds" in too_much.stderr) == (1, True)
    assert folder.run("demo", "as", "ada", "juggle").returncode == 2
    nobody = folder.run("demo", "as", "mallory", "history")
    assert (nobody.returncode, "no-such-resident" in nobody.stderr) == (1, True)


def test_the_variables_of_a_person_make_the_usual_commands_theirs(open_bank: RunningBank) -> None:
    folder = open_bank.folder
    written = folder.run("demo", "as", "bruno")
    assert written.returncode == 0, written.stderr
    lines = [line.removeprefix("export ").split("=", 1) for line in written.stdout.splitlines()]
    variables = {name: value.strip("'") for name, value in lines}
    assert folder.run("login", **variables).returncode == 0
    me = folder.run("whoami", "--json", **variables)
    assert json.loads(me.stdout)["email"] == "bruno@town.example"


def test_the_town_pays_for_two_seconds_and_the_books_prove(open_bank: RunningBank) -> None:
    folder = open_bank.folder
    tally = folder.json("demo", "run", "--rate", "10", "--people", "9", "--seconds", "2")
    assert tally["paid"] > 0
    assert tally["failed"] == {}
    assert tally["orders_per_second"] > 0
    assert len(folder.json("demo", "people")) == 14
    assert folder.run("ledger", "check").returncode == 0


def test_ctrl_c_ends_a_run_with_its_outcome(open_bank: RunningBank) -> None:
    running = subprocess.Popen(
        [*COMMAND, "demo", "run", "--rate", "5", "--people", "3"],
        env=open_bank.folder.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stderr is not None
    assert any(re.search(r"[1-9][0-9,]* paid, ", line) for line in running.stderr), "it ended without a payment"
    running.send_signal(signal.SIGINT)
    said, _ = running.communicate(timeout=60)
    assert running.returncode == 0
    assert "outcome" in said
    assert "a second, half of them answered within" in said


def test_a_folder_without_bank_or_town_says_what_is_missing(new_folder: NewFolder) -> None:
    folder = new_folder()
    for arguments, code in [
        (("demo", "people"), "no-demo-town"),
        (("demo", "as", "ada", "history"), "no-bank-runs"),
        (("demo", "run"), "no-bank-runs"),
    ]:
        done = folder.run(*arguments)
        assert (done.returncode, code in done.stderr) == (1, True), done.stderr
    assert not folder.path.exists()
