"""The ledger alone: one writer, batches of several sizes and kinds, beside pgbench on the same server."""

import asyncio
import os
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import psycopg

from benchmarks import machine, tpcb
from benchmarks.accounting import Memory, memory_of_server
from benchmarks.child import Task, children
from benchmarks.driving import Drive, drive, drive_at_rate, open_writer
from benchmarks.server import LEDGER, Server, open_server
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


async def measure(plan: Plan, folder: Path | None, tell: Tell, archive: Path | None = None) -> dict[str, Any]:
    """Return the figures of the ledger on new banks, one a round, or on the bank in this folder."""
    with open_server(folder, archive) as server:
        if plan.pgbench_seconds:
            tell("filling pgbench's tables")
            tpcb.prepare(server, plan.pgbench_scale)
        document: dict[str, Any] = {"machine": machine.facts(server.ledger(), server.folder)}
        async with _Bank(plan, server) as bank:
            await bank.renew(0)
            document["accounts"] = len(bank.accounts)
            if 1 in plan.processes:
                figures = await in_turns(_Alone(plan, bank).variants(), plan.rounds, tell, bank.renew)
                document["rows"] = rows_of(figures, YARDSTICK)
            if 2 in plan.processes:
                document["processes"] = rows_of(await _apart(plan, bank, tell), YARDSTICK)
            if plan.streamed:
                tell("looking at memory under load")
                await bank.renew(0)
                document["memory"] = _memory(plan, bank)
        return document


class _Bank:
    """The bank that is measured on. A new one is made for each round, lest its history grow from round to round."""

    def __init__(self, plan: Plan, server: Server) -> None:
        self.server = server
        self.url = ""
        self.accounts: Sequence[int] = ()
        self._plan = plan
        self._opened = AsyncExitStack()
        self._writer: ShardWriter | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._opened.aclose()

    @property
    def writer(self) -> ShardWriter:
        """The writer of its first shard, in this process."""
        if self._writer is None:
            raise AssertionError("the bank is renewed before the first round")
        return self._writer

    async def renew(self, _: int) -> None:
        """Open a new bank in place of the old one; a bank in a named folder stays as it is."""
        if self._writer is not None and self.server.kept:
            return
        await self._opened.aclose()
        if not self.server.kept:
            self.server.drop(LEDGER)
        self.url = self.server.ledger()
        self._writer = await self._opened.enter_async_context(open_writer(self.url))
        await open_accounts(self._writer, self.url, 0, self._plan.accounts)
        self.accounts = account_numbers(self.url, 0)
        self._analyse()

    async def open_second_shard(self, _: int) -> None:
        """Renew, with as many accounts on a second shard; a named bank has one only, and an empty one is no fair pair."""
        await self.renew(0)
        if not self.server.kept:
            async with open_writer(self.url, 1) as writer:
                await open_accounts(writer, self.url, 1, len(self.accounts))
            self._analyse()

    def _analyse(self) -> None:
        """Do at once what autovacuum does within a minute: without it a single transfer may look at every account."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("ANALYZE accounts")


class _Alone:
    """The variants of one writer in this process."""

    def __init__(self, plan: Plan, bank: _Bank) -> None:
        self._plan = plan
        self._bank = bank
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
            chains = transfers(kind, self._bank.accounts, number, self._chance, self._ids)
            return await drive(self._bank.writer, self._bank.server.pid, chains, size, outstanding)

        return Variant(_name(kind, size, outstanding), run, size, outstanding, against)

    def _open(self, rate: int) -> Variant:
        async def run() -> Drive:
            number = min(2 * rate, self._plan.transfers)
            chains = transfers(Workload.RANDOM, self._bank.accounts, number, self._chance, self._ids)
            return await drive_at_rate(self._bank.writer, self._bank.server.pid, chains, rate, self._chance)

        return Variant(f"open loop, singles at {rate:,}/s", run)

    async def _tpcb(self) -> Drive:
        return await asyncio.to_thread(tpcb.run, self._bank.server, self._plan.pgbench_seconds)


def _name(kind: Workload, size: int, outstanding: int) -> str:
    many = f", {outstanding} outstanding" if outstanding > 1 else ""
    return f"{kind}, batches of {size:,}{many}" if size > 1 else f"{kind}, singles{many}"


async def _apart(plan: Plan, bank: _Bank, tell: Tell) -> dict[str, Figures]:
    """Compare one writer in a process of its own with two, on the same shard and on a shard each."""
    layouts = {"one process": (0,), "two processes, one shard": (0, 0)}
    if not bank.server.kept:
        layouts["two processes, a shard each"] = (0, 1)
    variants = []
    for size in [size for size in plan.sizes if size >= min(_PAIRED_FROM, max(plan.sizes))]:
        for layout, shards in layouts.items():
            against = f"one process, batches of {size:,}" if len(shards) > 1 else None
            run = partial(_together, bank, plan.transfers_of(size), size, shards)
            variants.append(Variant(f"{layout}, batches of {size:,}", run, size, 2, against))
    return await in_turns(variants, plan.rounds, tell, bank.open_second_shard)


async def _together(bank: _Bank, number: int, size: int, shards: tuple[int, ...]) -> Drive:
    accounts = len(bank.accounts)
    tasks = [
        Task(bank.url, shard, accounts, number, size, seed=os.getpid() + place) for place, shard in enumerate(shards)
    ]
    with children(tasks) as processes:
        return processes.run(bank.server.pid)[0]


def _memory(plan: Plan, bank: _Bank) -> list[dict[str, Any]]:
    """Look at a fresh writer that keeps nothing of what it drives, at rest and after each half of a long load."""
    size = max(plan.sizes)
    number = max(1, plan.streamed // 2 // size) * size
    postmaster = bank.server.pid
    with children([Task(bank.url, 0, len(bank.accounts), number, size, streaming=True)]) as processes:
        [half], [whole] = processes.run(postmaster)[1], processes.run(postmaster)[1]
        of_server = memory_of_server(postmaster)
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
