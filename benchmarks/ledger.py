"""The ledger alone: one writer, batches of several sizes and kinds, beside pgbench on the same server."""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import machine, tpcb
from benchmarks.accounting import Memory, memory_of_server
from benchmarks.child import Task, children
from benchmarks.driving import Drive, drive, drive_at_rate, open_writer
from benchmarks.server import Server, open_server
from benchmarks.turns import Figures, Tell, Variant, in_turns, rows_of
from benchmarks.workloads import Workload, account_numbers, open_accounts, transfers
from latticebank.banking.ledger.service.writer import ShardWriter
from latticebank.values.clock import SystemClock
from latticebank.values.ids import Uuid7Source

YARDSTICK = "pgbench TPC-B"
TRANSFERS = 80_000
"""The most transfers of one run."""
SUBMITTERS = 64
_BATCHES_A_RUN = 400
_LEAST = 1_000
_PAIRED_FROM = 1_000
"""Kinds of workload, and two processes, are compared at batches of at least so many."""


@dataclass(frozen=True)
class Plan:
    """What is measured. `transfers` bounds a run, `streamed` is the load under which memory is looked at."""

    accounts: int = 10_000
    sizes: tuple[int, ...] = (1, 100, 1_000, 8_000)
    rounds: int = 5
    processes: tuple[int, ...] = (1, 2)
    rates: tuple[int, ...] = (1_000, 5_000, 15_000)
    transfers: int = TRANSFERS
    streamed: int = 400_000
    pgbench_seconds: int = 4
    pgbench_scale: int = tpcb.SCALE

    def transfers_of(self, size: int) -> int:
        """How many transfers a run with batches of this size makes: whole batches."""
        wanted = min(self.transfers, max(_LEAST, _BATCHES_A_RUN * size))
        return max(1, wanted // size) * size


async def measure(plan: Plan, folder: Path | None, tell: Tell) -> dict[str, Any]:
    """Return the figures of the ledger on a new bank, or on the bank in this folder."""
    with open_server(folder) as server:
        url = server.ledger()
        tell(f"opening {plan.accounts:,} accounts and filling pgbench's tables")
        if plan.pgbench_seconds:
            tpcb.prepare(server, plan.pgbench_scale)
        async with open_writer(url) as writer:
            accounts = await open_accounts(writer, url, 0, plan.accounts)
            if server.kept:
                accounts = account_numbers(url, 0)
            document: dict[str, Any] = {"machine": machine.facts(url, server.folder), "accounts": len(accounts)}
            if 1 in plan.processes:
                alone = _Alone(plan, server, writer, accounts)
                figures = await in_turns(alone.variants(), plan.rounds, tell)
                document["rows"] = rows_of(figures, YARDSTICK)
        if 2 in plan.processes:
            document["processes"] = rows_of(await _apart(plan, server, url, len(accounts), tell), YARDSTICK)
        if plan.streamed:
            tell("looking at memory under load")
            document["memory"] = _memory(plan, server, url, len(accounts))
        return document


class _Alone:
    """The variants of one writer in this process."""

    def __init__(self, plan: Plan, server: Server, writer: ShardWriter, accounts: list[int]) -> None:
        self._plan = plan
        self._server = server
        self._writer = writer
        self._accounts = accounts
        self._chance = random.Random(os.getpid())
        self._ids = Uuid7Source(SystemClock())

    def variants(self) -> list[Variant]:
        """Return everything that is measured in turns."""
        plan = self._plan
        variants = [Variant(YARDSTICK, self._tpcb, outstanding=tpcb.CLIENTS)] if plan.pgbench_seconds else []
        for size in plan.sizes:
            variants.append(self._closed(Workload.RANDOM, size, 1))
            if size == 1:
                variants.append(self._closed(Workload.RANDOM, 1, SUBMITTERS))
            if size >= _PAIRED_FROM:
                variants.append(self._closed(Workload.RANDOM, size, 2))
            if size >= min(_PAIRED_FROM, max(plan.sizes)):
                kinds = [kind for kind in Workload if kind is not Workload.RANDOM]
                variants += [self._closed(kind, size, 1, _name(Workload.RANDOM, size, 1)) for kind in kinds]
        return variants + [self._open(rate) for rate in plan.rates]

    def _closed(self, kind: Workload, size: int, outstanding: int, against: str | None = None) -> Variant:
        async def run() -> Drive:
            number = self._plan.transfers_of(size if outstanding < SUBMITTERS else 25)
            chains = transfers(kind, self._accounts, number, self._chance, self._ids)
            return await drive(self._writer, self._server.pid, chains, size, outstanding)

        return Variant(_name(kind, size, outstanding), run, size, outstanding, against)

    def _open(self, rate: int) -> Variant:
        async def run() -> Drive:
            number = min(2 * rate, self._plan.transfers)
            chains = transfers(Workload.RANDOM, self._accounts, number, self._chance, self._ids)
            return await drive_at_rate(self._writer, self._server.pid, chains, rate, self._chance)

        return Variant(f"open loop, singles at {rate:,}/s", run)

    async def _tpcb(self) -> Drive:
        return await asyncio.to_thread(tpcb.run, self._server, self._plan.pgbench_seconds)


def _name(kind: Workload, size: int, outstanding: int) -> str:
    many = f", {outstanding} outstanding" if outstanding > 1 else ""
    return f"{kind}, batches of {size:,}{many}" if size > 1 else f"{kind}, singles{many}"


async def _apart(plan: Plan, server: Server, url: str, accounts: int, tell: Tell) -> dict[str, Figures]:
    """Compare one writer in a process of its own with two, on the same shard and on a shard each."""
    layouts = {"one process": (0,), "two processes, one shard": (0, 0)}
    if not server.kept:  # a named bank has one shard; an empty second one would be no fair pair
        layouts["two processes, a shard each"] = (0, 1)
        async with open_writer(url, 1) as writer:
            await open_accounts(writer, url, 1, accounts)
    figures: dict[str, Figures] = {}
    for size in [size for size in plan.sizes if size >= min(_PAIRED_FROM, max(plan.sizes))]:
        variants = []
        for layout, shards in layouts.items():
            tasks = [
                Task(url, shard, accounts, plan.transfers_of(size), size, seed=os.getpid() + place)
                for place, shard in enumerate(shards)
            ]
            against = f"one process, batches of {size:,}" if len(shards) > 1 else None
            variants.append(Variant(f"{layout}, batches of {size:,}", _together(server, tasks), size, 2, against))
        figures |= await in_turns(variants, plan.rounds, tell)
    return figures


def _together(server: Server, tasks: list[Task]) -> Callable[[], Awaitable[Drive]]:
    async def run() -> Drive:
        with children(tasks) as processes:
            return processes.run(server.pid)[0]

    return run


def _memory(plan: Plan, server: Server, url: str, accounts: int) -> list[dict[str, Any]]:
    """Look at a fresh writer that keeps nothing of what it drives, at rest and after each half of a long load."""
    size = max(plan.sizes)
    task = Task(url, 0, accounts, max(1, plan.streamed // 2 // size) * size, size, streaming=True)
    with children([task]) as processes:
        [half], [whole] = processes.run(server.pid)[1], processes.run(server.pid)[1]
        of_server = memory_of_server(server.pid)
    seen = {
        "writer's process at rest": half.at_rest,
        f"after {half.transfers:,} transfers": half.under_load,
        f"after {2 * half.transfers:,} transfers": whole.under_load,
    }
    rows = [_memory_row(name, memory) for name, memory in seen.items()]
    largest = sorted(of_server.items(), key=lambda each: -each[1].own)[:3]
    return rows + [_memory_row(f"PostgreSQL: {name}", memory) for name, memory in largest]


def _memory_row(process: str, memory: Memory) -> dict[str, Any]:
    return {"process": process, "rss": memory.rss, "own": memory.own, "peak": memory.peak}
