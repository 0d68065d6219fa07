"""An embedded, real PostgreSQL: started with the bank, stopped with the bank, however the bank ends."""

import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import psycopg
from psycopg import sql

from latticebank.runtime import configuration
from latticebank.runtime.archiving import PARAMETERS as WITH_AN_ARCHIVE
from latticebank.runtime.archiving import Archiving, forget_slot, require_no_archive
from latticebank.runtime.binaries import Binaries, binaries_for, require_supported_platform
from latticebank.runtime.cluster import create_cluster, read_password, replace_password, require_our_version
from latticebank.runtime.configuration import ADDRESS, SUPERUSER
from latticebank.runtime.data_folder import DataFolder, make_folder, new_marker, require_ours
from latticebank.runtime.disk import ROOM_FOR_A_START, SAYS_NO_ROOM, require_room, told_in_our_words, write_durably
from latticebank.runtime.errors import DatabaseFailedToStart, DatabaseNotRunning, DiskFull, PortInUse
from latticebank.runtime.guarded_server import Ending, GuardedServer
from latticebank.runtime.lock import FolderLock
from latticebank.runtime.os_user import ServerUser, server_user
from latticebank.runtime.remains import clear_remains
from latticebank.values.errors import InvalidValue

SYSTEM_FOLDER = Path("/var/lib/latticebank")
LONGEST_NAME = 63  # bytes, of any name in PostgreSQL
WAIT_FOR_READINESS = 600.0  # recovery after a crash replays up to max_wal_size
TELL_OF_RECOVERY_AFTER = 1.5
TRIES = 10
PAUSE_BETWEEN_TRIES = 0.3


