"""Several processes write one shard at once, are killed, cut off and repeat each other: no money is made or lost.

Each test prints the seed of what it did; `LATTICEBANK_TEST_SEED` does the same again, up to the timing of processes.
"""

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from latticebank.banking.ledger.model.accounts import AccountKind
from latticebank.banking.ledger.service.writer import ShardWriter
from latticebank.kernel.database import Database
from latticebank.values.account_number import account_number
from latticebank.values.clock import SystemClock
from latticebank.values.ids import Uuid7Source
from tests.banking.ledger.audit import broken_promises
from tests.banking.ledger.samples import alone, opening, post
from tests.conftest import ROOT
from tests.faults.ledger_process import rounds_of

DEPTH = max(1, int(os.environ.get("LATTICEBANK_TEST_DEPTH", "1")))
CUSTOMERS = 6
START = 200
ACCOUNTS = [account_number(0, serial) for serial in range(CUSTOMERS + 1)]
"""The bank's cash first, then the customers."""


@pytest.fixture
def seed() -> int:
    """What everything random in a test comes from."""
    chosen = int(os.environ.get("LATTICEBANK_TEST_SEED") or random.randrange(10**9))
    print(f"LATTICEBANK_TEST_SEED={chosen}")
    return chosen


@pytest.fixture
async def url(database_url: Callable[[str], str]) -> str:
    """A ledger in which every customer has the same."""
    address = database_url("ledger")
    database = Database(address, application_name="founder", pool_size=1)
    clock = SystemClock()
    writer = ShardWriter(database, 1, 0, clock, Uuid7Source(clock))
    running = asyncio.create_task(writer.run())
    customers = [opening(("customer", n), overdraft_limit=50 * (n % 2)) for n in range(CUSTOMERS)]
    await writer.submit(alone([opening("cash", AccountKind.CASH), *customers]))
    await writer.submit(alone(post(("start", number), ACCOUNTS[0], number, START) for number in ACCOUNTS[1:]))
    running.cancel()
    await asyncio.wait([running])
    await database.close()
    return address


