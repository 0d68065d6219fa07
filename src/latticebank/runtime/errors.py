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


class FolderUnusable(BankError):
    """A folder of backups, or one to restore from or into, cannot be read or written, or is none."""

    code = "folder-unusable"
    title = "The folder cannot be used"
    fault = Fault.REFUSED


class FoldersNotApart(BankError):
    """A backup, an archive or what was restored would lie within the other."""

    code = "folders-not-apart"
    title = "One folder lies in the other"
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


class ArchiveUnavailable(BankError):
    """The archive of the write-ahead log cannot be written, so that no commit can be acknowledged."""

    code = "archive-unavailable"
    title = "The archive is not available"
    fault = Fault.UNAVAILABLE


class ForeignArchive(BankError):
    """The folder is not the archive of this bank, or no longer."""

    code = "foreign-archive"
    title = "The folder is not the archive of this bank"
    fault = Fault.REFUSED


class ArchiveNotNamed(BankError):
    """The bank has an archive, and the settings do not name it."""

    code = "archive-not-named"
    title = "The archive of this bank is not named"
    fault = Fault.REFUSED


class ArchiveBroken(BankError):
    """A part of the archive is missing or damaged, and what comes after it cannot be reached."""

    code = "archive-broken"
    title = "The archive is broken"
    fault = Fault.REFUSED


class BackupNotMade(BankError):
    """The database could not be copied; what was written of the copy is gone."""

    code = "backup-not-made"
    title = "The backup was not made"
    fault = Fault.UNAVAILABLE


class BackupBroken(BankError):
    """A backup is incomplete or was changed since it was made."""

    code = "backup-broken"
    title = "The backup is broken"
    fault = Fault.REFUSED


class NoBackup(BankError):
    """There is no backup, or none that leads to what is wanted."""

    code = "no-backup"
    title = "There is no such backup"
    fault = Fault.NOT_FOUND


class DataFolderTaken(BankError):
    """A bank is to be restored where there is one."""

    code = "data-folder-taken"
    title = "There is a bank in the data folder"
    fault = Fault.CONFLICT


class RecoveryFailed(BankError):
    """PostgreSQL did not get from the backup to where it should."""

    code = "recovery-failed"
    title = "The database could not be recovered"
    fault = Fault.REFUSED


class KeptApartMissing(BankError):
    """Nothing at hand says what the bank had published, and whom it had erased, after the moment that is restored."""

    code = "kept-apart-missing"
    title = "What the bank keeps apart is not at hand"
    fault = Fault.CONFLICT
