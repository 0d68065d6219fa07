"""The PostgreSQL that a benchmark runs against: the bank's own embedded one, as durable as in production."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from latticebank.banking.ledger.migrations import LEDGER_TABLES
from latticebank.kernel.migrations import migrate
from latticebank.runtime.postgres import EmbeddedPostgres

LEDGER = "ledger"
_CLUSTER = "postgres"


@dataclass(frozen=True)
class Server:
    """A running server, the folder it lies in, and whether that folder was named and so outlives the benchmark."""

    postgres: EmbeddedPostgres
    folder: Path
    kept: bool

    @property
    def pid(self) -> int:
        """The postmaster."""
        return self.postgres.pid

    def url(self, database: str = LEDGER) -> str:
        """Where a client finds a database."""
        return self.postgres.url(database)

    def ledger(self, name: str = LEDGER) -> str:
        """Return the URL of a database with the tables of the ledger, made if it is not there."""
        self.postgres.create_database(name)
        migrate(self.url(name), LEDGER_TABLES)
        return self.url(name)

    def analyze(self, *databases: str) -> None:
        """Gather the planner's statistics, as pgbench does for its tables; autovacuum would within a minute or so."""
        for name in databases:
            with psycopg.connect(self.url(name), autocommit=True) as connection:
                connection.execute("ANALYZE")

    def drop(self, name: str) -> None:
        """Drop a database if it is there."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def open_server(folder: Path | None, archive: Path | None = None) -> Iterator[Server]:
    """Run a server in this folder, or in one that is deleted in the end; with an archive if one is named."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        with EmbeddedPostgres(folder / _CLUSTER, archive=archive) as postgres:
            yield Server(postgres, folder, kept=True)
        return
    temporary = Path(tempfile.mkdtemp(prefix="latticebank-benchmark-"))
    temporary.chmod(0o755)  # as root, the server runs as another user
    postgres = EmbeddedPostgres(temporary / _CLUSTER, archive=archive)
    try:
        postgres.start()
        yield Server(postgres, temporary, kept=False)
    finally:
        postgres.remove()
        shutil.rmtree(temporary, ignore_errors=True)
