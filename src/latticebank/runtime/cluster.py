"""Making the database cluster, whole or not at all, and knowing one that is not ours to open."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from latticebank.runtime.binaries import POSTGRES_MAJOR, Binaries
from latticebank.runtime.configuration import SUPERUSER
from latticebank.runtime.data_folder import DataFolder
from latticebank.runtime.disk import (
    ROOM_FOR_A_NEW_CLUSTER,
    SAYS_NO_ROOM,
    require_room,
    sync_folder,
    write_durably,
)
from latticebank.runtime.errors import (
    DatabaseFailedToStart,
    DatabaseMissing,
    DiskFull,
    OtherPostgresVersion,
)
from latticebank.runtime.lock import FolderLock
from latticebank.runtime.os_user import ServerUser, run

BUILDING = "data.building-"
FOR_INITDB = "password.for-initdb-"
NOTHING_FURTHER: Mapping[str, str] = {}
OFF = frozenset({"off", "false", "no", "0"})


def require_our_version(cluster: Path) -> None:
    """Raise `OtherPostgresVersion` unless the cluster was made by the PostgreSQL that we run."""
    try:
        version = (cluster / "PG_VERSION").read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError as gone:
        raise DatabaseMissing(
            f"{cluster} has no PG_VERSION: the database in it is damaged or was deleted in part",
            hint="restore it from a backup",
        ) from gone
    if version != str(POSTGRES_MAJOR):
        raise OtherPostgresVersion(
            f"the database in {cluster} was made by PostgreSQL {version}; this Latticebank runs {POSTGRES_MAJOR}",
            hint="dump it with the Latticebank that made it, and load the dump into a new folder with this one",
        )


def create_cluster(
    data_folder: DataFolder,
    user: ServerUser,
    binaries: Binaries,
    parameters: Mapping[str, str],
    lock: FolderLock,
    progress: Callable[[str], None],
) -> None:
    """Make the cluster in a folder beside its place and rename it there, so that a cluster that exists is complete."""
    home = data_folder.home
    for abandoned in home.glob(BUILDING + "*"):
        shutil.rmtree(abandoned)
    for abandoned in home.glob(FOR_INITDB + "*"):
        abandoned.unlink()
    require_room(home, ROOM_FOR_A_NEW_CLUSTER)
    progress("Creating the database cluster")
    password = read_password(data_folder) or new_password()
    write_durably(data_folder.password_file, password)
    building = Path(tempfile.mkdtemp(prefix=BUILDING, dir=home))
    try:
        for_initdb = home / building.name.replace(BUILDING, FOR_INITDB)
        write_durably(for_initdb, password)
        try:
            if user.other:
                os.chown(building, user.uid, user.gid)
                os.chown(for_initdb, user.uid, user.gid)
            # initdb holds the lock as well: if we are killed now, the next start waits until it has ended.
            command = _initdb(binaries, building, for_initdb, parameters)
            result = run(user, command, keep_open=[lock.descriptor])
        finally:
            for_initdb.unlink()
        if result.returncode != 0:
            raise _failed(data_folder, f"the database could not be created in {home}", result.stdout)
        building.rename(data_folder.cluster)
        sync_folder(home)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def new_password() -> str:
    """256 random bits."""
    return secrets.token_hex(32)


def read_password(data_folder: DataFolder) -> str:
    """The superuser's password; empty if the file is gone."""
    try:
        return data_folder.password_file.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""


def replace_password(
    data_folder: DataFolder,
    user: ServerUser,
    binaries: Binaries,
    lock: FolderLock,
    settings: Mapping[str, str] = NOTHING_FURTHER,
) -> tuple[str, list[str]]:
    """Set a new superuser password in a cluster that does not run, for whoever may write its folder may do that.

    Returns it, and what the server said: it recovers first if it has to, under `settings`.
    """
    password = new_password()
    # Nothing goes to an archive from a server that does not run.
    chosen = {"exit_on_error": "on", "synchronous_commit": "local", **settings}
    options = [word for name, value in chosen.items() for word in ("-c", f"{name}={value}")]
    fixed = ["-D", str(data_folder.cluster), "-c", f"config_file={data_folder.home / 'postgresql.conf'}"]
    command = [str(binaries.postgres), "--single", *fixed, *options, "postgres"]
    statement = f"ALTER ROLE {SUPERUSER} PASSWORD '{password}'\n"
    result = run(user, command, said=statement, keep_open=[lock.descriptor])
    said = result.stdout.replace(password, "...")
    if result.returncode != 0:
        raise _failed(data_folder, "the database did not take a new password", said)
    write_durably(data_folder.password_file, password)
    return password, said.splitlines()


def _initdb(binaries: Binaries, building: Path, password_file: Path, parameters: Mapping[str, str]) -> list[str]:
    durable = parameters.get("fsync", "on").lower() not in OFF
    return [
        str(binaries.initdb),
        f"--pgdata={building}",
        f"--username={SUPERUSER}",
        f"--pwfile={password_file}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--data-checksums",
        "--no-instructions",
        *([] if durable else ["--no-sync"]),
    ]


def _failed(data_folder: DataFolder, what: str, output: str) -> DiskFull | DatabaseFailedToStart:
    lines = [line for line in output.splitlines() if line.strip()]
    full = next((line for line in lines if any(words in line for words in SAYS_NO_ROOM)), None)
    if full:
        return DiskFull(data_folder.home, full)
    return DatabaseFailedToStart(what, log=tuple(lines[-10:]))