@pytest.fixture
def auditor(url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection that is nobody's but the test's."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


class Crew:
    """Processes that write one shard, and all that they said."""

    def __init__(self, url: str, names: int, patience: float) -> None:
        self._url = url
        self._names = names
        self._patience = patience
        self._processes: list[subprocess.Popen[str]] = []
        self.said: dict[str, set[str]] = defaultdict(set)
        self.answers = 0

    def begin(self, seed: int, rounds: int) -> subprocess.Popen[str]:
        """Start one more process."""
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.ledger_process"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        )  # fmt: skip
        plan = {
            "url": self._url, "seed": seed, "rounds": rounds, "accounts": ACCOUNTS, "names": self._names,
            "patience": self._patience,
        }  # fmt: skip
        assert process.stdin
        process.stdin.write(json.dumps(plan))
        process.stdin.close()
        process.stdin = None
        self._processes.append(process)
        return process

    def hear(self, process: subprocess.Popen[str], *, killed: bool = False) -> None:
        """Wait for the end of a process and keep what it said."""
        output, errors = process.communicate(timeout=120)
        self._processes.remove(process)
        assert killed or process.returncode == 0, errors
        for line in output.splitlines():
            name, _, outcome = line.partition(" ")
            if outcome and line in output.split("\n")[:-1]:
                self.said[name].add(outcome)
                self.answers += 1

    def hear_all(self) -> None:
        """Wait for all processes that are left."""
        for process in list(self._processes):
            self.hear(process)

    def end(self) -> None:
        """Kill what is left when a test has failed."""
        for process in self._processes:
            process.kill()
            process.communicate()


@contextmanager
def crew_of(url: str, names: int, patience: float = 30) -> Iterator[Crew]:
    crew = Crew(url, names, patience)
    try:
        yield crew
    finally:
        crew.end()


def assert_one_answer_each_and_sound_books(crew: Crew, auditor: psycopg.Connection[Any]) -> None:
    """Each name had one answer, wherever it was asked; the answers are in the books; the books are sound."""
    assert {name: outcomes for name, outcomes in crew.said.items() if len(outcomes) > 1} == {}
    assert broken_promises(auditor) == {}
    recorded = auditor.execute("SELECT count(*) FROM transfers WHERE outcome = 0 AND kind <> 5").fetchall()
    assert recorded[0][0] > 0
    outcomes = {outcome for outcomes in crew.said.values() for outcome in outcomes}
    assert "done" in outcomes
    assert len(outcomes) > 3
    total = auditor.execute("SELECT sum(balance) FROM accounts WHERE account <> %s", (ACCOUNTS[0],)).fetchall()
    cash = auditor.execute("SELECT balance FROM accounts WHERE account = %s", (ACCOUNTS[0],)).fetchall()
    assert total[0][0] == -cash[0][0]


def test_processes_that_write_one_shard_at_once_agree_on_everything(
    url: str, auditor: psycopg.Connection[Any], seed: int
) -> None:
    names, rounds = 400 * DEPTH, 25 * DEPTH
    with crew_of(url, names) as crew:
        for n in range(3):
            crew.begin(seed + n, rounds)
        crew.hear_all()

    asked = [name for n in range(3) for together in rounds_of(seed + n, rounds, names) for name in together]
    assert crew.answers == len(asked)
    assert set(crew.said) == set(asked)
    assert_one_answer_each_and_sound_books(crew, auditor)


def test_processes_killed_at_any_moment_leave_sound_books_and_what_they_were_asked_is_answered_once(
    url: str, auditor: psycopg.Connection[Any], seed: int
) -> None:
    dice = random.Random(seed)
    with crew_of(url, names=400) as crew:
        steady = crew.begin(seed, rounds=40 * DEPTH)
        for n in range(4 * DEPTH):
            victim = crew.begin(seed + 1 + n // 2, rounds=10_000)
            first = victim.stdout.readline() if victim.stdout else ""
            crew.said[first.split(" ")[0]].add(first.split(" ", 1)[1].strip())
            time.sleep(dice.uniform(0, 0.5))
            victim.kill()
            crew.hear(victim, killed=True)
        crew.hear(steady)
        for n in range(2):  # what the killed ones left unanswered is asked again
            crew.begin(seed + 1 + n, rounds=15)
        crew.hear_all()

    assert_one_answer_each_and_sound_books(crew, auditor)


def test_database_sessions_that_are_cut_at_any_moment_lose_and_double_nothing(
    url: str, auditor: psycopg.Connection[Any], seed: int
) -> None:
    dice = random.Random(seed)
    with crew_of(url, names=400) as crew:
        cuts = 0
        for n in range(20):  # on a machine at rest a crew may be done before it is cut once
            processes = [crew.begin(seed + 2 * n + m, rounds=30 * DEPTH) for m in range(2)]
            while any(process.poll() is None for process in processes):
                time.sleep(dice.uniform(0.02, 0.25))
                cuts += auditor.execute(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND application_name = 'fault-writer' AND random() < 0.7"
                ).fetchall()[0][0]
            crew.hear_all()
            if cuts >= 3 * DEPTH:
                break

    assert cuts >= 3 * DEPTH
    assert_one_answer_each_and_sound_books(crew, auditor)


def test_locks_that_are_held_for_a_while_delay_answers_and_change_none(
    url: str, auditor: psycopg.Connection[Any], seed: int
) -> None:
    dice = random.Random(seed)
    with crew_of(url, names=300, patience=0.1) as crew:
        processes = [crew.begin(seed + n, rounds=15 * DEPTH) for n in range(2)]
        while any(process.poll() is None for process in processes):
            with auditor.transaction():
                if dice.random() < 0.5:
                    auditor.execute("SELECT pg_advisory_xact_lock(1, 0)")
                else:
                    auditor.execute("SELECT FROM accounts WHERE account = %s FOR UPDATE", (dice.choice(ACCOUNTS),))
                time.sleep(dice.uniform(0.01, 0.2))
            time.sleep(0.05)
        crew.hear_all()

    assert_one_answer_each_and_sound_books(crew, auditor)
