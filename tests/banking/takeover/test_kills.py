"""An import that is killed at any moment goes on where it stopped: nothing is missing and nothing is there twice."""

import random
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from latticebank.banking.ledger.client import LedgerClient
from latticebank.banking.takeover.run import take_over
from tests.banking.takeover.banks import entries_of, ledger_of
from tests.banking.takeover.sources import HEADER, PLAIN, written

ROOT = Path(__file__).resolve().parents[3]
ROWS = 20_000
ACCOUNTS = 30


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A mapping and a file of books that need rounding and overdrafts."""
    folder = tmp_path_factory.mktemp("books")
    chance = random.Random(7)
    balances = [0] * ACCOUNTS
    rows = []
    for number in range(ROWS):
        account = chance.randrange(ACCOUNTS)
        amount = chance.choice([-1, 1]) * chance.randrange(1, 100_000)
        balances[account] += amount + chance.choice([0] * 18 + [-10, 10])
        day = f"{2000 + number * 20 // ROWS}-06-{1 + number * 560 // ROWS % 28:02d}"
        rows.append(f"{number},{account},{day},{_decimal(amount)},{_decimal(balances[account])}")
    mapping = folder / "mapping.toml"
    mapping.write_text(PLAIN + '\n[overdraft]\npolicy = "as-needed"\n')
    return mapping, written(folder, rows, header=HEADER)


async def test_kills_at_any_moment_change_nothing_of_the_books(
    books: tuple[Path, Path], database_url: Callable[[str], str], tmp_path: Path
) -> None:
    mapping, file = books
    folder = tmp_path / "bank"
    folder.mkdir(mode=0o700)
    killed_url, undisturbed_url = database_url("ledger"), database_url("ledger")

    reached = [
        _kill_at(moment, killed_url, folder, mapping, file)
        for moment in ("OPENING 0", "OPENING", "POSTING", "POSTING", "COMPARING")
    ]

    assert "POSTING" in reached
    async with AsyncExitStack() as banks:
        killed = await banks.enter_async_context(ledger_of(killed_url, folder))
        undisturbed = await banks.enter_async_context(ledger_of(undisturbed_url, folder))
        resumed = await take_over(killed, mapping, file, correct_rounding=True)
        whole = await take_over(undisturbed, mapping, file, correct_rounding=True)
        assert resumed.already_posted > 0
        assert resumed.posted + resumed.already_posted == whole.posted == ROWS
        assert resumed.rounding_posted + resumed.rounding_already_posted == whole.rounding_posted > 0
        assert resumed.reconciled
        assert resumed.drifts == ()
        assert await _all_entries(killed) == await _all_entries(undisturbed)


def _kill_at(moment: str, url: str, folder: Path, mapping: Path, file: Path) -> str:
    """Start an import, kill it within a tenth of a second of this moment, and return the phase it was in.

    It waits for a word whenever it tells how far it is, so that no slow machine has it end before it is killed.
    """
    program = [
        sys.executable,
        "-m",
        "tests.banking.takeover.importing_process",
        url,
        *map(str, (folder, mapping, file)),
    ]
    phase = ""
    with subprocess.Popen(
        program, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        for line in process.stderr:
            phase = line.split()[0]
            process.stdin.write("on\n")
            process.stdin.flush()
            if line.startswith(moment):
                time.sleep(random.random() / 10)
                process.kill()
                break
    assert process.returncode == -9, f"the import ended before it was at {moment!r}: {phase}"
    return phase


async def _all_entries(client: LedgerClient) -> dict[str, list[tuple[object, ...]]]:
    names = [f"old/{account}" for account in range(ACCOUNTS)]
    numbers = await client.accounts_by_reference([*names, "old/migration/EUR/0"])
    entries: dict[str, list[tuple[object, ...]]] = {}
    for name, number in numbers.items():
        entries[name] = [
            (e.number, e.transfer, e.amount, e.balance, e.booking_date, e.value_date, e.purpose)
            for e in await entries_of(client, number)
        ]
    assert len(entries) == ACCOUNTS + 1
    return entries


def _decimal(minor: int) -> str:
    sign = "-" if minor < 0 else ""
    return f"{sign}{abs(minor) // 100}.{abs(minor) % 100:02d}"
