"""What a command says or makes goes to a disk that may be full: it is told in words, and by a code that is no verdict."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND, Folder, RunningBank

FULL = Path("/dev/full")
NOT_WRITTEN, NOBODY_READS = 74, 130

needs_a_full_disk = pytest.mark.skipif(not FULL.exists(), reason="this system has no device that is always full")


def onto(target: Path, folder: Folder, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run a command with its standard output in a file."""
    with target.open("w") as out:
        return subprocess.run(
            [*COMMAND, *arguments],
            env={**folder.environment, **variables},
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
        )


@needs_a_full_disk
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", ["--version", "--help", "verify --help", "keys", "--show-completion bash"])
def test_help_for_a_full_disk_is_told_in_one_line(
    new_folder: Callable[[], Folder], command: str, unbuffered: str
) -> None:
    variables = {"PYTHONUNBUFFERED": unbuffered, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = onto(FULL, new_folder(), *command.split(), **variables)
    assert done.returncode == NOT_WRITTEN, done.stderr
    (line,) = done.stderr.splitlines()
    assert "Standard output cannot be written: No space left on device" in line


@needs_a_full_disk
@pytest.mark.parametrize(
    "command", ["accounts", "ledger check", "ledger check --json", "log status", "log policy", "log download {}/log"]
)
def test_an_answer_for_a_full_disk_is_no_verdict_on_the_bank(
    open_bank: RunningBank, tmp_path: Path, command: str
) -> None:
    done = onto(FULL, open_bank.folder, *command.format(tmp_path).split())
    assert done.returncode == NOT_WRITTEN, done.stderr
    assert "Standard output cannot be written: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_whoever_stops_reading_hears_nothing_more(new_folder: Callable[[], Folder]) -> None:
    for unbuffered in ("", "1"):
        reading, writing = os.pipe()
        os.close(reading)
        try:
            environment = {**new_folder().environment, "PYTHONUNBUFFERED": unbuffered}
            command = [*COMMAND, "routes"]
            done = subprocess.run(
                command, env=environment, stdout=writing, stderr=subprocess.PIPE, timeout=120, check=False
            )
        finally:
            os.close(writing)
        assert (done.returncode, done.stderr) == (NOBODY_READS, b"")


def test_a_command_without_standard_output_does_nothing_and_says_so(new_folder: Callable[[], Folder]) -> None:
    folder = new_folder()
    closed = ["/bin/sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "latticebank", "accounts"]
    done = subprocess.run(closed, env=folder.environment, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (NOT_WRITTEN, "Standard output is closed. Nothing was done.\n")


@pytest.fixture
def places(tmp_path: Path) -> list[Path]:
    """Where no file can be made: on a full disk, in place of a folder, and below a file."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    return [FULL, tmp_path / "folder", tmp_path / "file" / "below"]


def assert_told(done: "subprocess.CompletedProcess[str]", place: Path) -> None:
    assert done.returncode == 1, done.stderr
    assert str(place) in done.stderr
    assert "Traceback" not in done.stderr


@needs_a_full_disk
def test_a_receipt_or_an_opening_that_cannot_be_kept_is_told_with_its_file(
    open_bank: RunningBank, places: list[Path]
) -> None:
    folder = open_bank.folder
    paid = next(each for each in folder.json("demo", "as", "ada", "history") if each["state"] == "posted")
    for place in places[::2]:
        assert_told(folder.run("demo", "as", "ada", "receipt", paid["id"], "--out", str(place)), place)
    for place in places[:2]:
        assert_told(folder.run("demo", "as", "aude", "log", "open", "--limit", "1", "--out", str(place)), place)


@needs_a_full_disk
def test_a_backup_of_the_keys_that_cannot_be_kept_is_told_with_its_file(
    open_bank: RunningBank, places: list[Path], tmp_path: Path
) -> None:
    phrase = tmp_path / "phrase"
    phrase.write_text("seven herons over the weir\n")
    for place in places:
        done = open_bank.folder.run("keys", "backup", str(place), "--passphrase-file", str(phrase))
        assert_told(done, place)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "phrase"]


@needs_a_full_disk
def test_a_copy_of_the_log_or_of_the_databases_that_cannot_be_kept_is_told_with_its_folder(
    open_bank: RunningBank, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    for place in (FULL, tmp_path / "file", tmp_path / "file" / "below"):
        assert_told(open_bank.folder.run("log", "download", str(place)), place)
        assert_told(open_bank.folder.run("backup", str(place)), place)
