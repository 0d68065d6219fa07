"""Brings a database to the tables that this code knows: Alembic by its Python API, one chain of revisions at a time.

A service exports its chain in one line in `migrations/__init__.py`; its revisions lie in `migrations/versions/`:

    LEDGER_TABLES = service_tables("ledger", __file__)

Each revision works before, during and after a deployment: expand, migrate, contract in later ones.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from latticebank.kernel.database import DatabaseUnavailable, connection_string, unavailability
from latticebank.values.errors import BankError, Fault

WAIT_SECONDS = 120.0
"""How long one process waits for another that is migrating the same database."""
_LOOK_SECONDS = 0.1
_LOCK_KEY = 0x4C61_7474_6963_65  # of pg_advisory_lock; nobody else in a database of the bank uses it
_ENVIRONMENT = Path(__file__).parent / "alembic"

# Alembic keeps the migration that is under way in module globals.
_one_at_a_time = threading.Lock()


@dataclass(frozen=True, slots=True)
class MigrationChain:
    """A folder of Alembic revisions, the name of the table that remembers how far they got, and what comes first."""

    name: str
    folder: Path
    foundation: "MigrationChain | None" = None

    @property
    def version_table(self) -> str:
        """The table that holds the revision that a database is at."""
        return f"{self.name}_revision"


KERNEL_TABLES = MigrationChain("kernel", _ENVIRONMENT / "migrations" / "kernel")
"""The outbox and the places of consumers, in the database of every service."""
BUS_TABLES = MigrationChain("bus", _ENVIRONMENT / "migrations" / "bus")
"""The event bus, in a database of its own."""


def service_tables(name: str, package_file: str) -> MigrationChain:
    """Return the chain of a service: `versions/` beside `package_file`, after the tables of the kernel."""
    return MigrationChain(name, Path(package_file).parent / "versions", KERNEL_TABLES)


class NewerDatabase(BankError):
    """A newer version of the bank has migrated this database."""

    code = "newer-database"
    title = "The database is newer than this version of the bank"
    fault = Fault.CONFLICT


def migrate(url: str, chain: MigrationChain, *, wait_seconds: float = WAIT_SECONDS) -> None:
    """Bring the database to the last revision of the chain and of what comes before it; nothing if it is there.

    Several processes may call it at once: one migrates, the others wait. Every revision is one transaction.

    Raises:
        NewerDatabase: the database has a revision that this code does not know; nothing was changed.
        DatabaseUnavailable: the database is down, or another process migrates for longer than `wait_seconds`.

    """
    conninfo = connection_string(url, f"migrate-{chain.name}")
    chains = [chain]
    while (foundation := chains[0].foundation) is not None:
        chains.insert(0, foundation)
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(conninfo),
        poolclass=sqlalchemy.NullPool,
        use_native_hstore=False,
        hide_parameters=True,
    )
    with _one_at_a_time, unavailability(), _only_migration(conninfo, wait_seconds):
        for each in chains:
            with engine.connect() as connection:
                _refuse_newer(connection, each)
        for each in chains:
            # A connection for each: one left in a transaction by a chain that had nothing to do would never commit.
            with engine.connect() as connection:
                command.upgrade(_alembic(each, connection), "head")


@contextmanager
def _only_migration(conninfo: str, wait_seconds: float) -> Iterator[None]:
    """Hold the advisory lock of migrations.

    It is polled for: a session that waits inside a statement would block CREATE INDEX CONCURRENTLY in the holder.
    """
    deadline = time.monotonic() + wait_seconds
    with psycopg.connect(conninfo, autocommit=True) as connection:
        while True:
            row = connection.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK_KEY,)).fetchone()
            if row == (True,):
                break
            if time.monotonic() > deadline:
                raise DatabaseUnavailable(f"another process has been migrating this database for {wait_seconds} s")
            time.sleep(_LOOK_SECONDS)
        yield


def _refuse_newer(connection: sqlalchemy.Connection, chain: MigrationChain) -> None:
    script = ScriptDirectory.from_config(_alembic(chain, connection))
    known = {revision.revision for revision in script.walk_revisions()}
    context = MigrationContext.configure(connection, opts={"version_table": chain.version_table})
    unknown = sorted(set(context.get_current_heads()) - known)
    if unknown:
        raise NewerDatabase(
            f"the {chain.name} tables are at revision {', '.join(unknown)}, unknown to this version of the bank",
            hint="run the version of the bank that migrated this database, or a later one",
        )


def _alembic(chain: MigrationChain, connection: sqlalchemy.Connection) -> Config:
    config = Config(attributes={"connection": connection, "version_table": chain.version_table})
    config.set_main_option("script_location", _escaped(_ENVIRONMENT))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", _escaped(chain.folder))
    return config


def _escaped(path: Path) -> str:
    return os.fspath(path.resolve()).replace("%", "%%")
