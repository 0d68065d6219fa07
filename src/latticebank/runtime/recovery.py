"""PostgreSQL's own recovery of a copied cluster: from the backup through the archived log to its end, or to a time.

It runs as a single process that accepts no connections and ends when the cluster is whole. What it says is read, since a
log that cannot be read on is, to PostgreSQL, a log that ends.
"""

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from latticebank.runtime import configuration, wal
from latticebank.runtime.binaries import Binaries
from latticebank.runtime.cluster import replace_password
from latticebank.runtime.data_folder import DataFolder
from latticebank.runtime.disk import write_durably
from latticebank.runtime.errors import ArchiveBroken, DatabaseFailedToStart, RecoveryFailed
from latticebank.runtime.lock import FolderLock
from latticebank.runtime.os_user import ENVIRONMENT, ServerUser
from latticebank.runtime.wal import Segment

_LAST_COMMIT = re.compile(r"last completed transaction was at log time (\S+ \S+)$")
_REDO_DONE = re.compile(r"redo done at ")
_TIMELINE = re.compile(r"selected new timeline ID: (\d+)$")
_COMMIT = re.compile(rb"desc: COMMIT (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+)")
_ENDS_IN_NOTHING = ("expected at least 24, got 0", "invalid magic number 0000")
_LENGTH = 4  # the bytes with which a record begins: how long it is
_PAGE, _HEADER, _LONG_HEADER = 8192, 24, 40  # bytes; the long header is that of the first page of a segment


@dataclass(frozen=True)
class Target:
    """Up to where to recover: along which timeline (None: that of the backup), and until when (None: to the end)."""

    timeline: int | None
    until: datetime | None


@dataclass(frozen=True)
class Recovered:
    """Where recovery ended: the position, the timeline that begins there, when the last transaction was committed."""

    position: int
    timeline: int
    last_commit: datetime | None
    clean_end: bool
    """Whether nothing follows there but zeros, or what a target left out."""


def recover(
    data_folder: DataFolder,
    user: ServerUser,
    binaries: Binaries,
    lock: FolderLock,
    target: Target,
    parameters: Mapping[str, str],
) -> Recovered:
    """Recover the cluster with the log that lies in its `pg_wal`, and set a new password.

    Raises:
        RecoveryFailed: the log does not lead to the target; the message has what PostgreSQL said.

    """
    readable = 0o644 if user.other else 0o600
    write_durably(data_folder.home / "postgresql.conf", configuration.rendered(parameters), mode=readable)
    write_durably(data_folder.home / "pg_hba.conf", configuration.HBA, mode=readable)
    signal = data_folder.cluster / "recovery.signal"
    signal.touch(mode=0o600)
    if user.other:
        os.chown(signal, user.uid, user.gid)
    try:
        _, said = replace_password(data_folder, user, binaries, lock, _settings(target))
    except DatabaseFailedToStart as failed:
        raise RecoveryFailed(
            f"PostgreSQL could not recover the database:\n{_said(failed.log)}",
            hint="leave --to out, or choose an earlier time, another backup or another --timeline",
        ) from failed
    timeline = next(int(found.group(1)) for line in said if (found := _TIMELINE.search(line)))
    history = data_folder.cluster / "pg_wal" / wal.history_name(timeline)
    last = next((found.group(1) for line in said if (found := _LAST_COMMIT.search(line))), None)
    done = next((number for number, line in enumerate(said) if _REDO_DONE.search(line)), 0)
    before = said[done - 1] if done else ""
    stopped = any("recovery stopping" in line for line in said)
    return Recovered(
        position=wal.history_in(history.read_text(encoding="utf-8"))[-1].position,
        timeline=timeline,
        last_commit=_moment(last) if last else None,
        clean_end=stopped or not _speaks_of_a_record(before) or any(words in before for words in _ENDS_IN_NOTHING),
    )


def written_up_to(log: Mapping[Segment, Path]) -> int:
    """The position after the last byte of the log that is not zero; 0 where there is none."""
    for segment in sorted(log, key=lambda each: each.number, reverse=True):
        if written := len(log[segment].read_bytes().rstrip(b"\0")):
            return segment.number * wal.SEGMENT_BYTES + written
    return 0


def require_whole_log(recovered: Recovered, log: Mapping[Segment, Path], written: int) -> None:
    """Raise `ArchiveBroken` if recovery ended where the log goes on: what follows is out of reach, though it is there.

    `written` is where the log ended when it was copied, for a bank that lives writes on. A server that was killed may leave
    the beginning of one record at the end; that record was never acknowledged.
    """
    end = recovered.position + _LONG_HEADER  # a page may have begun
    here = next((each for each in log if each.number == recovered.position // wal.SEGMENT_BYTES), None)
    if not recovered.clean_end and here is not None:
        content = wal.found_again(here, log[here]).read_bytes()
        at = _first_record(recovered.position % wal.SEGMENT_BYTES)
        length = int.from_bytes(content[at : at + _LENGTH], "little")
        pages = (recovered.position + length) // _PAGE - (recovered.position - 1) // _PAGE
        end = recovered.position + length + pages * _LONG_HEADER
    if written <= end:
        return
    raise ArchiveBroken(
        f"the log cannot be read beyond {wal.shown(recovered.position)}, although it goes on to {wal.shown(written)}",
        hint="use another copy of the archive; or restore what can be read with --to and a time before",
    )


def commits_after(recovered: Recovered, log: Mapping[Segment, Path], binaries: Binaries) -> tuple[int, datetime | None]:
    """How many transactions the log has beyond where recovery ended, and when the last of them was committed."""
    count, last = 0, None
    with TemporaryDirectory() as folder:
        for segment, path in log.items():
            (Path(folder) / segment.name).symlink_to(
                wal.found_again(segment, path)
            )  # the last is read as if it were complete
        for timeline in sorted({segment.timeline for segment in log}):
            numbers = [segment.number for segment in log if segment.timeline == timeline]
            start = max(recovered.position, min(numbers) * wal.SEGMENT_BYTES)
            if start >= (max(numbers) + 1) * wal.SEGMENT_BYTES:
                continue
            for moment in _commits(Path(folder), timeline, start, binaries):
                count, last = count + 1, moment
    return count, _moment(last.decode() + "+00") if last else None


def _commits(folder: Path, timeline: int, start: int, binaries: Binaries) -> Iterator[bytes]:
    """The times of the commits in the log of one timeline from a position on; it ends where the log cannot be read."""
    command = [str(binaries.program("pg_waldump")), "--rmgr=Transaction", f"--path={folder}", f"--timeline={timeline}"]
    with subprocess.Popen(
        [*command, f"--start={wal.shown(start)}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env=ENVIRONMENT,
    ) as reading:
        assert reading.stdout is not None
        for line in reading.stdout:
            if found := _COMMIT.search(line):
                yield found.group(1)


def _first_record(offset: int) -> int:
    """Where in its segment the record begins that follows `offset`: after the header, where a page begins there."""
    if offset % _PAGE:
        return offset
    return offset + (_HEADER if offset else _LONG_HEADER)


def _settings(target: Target) -> dict[str, str]:
    settings = {
        "restore_command": "false",  # all that there is lies in pg_wal already
        "recovery_target_timeline": str(target.timeline) if target.timeline else "current",
        "recovery_target_action": "promote",
        "hot_standby": "off",
        "wal_keep_size": "1000GB",  # an archive goes on from where the new timeline begins
    }
    if target.until is not None:
        settings["recovery_target_time"] = target.until.astimezone(UTC).isoformat(sep=" ")
    return settings


def _speaks_of_a_record(line: str) -> bool:
    """Whether this is what PostgreSQL says of a record that it cannot read."""
    return any(
        word in line for word in ("invalid", "incorrect", "unexpected", "no contrecord", "corrupt", "out-of-sequence")
    )


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _said(log: tuple[str, ...]) -> str:
    return "\n".join(f"  {line}" for line in log)
