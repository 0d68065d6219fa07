"""The bank's end of the guardian: start a server under it, hear what it reports, stop it."""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from latticebank.runtime import processes
from latticebank.runtime.errors import DatabaseFailedToStart
from latticebank.runtime.lock import FolderLock
from latticebank.runtime.os_user import ENVIRONMENT, ServerUser

GUARDIAN = Path(__file__).with_name("guardian.py")
WAIT_FOR_THE_GUARDIAN = 30.0
WAIT_FOR_A_STOP = 60.0  # longer than the guardian's last resort


@dataclass(frozen=True)
class Ending:
    """How the server ended: its exit status (negative: the signal) and the last lines it wrote."""

    status: int
    log: tuple[str, ...]


class GuardedServer:
    """A running postmaster and the guardian that is its parent."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._guardian = process
        self._unread = b""
        self._ending: Ending | None = None
        self.pid = 0

    @classmethod
    def start(
        cls,
        command: Sequence[str],
        user: ServerUser,
        log: Path,
        lock: FolderLock,
        *,
        environment: Mapping[str, str] = ENVIRONMENT,
    ) -> Self:
        """Start `command`; the guardian shares the lock, so the folder stays locked until the server has ended."""
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(GUARDIAN)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            start_new_session=True,  # Ctrl-C at the terminal is for the bank, which then stops the server
            pass_fds=[lock.descriptor],
        )
        server = cls(process)
        order = {
            "command": list(command),
            "environment": dict(environment),
            "identity": user.identity or None,
            "owner": os.getpid(),
            "log": str(log),
        }
        try:
            server._write(json.dumps(order).encode() + b"\n")
            server._wait_for_pid()
        except BaseException:
            server.stop()
            raise
        return server

    @property
    def alive(self) -> bool:
        """Whether the postmaster runs."""
        return self._guardian.poll() is None and processes.is_alive(self.pid)

    def ending(self, seconds: float = 0.0) -> Ending | None:
        """How the server ended; None if it has not within `seconds`."""
        if self._ending is None:
            line = self._report(seconds)
            if line and "ended" in line:
                self._ending = Ending(status=int(str(line["ended"])), log=_lines(line["log"]))
        return self._ending

    def stop(self) -> bool:
        """Stop the server (fast, then harder) and reap the guardian; False if the guardian did not see to all of it."""
        self._write(b"stop\n")
        if self._guardian.stdin:
            self._guardian.stdin.close()
        try:
            self._guardian.wait(WAIT_FOR_A_STOP)
        except subprocess.TimeoutExpired:
            self._guardian.kill()  # the kernel then tells the server, and the next start clears what is left
            self._guardian.wait()
        if self._guardian.stdout:
            self._guardian.stdout.close()
        return self._guardian.returncode == 0

    def _wait_for_pid(self) -> None:
        line = self._report(WAIT_FOR_THE_GUARDIAN)
        if line is None or "server" not in line:
            said = _lines(line["log"]) if line else (self._unread.decode(errors="replace"),)
            raise DatabaseFailedToStart("the database server could not be started", log=said)
        self.pid = int(str(line["server"]))

    def _write(self, message: bytes) -> None:
        try:
            if self._guardian.stdin and not self._guardian.stdin.closed:
                os.write(self._guardian.stdin.fileno(), message)
        except BrokenPipeError:
            return  # it has ended; its report says why

    def _report(self, seconds: float) -> dict[str, object] | None:
        """The guardian's next line, if it comes in time."""
        if self._guardian.stdout is None or self._guardian.stdout.closed:
            return None
        source = self._guardian.stdout.fileno()
        deadline = time.monotonic() + seconds
        while b"\n" not in self._unread:
            ready, _, _ = select.select([source], [], [], max(0.0, deadline - time.monotonic()))
            chunk = os.read(source, 65536) if ready else b""
            if not chunk:
                return None
            self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        try:
            parsed: dict[str, object] = json.loads(line)
        except ValueError:  # a traceback of the guardian
            self._unread = line + b"\n" + self._unread
            return None
        return parsed


def _lines(value: object) -> tuple[str, ...]:
    return tuple(str(line) for line in value) if isinstance(value, list) else ()
