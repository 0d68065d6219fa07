"""Running the bank: it opens, says where, survives being killed, and leaves nothing behind."""

import json
import os
import signal
import socket
import time
from collections.abc import Callable

import httpx
import pytest

from latticebank.runtime import processes
from tests.cli.conftest import Folder, RunningBank

MakesFolders = Callable[[], Folder]
DEMO_ACCOUNTS = 18
"""Five of the bank's own, and one of everybody in the town."""


def servers(folder: Folder) -> list[int]:
    """Return the processes of PostgreSQL that serve a folder; sessions of the server name its cluster."""
    return [each.pid for each in processes.every() if each.alive and f"{folder.path}/" in each.command]


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


def healthy(address: str) -> bool:
    try:
        answer = httpx.get(f"{address}/health", timeout=60, trust_env=False)
    except httpx.HTTPError:
        return False
    return bool(answer.status_code == 200 and answer.json()["ready"])


def test_the_bank_opens_with_a_demo_town_and_ctrl_c_closes_everything(new_folder: MakesFolders) -> None:
    folder = new_folder()
    bank = RunningBank(folder)
    assert healthy(bank.address)
    assert servers(folder)
    before = folder.json("accounts")
    assert [account["reference"] for account in before][:2] == ["demo/cash", "demo/fees"]

    people = folder.json("demo", "people")

    assert bank.end(signal.SIGINT) == 0
    assert "The bank is closed." in bank.said
    for person in people:
        assert person["email"] in bank.said
        assert person["password"] in bank.said
    assert servers(folder) == []
    assert not (folder.path / "running.json").exists()

    again = RunningBank(folder)
    assert folder.json("accounts") == before, "a second start changed the books"
    assert again.end(signal.SIGTERM) == 0
    assert servers(folder) == []


def test_a_bank_whose_process_is_killed_leaves_no_server_and_opens_again(town_folder: MakesFolders) -> None:
    folder = town_folder()
    bank = RunningBank(folder)
    bank.end(signal.SIGKILL)
    wait_until(lambda: servers(folder) == [])
    assert len(folder.json("accounts")) == DEMO_ACCOUNTS
    assert folder.run("ledger", "check").returncode == 0


def test_a_bank_whose_database_is_killed_starts_it_again(town_folder: MakesFolders) -> None:
    folder = town_folder()
    bank = RunningBank(folder)
    presence = json.loads((folder.path / "running.json").read_text())
    assert presence["pid"] == bank.process.pid
    # A session that the server has just begun looks like the server itself until it has a title.
    looks = {
        each.pid: each.parent
        for each in processes.every()
        if "bin/postgres -D" in each.command and str(folder.path) in each.command
    }
    [postmaster] = [pid for pid, parent in looks.items() if parent not in looks]
    os.kill(postmaster, signal.SIGKILL)
    wait_until(lambda: postmaster not in servers(folder) and healthy(bank.address))
    assert len(folder.json("accounts")) == DEMO_ACCOUNTS
    assert bank.end() == 0


def test_what_the_folder_keeps_secret_only_its_owner_reads(open_bank: RunningBank) -> None:
    for name in ("operator.token", "running.json"):
        assert (open_bank.folder.path / name).stat().st_mode & 0o777 == 0o600, name


def test_a_second_bank_on_the_same_folder_is_told_who_has_it(open_bank: RunningBank) -> None:
    done = open_bank.folder.run("up", "--port", "0")
    assert done.returncode == 1
    assert "data-folder-in-use" in done.stderr
    assert "in use by process" in done.stderr


def test_a_folder_of_somebody_else_is_left_alone(new_folder: MakesFolders) -> None:
    folder = new_folder()
    folder.path.mkdir()
    (folder.path / "thesis.doc").touch()
    done = folder.run("up", "--port", "0")
    assert (done.returncode, "foreign-data-folder" in done.stderr) == (1, True)
    assert [each.name for each in folder.path.iterdir()] == ["thesis.doc"]
    for unusable in (str(folder.path / "thesis.doc"), "/proc/bank"):
        done = folder.run("up", "--port", "0", "--data", unusable)
        assert (done.returncode, "unwritable-data-folder" in done.stderr) == (1, True)


def test_a_port_in_use_is_told_before_anything_is_started(new_folder: MakesFolders) -> None:
    folder = new_folder()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = folder.run("up", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "cannot-listen" in done.stderr
    assert not (folder.path / "postgres").exists()


@pytest.mark.parametrize("arguments", [("up", "--host", "0.0.0.0"), ("up", "--no-demo", "--host", "0.0.0.0")])
def test_demo_books_are_never_served_to_others(town_folder: MakesFolders, arguments: tuple[str, ...]) -> None:
    done = town_folder().run(*arguments, "--port", "0")
    assert done.returncode == 1
    assert "demo" in done.stderr
    assert "The bank is open" not in done.stderr


def test_a_bank_without_demo_stays_empty(new_folder: MakesFolders) -> None:
    folder = new_folder()
    bank = RunningBank(folder, "serve", "ledger")
    assert folder.json("accounts") == []
    assert bank.end() == 0


def test_wrong_settings_are_named_and_nothing_is_started(new_folder: MakesFolders) -> None:
    folder = new_folder()
    done = folder.run("up", LATTICEBANK_SHARDS="0", LATTICEBANK_MODE="test")
    assert done.returncode == 1
    assert "LATTICEBANK_SHARDS" in done.stderr
    assert "LATTICEBANK_MODE" in done.stderr
    assert not folder.path.exists()


def test_a_service_that_does_not_exist_is_refused(new_folder: MakesFolders) -> None:
    done = new_folder().run("serve", "treasury", "--port", "0")
    assert done.returncode == 1
    assert "there is no service called treasury" in done.stderr


def test_the_routes_are_shown_with_their_policies(new_folder: MakesFolders) -> None:
    folder = new_folder()
    rows = folder.json("routes")
    assert any((row["path"], row["action"]) == ("/api/ledger/accounts", "ledger:ReadAccounts") for row in rows)
    assert all(row["action"] for row in rows)
    assert folder.run("routes", "--check").returncode == 0
    assert not folder.path.exists()
