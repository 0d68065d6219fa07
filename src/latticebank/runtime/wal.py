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
_POSITION = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")
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
    """What the history of a timeline says: its ancestors, the oldest first, and where each was left."""
    lines = (line.split(maxsplit=2) for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return [Switch(int(words[0]), position_of(words[1])) for words in lines]


def segments_in(folder: Path) -> dict[Segment, Path]:
    """The segments in a folder with their files, in order; the whole file of one rather than its `.partial`."""
    found: dict[Segment, Path] = {}
    for path in sorted(_files(folder)):
        segment = Segment.named(path.name.removesuffix(PARTIAL))
        if segment is not None and path.stat().st_size == SEGMENT_BYTES:
            found.setdefault(segment, path)
    return dict(sorted(found.items()))


def found_again(segment: Segment, path: Path) -> Path:
    """The file of a segment that was seen at `path`: a bank that lives may have completed it since."""
    return path if path.exists() else path.with_name(segment.name)


def histories_in(folder: Path) -> dict[int, Path]:
    """The timelines whose history is in a folder, with the files."""
    matches = ((_HISTORY.fullmatch(path.name), path) for path in _files(folder))
    return {int(match.group(1), 16): path for match, path in matches if match}


def first_gap(numbers: Iterable[int]) -> int | None:
    """The first number that is missing between the least and the greatest; None if none is."""
    ordered = sorted(set(numbers))
    return next((before + 1 for before, after in pairwise(ordered) if after != before + 1), None)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []
