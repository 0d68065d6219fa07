"""The archive: a folder, best on another disk, to which the write-ahead log goes before a commit is acknowledged.

    archive.json       the marker: format, identity, the cluster it belongs to, the timeline that was written last
    lock               which bank writes to it now
    wal/00000001/      the log of timeline 1: whole segments, one that is being written (.partial)
    wal/00000002/      the log since a restore, and the history that says where it left timeline 1

A timeline has a folder of its own so that a bank restored to an earlier time never writes over what came later.
"""

import re
import secrets
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Self

from msgspec import Meta, Struct

from latticebank.kernel.settings import KEPT
from latticebank.runtime import wal
from latticebank.runtime.data_folder import NOBODYS
from latticebank.runtime.disk import sync_folder
from latticebank.runtime.errors import ArchiveBroken, ForeignArchive
from latticebank.runtime.lock import FILE_NAME as LOCK
from latticebank.runtime.records import read_record, write_record
from latticebank.runtime.wal import Segment, Switch
from latticebank.values.errors import InvalidValue

MARKER = "archive.json"
WAL = "wal"
FORMAT = 1
_BEFORE_THE_MARKER = frozenset({LOCK, MARKER + ".new", WAL, KEPT})
_TIMELINE = re.compile(r"[0-9A-F]{8}")


class _Marker(Struct, frozen=True, forbid_unknown_fields=True):
    """What `archive.json` says."""

    identity: Annotated[str, Meta(pattern=r"^[!-~]{1,64}\Z")]
    system: Annotated[str, Meta(pattern=r"^[0-9]{1,20}\Z")]
    timeline: Annotated[int, Meta(ge=1, lt=2**32)]


@dataclass(frozen=True)
class Archive:
    """A folder that is an archive: `system` is the identifier of its cluster, `timeline` the one written last."""

    folder: Path
    identity: str
    system: str
    timeline: int

    @classmethod
    def at(cls, folder: Path) -> Self | None:
        """The archive in this folder; None if the folder is still to become one. Raises `ForeignArchive`."""
        try:
            marker = read_record(folder / MARKER, _Marker, FORMAT)
        except FileNotFoundError:
            _refuse_foreign(folder)
            return None
        except (ValueError, IsADirectoryError, NotADirectoryError) as broken:
            raise ForeignArchive(
                f"{folder / MARKER} is not a marker that this Latticebank understands; nothing was changed",
                hint="put an undamaged copy of it there, or name another folder for LATTICEBANK_ARCHIVE",
            ) from broken
        return cls(folder, marker.identity, marker.system, marker.timeline)

    @classmethod
    def made(cls, folder: Path, system: str, timeline: int) -> Self:
        """Make the folder an archive."""
        return cls(folder, secrets.token_hex(8), system, timeline).marked(timeline)

    def marked(self, timeline: int) -> Self:
        """The same archive, last written on `timeline`, on the disk too."""
        write_record(self.folder / MARKER, _Marker(self.identity, self.system, timeline), FORMAT)
        return replace(self, timeline=timeline)

    def log_of(self, timeline: int) -> Path:
        """The folder with the log of a timeline."""
        return self.folder / WAL / f"{timeline:08X}"

    def make_log_of(self, timeline: int) -> Path:
        """The same, made if need be."""
        folder = self.log_of(timeline)
        for each in (folder.parent, folder):
            each.mkdir(mode=0o700, exist_ok=True)
            sync_folder(each.parent)
        return folder

    def timelines(self) -> list[int]:
        """The timelines that have a folder."""
        folder = self.folder / WAL
        names = [path.name for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
        return sorted(int(name, 16) for name in names if _TIMELINE.fullmatch(name))

    def histories(self) -> dict[int, Path]:
        """The histories of all timelines."""
        return {
            number: path for each in self.timelines() for number, path in wal.histories_in(self.log_of(each)).items()
        }

    def way_to(self, timeline: int) -> list[Switch]:
        """The ancestors of a timeline, the oldest first, and where each was left.

        Raises `ArchiveBroken` if there is no log of this timeline at all, or nothing says where it began.
        """
        if timeline not in self.timelines():
            raise ArchiveBroken(
                f"the archive {self.folder} has no log of the timeline {timeline}",
                hint=f"bring {self.log_of(timeline)} back, or name another --timeline",
            )
        history = self.histories().get(timeline)
        if history is None:
            return []
        try:
            return wal.history_in(history.read_text(encoding="utf-8"))
        except (UnicodeDecodeError, InvalidValue) as broken:
            raise ArchiveBroken(
                f"{history} does not say where the timeline {timeline} began", hint="use another copy of the archive"
            ) from broken

    def segments(self, timeline: int) -> dict[Segment, Path]:
        """The files of the log to the end of a timeline, in order: its own, and those of the ancestors before it.

        Some may be damaged. Raises `ArchiveBroken` as `way_to`.
        """
        found: dict[int, tuple[Segment, Path]] = {}
        for switch in self.way_to(timeline):
            last = switch.position // wal.SEGMENT_BYTES
            for segment, path in wal.files_in(self.log_of(switch.timeline)).items():
                if segment.number <= last:
                    found[segment.number] = (segment, path)
        for segment, path in wal.files_in(self.log_of(timeline)).items():
            found[segment.number] = (segment, path)
        return dict(found[number] for number in sorted(found))

    def prune(self, before: int) -> int:
        """Delete the segments of all timelines with numbers below `before`; how many."""
        pruned = 0
        for timeline in self.timelines():
            for segment, path in wal.segments_in(self.log_of(timeline)).items():
                if segment.number < before and not path.name.endswith(wal.PARTIAL):
                    path.unlink()
                    pruned += 1
        return pruned


def _refuse_foreign(folder: Path) -> None:
    """Raise unless nothing lies in the folder but what comes before the marker."""
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    foreign = sorted(names - _BEFORE_THE_MARKER - NOBODYS)
    if foreign:
        raise ForeignArchive(
            f"{folder} holds files that are not of an archive: {', '.join(foreign[:3])} (none was touched)",
            hint="give the archive a folder of its own in LATTICEBANK_ARCHIVE",
        )
