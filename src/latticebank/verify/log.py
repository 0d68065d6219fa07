"""A downloaded log: every leaf, every tile and the root, computed anew from the entries (C2SP tlog-tiles).

One pass over the entry bundles; what is remembered is at most 256 hashes of each level.
"""

import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from latticebank.verify.checkpoint import verify_checkpoint
from latticebank.verify.findings import Fault, Findings
from latticebank.verify.history import Openings
from latticebank.verify.merkle import EMPTY_ROOT, leaf_hash, root_of
from latticebank.verify.notes import MAX_NOTE_BYTES, TreeHead
from latticebank.verify.policy import Policy
from latticebank.verify.records import LEAF_BYTES, LEAF_VERSION
from latticebank.verify.strict import parse_whole

TILE = 256
"""The hashes of a full tile, the entries of a full bundle."""
ENTRIES = "entries"
_HASH_BYTES = 32
_ENTRY_BYTES = 2 + LEAF_BYTES
_PLACE = re.compile(r"tile/(entries|[0-9]|[1-5][0-9]|6[0-3])/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([0-9]{1,3}))?")

Told = Callable[[int, int], None]
"""Hears how many entries were read, and how many there are."""


class Place(NamedTuple):
    """A tile of hashes, or a bundle of entries (level -1): the `number`-th of its level, with so many of them."""

    level: int
    number: int
    width: int

    @property
    def path(self) -> str:
        """Its path below the log."""
        number = f"{self.number % 1000:03d}"
        rest = self.number // 1000
        while rest:
            number = f"x{rest % 1000:03d}/{number}"
            rest //= 1000
        level = ENTRIES if self.level < 0 else str(self.level)
        return f"tile/{level}/{number}" + (f".p/{self.width}" if self.width < TILE else "")


class Tree:
    """Tiles made anew, from the bottom up, as the hashes of leaves come."""

    def __init__(self, compare: Callable[[Place, Sequence[bytes]], None]) -> None:
        self._compare = compare
        self._count: Counter[int] = Counter()
        self._above: dict[int, list[bytes]] = {}

    def add(self, hashes: list[bytes], level: int = 0) -> None:
        """Take the next tile of a level; a full one is one hash of the level above."""
        self._compare(Place(level, self._count[level], len(hashes)), hashes)
        self._count[level] += 1
        if len(hashes) == TILE:
            above = self._above.setdefault(level + 1, [])
            above.append(root_of(hashes))
            if len(above) == TILE:
                self._above[level + 1] = []
                self.add(above, level + 1)

    def finish(self) -> None:
        """Compare what has not filled a tile above the leaves."""
        for level, hashes in self._above.items():
            if hashes:
                self._compare(Place(level, self._count[level], len(hashes)), hashes)

    def root(self, last: list[bytes]) -> bytes:
        """Return the root of all full tiles so far and at least one leaf, at most a tile of them, after these."""
        rest = last
        for level in sorted(self._above):
            rest = [*self._above[level], root_of(rest)]
        return root_of(rest)


