"""What a benchmark says: tables for people, one JSON document for programs."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

_WIDE = 160
out = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)
err = Console(stderr=True, highlight=False)

_HEADINGS = {
    "variant": "", "rate": "/s", "slowest": "slowest", "quickest": "quickest", "postgres_us": "PostgreSQL us",
    "client_us": "client us",
    "server_us": "bank us", "p50_ms": "p50 ms", "p99_ms": "p99 ms", "to_pgbench": "to pgbench",
    "to_against": "to its pair", "log_behind_s": "log behind s",
}  # fmt: skip


def tell(sentence: str) -> None:
    """Say on standard error what is going on."""
    err.print(f"[dim]{sentence}[/]")


def write(document: Mapping[str, Any], json: Path | None) -> None:
    """Write the machine, the rows and the memory of a run; the whole also as JSON if a file is named."""
    out.print(_facts(document["machine"]))
    for part in ("rows", "processes", "imports"):
        if rows := document.get(part):
            out.print(_table(rows))
    for row in document.get("imports", ()):
        phases = ", ".join(f"{name} {seconds} s" for name, seconds in row["phases"].items())
        peaks = ", ".join(f"{name} {peak / 1e6:.0f} MB" for name, peak in row["memory"].items())
        out.print(f"{row['variant']}: {phases}; peak memory: {peaks}")
    if memory := document.get("memory"):
        out.print(_memory(memory))
    if ceiling := document.get("ceiling"):
        out.print_json(data=ceiling)
    if json is not None:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n")


def _facts(machine: Mapping[str, Any]) -> str:
    settings = ", ".join(f"{name} {value}" for name, value in machine["settings"].items())
    return "\n".join([", ".join(f"{k} {v}" for k, v in machine.items() if k != "settings"), settings])


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    columns = [name for name in _HEADINGS if any(name in row for row in rows)]
    for name in columns:
        table.add_column(_HEADINGS[name], justify="left" if name == "variant" else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(_cell(row.get(name)) for name in columns))
    return table


def _memory(rows: Iterable[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("memory, MB", "resident", "own", "peak"):
        table.add_column(heading, justify="left" if heading == "memory, MB" else "right")
    for row in rows:
        table.add_row(str(row["process"]), *(f"{row[name] / 1e6:.0f}" for name in ("rss", "own", "peak")))
    return table


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case str():
            return value
        case float():
            return f"{value:,.2f}" if value < 100 else f"{value:,.0f}"
    return f"{value:,}"
