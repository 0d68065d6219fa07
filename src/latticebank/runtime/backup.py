"""Backups of the embedded PostgreSQL: the whole cluster at one instant, so that the databases of all services fit.

    FOLDER/2026-11-20T10-15-00Z/backup.json   what it is, and the digest of the manifest
    FOLDER/2026-11-20T10-15-00Z/cluster/      the copy, with PostgreSQL's manifest (SHA-256) and the log that it needs
    FOLDER/2026-11-20T10-15-00Z/kept/         what the bank keeps apart, as it was when the copy was made

A folder with that name is complete: it is built beside its place, verified, and renamed. In no backup are the key of keys,
credentials and the password of the database.
"""

import os
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Self

import psycopg
from msgspec import Meta, Struct
from psycopg.conninfo import conninfo_to_dict

from latticebank import __version__
from latticebank.runtime import wal
from latticebank.runtime.archive import Archive
from latticebank.runtime.binaries import POSTGRES_MAJOR, Binaries
from latticebank.runtime.data_folder import EMBEDDED, DataFolder, require_ours
from latticebank.runtime.disk import (
    MEBIBYTE,
    folder_at,
    require_apart,
    require_room,
    sync_folder,
    told_of_copies,
)
from latticebank.runtime.errors import BackupBroken, BackupNotMade, FoldersNotApart, NoBackup
from latticebank.runtime.kept import copy_kept, require_sound, verify_kept
from latticebank.runtime.lock import FolderLock
from latticebank.runtime.manifest import manifest_of, verify
from latticebank.runtime.os_user import ourselves, run
from latticebank.runtime.records import read_record, write_record
from latticebank.values.clock import Clock

RECORD = "backup.json"
CLUSTER = "cluster"
FORMAT = 1
_BUILDING = ".building-"
_ROOM_BESIDES = 64 * MEBIBYTE  # the log that is written meanwhile
_SIZE = "SELECT sum(pg_database_size(oid))::bigint FROM pg_database"

