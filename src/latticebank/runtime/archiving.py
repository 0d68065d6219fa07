"""Every commit goes to the archive before it is acknowledged: the archive is the server's synchronous standby.

A replication slot keeps what the archive has not got yet, without a bound: what is not archived is never thrown away, and
it cannot grow for long, since no commit succeeds while the archive takes nothing.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from latticebank.runtime import wal
from latticebank.runtime.archive import Archive
from latticebank.runtime.binaries import Binaries
from latticebank.runtime.configuration import ADDRESS, SUPERUSER
from latticebank.runtime.data_folder import DataFolder, make_folder
from latticebank.runtime.disk import write_durably
from latticebank.runtime.errors import (
    ArchiveNotNamed,
    ArchiveUnavailable,
    DataFolderInUse,
    DiskFull,
    ForeignArchive,
    UnwritableDataFolder,
)
from latticebank.runtime.lock import FolderLock
from latticebank.runtime.receiver import Receiver
from latticebank.runtime.wal import Segment
from latticebank.values.errors import BankError

STANDBY = "latticebank_archive"
"""The name of the slot, and that under which the receiver is the synchronous standby."""
PARAMETERS = {
    "synchronous_standby_names": STANDBY,
    "synchronous_commit": "on",
    "max_slot_wal_keep_size": "-1",
    "wal_sender_timeout": "20s",  # before the guardian loses patience with a server that stops
}
LATE_SECONDS = 3
WAIT_WITHOUT_PROGRESS = 30.0

Connection = psycopg.Connection[tuple[object, ...]]
Connect = Callable[[], Connection]

_WHERE = """
    SELECT system_identifier::text, pg_walfile_name(pg_current_wal_insert_lsn()), pg_current_wal_flush_lsn()::text
    FROM pg_control_system()
"""
_SLOT = "SELECT restart_lsn::text FROM pg_replication_slots WHERE slot_name = %s"
_RECEIVED = """
    SELECT flush_lsn::text, state = 'streaming' AND sync_state = 'sync' FROM pg_stat_replication
    WHERE application_name = %s
