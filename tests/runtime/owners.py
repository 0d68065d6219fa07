"""Starting, hearing and killing the bank process of `owner_process.py`, as ourselves or as a normal user."""

import json
import os
import pwd
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from latticebank.runtime import processes
from tests.runtime import owner_process

ROOT_OF_TREE = Path(__file__).resolve().parents[2]
NORMAL_USER = "nobody"


class Owner:
    """A running bank process."""

    def __init__(
        self,
        folder: Path,
        parameters: dict[str, str],
        system_folder: Path,
        *,
        wrap: Callable[[Sequence[str]], Sequence[str]] = list,
        archive: Path | None = None,
    ) -> None:
        order = {"folder": str(folder), "parameters": parameters, "system_folder": str(system_folder)}
        if archive is not None:
            order["archive"] = str(archive)
        paths = [str(ROOT_OF_TREE / "src"), str(ROOT_OF_TREE)]
        self.process = subprocess.Popen(
            wrap([sys.executable, owner_process.__file__, json.dumps(order)]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd="/",
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"},
            process_group=0,
        )
        self.progress: list[str] = []

    def hear(self, *expected: str) -> dict[str, Any]:
        """The next thing it says that is not progress."""
        assert self.process.stdout
        for line in self.process.stdout:
            said: dict[str, Any] = json.loads(line)
            if "progress" not in said:
                assert set(expected) <= set(said), said
                return said
            self.progress.append(said["progress"])
        raise AssertionError(f"the owner ended with {self.process.wait()} and without a word")

    def hear_progress(self) -> str:
        """The next progress sentence."""
        assert self.process.stdout
        step: str = json.loads(self.process.stdout.readline())["progress"]
        return step

    def tell(self, word: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        """As `kill -9` does, and reap it."""
        self.process.kill()
        self.close()

    def interrupt(self) -> None:
        """What a terminal does at Ctrl-C: SIGINT to the whole foreground group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def close(self) -> None:
        """End its input, so that it stops the database, and wait for it."""
        if self.process.stdin:
            self.process.stdin.close()
        self.process.wait(60)
        if self.process.stdout:
            self.process.stdout.close()


def guardian_of(postmaster: int) -> int:
    process = processes.find(postmaster)
    assert process
    return process.parent


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def as_normal_user(command: Sequence[str]) -> Sequence[str]:
    """`command` run by root as a user without privileges, to whom our Python and tree are opened.

    Both may lie in a private home. In a mount namespace of its own the home is covered by an empty folder that anyone
    may pass, in which only what is needed shows through.
    """
    needed = [Path(sys.base_prefix), Path(sys.prefix), ROOT_OF_TREE]
    closed = {path: home for path in needed if (home := _private_ancestor(path))}
    lines = ["set -e", "mkdir -p /mnt", "mount -t tmpfs -o mode=755 tmpfs /mnt"]
    for number, path in enumerate(closed):
        lines += [f"mkdir /mnt/{number}", f"mount --bind {shlex.quote(str(path))} /mnt/{number}"]
    for home in set(closed.values()):
        lines += [f"mount -t tmpfs -o mode=755 tmpfs {shlex.quote(str(home))}"]
    for number, path in enumerate(closed):
        lines += [f"mkdir -p {shlex.quote(str(path))}", f"mount --bind /mnt/{number} {shlex.quote(str(path))}"]
    user = pwd.getpwnam(NORMAL_USER)
    lines += [f'exec setpriv --reuid {user.pw_uid} --regid {user.pw_gid} --clear-groups "$@"']
    return ["unshare", "--mount", "sh", "-c", "\n".join(lines), "sh", *command]


def _private_ancestor(path: Path) -> Path | None:
    """The folder nearest to the root that others may not pass."""
    return next((folder for folder in reversed([path, *path.parents]) if not folder.stat().st_mode & 0o001), None)
