"""Bringing a bank's databases back: a backup, then the log of the archive, to its end or to a moment.

What no restore may take back comes from all that is left: the backup, the archive, the old data folder.

It is built beside its place, in `postgres.restoring`, and renamed when it is whole; what was interrupted is no bank.
"""

import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from latticebank.kernel.settings import KEPT
from latticebank.runtime import wal
from latticebank.runtime.archive import Archive
from latticebank.runtime.backup import CLUSTER as COPY
from latticebank.runtime.backup import RECORD, Backup, backups_in
from latticebank.runtime.binaries import binaries_for, binaries_of_the_wheel
from latticebank.runtime.configuration import checked
from latticebank.runtime.data_folder import EMBEDDED, DataFolder, make_folder, new_marker, require_ours
from latticebank.runtime.disk import (
    ROOM_FOR_A_START,
    folder_at,
    require_apart,
    require_room,
    sync_folder,
    told_of_copies,
)
from latticebank.runtime.errors import (
    ArchiveBroken,
    DataFolderTaken,
    ForeignArchive,
    KeptApartMissing,
    NoBackup,
    RecoveryFailed,
)
from latticebank.runtime.kept import bring_together, give_up_the_log, has_lists, kept_in, reaches, require_sound
from latticebank.runtime.lock import FolderLock
from latticebank.runtime.manifest import LOG, MANIFEST
from latticebank.runtime.os_user import ServerUser, server_user
from latticebank.runtime.postgres import SYSTEM_FOLDER
from latticebank.runtime.recovery import Recovered, Target, commits_after, recover, require_whole_log, written_up_to
from latticebank.runtime.wal import Segment
from latticebank.values.errors import InvalidValue

RESTORING = f"{EMBEDDED}.restoring"
_ANOTHER_ARCHIVE = "use another copy of the archive; or restore what leads up to there with --to and a time before"
THREE_WAYS = (
    "name the archive with --archive, or the folder `kept` of the old data folder with --kept; if both are lost for good, say "
    "--without-kept: the log then has to begin anew, and who was erased since the backup is not known"
)


@dataclass(frozen=True)
class Wanted:
    """What to restore: from a backup or a folder of them, with which archive, until when, along which timeline.

    `kept` is where the old bank kept what no restore may take back; `without_kept` says that it is lost for good.
    """

    source: Path
    archive: Path | None = None
    until: datetime | None = None
    timeline: int | None = None
    kept: Path | None = None
    without_kept: bool = False


@dataclass(frozen=True)
class Restored:
    """What was restored. `left_out` transactions were committed after that, the last of them at `left_out_until`."""

    backup: Backup
    position: str
    timeline: int
    last_commit: datetime | None
    segments: int
    seconds: float
    left_out: int
    left_out_until: datetime | None
    passed_over: list[str]
    """The backups in the folder whose record is damaged."""
    kept_apart: bool
    """Whether all that the bank kept apart is there; if not, its log has to begin anew."""


@dataclass(frozen=True)
class _Plan:
    """A backup, the log that leads on from it, and where to go."""

    folder: Path
    backup: Backup
    archive: Archive | None
    log: Mapping[Segment, Path]
    damage: str | None
    """What is wrong with that log, if anything is; what is before may be well."""
    target: Target
    passed_over: list[str]

    @property
    def to_the_end(self) -> bool:
        """Whether the databases come back as they were in the end, with all that was ever acknowledged."""
        return self.archive is not None and self.target == Target(self.archive.timeline, None)


@dataclass(frozen=True)
class _Memory:
    """The folders, but for that in the backup, of what the bank kept apart; and whether they have all that it kept."""

    folders: list[Path]
    complete: bool


@dataclass(frozen=True)
class _Ways:
    """How the server is run, as `EmbeddedPostgres` is told."""

    progress: Callable[[str], None]
    system_folder: Path
    parameters: Mapping[str, str]


def restore(
    wanted: Wanted,
    data: Path,
    progress: Callable[[str], None],
    *,
    parameters: Mapping[str, str] | None = None,
    system_folder: Path = SYSTEM_FOLDER,
) -> Restored:
    """Verify everything, put the databases into the data folder, and recover them.

    `parameters` go over our PostgreSQL configuration while it recovers; `progress` and `system_folder` are those of
    `EmbeddedPostgres`.

    Raises:
        NoBackup: there is none, or none that leads to what is wanted.
        BackupBroken: it is not whole.
        ForeignArchive: the archive is another database's.
        ArchiveBroken: a segment that is needed is missing or damaged.
        DataFolderTaken: there is a bank already.
        FoldersNotApart: the data folder lies in that of the backups or of the archive, or the other way round.
        KeptApartMissing: nothing says what came after the moment that is restored, and `without_kept` does not either.
        KeptApartDamaged: a list of what is kept apart has a line that no service can read.
        RecoveryFailed: the log does not lead to what is wanted.
        DiskFull, FolderUnusable, KeptApartUnavailable: a folder does not let it.

    """
    began = time.monotonic()
    data = folder_at(data)
    _require_a_way(wanted)
    with told_of_copies(data):
        plan, memory = _verified(wanted, data, progress)
        make_folder(data)
        if (data / EMBEDDED).exists():
            raise DataFolderTaken(f"{data} has a bank already", hint="restore into another folder; nothing was changed")
        work = data / RESTORING
        recovered = _rebuilt_in(work, plan, _Ways(progress, system_folder, checked(parameters or {})))
        left_out, until = commits_after(recovered, plan.log, binaries_of_the_wheel()) if wanted.until else (0, None)
        _bring_back_what_is_kept(plan, memory, data)
        os.rename(work, data / EMBEDDED)  # noqa: PTH104 - never over a bank that came meanwhile
        sync_folder(data)
    return Restored(
        backup=plan.backup,
        position=wal.shown(recovered.position),
        timeline=recovered.timeline,
        last_commit=recovered.last_commit,
        segments=len(plan.log),
        seconds=time.monotonic() - began,
        left_out=left_out,
        left_out_until=until,
        passed_over=plan.passed_over,
        kept_apart=memory.complete,
    )


