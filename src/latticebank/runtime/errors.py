"""What can keep the embedded PostgreSQL from running, each as a type with a stable code.

Every message names the folder, port or process it is about and says what to do. None of them leaves anything damaged.
"""

from pathlib import Path

from latticebank.values.errors import BankError, Fault


class UnsupportedPlatform(BankError):
    """No PostgreSQL for this operating system or processor."""

    code = "unsupported-platform"
    title = "The embedded PostgreSQL does not run here"
    fault = Fault.REFUSED


class NoDatabaseUser(BankError):
    """There is no operating system user that PostgreSQL could run as."""

    code = "no-database-user"
    title = "PostgreSQL has no operating system user to run as"
    fault = Fault.REFUSED


class DataFolderInUse(BankError):
    """Another process runs the database of this folder; `pid` is that process."""

    code = "data-folder-in-use"
    title = "The data folder is in use"
    fault = Fault.CONFLICT

    def __init__(self, folder: Path, pid: int, note: str = "") -> None:
        super().__init__(
            f"the data folder {folder} is in use by process {pid}{note}",
            hint="stop that process, or give this one another data folder",
        )
        self.folder = folder
        self.pid = pid


class PortInUse(BankError):
    """The port that was asked for is taken."""

    code = "port-in-use"
    title = "The database port is in use"
    fault = Fault.CONFLICT

    def __init__(self, port: int) -> None:
        super().__init__(
            f"port {port} of 127.0.0.1 is in use by another program",
            hint="stop that program, or choose another port (0 takes any free one)",
        )
        self.port = port


class DiskFull(BankError):
    """The file system of the folder has no room (or no inodes, or the quota is used up)."""

    code = "disk-full"
    title = "The disk is full"
    fault = Fault.UNAVAILABLE

    def __init__(self, folder: Path, note: str) -> None:
        super().__init__(
            f"the disk that holds {folder} is full: {note}",
            hint="free some space and start again; nothing that was committed is lost",
        )
        self.folder = folder


class ForeignDataFolder(BankError):
    """The folder holds something that this Latticebank did not put there."""

    code = "foreign-data-folder"
    title = "The folder is not a data folder of Latticebank"
    fault = Fault.REFUSED


class NewerDataFolder(BankError):
    """The folder was written by a newer Latticebank."""

    code = "newer-data-folder"
    title = "The data folder was made by a newer Latticebank"
    fault = Fault.REFUSED


class OtherPostgresVersion(BankError):
    """The cluster was made by another major version of PostgreSQL."""

    code = "other-postgres-version"
    title = "The database was made by another version of PostgreSQL"
    fault = Fault.REFUSED


class UnwritableDataFolder(BankError):
    """We may not read or write the folder."""

    code = "unwritable-data-folder"
    title = "The data folder cannot be written"
    fault = Fault.REFUSED


class DatabaseMissing(BankError):
    """The folder once had a database, and now it is gone: never replaced by an empty one."""

    code = "database-missing"
    title = "The database of this folder is missing"
    fault = Fault.REFUSED


class DatabaseNotRunning(BankError):
    """Something was asked of a database that was not started, or was stopped."""

    code = "database-not-running"
    title = "The database is not running"
    fault = Fault.UNAVAILABLE


class DatabaseFailedToStart(BankError):
    """PostgreSQL ended, or never answered; `log` has the last lines it wrote."""

    code = "database-failed-to-start"
    title = "The database failed to start"
    fault = Fault.UNAVAILABLE

    def __init__(self, detail: str, *, log: tuple[str, ...] = (), hint: str | None = None) -> None:
        lines = "\n".join(f"  {line}" for line in log)
        super().__init__(f"{detail}\nThe last lines of the server's log:\n{lines}" if log else detail, hint=hint)
        self.log = log
