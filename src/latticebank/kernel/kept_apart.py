"""What no restore of a database may take back: short lists of lines, in files outside of the databases.

A list is kept in every one of its folders. Reading gives all lines of all of them, so a folder that was lost, or comes
from an older time, takes nothing away. Whoever writes holds one lock in each folder, also while reading what a new list
is made of: several processes may keep one list.
"""

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from latticebank.values.errors import BankError, Fault, InvalidValue

LISTS = ("tombstones", "erasures", "log-published")
"""Every list of the bank: those that a backup copies and a restore brings together."""
MAX_LINE_BYTES = 4_096
_OPEN = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class KeptApartUnavailable(BankError):
    """A folder of what is kept apart cannot be written or read; what was to be kept may be in the others."""

    code = "kept-apart-unavailable"
    title = "What is kept apart from the databases cannot be reached"
    fault = Fault.UNAVAILABLE


class KeptApart:
    """The list of a name: lines without line feeds, each durable in every folder when a call returns.

    The first folder is made with its parents where it is missing, another one only within a folder that is there.
    """

    def __init__(self, folders: Sequence[Path], name: str) -> None:
        assert name in LISTS, "a list that is not named there is in no backup"
        self._paths = [folder / name for folder in folders]

    def append(self, line: bytes) -> None:
        """Add a line; one that is there already is added again.

        Raises:
            InvalidValue: it is empty, longer than `MAX_LINE_BYTES`, or no line.
            KeptApartUnavailable: a folder cannot be written.

        """
        _require_line(line)
        with self._locked():
            for path in self._paths:
                with _named(path):
                    _append(path, line)

    def replace(self, lines: Sequence[bytes]) -> None:
        """Put these lines in the place of all others, in each folder whole or not at all.

        Raises:
            InvalidValue, KeptApartUnavailable: as `append`.

        """
        with self._locked():
            self._replace(lines)

    def revise(self, revised: Callable[[list[bytes]], Sequence[bytes]]) -> None:
        """Put what `revised` makes of all lines in their place; from its reading to the writing nobody else writes.

        Raises:
            InvalidValue, KeptApartUnavailable: as `append`; and whatever `revised` raises, with nothing written.

        """
        with self._locked():
            self._replace(revised(self.lines()))

    def lines(self) -> list[bytes]:
        """Return the lines of all folders in the order of the first that has them, each once; a torn last one is none.

        Raises:
            KeptApartUnavailable: a file is there and cannot be read.

        """
        found: dict[bytes, None] = {}
        for path in self._paths:
            try:
                content = path.read_bytes()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise _unavailable(path, error) from error
            found |= dict.fromkeys(line for line in content.split(b"\n")[:-1] if line)
        return list(found)

    def _replace(self, lines: Sequence[bytes]) -> None:
        for line in lines:
            _require_line(line)
        for path in self._paths:
            with _named(path):
                _replace(path, b"".join(line + b"\n" for line in lines))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the list in all of its folders: in one order, so that no two writers wait for each other, each once."""
        first = self._paths[0]
        for path in self._paths:
            with _named(path):
                # A further folder may be on a disk that is gone: then nothing is to be kept in the place of that disk.
                path.parent.mkdir(mode=0o700, parents=path is first, exist_ok=True)
        with ExitStack() as held:
            for lock in sorted({os.path.realpath(path.with_name(f"{path.name}.lock")) for path in self._paths}):
                held.enter_context(_locked(Path(lock)))
            yield


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Give what a file does to us the name of the bank for it."""
    try:
        yield
    except OSError as error:
        raise _unavailable(path, error) from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a file that is made if need be, for one writer at a time; nothing is ever put in its place."""
    with _named(path):
        descriptor = os.open(path, _OPEN, 0o600)
    try:
        with _named(path):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _append(path: Path, line: bytes) -> None:
    made = not path.exists()
    descriptor = os.open(path, _OPEN, 0o600)
    try:
        _cut_torn_line(descriptor)
        _write(descriptor, line + b"\n")
    finally:
        os.close(descriptor)
    if made:
        _sync(path.parent)


def _replace(path: Path, content: bytes) -> None:
    draft = path.with_name(f"{path.name}.draft")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, _OPEN | os.O_EXCL, 0o600)
    try:
        _write(descriptor, content)
    finally:
        os.close(descriptor)
    draft.replace(path)
    _sync(path.parent)


def _cut_torn_line(descriptor: int) -> None:
    """Go to the end of the last whole line, and cut off what a write that was interrupted has left after it."""
    size = os.lseek(descriptor, 0, os.SEEK_END)
    start = max(0, size - MAX_LINE_BYTES - 1)
    whole = os.pread(descriptor, size - start, start).rfind(b"\n") + 1
    if start + whole < size:
        os.ftruncate(descriptor, start + whole)
        os.lseek(descriptor, 0, os.SEEK_END)


def _write(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]
    os.fsync(descriptor)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _require_line(line: bytes) -> None:
    if not 0 < len(line) <= MAX_LINE_BYTES or b"\n" in line:
        raise InvalidValue(f"a line has 1 to {MAX_LINE_BYTES} bytes and no line feed", field="line")


def _unavailable(path: Path, error: OSError) -> KeptApartUnavailable:
    return KeptApartUnavailable(f"{path}: {error.strerror}", hint="give the bank's user the right to use this folder")