def _require_a_way(wanted: Wanted) -> None:
    """Raise unless it is said where what is kept apart comes from, or that it is lost."""
    if wanted.kept is not None and wanted.without_kept:
        raise InvalidValue("this says that it is lost, and --kept where it is", field="--without-kept")
    if wanted.kept is None and wanted.archive is None and not wanted.without_kept:
        raise KeptApartMissing(
            "a backup does not know what the bank published and whom it erased afterwards; nothing was changed",
            hint=THREE_WAYS,
        )


def _verified(wanted: Wanted, data: Path, progress: Callable[[str], None]) -> tuple[_Plan, _Memory]:
    """Choose the way, and verify what lies on it."""
    plan = _plan(wanted)
    for source in filter(None, (plan.folder, wanted.source, wanted.archive)):
        require_apart(folder_at(source), data)
    folders = _folders_kept(wanted, plan)
    progress(f"Verifying the backup {plan.backup.name}")
    plan.backup.verified(plan.folder)
    require_sound(filter(has_lists, (plan.folder / KEPT, *folders, data / KEPT)))
    return plan, _Memory(folders, _is_complete(wanted, plan, folders))


def _folders_kept(wanted: Wanted, plan: _Plan) -> list[Path]:
    folders = [] if wanted.kept is None else [kept_in(wanted.kept)]
    if plan.archive is not None and has_lists(plan.archive.folder / KEPT):
        folders.append(plan.archive.folder / KEPT)
    return folders


def _is_complete(wanted: Wanted, plan: _Plan, folders: list[Path]) -> bool:
    """Whether nothing that was kept apart is lost; raises `KeptApartMissing` if something is and nobody said so."""
    never_any = plan.archive is not None and not folders and not plan.backup.kept
    complete = plan.to_the_end or never_any or (bool(folders) and reaches(folders, plan.folder))
    if complete and wanted.without_kept:
        raise InvalidValue("what is kept apart is there, and its log can go on: leave this out", field="--without-kept")
    if not complete and not wanted.without_kept:
        found = " and ".join(map(str, folders)) or "the archive"
        raise KeptApartMissing(
            f"{found} knows less of the log than the backup: it is older, or of another bank; nothing was changed",
            hint=THREE_WAYS,
        )
    return complete


def _plan(wanted: Wanted) -> _Plan:
    """Choose the backup and find the log that leads on from it."""
    archive = None
    if wanted.archive is not None:
        archive = Archive.at(folder_at(wanted.archive))
        if archive is None:
            raise ForeignArchive(
                f"there is no archive in {wanted.archive}", hint="name the folder of LATTICEBANK_ARCHIVE"
            )
    timeline = wanted.timeline or (archive.timeline if archive else None)
    folder, passed_over = _chosen(wanted, archive, timeline)
    backup = Backup.at(folder)
    if wanted.until is not None and wanted.until < backup.ended_at:
        raise NoBackup(
            f"the backup {backup.name} was complete at {backup.ended_at.isoformat()}, after the time that is wanted",
            hint="name an earlier backup, or the folder of them all",
        )
    if archive is None:
        return _Plan(folder, backup, None, {}, None, Target(wanted.timeline, wanted.until), passed_over)
    if archive.system != backup.system:
        raise ForeignArchive(f"the archive {archive.folder} is not of the bank that was backed up in {folder}")
    log, damage = _log_from(folder, backup, archive, timeline or backup.timeline)
    if damage is not None and wanted.until is None:
        raise ArchiveBroken(damage, hint=_ANOTHER_ARCHIVE)
    return _Plan(folder, backup, archive, log, damage, Target(timeline, wanted.until), passed_over)


def _log_from(
    folder: Path, backup: Backup, archive: Archive, timeline: int
) -> tuple[Mapping[Segment, Path], str | None]:
    """The segments that lead on from a backup to the end of a timeline, and the first thing that is wrong with them."""
    first = wal.position_of(backup.begin) // wal.SEGMENT_BYTES
    files = {segment: path for segment, path in archive.segments(timeline).items() if segment.number >= first}
    log = {segment: path for segment, path in files.items() if wal.is_whole(segment, path)}
    for segment in sorted(files.keys() - log.keys(), key=lambda each: each.number):
        return log, f"{files[segment]} is damaged: it has not the {wal.SEGMENT_BYTES} bytes of a segment"
    in_backup = [segment.number for segment in wal.segments_in(folder / COPY / LOG)]
    gap = wal.first_gap([*in_backup, *(segment.number for segment in log)])
    if gap is not None:
        return log, f"the segment {Segment(timeline, gap).name} is missing in the archive {archive.folder}"
    return log, None


