"""The machine that a benchmark ran on: figures without it mean nothing."""

import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

_SYNCED_BLOCKS = 50
_BLOCK = b"\0" * 8192


def facts(url: str, folder: Path) -> dict[str, Any]:
    """Return what there is to know of this machine and its PostgreSQL; `folder` lies on the disk of the database."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT current_setting('server_version')").fetchone()
        settings = connection.execute(
            "SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY(%s) ORDER BY name",
            (["fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_wal_size", "wal_level"],),
        ).fetchall()
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load before": round(os.getloadavg()[0], 2),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {sys.version.split()[0]}",
        "postgresql": row[0] if row else "",
        "settings": dict(settings),
        "revision": _revision(),
        "fdatasync": f"{1e6 * _sync_seconds(folder):.0f} us",
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _revision() -> str:
    root = Path(__file__).parent
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"], cwd=root, capture_output=True, text=True, check=False
    )
    return said.stdout.strip() or "unknown"


def _sync_seconds(folder: Path) -> float:
    """The median time of making one written block durable, as PostgreSQL makes its WAL."""
    probe = folder / "sync-probe"
    try:
        with probe.open("wb", buffering=0) as file:
            file.write(_BLOCK * _SYNCED_BLOCKS)
            os.fsync(file.fileno())
            file.seek(0)
            taken = []
            for _ in range(_SYNCED_BLOCKS):
                file.write(_BLOCK)
                began = time.perf_counter()
                os.fdatasync(file.fileno())
                taken.append(time.perf_counter() - began)
        return median(taken)
    finally:
        probe.unlink(missing_ok=True)
