"""Bringing a database to the tables that this version of the bank knows."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from latticebank.kernel.database import DatabaseUnavailable
from latticebank.kernel.migrations import (
    BUS_TABLES,
    KERNEL_TABLES,
    MigrationChain,
    NewerDatabase,
    migrate,
    service_tables,
)
from latticebank.runtime.postgres import EmbeddedPostgres

REVISION = '''"""A revision of the tests."""

import time

from alembic import op

revision = "{revision}"
down_revision = {before!r}


def upgrade() -> None:
    op.execute("CREATE TABLE {table} (made timestamptz NOT NULL DEFAULT now())")
    time.sleep({seconds})
    op.execute("{last}")
'''


@pytest.fixture
def empty_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A database without any tables."""
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE empty TEMPLATE template0")
        yield postgres.url("empty")
        connection.execute("DROP DATABASE empty WITH (FORCE)")


@pytest.fixture
def chain(tmp_path: Path) -> MigrationChain:
    """The migrations of a service of the tests, in a folder with an awkward name."""
    package = tmp_path / "50% off: here" / "migrations"
    (package / "versions").mkdir(parents=True)
    return service_tables("teller", str(package / "__init__.py"))


def add(chain: MigrationChain, table: str, *, seconds: float = 0, last: str = "SELECT 1") -> None:
    """Add a revision that makes a table."""
    done = sorted(chain.folder.glob("*.py"))
    revision = f"{len(done) + 1:04d}"
    text = REVISION.format(
        revision=revision, before=done[-1].stem if done else None, table=table, seconds=seconds, last=last
    )
    (chain.folder / f"{revision}.py").write_text(text)


def tables(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {name for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}


def test_a_service_gets_the_tables_of_the_kernel_before_its_own(empty_url: str, chain: MigrationChain) -> None:
    add(chain, "tills", last="INSERT INTO outbox (book, shard, event_count, events) VALUES (1, 0, 1, '')")
    migrate(empty_url, chain)
    kernel = {"outbox", "consumer_offsets", "configurations", "kernel_revision"}
    assert tables(empty_url) == kernel | {"tills", "teller_revision"}


def test_migrating_again_changes_nothing_and_a_new_revision_is_added(empty_url: str, chain: MigrationChain) -> None:
    add(chain, "tills")
    migrate(empty_url, chain)
    migrate(empty_url, chain)
    add(chain, "vaults")
    migrate(empty_url, chain)
    assert {"tills", "vaults"} <= tables(empty_url)


def test_a_revision_that_fails_leaves_those_before_it_and_nothing_of_its_own(
    empty_url: str, chain: MigrationChain
) -> None:
    add(chain, "tills")
    add(chain, "vaults", last="SELECT 1 / 0")
    with pytest.raises(Exception, match="division by zero"):
        migrate(empty_url, chain)
    assert "tills" in tables(empty_url)
    assert "vaults" not in tables(empty_url)
    (chain.folder / "0002.py").unlink()
    add(chain, "safes")
    migrate(empty_url, chain)
    assert "safes" in tables(empty_url)


def test_processes_that_migrate_at_the_same_time_take_turns(empty_url: str, chain: MigrationChain) -> None:
    add(chain, "tills", seconds=0.5)
    script = (
        "import sys; from latticebank.kernel.migrations import migrate, service_tables;"
        "migrate(sys.argv[1], service_tables('teller', sys.argv[2]))"
    )
    package_file = str(chain.folder.parent / "__init__.py")
    both = [subprocess.Popen([sys.executable, "-c", script, empty_url, package_file]) for _ in range(3)]
    assert [process.wait(timeout=60) for process in both] == [0, 0, 0]
    assert "tills" in tables(empty_url)


def test_who_waits_too_long_for_another_migration_gives_up(empty_url: str) -> None:
    with psycopg.connect(empty_url, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", (0x4C61_7474_6963_65,))
        with pytest.raises(DatabaseUnavailable, match="another process"):
            migrate(empty_url, KERNEL_TABLES, wait_seconds=0.2)
    migrate(empty_url, KERNEL_TABLES)


def test_a_database_that_a_newer_bank_has_migrated_is_refused_and_not_touched(
    empty_url: str, chain: MigrationChain
) -> None:
    add(chain, "tills")
    add(chain, "vaults")
    migrate(empty_url, chain)
    (chain.folder / "0002.py").unlink()
    before = tables(empty_url)
    with pytest.raises(NewerDatabase, match="0002") as raised:
        migrate(empty_url, chain)
    assert raised.value.code == "newer-database"
    assert tables(empty_url) == before


def test_a_service_does_not_start_on_a_newer_kernel(empty_url: str, chain: MigrationChain) -> None:
    add(chain, "tills")
    migrate(empty_url, KERNEL_TABLES)
    with psycopg.connect(empty_url) as connection:
        connection.execute("UPDATE kernel_revision SET version_num = '9999'")
    with pytest.raises(NewerDatabase, match="kernel"):
        migrate(empty_url, chain)
    assert "tills" not in tables(empty_url)


def test_the_bus_has_its_own_tables(empty_url: str) -> None:
    migrate(empty_url, BUS_TABLES)
    assert tables(empty_url) == {"topics", "events", "consumers", "bus_revision"}


def test_a_database_that_is_down_is_named_without_its_password() -> None:
    with pytest.raises(DatabaseUnavailable) as raised:
        migrate("postgresql://teller:wEsEr@127.0.0.1:1/x", KERNEL_TABLES)
    assert "wEsEr" not in str(raised.value)