def _chosen(wanted: Wanted, archive: Archive | None, timeline: int | None) -> tuple[Path, list[str]]:
    """The folder of the backup, the one that is named or the newest on the way to what is wanted; and those passed over."""
    source = folder_at(wanted.source)
    if (source / RECORD).is_file():
        return source, []
    ways = {each.timeline: each.position for each in archive.way_to(timeline)} if archive and timeline else {}
    there = backups_in(source)
    fit = [
        backup
        for backup in there.sound
        if (wanted.until is None or backup.ended_at <= wanted.until)
        and (archive is None or archive.system == backup.system)
        and (timeline in (None, backup.timeline) or wal.position_of(backup.end) <= ways.get(backup.timeline, -1))
    ]
    if not fit:
        names = ", ".join([*(each.name for each in there.sound), *(f"{name} (broken)" for name in there.broken)])
        raise NoBackup(
            f"no backup in {source} leads to what is wanted; there are: {names or 'none'}",
            hint="choose a time after one of them, or another --timeline",
        )
    if len({backup.system for backup in fit}) > 1:
        raise NoBackup(
            f"the backups in {source} are of several databases: {', '.join(backup.name for backup in fit)}",
            hint="name one of them, or the archive",
        )
    return source / fit[-1].name, there.broken


def _rebuilt_in(work: Path, plan: _Plan, ways: _Ways) -> Recovered:
    """Recover in a folder that is locked meanwhile, and leave nothing there if it fails."""
    _clear(work, ways.progress)
    make_folder(work)
    lock = FolderLock.take(work, ways.progress)
    try:
        recovered = _rebuild(work, plan, lock, ways)
    except BaseException:
        lock.release()
        _clear(work, ways.progress)
        raise
    lock.release()
    return recovered


def _rebuild(work: Path, plan: _Plan, lock: FolderLock, ways: _Ways) -> Recovered:
    """Copy backup and log to where the server's user can reach them, and recover."""
    data_folder = DataFolder(work, new_marker()).marked()
    user = server_user(data_folder.cluster)
    data_folder = data_folder.placed_for(user, ways.system_folder, ways.progress)
    binaries = binaries_for(user, ways.system_folder, ways.progress)
    needed = plan.backup.bytes + (len(plan.log) + 2) * wal.SEGMENT_BYTES
    require_room(data_folder.home, needed + ROOM_FOR_A_START)
    ways.progress(f"Copying the backup and {len(plan.log)} segments of the log")
    shutil.copytree(plan.folder / COPY, data_folder.cluster, ignore=shutil.ignore_patterns(MANIFEST))
    written = _put_log(plan, data_folder.cluster / LOG)
    _give(data_folder.cluster, user)
    ways.progress("Recovering the databases")
    try:
        recovered = recover(data_folder, user, binaries, lock, plan.target, ways.parameters)
    except RecoveryFailed as failed:
        if plan.damage is None:
            raise
        raise ArchiveBroken(f"{plan.damage}. {failed.detail}", hint=failed.hint) from failed
    if plan.target.until is None:
        require_whole_log(recovered, plan.log, written)
    data_folder.marked(initialised=True)
    return recovered


def _put_log(plan: _Plan, place: Path) -> int:
    """Put what the archive has of the log over the little that is in the backup; up to where it goes."""
    copied: dict[Segment, Path] = {}
    for segment, path in plan.log.items():
        copied[segment] = place / segment.name
        shutil.copyfile(wal.found_again(segment, path), copied[segment])
    for timeline, path in plan.archive.histories().items() if plan.archive else ():
        shutil.copyfile(path, place / wal.history_name(timeline))
    return written_up_to(copied)


def _give(cluster: Path, user: ServerUser) -> None:
    """Make the cluster the server's user's own, closed to others."""
    for folder, _, names in os.walk(cluster):
        for path in (Path(folder), *(Path(folder) / name for name in names)):
            path.chmod(0o700 if path.is_dir() else 0o600)
            if user.other:
                os.chown(path, user.uid, user.gid)


def _bring_back_what_is_kept(plan: _Plan, memory: _Memory, data: Path) -> None:
    """Let the data folder remember all that is still known, and end the log of a bank that may have said more."""
    bring_together([plan.folder / KEPT, *memory.folders], data)
    if not memory.complete:
        give_up_the_log(plan.backup.bank, data)


def _clear(work: Path, progress: Callable[[str], None]) -> None:
    """Remove what an interrupted restore left."""
    if not work.exists():
        return
    lock = FolderLock.take(work, progress)
    try:
        marker = require_ours(work)
        DataFolder(work, marker or new_marker()).erase()
    finally:
        lock.release()
