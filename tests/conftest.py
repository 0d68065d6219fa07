"""What the tests of all rooms share: a real PostgreSQL, databases with their tables in a few milliseconds, data."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib import import_module
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import psycopg
import pytest
from argon2 import PasswordHasher
from psycopg import sql

from latticebank.crypto import passwords
from latticebank.kernel.migrations import BUS_TABLES, KERNEL_TABLES, MigrationChain, migrate
from latticebank.runtime.postgres import EmbeddedPostgres
from latticebank.security.identity.service import evenness

ROOT = Path(__file__).resolve().parents[1]
IN_MEMORY = Path("/dev/shm")
ROOM_IN_MEMORY = 6 * 1024**3
AREAS = ("banking", "security", "intelligence")

# Nothing that a test writes has to outlive the machine: where its memory has the room, no disk is waited for. A copy of a
# database takes 10 ms there, and hundreds where two processes of the tests and their servers share a slow disk.
if "TMPDIR" not in os.environ and IN_MEMORY.is_dir() and shutil.disk_usage(IN_MEMORY).free >= ROOM_IN_MEMORY:
    os.environ["TMPDIR"] = str(IN_MEMORY)
    tempfile.tempdir = None
# A command that a test starts finds the code compiled by the first one, also where the machine is told to keep none.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

PARAMETERS = {"fsync": "off", "full_page_writes": "off", "max_connections": "200"}


@pytest.fixture(autouse=True)
def least_work(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let people be registered in a moment: Argon2id with the least work, even answers at smaller steps.

    What these cost in earnest is tested in tests/crypto, and by every test that runs the bank in a process of its own.
    """
    if "crypto" not in request.path.parts:
        monkeypatch.setattr(passwords, "_HASHER", PasswordHasher(time_cost=1, memory_cost=1_024, parallelism=1))
        monkeypatch.setattr(evenness, "STEP_SECONDS", 0.02)


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """One PostgreSQL for this process of the tests; thrown away at the end."""
    folder = Path(tempfile.mkdtemp(prefix="latticebank-tests-"))
    folder.chmod(0o755)  # as root, the server runs as another user
    server = EmbeddedPostgres(folder / "postgres", parameters=PARAMETERS)
    try:
        server.start()
        yield server
    finally:
        server.remove()
        shutil.rmtree(folder, ignore_errors=True)


class Templates:
    """Databases that have the tables of a service already; a copy of one takes a fraction of a migration."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self._server = server
        self._migrated: set[str] = set()
        self._numbers = count(1)

    def copy(self, tables: str) -> str:
        """Return the name of a new database with these tables: "kernel-only", "bus", or the name of a service."""
        template = f"template_{tables}"
        if tables not in self._migrated:
            self._server.create_database(template)
            migrate(self._server.url(template), chain_of(tables))
            self._migrated.add(tables)
        name = f"{tables}_{next(self._numbers)}"
        self._run("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY", name, template)
        return name

    def drop(self, name: str) -> None:
        """Drop a database, whoever is still connected to it."""
        self._run("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def _run(self, statement: str, *names: str) -> None:
        with psycopg.connect(self._server.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def chain_of(tables: str) -> MigrationChain:
    """The migrations that lead to these tables; a service `ledger` exports `LEDGER_TABLES` from its `migrations`."""
    if tables == "kernel-only":
        return KERNEL_TABLES
    if tables == "bus":
        return BUS_TABLES
    for area in AREAS:
        package = f"latticebank.{area}.{tables}"
        if find_spec(f"latticebank.{area}") and find_spec(package) and find_spec(f"{package}.migrations"):
            chain = getattr(import_module(f"{package}.migrations"), f"{tables.upper()}_TABLES")
            assert isinstance(chain, MigrationChain)
            return chain
    raise LookupError(f"no service {tables!r} with a package `migrations`")


@pytest.fixture(scope="session")
def templates(postgres: EmbeddedPostgres) -> Templates:
    """The migrated databases that those of the tests are copied from."""
    return Templates(postgres)


@pytest.fixture
def database_url(postgres: EmbeddedPostgres, templates: Templates) -> Iterator[Callable[[str], str]]:
    """Call it with "ledger", "bus" or "kernel-only": the URL of a fresh database with those tables."""
    with ExitStack() as drops:

        def fresh(tables: str) -> str:
            name = templates.copy(tables)
            drops.callback(templates.drop, name)
            return postgres.url(name)

        yield fresh


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of large data sets that tests read, from `LATTICEBANK_TEST_DATA` or beside the project."""
    folder = Path(os.environ.get("LATTICEBANK_TEST_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"the shared data is not at {folder}; LATTICEBANK_TEST_DATA names another place")
    return folder