def verify_log(
    folder: Path,
    policy: Policy,
    findings: Findings,
    sizes: Collection[int] = (),
    openings: Openings | None = None,
    told: Told | None = None,
) -> tuple[TreeHead, dict[int, bytes]]:
    """Verify the log in a folder; return what its checkpoint says, and its roots at these sizes as far as it goes.

    Raises:
        Fault: the checkpoint does not hold, or an entry bundle cannot be read.

    """
    note = _read(folder, "checkpoint", MAX_NOTE_BYTES)
    try:
        head = verify_checkpoint(note.decode(), policy, findings)
    except UnicodeDecodeError:
        raise Fault("checkpoint", "it is not UTF-8") from None
    _compare_files(folder, head.size, findings)

    def compare(place: Place, hashes: Sequence[bytes]) -> None:
        with findings.going_on():
            if _read(folder, place.path, TILE * _HASH_BYTES) != b"".join(hashes):
                raise Fault(place.path, "it does not hold the hashes of the entries")

    tree = Tree(compare)
    roots: dict[int, bytes] = {0: EMPTY_ROOT}
    wanted = sorted({*sizes, head.size})
    for number in range(-(-head.size // TILE)):
        first, width = number * TILE, min(TILE, head.size - number * TILE)
        leaves = _bundle(folder, Place(-1, number, width))
        if openings is not None:
            openings.compare(first, leaves, findings)
        hashes = [leaf_hash(leaf) for leaf in leaves]
        for size in wanted:
            if first < size <= first + width:
                roots[size] = tree.root(hashes[: size - first])
        tree.add(hashes)
        if told is not None:
            told(first + width, head.size)
    tree.finish()
    if roots[head.size] != head.root:
        findings.fault("checkpoint", "its root is not that of the entries")
    if openings is not None:
        openings.finish(head.size, findings)
    if not findings.faults:
        files = sum(1 for _ in places_of(head.size))
        findings.checked.append(
            f"{head.size} leaves in {files} tiles and bundles make the root, and nothing else is there"
        )
    return head, roots


def claimed_size(folder: Path) -> int:
    """Return the size that the checkpoint in a folder claims, not verified; 0 where it claims none."""
    try:
        return parse_whole(_read(folder, "checkpoint", MAX_NOTE_BYTES).decode().split("\n")[1], "checkpoint")
    except (Fault, UnicodeDecodeError, IndexError):
        return 0


def _compare_files(folder: Path, size: int, findings: Findings) -> None:
    for place in places_of(size):
        if not os.path.isfile(folder / place.path):  # noqa: PTH113 - that of pathlib raises where a folder is closed
            findings.fault(place.path, "it is missing")
    for path in _extras(folder, size):
        findings.fault(path, "it is no part of the log of this checkpoint")


def places_of(size: int) -> Iterator[Place]:
    """Yield every bundle and tile of a tree of so many leaves."""
    for level in range(-1, 8):
        hashes = size >> 8 * max(level, 0)
        for number in range(hashes // TILE):
            yield Place(level, number, TILE)
        if hashes % TILE:
            yield Place(level, hashes // TILE, hashes % TILE)


def _extras(folder: Path, size: int) -> Iterator[str]:
    """Yield the files that are no part of a log of so many leaves; a link is none.

    Raises:
        Fault: a folder cannot be read.

    """

    def closed(error: OSError) -> None:
        raise Fault(str(error.filename), f"it cannot be read: {error.strerror}")

    for parent, folders, files in os.walk(folder, onerror=closed):
        for name in (*files, *(each for each in folders if Path(parent, each).is_symlink())):
            path = Path(parent, name).relative_to(folder).as_posix()
            if path != "checkpoint" and not _belongs(path, size):
                yield path


def _belongs(path: str, size: int) -> bool:
    found = _PLACE.fullmatch(path)
    if found is None:
        return False
    level = -1 if found[1] == ENTRIES else int(found[1])
    number = int(found[2].replace("x", "").replace("/", ""))
    hashes = size >> 8 * max(level, 0)
    width = min(TILE, hashes - number * TILE)
    return width > 0 and Place(level, number, width).path == path


def _bundle(folder: Path, place: Place) -> list[bytes]:
    """Return the leaves of a bundle: each has its length in front, 2 bytes, and is of version 1.

    Raises:
        Fault: it cannot be read, or holds anything else.

    """
    content = _read(folder, place.path, TILE * _ENTRY_BYTES)
    entries = [content[start : start + _ENTRY_BYTES] for start in range(0, len(content), _ENTRY_BYTES)]
    begins = LEAF_BYTES.to_bytes(2) + bytes([LEAF_VERSION])
    if len(content) != place.width * _ENTRY_BYTES or not all(entry.startswith(begins) for entry in entries):
        raise Fault(place.path, f"it is not {place.width} leaves of {LEAF_BYTES} bytes and version {LEAF_VERSION}")
    return [entry[2:] for entry in entries]


def _read(folder: Path, path: str, max_bytes: int) -> bytes:
    """Return what is in a plain file of the log.

    Raises:
        Fault: it is no plain file, cannot be read, or has more bytes than this.

    """
    try:
        # Neither follows a link nor waits at a pipe.
        descriptor = os.open(folder / path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as file:
            content = file.read(max_bytes + 1) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
    except OSError as error:
        raise Fault(path, f"it cannot be read: {error.strerror}") from None
    if content is None or len(content) > max_bytes:
        raise Fault(path, f"it is no plain file of at most {max_bytes} bytes")
    return content
