"""Writing to the disk so that it lasts, and telling in our own words when it cannot be done."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from latticebank.runtime.errors import DiskFull, FoldersNotApart, FolderUnusable, UnwritableDataFolder

MEBIBYTE = 1024 * 1024
ROOM_FOR_A_NEW_CLUSTER = 128 * MEBIBYTE
ROOM_FOR_A_START = 32 * MEBIBYTE  # two segments of write-ahead log: recovery may need them before it can free any

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
NOT_ALLOWED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ELOOP})
SAYS_NO_ROOM = ("No space left on device", "Disk quota exceeded")


@contextmanager
def told_in_our_words(folder: Path) -> Iterator[None]:
    """Turn the operating system's refusals about `folder` into `DiskFull` and `UnwritableDataFolder`."""
    try:
        yield
    except OSError as problem:
        if problem.errno in NO_ROOM:
            raise DiskFull(folder, problem.strerror or "no space left") from problem
        if problem.errno in NOT_ALLOWED:
            where = problem.filename or folder
            raise UnwritableDataFolder(
                f"the data folder {folder} cannot be used: {where}: {problem.strerror}",
                hint=f"give the user with id {os.geteuid()} the right to write there, or choose another data folder",
            ) from problem
        raise


@contextmanager
def told_of_copies(folder: Path) -> Iterator[None]:
    """Turn whatever the operating system refuses, while a copy goes into `folder`, into `DiskFull` and `FolderUnusable`."""
    try:
        yield
    except BrokenPipeError:  # whoever was told of the progress has gone
        raise
    except OSError as problem:
        said = problem.strerror or str(problem)
        if isinstance(problem, shutil.Error) and isinstance(problem.args[0], list):  # of copytree: from, to, and why
            said = str(problem.args[0][0][-1])
        if problem.errno in NO_ROOM or any(words in said for words in SAYS_NO_ROOM):
            raise DiskFull(folder, said) from problem
        raise FolderUnusable(
            f"{problem.filename or folder}: {said}",
            hint="see to that disk and to who may use it, or choose another folder",
        ) from problem


def folder_at(path: Path) -> Path:
    """The whole path of a folder that is there, or can be made.

    Raises `FolderUnusable`.
    """
    with told_of_copies(path):
        try:
            folder = path.expanduser().resolve()
        except RuntimeError as unclear:  # nobody has that home, or links lead to each other
            raise FolderUnusable(f"{path} leads nowhere", hint="name another folder") from unclear
        if folder.exists() and not folder.is_dir():
            raise FolderUnusable(f"{folder} is a file, not a folder", hint="name a folder")
    return folder


def require_apart(folder: Path, other: Path) -> None:
    """Raise `FoldersNotApart` if one of two whole paths leads into the other's folder."""
    if folder.is_relative_to(other) or other.is_relative_to(folder):
        raise FoldersNotApart(
            f"{folder} and {other} have to be apart: what befalls one must leave the other; nothing was changed",
            hint="name another folder, best on another disk",
        )


def require_room(folder: Path, needed: int) -> None:
    """Raise `DiskFull` unless `needed` bytes are free for us in the file system of `folder`."""
    stat = os.statvfs(folder)
    free = stat.f_bavail * stat.f_frsize
    if free < needed:
        raise DiskFull(folder, f"{free // MEBIBYTE} MiB are free and {needed // MEBIBYTE} MiB are needed")


def write_durably(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Replace `path` by `text` so that a crash leaves either the old or the new, whole and on the disk."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(descriptor, mode)  # the mode given to open is cut by the umask
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make what was created, renamed or removed in `folder` last."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