"""
_BOUNDED = "SET statement_timeout = '3s'"
_WAITING = "SELECT pid, query_start::text FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


class Archiving:
    """The archive of one server while it runs: locked, checked, and written to by a receiver."""

    def __init__(self, archive: Path, data_folder: DataFolder, progress: Callable[[str], None]) -> None:
        self.folder = archive
        self._data_folder = data_folder
        self._progress = progress
        self._lock: FolderLock | None = None
        self._receiver: Receiver | None = None
        self._connect: Connect | None = None
        self._asking: Connection | None = None
        self._waiting: dict[tuple[object, ...], float] = {}

    def open(self) -> None:
        """Lock the archive and make sure that it is the one of this data folder, before the server starts.

        Raises:
            ArchiveUnavailable: it cannot be used, or another bank uses it.
            ForeignArchive: it is another's, lies in the data folder, or is not there (its disk may not be mounted).

        """
        if self.folder.is_relative_to(self._data_folder.folder.parent):
            raise ForeignArchive(
                f"{self.folder} lies in the data folder, and would be lost with it",
                hint="name a folder elsewhere in LATTICEBANK_ARCHIVE, best on another disk",
            )
        with _told_of(self.folder):
            make_folder(self.folder)
            try:
                self._lock = FolderLock.take(self.folder, self._progress)
            except DataFolderInUse as used:
                raise ArchiveUnavailable(
                    f"the archive {self.folder} is in use by process {used.pid}",
                    hint="each bank has an archive of its own",
                ) from used
            try:
                known, found = _known(self._data_folder), Archive.at(self.folder)
                if known is not None and (found is None or found.identity != known):
                    raise ForeignArchive(
                        f"the archive of this bank is not in {self.folder}",
                        hint="mount its disk, or name its folder in LATTICEBANK_ARCHIVE; to begin a new archive, delete "
                        f"{_note_in(self._data_folder)} and make a backup at once: older ones will not lead on",
                    )
            except BaseException:
                self.stop()
                raise

    def begin(self, connect: Connect, binaries: Binaries, port: int, password: str) -> None:
        """Have the receiver run, and wait until the archive has all that the server wrote so far.

        Raises:
            ArchiveUnavailable: the archive does not take what it is given.
            ForeignArchive: it belongs to another cluster, or to one that was restored from the same backup.

        """
        self._connect = connect
        with connect() as connection, _told_of(self.folder):
            folder, written = self._prepare(connection)
            self._receiver = self._receiver_into(folder, binaries, port, password)
            self._receiver.start()
            self._wait_for(connection, written)

    def let_end(self) -> None:
        """The server is about to stop: what it still sends is taken, and nothing is started again."""
        if self._receiver:
            self._receiver.let_end()

    def stop(self) -> None:
        """End the receiver and give the archive back; idempotent."""
        if self._receiver:
            self._receiver.stop()
        if self._asking:
            self._asking.close()
        if self._lock:
            self._lock.release()
        self._receiver = self._lock = self._asking = None

    def require_in_step(self) -> None:
        """Raise `ArchiveUnavailable` unless the archive takes what the server writes and no commit waits for long."""
        if self._connect is None or self._receiver is None:
            raise ArchiveUnavailable("the archive is closed")
        if self._asking is None or self._asking.closed:
            self._asking = self._connect()
            self._asking.execute(_BOUNDED)
        received = self._asking.execute(_RECEIVED, [STANDBY]).fetchone()
        now = time.monotonic()
        # How long a commit waits is what we see ourselves: its statement may have begun long before.
        self._waiting = {row: self._waiting.get(row, now) for row in self._asking.execute(_WAITING).fetchall()}
        if received is None or not received[1]:
            raise ArchiveUnavailable("; ".join(self._receiver.last_words[-1:]) or "the receiver does not run")
        if any(now - since > LATE_SECONDS for since in self._waiting.values()):
            raise ArchiveUnavailable(f"commits have waited for it for {LATE_SECONDS} seconds")

    def _prepare(self, connection: Connection) -> tuple[Path, int]:
        """Everything up to a folder of this timeline that is ours to go on with, and a slot; and what is written so far."""
        system, current, written = (str(cell) for cell in connection.execute(_WHERE).fetchone() or ())
        segment = Segment.named(current)
        assert segment is not None
        archive, slot = Archive.at(self.folder), connection.execute(_SLOT, [STANDBY]).fetchone()
        if archive is None:
            self._progress(f"Beginning an archive in {self.folder}: it leads on from the next backup")
            archive = Archive.made(self.folder, system, segment.timeline)
            if slot is not None:  # of an archive that was given up
                connection.execute("SELECT pg_drop_replication_slot(%s)", [STANDBY])
                slot = None
        if archive.system != system:
            raise ForeignArchive(
                f"the archive {self.folder} belongs to another bank's database",
                hint="name the archive of this bank in LATTICEBANK_ARCHIVE, or an empty folder",
            )
        if slot is None:
            self._begin_timeline(connection, archive, segment.timeline)
            connection.execute("SELECT pg_create_physical_replication_slot(%s, true)", [STANDBY])
        folder = archive.log_of(segment.timeline)
        if not folder.is_dir():
            raise ForeignArchive(
                f"the archive {self.folder} has lost what this database wrote on timeline {segment.timeline}",
                hint=f"put {folder} back, or begin a new archive: delete {_note_in(self._data_folder)}, name an empty "
                "folder, and make a backup at once",
            )
        archive.marked(segment.timeline)
        write_durably(_note_in(self._data_folder), json.dumps({"archive": archive.identity}) + "\n")
        return folder, wal.position_of(written)

    def _begin_timeline(self, connection: Connection, archive: Archive, timeline: int) -> None:
        """Have a timeline's log begin where it left the one before, so that older backups lead on to it."""
        if wal.segments_in(archive.log_of(timeline)):
            raise ForeignArchive(
                f"the archive {self.folder} goes on with timeline {timeline} as another database wrote it",
                hint="restore again, which takes the next timeline; or name an empty folder",
            )
        folder = archive.make_log_of(timeline)
        if timeline == 1:
            return
        query = "SELECT pg_read_file('pg_wal/' || %s::text, true)"
        row = connection.execute(query, [wal.history_name(timeline)]).fetchone()
        switches = wal.history_in(str(row[0])) if row and row[0] else []
        first = Segment.holding(timeline, switches[-1].position).name if switches else ""
        if connection.execute("SELECT 1 FROM pg_ls_waldir() WHERE name = %s", [first]).fetchone() is None:
            self._progress("The archive cannot go on from where the bank was restored to: make a backup now")
            return
        (folder / (first + wal.PARTIAL)).touch(mode=0o600)  # the receiver begins with the last that is there

    def _receiver_into(self, folder: Path, binaries: Binaries, port: int, password: str) -> Receiver:
        assert self._lock is not None
        target = f"host={ADDRESS} port={port} user={SUPERUSER} application_name={STANDBY} sslmode=disable"
        command = [
            *(str(binaries.program("pg_receivewal")), "--directory", str(folder), "--slot", STANDBY, "--synchronous"),
            *("--no-loop", "--no-password", "--dbname", f"{target} gssencmode=disable require_auth=scram-sha-256"),
        ]
        log = self._data_folder.folder / "archive.log"
        return Receiver(command, {"PGPASSWORD": password}, log, self._lock, lambda: _let_begin_again(folder))

    def _wait_for(self, connection: Connection, written: int) -> None:
        """Wait until the archive has everything before `written`: nobody may be told of what it has not got."""
        assert self._receiver is not None
        before, since = -1, time.monotonic()
        while True:
            row = connection.execute(_RECEIVED, [STANDBY]).fetchone()
            received = wal.position_of(str(row[0])) if row and row[0] else -1
            if row and row[1] and received >= written:
                return
            if received > before:
                before, since = received, time.monotonic()
            if time.monotonic() - since > WAIT_WITHOUT_PROGRESS:
                said = "; ".join(self._receiver.last_words[-3:])
                raise ArchiveUnavailable(
                    f"the archive {self.folder} takes nothing: {said or 'the receiver does not answer'}",
                    hint="see to its disk, then start again; nothing is lost",
                )
            time.sleep(0.02)


