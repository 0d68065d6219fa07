"""The tree of the log in PostgreSQL: what a leaf costs as it grows, and what an inclusion proof costs at each size."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from random import Random
from statistics import median, quantiles
from typing import Any

from benchmarks import machine
from benchmarks.accounting import cpu_of_server
from benchmarks.server import Server, open_server
from benchmarks.turns import Tell
from latticebank.crypto.merkle import leaf_hash, verify_inclusion
from latticebank.crypto.tiles import Frontier
from latticebank.kernel.database import Database
from latticebank.kernel.migrations import migrate
from latticebank.security.audit.migrations import AUDIT_TABLES
from latticebank.security.audit.service.proving import TileReader
from latticebank.security.audit.store import tree
from latticebank.security.audit.store.tree import Log

AUDIT = "audit"
_BOOK = 1
_FIRST_SIZE = 10_000


@dataclass(frozen=True)
class Plan:
    """How many leaves at most, how many come at once, and how many proofs are timed at each size."""

    leaves: int
    at_once: int
    proofs: int


async def measure(plan: Plan, tell: Tell) -> dict[str, Any]:
    """Return what appending and proving cost at 10,000 leaves and at each ten times as many."""
    with open_server(None) as server:
        server.postgres.create_database(AUDIT)
        migrate(server.url(AUDIT), AUDIT_TABLES)
        database = Database(server.url(AUDIT), application_name="latticebank-benchmark", book=_BOOK)
        try:
            async with database.begin() as work:
                await tree.begin(work, _BOOK, 1, "benchmark.example/log", datetime.now(UTC))
            facts = machine.facts(server.url(AUDIT), server.folder)
            rows, frontier = [], Frontier()
            for size in _sizes(plan.leaves):
                tell(f"appending up to {size:,} leaves")
                rows.append(await _grown(plan, server, database, frontier, size))
                tell(f"proving leaves among {size:,}")
                rows.append(await _proved(plan, database, frontier))
        finally:
            await database.close()
    return {"machine": facts, "rows": rows}


def _sizes(leaves: int) -> Iterator[int]:
    size = min(_FIRST_SIZE, leaves)
    while size < leaves:
        yield size
        size *= 10
    yield leaves


async def _grown(plan: Plan, server: Server, database: Database, frontier: Frontier, size: int) -> dict[str, Any]:
    """Append leaves until the tree has this size."""
    began, used, before = time.perf_counter(), time.process_time(), cpu_of_server(server.pid)
    first = frontier.size
    while frontier.size < size:
        leaves = [_leaf(frontier.size + place) for place in range(min(plan.at_once, size - frontier.size))]
        async with database.begin() as work:
            held = await tree.held(work, _BOOK)
            assert held is not None
            pieces = frontier.append([leaf_hash(leaf) for leaf in leaves])
            after = Log(held.log, held.origin, frontier.size, frontier.root())
            await tree.grow(work, _BOOK, held, after, pieces, leaves)
    count = frontier.size - first
    return {
        "variant": f"leaves up to {size:,}, {plan.at_once:,} at once",
        "rate": round(count / (time.perf_counter() - began)),
        "postgres_us": round(1e6 * (cpu_of_server(server.pid) - before) / count, 1),
        "server_us": round(1e6 * (time.process_time() - used) / count, 1),
    }


async def _proved(plan: Plan, database: Database, frontier: Frontier) -> dict[str, Any]:
    """Prove leaves at random, each by itself, and verify each proof."""
    log = Log(1, "benchmark.example/log", frontier.size, frontier.root())
    reader = TileReader(database, _BOOK)
    choose, seconds = Random(6962), []
    for _ in range(plan.proofs):
        index = choose.randrange(log.size)
        began = time.perf_counter()
        [proof] = await reader.inclusion_proofs(log.log, [index], log.size)
        seconds.append(time.perf_counter() - began)
        verify_inclusion(leaf_hash(_leaf(index)), index, log.size, proof, log.root)
    return {
        "variant": f"inclusion proof among {log.size:,}",
        "rate": round(1 / median(seconds)),
        "p50_ms": round(1e3 * median(seconds), 2),
        "p99_ms": round(1e3 * quantiles(seconds, n=100)[-1], 2),
    }


def _leaf(place: int) -> bytes:
    """A leaf as the log has them: 33 bytes that nobody can compress."""
    return b"\x01" + sha256(place.to_bytes(8)).digest()
