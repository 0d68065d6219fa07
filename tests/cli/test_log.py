"""The log of a running bank is copied and verified from the command line, and by nothing but the command line."""

import time
from pathlib import Path

import pytest

from tests.cli.conftest import RunningBank


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
    deadline = time.monotonic() + 30
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
