"""The archive: a folder, best on another disk, to which the write-ahead log goes before a commit is acknowledged.

    archive.json       the marker: format, identity, the cluster it belongs to, the timeline that was written last
    lock               which bank writes to it now
    wal/00000001/      the log of timeline 1: whole segments, one that is being written (.partial)
    wal/00000002/      the log since a restore, and the history that says where it left timeline 1

A timeline has a folder of its own so that a bank restored to an earlier time never writes over what came later.
"""

import json
import secrets
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from latticebank.kernel.settings import KEPT
from latticebank.runtime import wal
from latticebank.runtime.data_folder import NOBODYS
from latticebank.runtime.disk import sync_folder, write_durably
from latticebank.runtime.errors import ForeignArchive
from latticebank.runtime.lock import FILE_NAME as LOCK
from latticebank.runtime.wal import Segment, Switch

MARKER = "archive.json"
WAL = "wal"
FORMAT = 1
_BEFORE_THE_MARKER = frozenset({LOCK, MARKER + ".new", WAL, KEPT})


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
            written = json.loads((folder / MARKER).read_text(encoding="utf-8"))
            if written.pop("made_by") != "latticebank" or written.pop("format") != FORMAT:
                raise ValueError(MARKER)
            archive = cls(folder, str(written["identity"]), str(written["system"]), int(written["timeline"]))
        except FileNotFoundError:
            _refuse_foreign(folder)
            return None
        except (ValueError, KeyError, TypeError, AttributeError, NotADirectoryError) as broken:
            raise ForeignArchive(
                f"{folder / MARKER} is not a marker that this Latticebank understands; nothing was changed",
                hint="choose another folder for LATTICEBANK_ARCHIVE",
            ) from broken
        return archive

    @classmethod
    def made(cls, folder: Path, system: str, timeline: int) -> Self:
        """Make the folder an archive."""
        return cls(folder, secrets.token_hex(8), system, timeline).marked(timeline)

    def marked(self, timeline: int) -> Self:
        """The same archive, last written on `timeline`, on the disk too."""
        archive = replace(self, timeline=timeline)
        content = {"made_by": "latticebank", "format": FORMAT, **asdict(archive)}
        del content["folder"]
        write_durably(self.folder / MARKER, json.dumps(content, indent=2) + "\n")
        return archive

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
        return sorted(int(name, 16) for name in names if len(name) == len("00000001"))

    def histories(self) -> dict[int, Path]:
        """The histories of all timelines."""
        return {
            number: path for each in self.timelines() for number, path in wal.histories_in(self.log_of(each)).items()
        }

    def way_to(self, timeline: int) -> list[Switch]:
        """The ancestors of a timeline, the oldest first, and where each was left."""
        history = self.histories().get(timeline)
        return wal.history_in(history.read_text(encoding="utf-8")) if history else []

    def segments(self, timeline: int) -> dict[Segment, Path]:
        """The segments that lead to the end of a timeline, in order: its own, and those of the ancestors before it."""
        found: dict[int, tuple[Segment, Path]] = {}
        for switch in self.way_to(timeline):
            last = switch.position // wal.SEGMENT_BYTES
            for segment, path in wal.segments_in(self.log_of(switch.timeline)).items():
                if segment.number <= last:
                    found[segment.number] = (segment, path)
        for segment, path in wal.segments_in(self.log_of(timeline)).items():
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