_Word = Annotated[str, Meta(pattern=r"^[!-~]{1,100}\Z")]
_Moment = Annotated[datetime, Meta(tz=True)]
_Position = Annotated[str, Meta(pattern=rf"^{wal.POSITION}\Z")]
_Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
_Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class Backup(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A backup; the positions are those of the log that it needs (`begin` up to `end`)."""

    name: str
    bank: _Word
    book: _Count
    latticebank: _Word
    postgres: _Word
    begun_at: _Moment
    ended_at: _Moment
    """The moment that it shows."""
    system: Annotated[str, Meta(pattern=r"^[0-9]{1,20}\Z")]
    timeline: Annotated[int, Meta(ge=1, lt=2**32)]
    begin: _Position
    end: _Position
    bytes: _Count
    manifest: _Digest
    kept: dict[str, _Digest]
    """The lists of what is kept apart, each with the SHA-256 of its file in hexadecimal."""

    @classmethod
    def at(cls, folder: Path) -> Self:
        """The backup in this folder, as it says of itself. Raises `NoBackup` or `BackupBroken`."""
        try:
            return read_record(folder / RECORD, cls, FORMAT, name=folder.name)
        except FileNotFoundError as gone:
            raise NoBackup(
                f"there is no backup in {folder}", hint="name a folder that `latticebank backup` made"
            ) from gone
        except OSError as problem:
            raise BackupBroken(
                f"{folder / RECORD} cannot be read: {problem.strerror}", hint="use another backup"
            ) from problem
        except ValueError as broken:
            raise BackupBroken(
                f"{folder / RECORD} is not the record of a backup", hint="use another backup"
            ) from broken

    @property
    def age(self) -> tuple[int, int, str]:
        """Comes before that of every later backup of the same database: a clock may be wrong, the log only grows."""
        return self.timeline, wal.position_of(self.end), self.name

    def verified(self, folder: Path) -> Self:
        """The same backup after every byte was compared. Raises `BackupBroken`."""
        if self.postgres.split(".", 1)[0] != str(POSTGRES_MAJOR):
            raise BackupBroken(
                f"{folder} was made by PostgreSQL {self.postgres}; this Latticebank runs {POSTGRES_MAJOR}",
                hint="restore it with the Latticebank that made it",
            )
        manifest = manifest_of(folder / CLUSTER)
        said = (self.manifest, self.system, self.timeline, wal.position_of(self.begin), wal.position_of(self.end))
        if said != (manifest.digest, manifest.system, manifest.timeline, manifest.begin, manifest.end):
            raise BackupBroken(f"the manifest in {folder} is not the one of this backup", hint="use another backup")
        verify(folder / CLUSTER)
        verify_kept(folder, self.kept)
        return self


@dataclass(frozen=True)
class Whose:
    """Whose databases are copied; `kept` are the folders of what the bank keeps apart."""

    bank: str
    book: int
    data: Path
    kept: tuple[Path, ...]


@dataclass(frozen=True)
class Backups:
    """The backups in a folder, of each database the oldest first; and the names of those whose record is damaged."""

    sound: list[Backup]
    broken: list[str]


@dataclass(frozen=True)
class Pruned:
    """Which backups were deleted, how many segments of the archive, and which backups were passed over as broken."""

    deleted: list[str]
    segments: int
    broken: list[str]


def backups_in(folder: Path) -> Backups:
    """The complete backups in a folder."""
    sound, broken = [], []
    for each in sorted(folder.iterdir()) if folder.is_dir() else []:
        if not each.name.startswith(".") and (each / RECORD).is_file():
            try:
                sound.append(Backup.at(each))
            except BackupBroken:
                broken.append(each.name)
    return Backups(sorted(sound, key=lambda backup: backup.age), broken)


def require_place_of_backups(folder: Path, whose: Whose) -> Path:
    """The whole path of a folder in which backups of this bank may be.

    Raises:
        FolderUnusable: it is none.
        FoldersNotApart: it is a backup or in one, lies in the data folder or beside the cluster, or one of these in it.

    """
    folder, data = folder_at(folder), folder_at(whose.data)
    require_apart(folder, data)
    for each in (folder, *folder.parents):
        if (each / RECORD).is_file() and (each / CLUSTER).is_dir():
            raise FoldersNotApart(f"{each} is itself a backup", hint=f"name the folder of backups: {each.parent}")
    if (marker := require_ours(data / EMBEDDED)) is not None:
        require_apart(folder, DataFolder(data / EMBEDDED, marker).home)
    return folder


def make_backup(
    folder: Path, url: str, whose: Whose, binaries: Binaries, clock: Clock, progress: Callable[[str], None]
) -> Backup:
    """Copy the running server at `url`, verify the copy, and give it its name in `folder`.

    Raises:
        BackupNotMade: the server did not give a whole copy.
        DiskFull: there is no room for it.
        FolderUnusable: `folder` is none, or cannot be written.
        FoldersNotApart: as `require_place_of_backups`.
        KeptApartUnavailable, KeptApartDamaged: what is kept apart cannot be read.

    """
    require_sound(whose.kept)
    folder = require_place_of_backups(folder, whose)  # whole: the programs of PostgreSQL run in another folder
    with told_of_copies(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FolderLock.take(folder, progress)
        try:
            for abandoned in folder.glob(_BUILDING + "*"):
                shutil.rmtree(abandoned)
            building = folder / (_BUILDING + secrets.token_hex(8))
            try:
                return _build(building, url, whose, binaries, clock, lock, progress)
            finally:
                shutil.rmtree(building, ignore_errors=True)
        finally:
            lock.release()


def _build(
    building: Path,
    url: str,
    whose: Whose,
    binaries: Binaries,
    clock: Clock,
    lock: FolderLock,
    progress: Callable[[str], None],
) -> Backup:
    begun = clock.now()
    name = begun.strftime("%Y-%m-%dT%H-%M-%SZ")
    place = building.with_name(name)
    if place.exists():
        raise BackupNotMade(f"{place} is there already", hint="make the next backup a second later")
    size, version = _asked(url)
    require_room(building.parent, size + _ROOM_BESIDES)
    progress(f"Copying the databases, {size // MEBIBYTE} MiB")
    building.mkdir(mode=0o700)
    given = conninfo_to_dict(url)
    target = f"host={given['host']} port={given['port']} user={given['user']} sslmode=disable gssencmode=disable"
    command = [
        *(str(binaries.program("pg_basebackup")), "--pgdata", str(building / CLUSTER), "--wal-method=stream"),
        *("--checkpoint=fast", "--manifest-checksums=SHA256", "--label", name, "--no-password", "--dbname", target),
    ]
    secret = {"PGPASSWORD": str(given["password"])}
    result = run(ourselves(), command, keep_open=[lock.descriptor], secrets=secret)
    ended = clock.now()
    if result.returncode != 0:
        said = " / ".join(result.stdout.split("\n")[-4:]).strip(" /")
        raise BackupNotMade(f"the databases could not be copied to {building.parent}: {said}", hint="try again")
    progress("Verifying the copy")
    manifest = verify(building / CLUSTER)
    kept = copy_kept(whose.kept, building)
    backup = Backup(
        name=name,
        bank=whose.bank,
        book=whose.book,
        latticebank=__version__,
        postgres=version,
        begun_at=begun,
        ended_at=ended,
        system=manifest.system,
        timeline=manifest.timeline,
        begin=wal.shown(manifest.begin),
        end=wal.shown(manifest.end),
        bytes=sum(path.stat().st_size for path in (building / CLUSTER).rglob("*") if path.is_file()),
        manifest=manifest.digest,
        kept=kept,
    )
    write_record(building / RECORD, backup, FORMAT, "name")
    sync_folder(building)
    os.rename(building, place)  # noqa: PTH104 - never over a folder that has something in it
    sync_folder(place.parent)
    return backup


def keep_newest(folder: Path, number: int, latest: Backup, archive: Archive | None) -> Pruned:
    """Keep the latest backup and the newest of the same database, so many in all; delete the others.

    The log in the archive goes that none of those left in this folder needs. A backup that is broken is not counted, and
    not deleted.
    """
    pruned = 0
    with told_of_copies(folder):
        there = backups_in(folder)
        others = [each for each in there.sound if each.system == latest.system and each.name != latest.name]
        cut = max(0, len(others) - (number - 1))
        old, kept = others[:cut], [*others[cut:], latest]
        for backup in old:
            doomed = folder / f"{_BUILDING}{backup.name}"
            (folder / backup.name).rename(doomed)  # half deleted, it is no backup
            sync_folder(folder)
            shutil.rmtree(doomed)
        if archive is not None and archive.system == latest.system:
            pruned = archive.prune(min(wal.position_of(backup.begin) for backup in kept) // wal.SEGMENT_BYTES)
    return Pruned([backup.name for backup in old], pruned, there.broken)


def _asked(url: str) -> tuple[int, str]:
    """How many bytes the databases have, and the version of the server."""
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            row = connection.execute(_SIZE).fetchone()
            version = connection.info.parameter_status("server_version") or ""
    except psycopg.Error as error:
        raise BackupNotMade("the database does not answer", hint="see whether the bank runs, and try again") from error
    assert row is not None
    return int(row[0]), version.split(" ", 1)[0]