@contextmanager
def _told_of(archive: Path) -> Iterator[None]:
    """Turn the refusals of the operating system and of the server into `ArchiveUnavailable`."""
    try:
        yield
    except psycopg.Error as problem:
        raise ArchiveUnavailable(
            f"the archive {archive} could not be begun: {problem}", hint="start again"
        ) from problem
    except (OSError, UnwritableDataFolder, DiskFull) as problem:
        said = problem.detail if isinstance(problem, BankError) else f"{problem.filename}: {problem.strerror}"
        raise ArchiveUnavailable(
            f"the archive {archive} cannot be used: {said}", hint="see to its disk and to who may write there"
        ) from problem


def _let_begin_again(folder: Path) -> None:
    """Empty a newest file that was not filled up with zeros: the receiver goes on with an empty one, and not with this."""
    if (begun := wal.only_begun_in(folder)) is not None:
        os.truncate(begun, 0)


def require_no_archive(data_folder: DataFolder) -> None:
    """Raise `ArchiveNotNamed` if the bank has an archive: without it, commits would be acknowledged too early."""
    note = _note_in(data_folder)
    if note.exists():
        raise ArchiveNotNamed(
            f"the bank in {data_folder.folder.parent} keeps an archive, and LATTICEBANK_ARCHIVE does not name it",
            hint=f"name it; to go on without an archive, delete {note}",
        )


def forget_slot(connection: Connection) -> None:
    """Drop the slot of an archive that was given up, which would keep the whole log."""
    query = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s"
    connection.execute(query, [STANDBY])


def _note_in(data_folder: DataFolder) -> Path:
    return data_folder.folder / "archive.json"


def _known(data_folder: DataFolder) -> str | None:
    """The identity of the archive that the data folder has; None if it has none yet."""
    note = _note_in(data_folder)
    try:
        return str(json.loads(note.read_text(encoding="utf-8"))["archive"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, RecursionError) as broken:
        raise ForeignArchive(
            f"{note} cannot be read", hint="delete it to begin a new archive, and make a backup at once"
        ) from broken
