"""The books of a bank are held against openings of its public log, as an auditor writes them, from the command line."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from latticebank.banking.ledger.model.logged import LoggedBatch
from latticebank.cli.batches_logged import batches_logged
from latticebank.kernel.database import Database
from latticebank.verify.strict import Fault
from tests.banking.ledger.forger import forge
from tests.cli.conftest import Folder, RunningBank


@pytest.fixture(scope="module")
def opened(open_bank: RunningBank, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The openings of the log of a demo bank, once everything that the ledger did so far is among them."""
    file, bank = tmp_path_factory.mktemp("audit") / "openings.jsonl", open_bank.folder
    deadline = time.monotonic() + 60
    while True:
        done = bank.run("demo", "as", "aude", "log", "open", "--limit", "100000", "--out", str(file))
        assert done.returncode == 0, done.stderr
        found = bank.run("ledger", "check", "--openings", str(file), "--json")
        if found.returncode == 0 and not json.loads(found.stdout)["log"]["beyond"]:
            return file
        assert time.monotonic() < deadline, found.stdout + found.stderr
        time.sleep(0.2)


def ledger_of(bank: Folder) -> str:
    """The URL of the ledger's database."""
    urls: dict[str, str] = json.loads((bank.path / "running.json").read_text())["database_urls"]
    return urls["ledger"]


def batches_in(openings: Path) -> list[dict[str, Any]]:
    """What the opened entries tell of batches of the ledger, each with its place."""
    opened = [json.loads(line) for line in openings.read_text().splitlines()]
    entries = [{"index": each["index"], **json.loads(each["record"])} for each in opened]
    return [entry for entry in entries if entry["kind"] == "ledger.batch"]


def test_the_books_of_a_bank_fit_its_log(open_bank: RunningBank, opened: Path) -> None:
    bank, batches = open_bank.folder, len(batches_in(opened))
    found = bank.json("ledger", "check", "--openings", str(opened), "--signatures")

    assert batches > 10
    assert found["books"]["log"] == {"entries": batches, "differences": 0, "not_opened": 0, "beyond": []}
    assert found["signatures"]["findings"] == []
    told = bank.run("ledger", "check", "--openings", str(opened)).stdout
    assert f"{batches} entries of the log tell of batches and were compared: 0 differences" in told


def test_what_is_newer_than_the_openings_is_told_as_not_shown(
    open_bank: RunningBank, opened: Path, tmp_path: Path
) -> None:
    some = tmp_path / "some.jsonl"
    middle = batches_in(opened)[5]
    lines = opened.read_text().splitlines(keepends=True)
    some.write_text("".join(line for line in lines if json.loads(line)["index"] <= middle["index"]))
    done = open_bank.folder.run("ledger", "check", "--openings", str(some))

    newest = f"the newest {len(batches_in(opened)) - 6} batches, records {middle['next_seq']} to "
    assert done.returncode == 0, done.stderr
    assert f"not shown  {newest}" in done.stdout


BATCH = {
    "at": "2026-11-20T10:00:00.000Z",
    "bank": "latticebank.localhost",
    "event": "01a1f933-28fd-77ce-9a6a-84b41300f6e0#0",
    "first_seq": "1",
    "kind": "ledger.batch",
    "link": "ab" * 32,
    "next_seq": "2",
    "shard": "0",
}


def line(index: object = 0, **changed: str) -> str:
    """An opening of a batch, as a file has it."""
    record = json.dumps({**BATCH, **changed}, sort_keys=True, separators=(",", ":"))
    return json.dumps({"index": index, "salt": "ab" * 32, "record": record}) + "\n"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "no entry that is opened in it tells of a batch of the ledger"),
        (line(kind="login"), "no entry that is opened in it tells of a batch"),
        ("\n", "openings, line 1: it is not JSON"),
        ('{"index": 0}\n', 'openings, line 1: "salt" is missing'),
        (line("0"), "openings, line 1: index"),
        (line() + line(), "openings, line 2: the openings are not in the order of the log"),
        (line(bank="other.example"), "entry 0: it is of the bank other.example, and this is latticebank.localhost"),
        (line(shard="one"), '"one" is not a whole'),
        (line(first_seq="01"), '"01" is not a whole'),
        (line(link="ab"), '"ab" is not a hash'),
        (line(more="of it"), '"more" is not understood'),
        ("[" * 10_000, "openings, line 1: it is not JSON"),
        ("x" * 1_000_000, "openings, line 1: it has more than"),
    ],
    ids=lambda text: text[:30],
)
def test_a_file_that_holds_no_openings_of_this_bank_is_refused_with_its_place(
    tmp_path: Path, content: str, told: str
) -> None:
    file = tmp_path / "file"
    file.write_text(content)

    with pytest.raises(Fault) as refused:
        list(batches_logged(file, BATCH["bank"]))
    assert told in str(refused.value)


def test_openings_with_gaps_tell_how_many_entries_before_each_are_not_opened(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text(line(3) + line(4, kind="login") + line(7, first_seq="2", next_seq="4", shard="1"))

    link = bytes.fromhex(BATCH["link"])
    assert list(batches_logged(file, BATCH["bank"])) == [
        LoggedBatch(1, 2, place=3, unopened=3, shard=0, link=link),
        LoggedBatch(2, 4, place=7, unopened=5, shard=1, link=link),
    ]


def test_a_file_of_something_else_is_wrong_use_and_the_terminal_is_told_in_plain_letters(
    open_bank: RunningBank, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text(line() + line(1, bank="\x1b[2Jother"))
    done = open_bank.folder.run("ledger", "check", "--openings", str(file), COLUMNS="240")

    assert (done.returncode, done.stdout) == (2, "")
    assert "entry 1: it is of the bank \\x1b[2Jother" in done.stderr
    assert "\x1b" not in done.stderr
    assert "Traceback" not in done.stderr
    nothing = open_bank.folder.run("ledger", "check", "--openings", str(tmp_path / "nothing"), COLUMNS="240")
    assert (nothing.returncode, nothing.stdout) == (2, "")
    assert "nothing: it cannot be read: No such file or directory" in nothing.stderr


def test_a_journal_rewritten_with_all_its_links_is_found_by_the_log_and_by_nothing_else(
    open_bank: RunningBank, opened: Path
) -> None:
    bank = open_bank.folder

    async def intrude() -> None:
        database = Database(ledger_of(bank), application_name="intruder")
        await forge(database, "UPDATE transfers SET purpose = 3 WHERE kind = 1 AND outcome = 0")
        await database.close()

    asyncio.run(intrude())
    assert bank.run("ledger", "check", "--signatures").returncode == 0
    done = bank.run("ledger", "check", "--openings", str(opened))
    assert done.returncode == 1
    assert "broken  logged" in done.stdout
    last = batches_in(opened)[-1]
    assert f"logged: entry {last['index']}, shard 0, records {last['first_seq']} to" in done.stderr
    assert f"the log {last['link']}" in done.stderr
