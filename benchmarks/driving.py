"""Drives the writer of one shard as fast as it answers, and books what that cost."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Self

from benchmarks.accounting import cpu_of_server
from benchmarks.workloads import refused
from latticebank.banking.ledger.model.decide import Chain
from latticebank.banking.ledger.service.writer import ShardWriter
from latticebank.kernel.database import Database
from latticebank.values.clock import SystemClock
from latticebank.values.ids import Uuid7Source

BOOK = 1


@dataclass(frozen=True)
class Drive:
    """What one run did: transfers answered, those refused, seconds, CPU seconds on both sides, latencies in seconds."""

    transfers: int
    refused: int
    seconds: float
    postgres_cpu: float
    client_cpu: float
    latencies: list[float] = field(default_factory=list, repr=False)

    @property
    def rate(self) -> float:
        """Transfers a second."""
        return self.transfers / self.seconds

    @property
    def postgres_us(self) -> float:
        """CPU microseconds of PostgreSQL for a transfer."""
        return 1e6 * self.postgres_cpu / self.transfers

    @property
    def client_us(self) -> float:
        """CPU microseconds of the client for a transfer: of the writer and of what drives it, or of pgbench."""
        return 1e6 * self.client_cpu / self.transfers

    def percentile(self, share: float) -> float:
        """The latency in milliseconds that this share of the submissions stayed below."""
        ordered = sorted(self.latencies)
        return 1e3 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@asynccontextmanager
async def open_writer(url: str, shard: int = 0) -> AsyncIterator[ShardWriter]:
    """Run the writer of a shard until the block ends, as the ledger runs it; no relay drains the outbox."""
    clock = SystemClock()
    database = Database(url, application_name="benchmark", pool_size=1, book=BOOK)
    writer = ShardWriter(database, BOOK, shard, clock, Uuid7Source(clock))
    task = asyncio.create_task(writer.run())
    try:
        yield writer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await database.close()


async def drive(writer: ShardWriter, postmaster: int | None, chains: list[Chain], size: int, outstanding: int) -> Drive:
    """Submit chains in batches of `size`, always `outstanding` of them at once: a closed loop."""
    batches = iter([chains[start : start + size] for start in range(0, len(chains), size)])
    latencies: list[float] = []
    refusals = 0

    async def submit_in_turn() -> None:
        nonlocal refusals
        for batch in batches:
            began = time.perf_counter()
            answers = await writer.submit(batch)
            latencies.append(time.perf_counter() - began)
            refusals += refused(answers)

    with Books(postmaster) as books:
        await asyncio.gather(*(submit_in_turn() for _ in range(outstanding)))
    return Drive(len(chains), refusals, *books.costs, latencies)


async def drive_at_rate(
    writer: ShardWriter, postmaster: int, chains: list[Chain], rate: float, chance: random.Random
) -> Drive:
    """Submit chains one by one at the instants of a Poisson process, whether or not earlier ones were answered.

    The latency counts from the instant that a chain was due, so a stall of the writer is not left out of it.
    """
    latencies: list[float] = []
    refusals = 0

    async def submit(chain: Chain, due: float) -> None:
        nonlocal refusals
        answers = await writer.submit([chain])
        latencies.append(time.perf_counter() - due)
        refusals += refused(answers)

    with Books(postmaster) as books:
        async with asyncio.TaskGroup() as group:
            for chain, due in zip(chains, _arrivals(len(chains), rate, chance), strict=True):
                if (early := due - time.perf_counter()) > 0:
                    await asyncio.sleep(early)
                group.create_task(submit(chain, due))
    return Drive(len(chains), refusals, *books.costs, latencies)


def _arrivals(count: int, rate: float, chance: random.Random) -> Iterator[float]:
    due = time.perf_counter()
    for _ in range(count):
        due += chance.expovariate(rate)
        yield due


class Books:
    """Books the time of a block, and the CPU time of this process and of a server, if one is named."""

    def __init__(self, postmaster: int | None) -> None:
        self._postmaster = postmaster
        self.costs = (0.0, 0.0, 0.0)

    def __enter__(self) -> Self:
        self._cpu = self._of_server()
        self._own = time.process_time()
        self._began = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        seconds, own = time.perf_counter() - self._began, time.process_time() - self._own
        self.costs = (seconds, self._of_server() - self._cpu, own)

    def _of_server(self) -> float:
        return cpu_of_server(self._postmaster) if self._postmaster is not None else 0.0
