"""The import of a bank's books: a CSV of made-up history, reconciled, with the ledger here and with a bank apart."""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

from benchmarks import machine
from benchmarks.accounting import cpu_of, cpu_of_server, memory_of, parent_of
from benchmarks.history_file import write_history
from benchmarks.turns import Tell
from latticebank.bank import SERVICES
from latticebank.banking.ledger.client import LedgerClient
from latticebank.banking.takeover.progress import Phase
from latticebank.banking.takeover.run import take_over
from latticebank.kernel.credential_file import operator_credential
from latticebank.kernel.settings import load_settings
from latticebank.kernel.telemetry import configure_logs
from latticebank.kernel.transports import HttpTransport
from latticebank.runtime.data_folder import EMBEDDED
from latticebank.runtime.postgres import EmbeddedPostgres
from latticebank.runtime.premises import open_premises
from latticebank.runtime.presence import running_bank
from latticebank.runtime.server import running_bank as run_bank

_PATIENCE_SECONDS = 60.0
_LOOK_SECONDS = 0.05
_ASK_TO_SERVE = "from latticebank.cli import main; main()"


@dataclass(frozen=True)
class Bank:
    """A bank to import into: its client, its postmaster, and the process that serves it if that is not this one."""

    client: LedgerClient
    postmaster: int
    process: int | None
    url: str


@dataclass
class Import:
    """What one import did and cost; CPU in microseconds for a row, seconds by phase."""

    rows: int
    seconds: float
    postgres_us: float
    importer_us: float
    server_us: float
    memory: dict[str, int]
    phases: dict[str, float] = field(default_factory=dict)


async def measure(rows: int, rounds: int, tell: Tell) -> dict[str, Any]:
    """Return the figures of importing so many rows, in this process and over HTTP in turns."""
    ways: dict[str, Callable[[Path], Any]] = {"same process, in memory": _bank_here, "bank apart, HTTP": _bank_apart}
    imports: dict[str, list[Import]] = {name: [] for name in ways}
    facts: dict[str, Any] = {}
    configure_logs(level="warning")
    with _folder() as folder:
        tell(f"making up a history of {rows:,} rows")
        mapping, file = write_history(folder, rows)
        for number in range(rounds):
            for way, opened in ways.items():
                tell(f"round {number + 1} of {rounds}: {way}")
                data = folder / f"bank-{number}-{len(way)}"
                async with opened(data) as bank:
                    facts = facts or machine.facts(bank.url, folder)
                    imports[way].append(await _import(bank, mapping, file, rows))
                EmbeddedPostgres(data / EMBEDDED).remove()
    return {"machine": facts, "imports": [_row(way, done) for way, done in imports.items()]}


async def _import(bank: Bank, mapping: Path, file: Path, rows: int) -> Import:
    """Import once, and insist that every row was posted and the balances agree."""
    instants: list[tuple[Phase, float]] = []

    def progress(phase: Phase, done: int, total: int) -> None:
        if not instants or instants[-1][0] is not phase:
            instants.append((phase, time.perf_counter()))

    before = (cpu_of_server(bank.postmaster), time.process_time(), cpu_of(bank.process) if bank.process else 0.0)
    began = time.perf_counter()
    report = await take_over(bank.client, mapping, file, progress=progress)
    ended = time.perf_counter()
    after = (cpu_of_server(bank.postmaster), time.process_time(), cpu_of(bank.process) if bank.process else 0.0)
    if not report.reconciled or report.posted != rows:
        raise AssertionError(f"the import was not reconciled: {report.posted} of {rows} rows posted")
    postgres, importer, server = (1e6 * (late - early) / rows for late, early in zip(after, before, strict=True))
    memory = {"importer": memory_of(os.getpid()).peak}
    if bank.process:
        memory["bank"] = memory_of(bank.process).peak
    posting = next(instant for phase, instant in instants if phase is Phase.POSTING)
    phases = {"before the first posting is answered": posting - began, "the rest": ended - posting}
    return Import(rows, ended - began, postgres, importer, server, memory, phases)


@asynccontextmanager
async def _bank_here(data: Path) -> AsyncIterator[Bank]:
    settings = load_settings(data=data)
    with open_premises(settings, [SERVICES["ledger"]], lambda _: None) as premises:
        async with run_bank(settings, ["ledger"], premises) as bank:
            if premises.server is None:
                raise RuntimeError("the benchmark needs the embedded database: unset LATTICEBANK_DATABASE_URLS")
            client = LedgerClient(bank.context.transport("ledger"), operator_credential(data))
            yield Bank(client, premises.server.pid, None, premises.database_urls["ledger"])


@asynccontextmanager
async def _bank_apart(data: Path) -> AsyncIterator[Bank]:
    server = _serve(data)
    try:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while (presence := running_bank(data)) is None:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the bank apart did not start; what it said is above")
            await asyncio.sleep(_LOOK_SECONDS)
        transport = HttpTransport(presence.address)
        try:
            url = presence.database_urls["ledger"]
            yield Bank(LedgerClient(transport, operator_credential(data)), _postmaster(url), server.pid, url)
        finally:
            await transport.aclose()
    finally:
        server.terminate()
        server.wait()


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="latticebank-benchmark-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # as root, the database runs as another user
        yield folder


def _serve(data: Path) -> "subprocess.Popen[bytes]":
    """Start a bank as its operator does; warnings and errors stay visible."""
    return subprocess.Popen(
        [sys.executable, "-c", _ASK_TO_SERVE, "serve", "ledger", "--port", "0", "--data", str(data)],
        env={**os.environ, "LATTICEBANK_LOG_LEVEL": "warning"},
        stdout=subprocess.DEVNULL,
    )


def _postmaster(url: str) -> int:
    """Return the server of a database: the parent of the process that answers here."""
    with psycopg.connect(url) as connection:
        return parent_of(connection.info.backend_pid)


def _row(way: str, done: list[Import]) -> dict[str, Any]:
    def middle(figure: Callable[[Import], float]) -> float:
        return median(map(figure, done))

    rates = [each.rows / each.seconds for each in done]
    return {
        "variant": way,
        "rows": done[0].rows,
        "rate": round(median(rates)),
        "slowest": round(min(rates)),
        "quickest": round(max(rates)),
        "postgres_us": round(middle(lambda each: each.postgres_us), 2),
        "client_us": round(middle(lambda each: each.importer_us), 2),
        "server_us": round(middle(lambda each: each.server_us), 2),
        "phases": {name: round(middle(partial(_phase, name)), 2) for name in done[0].phases},
        "memory": {name: max(each.memory[name] for each in done) for name in done[0].memory},
    }


def _phase(name: str, done: Import) -> float:
    return done.phases[name]
