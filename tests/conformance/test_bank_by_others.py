"""A bank and a witness as people run them, each in a process of its own: programs of others verify what they sign."""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from latticebank.crypto.log_policy import LogPolicy, parse_policy
from latticebank.crypto.notes import NoteKey, parse_note, parse_vkey
from latticebank.witness.record import origin_hash
from tests.cli.conftest import Folder, RunningBank
from tests.cli.conftest import closed_town as closed_town
from tests.cli.conftest import new_folder as new_folder
from tests.cli.conftest import town_folder as town_folder
from tests.conformance.outside_programs import OutsidePrograms
from tests.witness.test_command import Process


def read(address: str, path: str) -> httpx.Response:
    return httpx.get(f"{address}{path}", timeout=60, trust_env=False).raise_for_status()


def policy_of(bank: RunningBank) -> LogPolicy:
    return parse_policy(read(bank.address, "/api/log/policy").content)


def wait_until_signed(bank: RunningBank, key: NoteKey) -> None:
    deadline = time.monotonic() + 60
    while not parse_note(read(bank.address, "/api/log/checkpoint").content).signatures_of(key):
        assert time.monotonic() < deadline, "the witness did not cosign"
        time.sleep(0.1)


@pytest.fixture
def witness_folder(tmp_path: Path) -> Iterator[tuple[Path, list[Process]]]:
    started: list[Process] = []
    yield tmp_path, started
    for process in started:
        process.end(signal.SIGKILL)


def test_others_verify_the_log_of_a_bank_and_the_word_of_its_witness(
    outside: OutsidePrograms, town_folder: Callable[[], Folder], witness_folder: tuple[Path, list[Process]]
) -> None:
    folder = town_folder()
    bank = RunningBank(folder)
    keys = policy_of(bank).logs
    alone = outside.read_log(f"{bank.address}/api/log/", keys)
    assert alone.checkpoint.size > 100
    bank.end()

    path, started = witness_folder
    (path / "logs").write_text("".join(f"log {key.vkey()}\n" for key in keys) + "quorum none\n")
    witness = Process("--policy", str(path / "logs"), "--folder", str(path / "w"), "--name", "witness.example/w1")
    started.append(witness)
    (path / "witnesses").write_text(f"witness w1 {witness.vkey} {witness.address}\nquorum w1\n")
    folder.environment["LATTICEBANK_WITNESSES"] = str(path / "witnesses")
    bank = RunningBank(folder)
    key = parse_vkey(witness.vkey)
    wait_until_signed(bank, key)

    seen = outside.read_log(f"{bank.address}/api/log/", keys, [key])
    assert seen.checkpoint.size >= alone.checkpoint.size
    latest = read(witness.address, f"/{origin_hash(seen.checkpoint.origin)}/checkpoint")
    assert parse_note(latest.content).signatures_of(key)
