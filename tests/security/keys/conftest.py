"""Keys on a real database: the keyring itself, a bank of keys alone, and an intruder who writes to its tables."""

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import psycopg
import pytest
import structlog

from latticebank.kernel.database import Database
from latticebank.kernel.settings import Settings
from latticebank.kernel.telemetry import configure_logs
from latticebank.security.keys.service.keyring import Keyring, open_keyring
from latticebank.values.ids import Uuid7Source
from tests.clocks import MovingClock
from tests.security.keys.desk import KeysDesk, open_keys


@pytest.fixture
def clock() -> MovingClock:
    """The time of the keys."""
    return MovingClock()


@pytest.fixture
def url(database_url: Callable[[str], str]) -> str:
    """A fresh database with the tables of the keys."""
    return database_url("keys")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The settings of a demo bank, whose KEK is keyless."""
    return Settings(data=tmp_path / "bank", demo=True)


@pytest.fixture
def logs() -> Iterator[StringIO]:
    """Where everything is logged, down to details; afterwards logs go where they went before."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    lines = StringIO()
    configure_logs(lines, level="debug")
    yield lines
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def intruder(url: str) -> Iterator[psycopg.Connection[Any]]:
    """Somebody with the rights of the bank's own database user."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    """The database of the keys."""
    opened = Database(url, application_name="test-keys")
    yield opened
    await opened.close()


@pytest.fixture
async def keyring(settings: Settings, database: Database, clock: MovingClock) -> Keyring:
    """The keyring of book 1."""
    return await open_keyring(settings, database, clock, Uuid7Source(clock))


@pytest.fixture
async def desk(settings: Settings, url: str, clock: MovingClock) -> AsyncIterator[KeysDesk]:
    """A running bank of keys alone."""
    async with open_keys(settings, url, clock) as opened:
        yield opened
