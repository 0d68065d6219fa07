"""A downloaded log: every leaf, every tile and the root, computed anew from the entries (C2SP tlog-tiles).

It is read from the leaves upwards: a tile holds the hashes of the entries, or of the tiles below it, which were verified
before. At most two of them are in memory at a time.
"""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from latticebank.verify.checkpoint import EMPTY_ROOT, MAX_NOTE_BYTES, Policy, TreeHead, verify_checkpoint
from latticebank.verify.merkle import leaf_hash, node_hash
from latticebank.verify.strict import Fault, Findings

TILE = 256
ENTRIES = "entries"
"""In the place of a level: the leaves themselves."""
FRONT = b"\x00\x21"
"""In front of each leaf in a bundle of entries: its length."""
_PLACE = re.compile(r"tile/(entries|[0-7])/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")
_DRAFT = re.compile(r"\.([a-z0-9]+)\.draft")


def verify_log(folder: Path, policy: Policy, findings: Findings) -> TreeHead:
    """Verify the log in a folder; return what its checkpoint says."""
    head = verify_checkpoint(_read(folder, "checkpoint", MAX_NOTE_BYTES), policy, findings)
    files = 0
    for level in range(8):
        for number in range(-(-(head.size >> 8 * level) // TILE)):
            tile, path = read_tile(folder, level, number, head.size), path_of(level, number, head.size)
            if level == 0:
                bundle, below = read_tile(folder, ENTRIES, number, head.size), path_of(ENTRIES, number, head.size)
                versions = all(entry.startswith(FRONT + b"\x01") for entry in bundle)
                findings.require(versions, f"{below}: these are not leaves of 33 bytes and version 1")
                made = [leaf_hash(entry.removeprefix(FRONT)) for entry in bundle]
            else:
                below, first = "the tiles below it", number * TILE
                made = [root_of(read_tile(folder, level - 1, first + n, head.size)) for n in range(len(tile))]
            findings.require(tile == made, f"{path}: it does not hold the hashes of {below}")
            files += 2 if level == 0 else 1
    findings.require(
        root_at(folder, head.size, head.size) == head.root, "checkpoint: its root is not that of the entries"
    )
    strangers = list(_strangers(folder, head.size))
    for path in strangers:
        draft_of = _DRAFT.sub(r"\1", path)  # what a download that was interrupted leaves is no sign of bad faith
        left_over = draft_of == "checkpoint" or _place(draft_of)[2] > 0
        findings.require(left_over, f"{path}: it is no part of the log of this checkpoint")
    if strangers:
        what = f"what {len(strangers)} more files hold: an update of this copy was interrupted"
        findings.not_shown.append(f"{what}: run `latticebank log download` again")
    if not findings.faults:
        what = f"{head.size} leaves in {files} tiles and bundles make the root"
        findings.checked.append(what + ("" if strangers else ", and nothing else is there"))
    return head


def root_of(hashes: list[bytes]) -> bytes:
    """Return the root over at least one hash: of leaves, or of complete subtrees of one height and what remains."""
    while len(hashes) > 1:
        pairs = [node_hash(left, right) for left, right in zip(hashes[::2], hashes[1::2], strict=False)]
        hashes = pairs + hashes[len(pairs) * 2 :]
    return hashes[0]


def root_at(folder: Path, at: int, size: int) -> bytes:
    """Return the root of the first leaves of a log of `size`, as its tiles have it."""
    level, rest = 0, [] if at else [EMPTY_ROOT]
    while at:
        number, width = divmod(at, TILE)
        hashes = (read_tile(folder, level, number, size)[:width] if width else []) + rest
        rest = [root_of(hashes)] if hashes else []
        level, at = level + 1, number
    return rest[0]


def path_of(level: int | str, number: int, size: int) -> str:
    """Return where a tile, or a bundle of entries, is in a log of this size."""
    *thousands, last = f"{number:,}".split(",")
    name = "/".join([*(f"x{each:0>3}" for each in thousands), f"{last:0>3}"])
    width = _width(level, number, size)
    return f"tile/{level}/{name}" + (f".p/{width}" if width < TILE else "")


def _width(level: int | str, number: int, size: int) -> int:
    """Return how many hashes or entries are there; none if it is no part of the log."""
    return max(0, min(TILE, (size >> 8 * (0 if level == ENTRIES else int(level))) - number * TILE))


def read_tile(folder: Path, level: int | str, number: int, size: int) -> list[bytes]:
    """Return the hashes of a tile, or the entries of a bundle."""
    path, each = path_of(level, number, size), 35 if level == ENTRIES else 32
    total = each * _width(level, number, size)
    content = _read(folder, path, total)
    if len(content) != total:
        raise Fault(f"{path}: it has not {total} bytes")
    return [content[start : start + each] for start in range(0, total, each)]


def _read(folder: Path, path: str, most: int) -> bytes:
    """Return what is in a plain file of at most so many bytes."""
    try:
        status = (folder / path).lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > most:
            raise Fault(f"{path}: it is no plain file of at most {most} bytes")
        return (folder / path).read_bytes()
    except OSError as error:
        raise Fault(f"{path}: it cannot be read: {error.strerror}") from None


def _strangers(folder: Path, size: int) -> Iterator[str]:
    """Yield the files that are no part of a log of this size; a link to a folder is none."""

    def closed(error: OSError) -> None:
        raise Fault(f"{error.filename}: it cannot be read: {error.strerror}")

    for parent, folders, files in os.walk(folder, onerror=closed):
        for name in (*files, *(each for each in folders if Path(parent, each).is_symlink())):
            path = Path(parent, name).relative_to(folder).as_posix()
            level, number, width = _place(path)
            if path != "checkpoint" and not 0 < width == _width(level, number, size):
                yield path


def _place(path: str) -> tuple[str, int, int]:
    """Return the level, number and width that the path of a tile or bundle names; a width of 0 if it is no such path."""
    found = _PLACE.fullmatch(path)
    level, number, width = (
        (found[1], int(re.sub("[x/]", "", found[2])), int(found[3] or TILE)) if found else ("0", 0, 0)
    )
    size = (number * TILE + width) << (0 if level == ENTRIES else 8 * int(level))
    return level, number, width if path_of(level, number, size) == path else 0
