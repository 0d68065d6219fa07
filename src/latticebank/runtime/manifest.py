"""Whether a copy of a cluster is whole: every file as its manifest says (SHA-256), none missing, none too many.

The manifest is PostgreSQL's own (`backup_manifest`). The write-ahead log is not in it; what of it the copy needs is.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from latticebank.runtime import wal
from latticebank.runtime.errors import BackupBroken
from latticebank.runtime.wal import Segment

MANIFEST = "backup_manifest"
LOG = "pg_wal"
_CLOSING = b'"Manifest-Checksum"'
_HINT = "use another backup; never repair one by hand"


@dataclass(frozen=True)
class Manifest:
    """What a copy says of itself: its cluster, the log it needs (on one timeline, from and up to a position), its files."""

    system: str
    timeline: int
    begin: int
    end: int
    files: dict[str, tuple[int, str]]
    digest: str
    """SHA-256 of the manifest itself, in hexadecimal."""


def manifest_of(cluster: Path) -> Manifest:
    """Read the manifest of a copy. Raises `BackupBroken`."""
    path = cluster / MANIFEST
    try:
        content = path.read_bytes()
        head, found, _ = content.rpartition(_CLOSING)
        written = json.loads(content)
        if not found or written["Manifest-Checksum"] != hashlib.sha256(head).hexdigest():
            raise BackupBroken(f"{path} was changed since the backup was made", hint=_HINT)
        (range_,) = written["WAL-Ranges"]
        return Manifest(
            system=str(written["System-Identifier"]),
            timeline=int(range_["Timeline"]),
            begin=wal.position_of(range_["Start-LSN"]),
            end=wal.position_of(range_["End-LSN"]),
            files=dict(_file(each) for each in written["Files"]),
            digest=hashlib.sha256(content).hexdigest(),
        )
    except OSError as gone:
        raise BackupBroken(f"{path} cannot be read: {gone.strerror}", hint=_HINT) from gone
    except (ValueError, KeyError, TypeError, RecursionError) as broken:
        raise BackupBroken(f"{path} is not a manifest", hint=_HINT) from broken


def verify(cluster: Path) -> Manifest:
    """Compare a copy with its manifest, byte for byte. Raises `BackupBroken` with the first file that is wrong."""
    manifest = manifest_of(cluster)
    there = set(_names(cluster))
    listed = {name for name in manifest.files if not name.startswith(f"{LOG}/")}
    for name in sorted(listed - there):
        raise BackupBroken(f"the file {name} is missing in {cluster}", hint=_HINT)
    for name in sorted(there - listed):
        raise BackupBroken(f"the file {name} in {cluster} was not there when the backup was made", hint=_HINT)
    for name, (size, checksum) in manifest.files.items():
        if name in listed and (cluster / name).stat().st_size != size:
            raise BackupBroken(f"the file {name} in {cluster} has not the size that it had", hint=_HINT)
        if name in listed and _sha256(cluster / name) != checksum:
            raise BackupBroken(f"the file {name} in {cluster} was changed since the backup was made", hint=_HINT)
    segments = wal.segments_in(cluster / LOG)
    for number in range(manifest.begin // wal.SEGMENT_BYTES, (manifest.end - 1) // wal.SEGMENT_BYTES + 1):
        if (needed := Segment(manifest.timeline, number)) not in segments:
            raise BackupBroken(f"the segment {needed.name} is missing in {cluster / LOG}", hint=_HINT)
    return manifest


def _names(cluster: Path) -> Iterator[str]:
    """The files of a copy, but for the log and the manifest."""
    for path in cluster.rglob("*"):
        name = path.relative_to(cluster).as_posix()
        if path.is_symlink():
            raise BackupBroken(f"{path} is a link, and no backup has any", hint=_HINT)
        if path.is_file() and name != MANIFEST and not name.startswith(f"{LOG}/"):
            yield name


def _file(entry: dict[str, object]) -> tuple[str, tuple[int, str]]:
    name, size = str(entry["Path"]), int(str(entry["Size"]))
    if (
        entry["Checksum-Algorithm"] != "SHA256"
        or PurePosixPath(name).is_absolute()
        or ".." in PurePosixPath(name).parts
    ):
        raise ValueError(name)
    return name, (size, str(entry["Checksum"]))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