class EmbeddedPostgres:
    """One PostgreSQL server for one data folder; also a context manager that starts and stops it.

    `port` 0 takes any free one; `parameters` go over our PostgreSQL configuration; `progress` is told a short sentence
    for each slow step; `system_folder` is where root puts what the server's own user cannot reach elsewhere; `archive` is
    the folder in which every commit lies before it is acknowledged.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        parameters: Mapping[str, str] | None = None,
        progress: Callable[[str], None] | None = None,
        system_folder: Path = SYSTEM_FOLDER,
        archive: Path | None = None,
    ) -> None:
        self.folder = Path(folder).expanduser().resolve()
        self.port = port
        self.pid = 0
        self._wanted_port = port
        self._parameters = configuration.checked(parameters or {})
        self._progress = progress or (lambda _: None)
        self._system_folder = Path(system_folder)
        self._archive = archive.expanduser().resolve() if archive else None
        self.archiving: Archiving | None = None
        self._password = ""
        self._server: GuardedServer | None = None
        self._lock: FolderLock | None = None
        self._data_folder: DataFolder | None = None
        self._owner = os.getpid()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def alive(self) -> bool:
        """Whether the server runs now; False as soon as it has ended, for whatever reason."""
        return self._server is not None and self._server.alive

    def start(self) -> None:
        """Lock the folder, make the cluster on the first start, start the server and wait until it answers.

        Does nothing if it runs already. Raises one of `latticebank.runtime.errors`, and then holds nothing.
        """
        if self.alive:
            return
        self.stop()
        require_supported_platform()
        with ExitStack() as undo, told_in_our_words(self.folder):
            require_ours(self.folder)
            make_folder(self.folder)
            lock = FolderLock.take(self.folder, self._progress)
            undo.callback(lock.release)
            marker = require_ours(self.folder)  # again: another process may have made it before we had the lock
            data_folder = DataFolder(self.folder, marker) if marker else DataFolder(self.folder, new_marker()).marked()
            archiving = self._open_archive(data_folder)
            if archiving:
                undo.callback(archiving.stop)
            user, binaries, data_folder = self._prepare(data_folder, lock)
            self._password = read_password(data_folder)
            if not self._password:
                self._progress("The password file of the database is missing: setting a new password")
                self._password, _ = replace_password(data_folder, user, binaries, lock)
            server = self._launch(data_folder, user, binaries, lock)
            undo.callback(server.stop)
            if archiving:
                undo.callback(archiving.let_end)
                archiving.begin(self._connect, binaries, self.port, self._password)
            else:
                with self._connect() as connection:
                    forget_slot(connection)
            undo.pop_all()
        self._data_folder, self._lock, self._server, self.archiving = data_folder, lock, server, archiving
        self.pid, self._owner = server.pid, os.getpid()

    def stop(self) -> None:
        """Shut down fast (open transactions are rolled back), reap, release the folder; may be called at any time."""
        if self._owner != os.getpid():
            return  # a fork of the owner: the server is not its own to stop
        if self.archiving:
            self.archiving.let_end()
        if self._server and not self._server.stop() and self._data_folder:
            clear_remains(self._data_folder, self._progress)
        if self.archiving:
            self.archiving.stop()
        if self._lock:
            self._lock.release()
        self._server = self._lock = self.archiving = None
        self.pid = 0
        self.port = self._wanted_port

    def restart(self) -> None:
        """Start a server that ended by itself again, where its clients look for it: on the same port."""
        port = self.port
        self.stop()
        self._wanted_port = port
        self.start()

    def remove(self) -> None:
        """Stop, and delete the folder with the database and all that belongs to it, wherever it lies."""
        self.stop()
        marker = require_ours(self.folder)
        if marker:
            lock = FolderLock.take(self.folder, self._progress)
            try:
                DataFolder(self.folder, marker).erase()
            finally:
                lock.release()

    def create_database(self, name: str) -> None:
        """Create the database unless it exists."""
        if not name or "\0" in name or len(name.encode()) > LONGEST_NAME:
            raise InvalidValue(f"the name of a database has 1 to {LONGEST_NAME} bytes", field="name")
        self._require_started()
        with self._connect() as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
            if known:
                return
            try:
                # template0: nobody can be connected to it, which would make this fail.
                connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
            except psycopg.errors.DuplicateDatabase:
                return
            except psycopg.errors.UniqueViolation:
                return  # two processes created it in the same moment

    def url(self, database: str) -> str:
        """Where a client finds `database`; holds the password, so it belongs in no log. Raises `DatabaseNotRunning`."""
        self._require_started()
        return f"postgresql://{SUPERUSER}:{self._password}@{ADDRESS}:{self.port}/{quote(database, safe='')}"

    def _require_started(self) -> None:
        if self._server is None:
            raise DatabaseNotRunning(f"the database of {self.folder} is not started", hint="start it first")

    def _open_archive(self, data_folder: DataFolder) -> Archiving | None:
        if self._archive is None:
            require_no_archive(data_folder)
            return None
        archiving = Archiving(self._archive, data_folder, self._progress)
        archiving.open()
        return archiving

    def _prepare(self, data_folder: DataFolder, lock: FolderLock) -> tuple[ServerUser, Binaries, DataFolder]:
        """Everything up to a cluster that is ours, complete, and not served by anyone."""
        user = server_user(data_folder.cluster)
        data_folder = data_folder.placed_for(user, self._system_folder, self._progress)
        binaries = binaries_for(user, self._system_folder, self._progress)
        if not data_folder.require_cluster():
            create_cluster(data_folder, user, binaries, self._parameters, lock, self._progress)
        if not data_folder.marker.initialised:
            data_folder = data_folder.marked(initialised=True)
        require_our_version(data_folder.cluster)
        clear_remains(data_folder, self._progress)
        require_room(data_folder.cluster, ROOM_FOR_A_START)
        readable = 0o644 if user.other else 0o600
        parameters = {**self._parameters, **(WITH_AN_ARCHIVE if self._archive else {})}
        write_durably(data_folder.home / "postgresql.conf", configuration.rendered(parameters), mode=readable)
        write_durably(data_folder.home / "pg_hba.conf", configuration.HBA, mode=readable)
        return user, binaries, data_folder

    def _launch(self, data_folder: DataFolder, user: ServerUser, binaries: Binaries, lock: FolderLock) -> GuardedServer:
        """Start the server; again where the cause passes: a free port taken meanwhile, memory of a dead server."""
        for attempt in range(1, TRIES + 1):
            self.port = self._wanted_port or _free_port()
            _require_free(self.port)
            command = configuration.command_line(
                binaries.postgres, data_folder.cluster, data_folder.home, data_folder.cluster_name, self.port
            )
            server = GuardedServer.start(command, user, data_folder.log_file, lock)
            try:
                ending = self._wait_until_ready(server, data_folder)
            except BaseException:
                server.stop()
                raise
            if ending is None:
                return server
            server.stop()
            problem, passing = self._explained(ending, data_folder)
            if not passing or attempt == TRIES:
                raise problem
            time.sleep(PAUSE_BETWEEN_TRIES)
            clear_remains(data_folder, self._progress)
        raise AssertionError  # pragma: no cover - the last attempt returns or raises

    def _wait_until_ready(self, server: GuardedServer, data_folder: DataFolder) -> Ending | None:
        """Wait until the server answers us; returns how it ended if it did that instead."""
        pid_file = data_folder.cluster / "postmaster.pid"
        began = time.monotonic()
        told = False
        while not _says_ready(pid_file, server.pid):
            ending = server.ending(0.01)
            if ending:
                return ending
            waited = time.monotonic() - began
            if waited > WAIT_FOR_READINESS:
                raise DatabaseFailedToStart(f"the database did not answer within {WAIT_FOR_READINESS:.0f} seconds")
            if waited > TELL_OF_RECOVERY_AFTER and not told:
                told = True
                self._progress("Waiting for the database to recover from an unclean stop")
        try:
            self._connect().close()
        except psycopg.OperationalError as refused:
            ending = server.ending(0.1)
            if ending:
                return ending
            raise DatabaseFailedToStart(
                f"the database runs but does not let us in: {refused}",
                hint=f"if {data_folder.password_file} is not of this database, delete it: a new one will be made",
            ) from refused
        return None

    def _explained(self, ending: Ending, data_folder: DataFolder) -> tuple[Exception, bool]:
        """Why the server ended while starting, and whether trying again may help."""
        said = "\n".join(ending.log)
        if any(words in said for words in SAYS_NO_ROOM):
            line = next(line for line in reversed(ending.log) if any(words in line for words in SAYS_NO_ROOM))
            return DiskFull(data_folder.home, line), False
        if "Address already in use" in said:
            return PortInUse(self.port), self._wanted_port == 0
        failed = DatabaseFailedToStart(
            f"the database server of {data_folder.folder} ended with status {ending.status}",
            log=ending.log[-10:],
            hint=f"the whole log is in {data_folder.log_file}",
        )
        return failed, "pre-existing shared memory block" in said

    def _connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host=ADDRESS,
            hostaddr=ADDRESS,  # or PGHOSTADDR of the environment would lead elsewhere
            port=self.port,
            user=SUPERUSER,
            password=self._password,
            dbname="postgres",
            sslmode="disable",
            gssencmode="disable",
            require_auth="scram-sha-256",  # a stranger on our port must prove that it knows the password too
            connect_timeout=10,
            options="",
            autocommit=True,
        )


def _says_ready(pid_file: Path, pid: int) -> bool:
    """Whether the postmaster has written into its pid file that it accepts connections (line 8)."""
    try:
        lines = pid_file.read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        return False
    return lines[0] == str(pid) and len(lines) > 7 and lines[7].strip() == "ready"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        port: int = probe.getsockname()[1]
        return port


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as PostgreSQL does
        try:
            probe.bind((ADDRESS, port))
        except OSError as taken:
            raise PortInUse(port) from taken
