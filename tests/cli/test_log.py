"""The log of a running bank is copied and verified from the command line, and by nothing but the command line."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from latticebank.kernel.kept_apart import KeptApart
from latticebank.security.audit.model.standing import Remembered, line_of, remembered_in
from latticebank.security.audit.service.foundation import PUBLISHED
from tests.cli.conftest import Folder, RunningBank


@pytest.fixture
def policy(open_bank: RunningBank, tmp_path: Path) -> Path:
    """The keys of the bank's log, as the bank names them."""
    done = open_bank.folder.run("log", "policy")
    assert done.returncode == 0, done.stderr
    assert "the bank's own word" in done.stderr
    path = tmp_path / "policy"
    path.write_text(done.stdout)
    return path


def download(bank: RunningBank, folder: Path, at_least: int) -> int:
    """Copy the log once it has so many entries; return its size."""
    deadline = time.monotonic() + 60
    while True:
        size = int(bank.folder.json("log", "download", str(folder))["size"])
        if size >= at_least:
            return size
        assert time.monotonic() < deadline, f"the log has {size} entries only"
        time.sleep(0.2)


def test_the_log_of_a_demo_bank_is_copied_goes_on_and_verifies(
    open_bank: RunningBank, policy: Path, tmp_path: Path
) -> None:
    folder, bank = tmp_path / "copy", open_bank.folder
    size = download(open_bank, folder, 20)
    kept = tmp_path / "yesterday"
    kept.write_bytes((folder / "checkpoint").read_bytes())
    done = bank.run("verify", str(folder), str(kept), "--policy", str(policy))

    assert (done.returncode, done.stderr) == (0, "")
    assert f"{size} leaves" in done.stdout
    assert done.stdout.splitlines()[-1] == "SOUND"
    again = bank.run("log", "download", str(folder), "--url", open_bank.address)
    assert again.returncode == 0, again.stderr
    assert "verify" in again.stdout


def test_a_copy_that_was_changed_is_not_sound(open_bank: RunningBank, policy: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    download(open_bank, folder, 20)
    (bundle, *_) = sorted(path for path in (folder / "tile" / "entries").rglob("*") if path.is_file())
    content = bytearray(bundle.read_bytes())
    content[-1] ^= 1
    bundle.write_bytes(content)
    done = open_bank.folder.run("verify", str(folder), "--policy", str(policy))

    assert done.returncode == 1
    assert "FAULT" in done.stdout
    assert "Traceback" not in done.stderr


def test_what_cannot_be_is_refused_in_words(open_bank: RunningBank, policy: Path, tmp_path: Path) -> None:
    bank = open_bank.folder
    nothing = bank.run("verify", str(tmp_path / "nothing"), "--policy", str(policy))
    elsewhere = bank.run("log", "download", str(policy.parent))
    nobody = bank.run("log", "policy", "--bank-url", "http://localhost:1")

    assert (nothing.returncode, "cannot be read" in nothing.stderr) == (2, True)
    assert (elsewhere.returncode, "holds something else" in elsewhere.stderr) == (1, True)
    assert (nobody.returncode, "cannot be reached" in nobody.stderr) == (1, True)
    assert bank.run("verify", str(policy)).returncode == 2


def databases(bank: RunningBank) -> dict[str, str]:
    urls: dict[str, str] = json.loads((bank.folder.path / "running.json").read_text())["database_urls"]
    return urls


def taken_in(bank: RunningBank, topic: str) -> None:
    """Wait until the log has taken in all of a topic."""
    deadline = time.monotonic() + 60
    with psycopg.connect(databases(bank)["bus"]) as bus, psycopg.connect(databases(bank)["audit"]) as audit:
        while True:
            said = bus.execute("SELECT next_offset - 1 FROM topics WHERE topic = %s", [topic]).fetchone()
            heard = audit.execute('SELECT "offset" FROM consumer_offsets WHERE topic = %s', [topic]).fetchone()
            if said is not None and said == heard:
                return
            assert time.monotonic() < deadline, (said, heard)
            time.sleep(0.1)


def test_the_status_tells_of_records_that_were_told_twice_or_never(open_bank: RunningBank) -> None:
    well = open_bank.folder.run("log", "status")
    with psycopg.connect(databases(open_bank)["audit"], autocommit=True) as audit:
        audit.execute("INSERT INTO told_again VALUES (1, 0, 7, 9, now()); INSERT INTO gaps VALUES (1, 0, 3, 5, now())")
        ill = open_bank.folder.run("log", "status")
        in_json = open_bank.folder.run("log", "status", "--json")
        audit.execute("DELETE FROM told_again; DELETE FROM gaps")

    assert (well.returncode, well.stderr) == (0, "")
    assert (ill.returncode, in_json.returncode) == (1, 1)
    assert "records 7 to 8 of shard 0 more than once" in ill.stderr
    assert "did not tell of its records 3 to 4 of shard 0" in ill.stderr
    assert json.loads(in_json.stdout)["overlaps"] == [{"shard": 0, "first_seq": 7, "next_seq": 9}]


def test_the_status_tells_of_a_bus_that_was_set_back_also_of_a_closed_bank(town_folder: Callable[[], Folder]) -> None:
    bank, topic = RunningBank(town_folder()), "latticebank.payments"
    taken_in(bank, topic)
    with psycopg.connect(databases(bank)["bus"]) as bus:
        bus.execute("ALTER TABLE topics DISABLE TRIGGER USER")
        bus.execute("UPDATE topics SET next_offset = next_offset - 3 WHERE topic = %s", [topic])
        bus.execute("ALTER TABLE topics ENABLE TRIGGER USER")
        bus.execute(
            'DELETE FROM events USING topics WHERE events.topic = %s AND events.topic = topics.topic AND "offset" >= next_offset',
            [topic],
        )
    running = bank.folder.run("log", "status")
    assert bank.end() == 0
    closed = bank.folder.run("log", "status")

    for told in (running, closed):
        assert (told.returncode, told.stdout.splitlines()[1:]) == (1, ["  nobody witnesses it"])
        assert f"The log takes in nothing of {topic}: " in told.stderr
        assert "latticebank restore" in told.stderr


def test_the_status_of_a_closed_bank_waits_until_it_is_known(town_folder: Callable[[], Folder]) -> None:
    folder = town_folder()
    well = folder.run("log", "status")
    kept = KeptApart([folder.path / "kept"], PUBLISHED)
    [said] = remembered_in(kept.lines()).values()
    kept.replace([line_of(Remembered(said.origin, said.size + 1_000))])
    halted = folder.run("log", "status")

    assert (well.returncode, well.stderr) == (0, "")
    assert halted.returncode == 1
    assert f"and {said.size + 1_000} were published" in halted.stderr
