"""What processes cost, from the books of the kernel: CPU seconds and resident memory. Linux only (`/proc`).

The CPU time of PostgreSQL is that of the postmaster, of every process it has now, and of those it had and has reaped
(the `cutime` and `cstime` of the postmaster), in ticks of the clock: usually 10 ms each, so a run lasts long enough
that a tick does not matter. Work that the server does in its own time (checkpoints, WAL, vacuum) is part of it.
"""

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")
_PARENT, _USER, _SYSTEM, _REAPED_USER, _REAPED_SYSTEM = 1, 11, 12, 13, 14


@dataclass(frozen=True)
class Memory:
    """Resident memory in bytes: `rss` of all pages, `own` of those no other process shares, `peak` the most ever."""

    rss: int
    own: int
    peak: int


def cpu_of_server(postmaster: int) -> float:
    """Return the CPU seconds that a PostgreSQL server has used since its start."""
    seconds = sum(_ticks(stat, _USER, _SYSTEM) for stat in _children(postmaster).values()) / _TICKS
    stat = _stat(postmaster)
    return seconds + (_ticks(stat, _USER, _SYSTEM, _REAPED_USER, _REAPED_SYSTEM) / _TICKS if stat else 0.0)


def cpu_of(pid: int) -> float:
    """Return the CPU seconds that a process has used."""
    stat = _stat(pid)
    return _ticks(stat, _USER, _SYSTEM) / _TICKS if stat else 0.0


def parent_of(pid: int) -> int:
    """Return the process that started this one; 0 if it has ended."""
    stat = _stat(pid)
    return int(stat[_PARENT]) if stat else 0


def memory_of(pid: int) -> Memory:
    """Return the resident memory of a process."""
    kilobytes = {}
    for line in (_PROC / str(pid) / "status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in ("VmRSS", "RssAnon", "VmHWM"):
            kilobytes[name] = int(value.split()[0])
    return Memory(kilobytes["VmRSS"] * 1024, kilobytes["RssAnon"] * 1024, kilobytes["VmHWM"] * 1024)


def memory_of_server(postmaster: int) -> dict[str, Memory]:
    """Return the memory of the postmaster and its processes; what they share is in the `rss` of each that used it."""
    found = {"postmaster": memory_of(postmaster)}
    for pid in _children(postmaster):
        try:
            title = (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            found[f"{title.removeprefix('postgres: ')} [{pid}]"] = memory_of(pid)
        except (OSError, KeyError):
            continue
    return found


def _children(parent: int) -> dict[int, list[str]]:
    children = {}
    for folder in _PROC.iterdir():
        if folder.name.isdigit():
            stat = _stat(int(folder.name))
            if stat and int(stat[_PARENT]) == parent:
                children[int(folder.name)] = stat
    return children


def _stat(pid: int) -> list[str] | None:
    """The fields of `/proc/<pid>/stat` after the name, which may hold anything; None if the process has ended."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _ticks(stat: list[str], *fields: int) -> int:
    return sum(int(stat[field]) for field in fields)
