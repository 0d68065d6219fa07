"""The lock of a data folder: one owner at a time, and it ends with the owner however the owner ends.

An advisory lock (`flock`) belongs to an open file, so the kernel releases it when the last process that holds the file
is gone. The guardian of the server and initdb are given the same open file: after `kill -9` of the owner the folder
stays locked until they have ended too, and the next start waits for exactly that.
"""

import functools
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from latticebank.runtime import processes
from latticebank.runtime.disk import told_in_our_words
from latticebank.runtime.errors import DataFolderInUse

FILE_NAME = "lock"
WAIT_FOR_A_DEAD_OWNERS_SERVER = 60.0
WAIT_FOR_A_NEW_OWNERS_NAME = 1.0

_held: set[int] = set()


class FolderLock:
    """Holds the folder for this process until `release`."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def take(cls, folder: Path, progress: Callable[[str], None], *, patience: float = 0.0) -> Self:
        """Lock `folder`, waiting `patience` seconds for a living owner, longer if only a dead owner's server is left.

        Raises `DataFolderInUse`.
        """
        path = folder / FILE_NAME
        began = time.monotonic()
        waiting = False
        while True:
            with told_in_our_words(folder):
                descriptor = _try(path)
            if descriptor is not None:
                _name_the_owner(descriptor)
                return cls(descriptor)
            pid, lives = _owner(path)
            waited = time.monotonic() - began
            if lives and waited > patience:
                raise DataFolderInUse(folder, pid)
            if not lives and waited > (WAIT_FOR_A_DEAD_OWNERS_SERVER if pid else WAIT_FOR_A_NEW_OWNERS_NAME):
                raise DataFolderInUse(folder, pid, " (it has ended, but a process that it started has not)")
            if pid and not lives and not waiting:
                waiting = True
                progress(f"Waiting for the database server of process {pid}, which was killed, to stop")
            time.sleep(0.02)

    def release(self) -> None:
        """Give the folder back; idempotent."""
        if self.descriptor in _held:
            _held.discard(self.descriptor)
            os.close(self.descriptor)
        self.descriptor = -1


def _try(path: Path) -> int | None:
    import fcntl  # not on Windows, where this module must still be importable

    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        same_file = os.path.samestat(os.fstat(descriptor), path.stat())
    except (BlockingIOError, FileNotFoundError):
        os.close(descriptor)
        return None
    if not same_file:  # the folder was removed and made anew between the two calls
        os.close(descriptor)
        return None
    _held.add(descriptor)
    _forget_in_forks()
    return descriptor


def _name_the_owner(descriptor: int) -> None:
    me = processes.find(os.getpid())
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "started": me.started if me else None}).encode(), 0)


def _owner(path: Path) -> tuple[int, bool]:
    """Pid of the owner (0 while a new one is still writing its name) and whether it runs."""
    try:
        owner = json.loads(path.read_text())
        return int(owner["pid"]), processes.is_alive(int(owner["pid"]), owner["started"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0, False


@functools.cache
def _forget_in_forks() -> None:
    """A fork of the owner (a worker process) would keep the folder locked after the owner's death."""
    os.register_at_fork(after_in_child=_close_all)


def _close_all() -> None:
    while _held:
        os.close(_held.pop())
