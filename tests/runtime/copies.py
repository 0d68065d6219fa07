"""Making backups for the tests, and spoiling them."""

from datetime import datetime, timedelta
from pathlib import Path

import psycopg

from latticebank.runtime.backup import Backup, Whose, make_backup
from latticebank.runtime.binaries import binaries_of_the_wheel
from latticebank.runtime.postgres import EmbeddedPostgres
from latticebank.values.clock import SystemClock


def whose_bank(backups: Path) -> Whose:
    """The bank of the data folder `bank` beside the backups, with an archive there too."""
    beside = backups.parent
    return Whose("bank.test", 1, beside / "bank", (beside / "bank" / "kept", beside / "archive" / "kept"))


def back_up(postgres: EmbeddedPostgres, backups: Path, clock: SystemClock | None = None) -> Backup:
    whose = whose_bank(backups)
    binaries = binaries_of_the_wheel()
    return make_backup(backups, postgres.url("postgres"), whose, binaries, clock or SystemClock(), lambda _: None)


class LaterClock(SystemClock):
    """So many seconds later than it is: two backups of one second would have the same name."""

    def __init__(self, seconds: int) -> None:
        self._shift = timedelta(seconds=seconds)

    def now(self) -> datetime:
        return super().now() + self._shift


def next_segment(postgres: EmbeddedPostgres) -> None:
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        connection.execute("SELECT pg_switch_wal()")


def moment(postgres: EmbeddedPostgres) -> datetime:
    """Now, as the server's commits are dated; no commit has the same time."""
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        row = connection.execute("SELECT clock_timestamp() FROM pg_sleep(0.002)").fetchone()
        connection.execute("SELECT pg_sleep(0.002)")
    assert row
    assert isinstance(row[0], datetime)
    return row[0]


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))
