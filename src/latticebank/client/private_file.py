"""Files that only their owner reads: whole or not there, 0600, in a folder that nobody else writes to."""

import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from latticebank.values.errors import BankError, Fault

_LOCK_SECONDS = 30.0
_LOOK_AGAIN_SECONDS = 0.02


class OpenToOthers(BankError):
    """A file with secrets, or its folder, is open to other users of this machine; it is not used."""

    code = "open-to-others"
    title = "A file with secrets is open to others"
    fault = Fault.REFUSED


class CannotUseFile(BankError):
    """The system does not let us read or write a file."""

    code = "cannot-use-file"
    title = "A file cannot be read or written"
    fault = Fault.INTERNAL

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(f"{path}: {error.strerror or error}", hint="look at the folder, its owner and its room")


def read_private(path: Path, max_bytes: int) -> bytes | None:
    """Return what is in a file; None where there is none.

    Raises:
        OpenToOthers: others can read it, or write to its folder, or it is a link.
        CannotUseFile: it cannot be read, or has more bytes than this.

    """
    try:
        _refuse_open_folder(path.parent)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        if path.is_symlink():
            raise OpenToOthers(f"{path} is a link", hint="name the file itself") from error
        raise CannotUseFile(path, error) from error
    with os.fdopen(descriptor, "rb") as file:
        _refuse_open_file(path, os.fstat(descriptor))
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise CannotUseFile(path, OSError(f"it has more than {max_bytes} bytes"))
    return content


def write_private(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, so that it is there after a power cut; its folder is made 0700.

    Raises:
        OpenToOthers: others can write to the folder.
        CannotUseFile: it cannot be written.

    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        make_private_folder(path.parent)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except BaseException:
            with suppress(FileNotFoundError):
                draft.unlink()
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise CannotUseFile(path, error) from error


def make_private_folder(folder: Path) -> None:
    """Make a folder 0700 unless it is there.

    Raises:
        OpenToOthers: it is there, and others can write to it.

    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _refuse_open_folder(folder)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Wait until no other process of ours changes the files of this folder, and keep them waiting meanwhile.

    Raises:
        OpenToOthers: others can write to the folder.
        CannotUseFile: it cannot be opened, or another process keeps it for longer than 30 seconds.

    """
    try:
        make_private_folder(folder)
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise CannotUseFile(folder, error) from error
    try:
        _lock(folder, descriptor)
        yield
    finally:
        os.close(descriptor)


def _lock(folder: Path, descriptor: int) -> None:
    import fcntl  # not on Windows, where this module must still be importable

    ends = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= ends:
                raise CannotUseFile(folder, error) from error
            time.sleep(_LOOK_AGAIN_SECONDS)
        else:
            return


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk; OSError where the system does not."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refuse_open_folder(folder: Path) -> None:
    status = folder.stat()
    if status.st_uid not in (os.geteuid(), 0):
        raise OpenToOthers(f"{folder} belongs to another user", hint="use a folder of your own")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise OpenToOthers(f"others can write to {folder}", hint=f"chmod go-w {folder}, or use a folder of your own")


def _refuse_open_file(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OpenToOthers(f"{path} is not a plain file")
    if status.st_uid != os.geteuid():
        raise OpenToOthers(f"{path} belongs to another user")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise OpenToOthers(f"others can read {path}", hint=f"chmod 600 {path}, and think of what was in it as known")
