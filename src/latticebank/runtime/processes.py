"""The processes of this machine, as far as telling a live database server from a dead, reused or foreign pid needs.

`/proc` where there is one (Linux); `ps` elsewhere. Nothing here needs the right to trace another user's process: a
container's root often lacks it.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """One entry of the process table; `started` tells two processes apart that had the same pid."""

    pid: int
    parent: int
    uid: int
    state: str
    started: str
    command: str

    @property
    def alive(self) -> bool:
        """Whether it still runs: a zombie has ended and only waits for its parent to ask."""
        return self.state not in {"Z", "X"}


def find(pid: int) -> Process | None:
    """The process with this pid, a zombie too."""
    if _has_proc():
        return _from_proc(pid)
    return next(_from_ps("-p", str(pid)), None)


def every() -> Iterator[Process]:
    """All processes that can be seen from here."""
    if not _has_proc():
        yield from _from_ps("-ax")
        return
    for entry in os.listdir(PROC):  # noqa: PTH208 - names are enough, a thousand times a second
        if entry.isdigit() and (process := _from_proc(int(entry))):
            yield process


def is_alive(pid: int, started: str | None = None) -> bool:
    """Whether this pid is a running process, and (if known) still the same one."""
    process = find(pid)
    return process is not None and process.alive and started in (None, process.started)


def send(pids: Iterable[int], signal_number: signal.Signals) -> None:
    """Signal them; one that has just ended is no error."""
    for pid in pids:
        try:
            os.kill(pid, signal_number)
        except ProcessLookupError:
            continue


def wait_until_gone(processes: Iterable[Process], seconds: float) -> list[Process]:
    """Wait for them to end; returns those that still run after `seconds`."""
    deadline = time.monotonic() + seconds
    left = list(processes)
    while left := [process for process in left if is_alive(process.pid, process.started)]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    return left


def _has_proc() -> bool:
    return (PROC / "self" / "stat").exists()


def _from_proc(pid: int) -> Process | None:
    folder = PROC / str(pid)
    try:
        stat = (folder / "stat").read_text(errors="replace")
        command = (folder / "cmdline").read_bytes()
        uid = folder.stat().st_uid
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    # The second field is the program's name in brackets and may itself hold spaces and brackets.
    fields = stat.rpartition(")")[2].split()
    words = os.fsdecode(command.rstrip(b"\0 ").replace(b"\0", b" "))
    return Process(pid=pid, parent=int(fields[1]), uid=uid, state=fields[0], started=fields[19], command=words)


def _from_ps(*which: str) -> Iterator[Process]:
    columns = ("pid=", "ppid=", "uid=", "state=", "lstart=", "command=")
    listing = subprocess.run(
        ["/bin/ps", "-ww", *which, *(word for column in columns for word in ("-o", column))],
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
        env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
    )
    for line in listing.stdout.splitlines():
        words = line.split(None, 9)  # lstart is five words: Thu Jan  1 00:00:00 1970
        if len(words) >= 9:
            pid, parent, uid, state = words[:4]
            started, command = " ".join(words[4:9]), words[9] if len(words) > 9 else ""
            yield Process(int(pid), int(parent), int(uid), state[0], started, command)
