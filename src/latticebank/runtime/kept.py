"""What the bank keeps apart, past a restore: copied into every backup, and brought together from all that is left.

The lists hold identifiers, sizes and roots of trees, and no secret. A list that knows less than the databases once said
would let the log fork and bring erased customers back; so a restore goes on without them only if it is told to.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from latticebank.kernel.kept_apart import LISTS, MAX_LINE_BYTES, KeptApart
from latticebank.kernel.settings import KEPT
from latticebank.runtime.disk import folder_at
from latticebank.runtime.errors import BackupBroken, KeptApartMissing
from latticebank.security.audit.model.forgotten import forgotten
from latticebank.security.audit.model.standing import Remembered, remembered_in
from latticebank.security.identity.model.erasure import erasure_of
from latticebank.security.keys.model import Tombstone
from latticebank.values.errors import BankError, Fault

_PUBLISHED = "log-published"
_READERS: Mapping[str, Callable[[bytes], object]] = {
    "tombstones": Tombstone.from_line,
    "erasures": erasure_of,
    _PUBLISHED: lambda line: remembered_in([line]),
}
"""How the services read a line of each list."""


class KeptApartDamaged(BankError):
    """A line of what is kept apart is none: a bank that was restored with it would not open."""

    code = "kept-apart-damaged"
    title = "What is kept apart from the databases is damaged"
    fault = Fault.REFUSED


def copy_kept(folders: Sequence[Path], backup: Path) -> dict[str, str]:
    """Copy the lists into a backup that is being made; return the SHA-256 of each file, in hexadecimal, by its name.

    Raises:
        KeptApartUnavailable: a list cannot be read, or its copy not be written.

    """
    digests = {}
    for name in LISTS:
        if lines := KeptApart(folders, name).lines():
            KeptApart([backup / KEPT], name).replace(lines)
            digests[name] = _sha256(backup / KEPT / name)
    return digests


def verify_kept(backup: Path, digests: Mapping[str, str]) -> None:
    """Compare the lists in a backup with their digests. Raises `BackupBroken` with the first that is another."""
    for name in sorted({*LISTS, *digests}):
        path = backup / KEPT / name
        try:
            found = _sha256(path) if name in LISTS else None
        except FileNotFoundError:
            found = None
        except OSError as problem:
            raise BackupBroken(f"{path} cannot be read: {problem.strerror}", hint="use another backup") from problem
        if found != digests.get(name):
            raise BackupBroken(f"{path} is not what it was when the backup was made", hint="use another backup")


def kept_in(folder: Path) -> Path:
    """The folder with the lists: this one, or the one in it if it is a data folder or an archive.

    Raises:
        KeptApartMissing: there is none.

    """
    folder = folder_at(folder)
    for each in (folder, folder / KEPT):
        if has_lists(each):
            return each
    raise KeptApartMissing(
        f"{folder} has none of the lists {', '.join(LISTS)}", hint="name the folder `kept` of the old data folder"
    )


def require_sound(folders: Iterable[Path]) -> None:
    """Read every line of the lists in these folders as the services will.

    Raises:
        KeptApartDamaged: a line is none; the message has the file and the number of the line.
        KeptApartUnavailable: a list cannot be read.

    """
    for folder in folders:
        for name, read in _READERS.items():
            for line in KeptApart([folder], name).lines():
                try:
                    if len(line) <= MAX_LINE_BYTES:
                        read(line)
                        continue
                except (BankError, UnicodeDecodeError, RecursionError):
                    pass
                path = folder / name
                number = path.read_bytes().split(b"\n").index(line) + 1
                raise KeptApartDamaged(
                    f"line {number} of {path} cannot be read: {line[:60]!a}",
                    hint="put an undamaged copy of this file there: data folder and archive have the same lines; if there is "
                    "none, take out this line alone",
                )


def has_lists(folder: Path) -> bool:
    """Whether a folder holds any of the lists."""
    return any((folder / name).exists() for name in LISTS)


def reaches(folders: Sequence[Path], backup: Path) -> bool:
    """Whether these folders know at least as much of the log as the backup: they are of the same bank, and no older.

    Raises:
        LogHalted, KeptApartUnavailable: what was published cannot be read.

    """
    known, before = _published(folders), _published([backup / KEPT])
    return all(origin in known and known[origin].size >= said.size for origin, said in before.items())


def bring_together(folders: Sequence[Path], data: Path) -> None:
    """Put the lines of these folders into the lists of a data folder, whose own lines stay.

    Raises:
        KeptApartUnavailable: a list cannot be read or written.

    """
    for name in LISTS:
        if lines := KeptApart([data / KEPT, *folders], name).lines():
            KeptApart([data / KEPT], name).replace(lines)


def give_up_the_log(bank: str, data: Path) -> None:
    """Let no log go on that was begun before: how far it was published is not known.

    Raises:
        LogHalted, KeptApartUnavailable: what was published cannot be read or written.

    """
    kept = KeptApart([data / KEPT], _PUBLISHED)
    kept.replace(forgotten(kept.lines(), bank))


def _published(folders: Sequence[Path]) -> dict[str, Remembered]:
    return remembered_in(KeptApart(folders, _PUBLISHED).lines())


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
