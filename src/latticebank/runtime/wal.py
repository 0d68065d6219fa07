"""Positions in the write-ahead log, its segments and its timelines, by the names that PostgreSQL gives them.

A position (LSN) is a number of bytes since the beginning of the cluster; people see it as `0/3000028`. A segment is a file
of 16 MiB. A restore begins a new timeline; its history says where it left the one before.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Self

from latticebank.values.errors import InvalidValue

SEGMENT_BYTES = 16 * 1024 * 1024
PARTIAL = ".partial"  # the segment that is still being written
HISTORY = ".history"
_SEGMENT = re.compile(r"([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})")
_HISTORY = re.compile(r"([0-9A-F]{8})\.history")
POSITION = r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})"
_POSITION = re.compile(POSITION)
_SWITCH = re.compile(rf"([1-9][0-9]{{0,9}})\s+({POSITION})(\s.*)?")
_IN_4_GIB = 2**32 // SEGMENT_BYTES


@dataclass(frozen=True, order=True)
class Segment:
    """One file of the log: the `number`th of the cluster, as written on `timeline`."""

    timeline: int
    number: int

    @classmethod
    def holding(cls, timeline: int, position: int) -> Self:
        """The segment in which a position lies."""
        return cls(timeline, position // SEGMENT_BYTES)

    @classmethod
    def named(cls, name: str) -> Self | None:
        """The segment of this file name; None if it is the name of something else."""
        found = _SEGMENT.fullmatch(name)
        if found is None:
            return None
        timeline, high, low = (int(part, 16) for part in found.groups())
        return cls(timeline, high * _IN_4_GIB + low)

    @property
    def name(self) -> str:
        """The name of its file."""
        return f"{self.timeline:08X}{self.number // _IN_4_GIB:08X}{self.number % _IN_4_GIB:08X}"


@dataclass(frozen=True)
class Switch:
    """Where a later timeline left this one."""

    timeline: int
    position: int


def position_of(text: str) -> int:
    """The position that is shown as `text`; raises `InvalidValue`."""
    found = _POSITION.fullmatch(text)
    if found is None:
        raise InvalidValue(f"{text!r} is no position of a write-ahead log, like 0/3000028", field="position")
    return int(found.group(1), 16) << 32 | int(found.group(2), 16)


def shown(position: int) -> str:
    """A position as PostgreSQL shows it."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


def history_name(timeline: int) -> str:
    """The name of the file that says where a timeline came from."""
    return f"{timeline:08X}{HISTORY}"


def history_in(text: str) -> list[Switch]:
    """What the history of a timeline says: its ancestors, the oldest first, and where each was left.

    Raises `InvalidValue` if it is none.
    """
    switches = []
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            if (found := _SWITCH.fullmatch(line.strip())) is None:
                raise InvalidValue(f"{line[:80]!a} is no line of the history of a timeline", field="history")
            switches.append(Switch(int(found.group(1)), position_of(found.group(2))))
    if not switches:
        raise InvalidValue("this history of a timeline is empty", field="history")
    return switches


def files_in(folder: Path) -> dict[Segment, Path]:
    """The files of segments in a folder, in order, whatever their size: the whole one rather than the `.partial`.

    A newest one to which nothing was written yet is left out.
    """
    found = _named_in(folder)
    newest = next(reversed(found), None)
    if newest is not None and _is_only_begun(found[newest]):
        del found[newest]
    return found


def segments_in(folder: Path) -> dict[Segment, Path]:
    """Those of them that have the size of a segment."""
    return {segment: path for segment, path in files_in(folder).items() if is_whole(segment, path)}


def is_whole(segment: Segment, path: Path) -> bool:
    """Whether a file has the size of a segment, as it has from before anything is written to it."""
    path = found_again(segment, path)
    return path.is_file() and path.stat().st_size == SEGMENT_BYTES


def only_begun_in(folder: Path) -> Path | None:
    """The newest file of a folder if it is a `.partial` that is still to be filled up with zeros."""
    path = next(reversed(_named_in(folder).values()), None)
    return path if path is not None and _is_only_begun(path) else None


def found_again(segment: Segment, path: Path) -> Path:
    """The file of a segment that was seen at `path`: a bank that lives may have completed it since."""
    return path if path.exists() else path.with_name(segment.name)


def histories_in(folder: Path) -> dict[int, Path]:
    """The timelines whose history is in a folder, with the files."""
    matches = ((_HISTORY.fullmatch(path.name), path) for path in _entries(folder) if path.is_file())
    return {int(match.group(1), 16): path for match, path in matches if match}


def first_gap(numbers: Iterable[int]) -> int | None:
    """The first number that is missing between the least and the greatest; None if none is."""
    ordered = sorted(set(numbers))
    return next((before + 1 for before, after in pairwise(ordered) if after != before + 1), None)


def _named_in(folder: Path) -> dict[Segment, Path]:
    found: dict[Segment, Path] = {}
    for path in sorted(_entries(folder)):
        segment = Segment.named(path.name.removesuffix(PARTIAL))
        if segment is not None:
            found.setdefault(segment, path)
    return dict(sorted(found.items()))


def _is_only_begun(path: Path) -> bool:
    """Whether the writer of the log died, or ran out of room, while it filled a new file with zeros."""
    if not path.name.endswith(PARTIAL):
        return False
    try:
        if not path.is_file() or path.stat().st_size >= SEGMENT_BYTES:
            return False
        content = path.read_bytes()  # by now it may be filled up, and written to
    except FileNotFoundError:  # a bank that lives has completed it
        return False
    return len(content) < SEGMENT_BYTES and not content.strip(b"\0")


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []
