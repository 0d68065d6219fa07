"""A writer in a process of its own. It is told what to do by lines of JSON, since a URL holds a password.

The first line is a `Task`; the child answers with a line when it is ready, and with a `Done` for each further line.
"""

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import msgspec
import uvloop

from benchmarks.accounting import Memory, cpu_of_server, memory_of
from benchmarks.driving import Drive, drive, open_writer
from benchmarks.workloads import Workload, account_numbers, refused, transfers
from latticebank.banking.ledger.service.writer import ShardWriter
from latticebank.values.clock import SystemClock
from latticebank.values.ids import Uuid7Source


class Task(msgspec.Struct, frozen=True):
    """What a child does: transfers on one shard. A `streaming` one makes them as it goes, to keep nothing."""

    url: str
    shard: int
    accounts: int
    transfers: int
    size: int
    streaming: bool = False
    outstanding: int = 2
    seed: int = 1


class Done(msgspec.Struct, frozen=True):
    """What a child did, between two instants of the clock that all processes share, and its memory before and after."""

    transfers: int
    refused: int
    began: float
    ended: float
    cpu: float
    at_rest: Memory
    under_load: Memory
    latencies: list[float]


def main() -> None:
    """Do what standard input asks for."""
    uvloop.run(_work(msgspec.json.decode(sys.stdin.buffer.readline(), type=Task)))


async def _work(task: Task) -> None:
    chance, ids = random.Random(task.seed), Uuid7Source(SystemClock())
    accounts = account_numbers(task.url, task.shard)[: task.accounts]
    async with open_writer(task.url, task.shard) as writer:
        await writer.submit(transfers(Workload.RANDOM, accounts, 100, chance, ids))
        at_rest = memory_of(os.getpid())
        chains = [] if task.streaming else transfers(Workload.RANDOM, accounts, task.transfers, chance, ids)
        _say(True)
        while sys.stdin.buffer.readline():
            began, cpu = time.monotonic(), time.process_time()
            if task.streaming:
                done = await _stream(writer, task, accounts, chance, ids)
            else:
                done = await drive(writer, None, chains, task.size, task.outstanding)
            ended, cpu = time.monotonic(), time.process_time() - cpu
            _say(Done(done.transfers, done.refused, began, ended, cpu, at_rest, memory_of(os.getpid()), done.latencies))
            if not task.streaming:
                chains = transfers(Workload.RANDOM, accounts, task.transfers, chance, ids)
            _say(True)


async def _stream(
    writer: ShardWriter, task: Task, accounts: Sequence[int], chance: random.Random, ids: Uuid7Source
) -> Drive:
    refusals = 0
    for _ in range(0, task.transfers, task.size):
        refusals += refused(await writer.submit(transfers(Workload.RANDOM, accounts, task.size, chance, ids)))
    return Drive(task.transfers, refusals, 0.0, 0.0, 0.0)


def _say(what: object) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(what) + b"\n")
    sys.stdout.buffer.flush()


@contextmanager
def children(tasks: Sequence[Task]) -> Iterator["Children"]:
    """Have a process for each task until the block ends."""
    with ExitStack() as ending:
        started = []
        for task in tasks:
            child = ending.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "benchmarks.child"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
                )
            )
            ending.callback(child.terminate)
            started.append(child)
            _tell(child, msgspec.json.encode(task))
        yield Children(started)


class Children:
    """Processes that run their tasks at the same time."""

    def __init__(self, processes: Sequence["subprocess.Popen[bytes]"]) -> None:
        self._processes = processes

    def run(self, postmaster: int) -> tuple[Drive, list[Done]]:
        """Run every task once, together; return the whole, and what each did."""
        for child in self._processes:
            _hear(child)
        server = cpu_of_server(postmaster)
        for child in self._processes:
            _tell(child, b"go")
        done = [msgspec.json.decode(_hear(child), type=Done) for child in self._processes]
        whole = Drive(
            sum(each.transfers for each in done),
            sum(each.refused for each in done),
            max(each.ended for each in done) - min(each.began for each in done),
            cpu_of_server(postmaster) - server,
            sum(each.cpu for each in done),
            [latency for each in done for latency in each.latencies],
        )
        return whole, done


def _tell(child: "subprocess.Popen[bytes]", line: bytes) -> None:
    if child.stdin is None:
        raise AssertionError("the child was started with a pipe")
    child.stdin.write(line + b"\n")
    child.stdin.flush()


def _hear(child: "subprocess.Popen[bytes]") -> bytes:
    if child.stdout is None:
        raise AssertionError("the child was started with a pipe")
    line = child.stdout.readline()
    if not line:
        raise RuntimeError("a process of the benchmark ended; what it said is above")
    return line


if __name__ == "__main__":
    main()
