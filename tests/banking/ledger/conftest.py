"""A ledger on a real database, its clock, and an auditor's own connection."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from latticebank.banking.ledger.service.ledger import Ledger
from latticebank.kernel.database import Database
from latticebank.values.ids import Uuid7Source
from tests.banking.ledger.counter import Counter, open_counter
from tests.clocks import MovingClock

DEPTH = max(1, int(os.environ.get("LATTICEBANK_TEST_DEPTH", "1")))
"""How much longer than usual the hunts are: 1 in every run, 20 or more for a night."""


@pytest.fixture
def depth() -> int:
    """By how much more than usual to search."""
    return DEPTH


@pytest.fixture
def clock() -> MovingClock:
    """The time of the ledger."""
    return MovingClock()


@pytest.fixture
def url(database_url: Callable[[str], str]) -> str:
    """A fresh database with the tables of the ledger."""
    return database_url("ledger")


@pytest.fixture
def auditor(url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection that is nobody's but the test's."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    """The database of the ledger."""
    opened = Database(url, application_name="test-ledger")
    yield opened
    await opened.close()


@pytest.fixture
async def ledger(database: Database, clock: MovingClock) -> AsyncIterator[Ledger]:
    """The ledger of book 1, running."""
    made = Ledger(database, 1, 1, clock, Uuid7Source(clock))
    async with made.running():
        yield made


@pytest.fixture
async def counter(url: str, clock: MovingClock, tmp_path: Path) -> AsyncIterator[Counter]:
    """The counter of a running bank."""
    async with open_counter(url, tmp_path / "bank", clock) as opened:
        yield opened
