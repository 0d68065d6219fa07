"""Builds a large bank through the ledger's own writer, to be measured on afterwards; a build that was killed goes on.

Everything is derived from its place: the account of a serial, the transfers of a batch. A batch is recorded whole or not
at all and every command takes one sequence number, so the head of the shard says where to go on. The identifiers are
UUIDv7 in order, as those of a bank that grew over time are: they decide which pages an insert touches.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import count
from pathlib import Path
from uuid import UUID

import psycopg
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks.driving import open_writer
from benchmarks.server import Server, open_server
from benchmarks.workloads import Workload, account_numbers, opening, refused, transfers
from latticebank.banking.ledger.model.decide import Chain
from latticebank.banking.ledger.service.writer import MAX_BATCH, ShardWriter

_FIRST_MILLISECOND = 1_767_225_600_000  # 2026-01-01
_IDS_A_MILLISECOND = 16
_UNDER_WAY = 2
"""Batches submitted at once: the next is made while one is written."""

Advance = Callable[[str, int, int], None]


class OtherBank(Exception):
    """The folder holds a bank of another size than the one asked for."""


@dataclass(frozen=True)
class Size:
    """How large a bank is."""

    accounts: int
    transfers: int


def build(folder: Path, size: Size) -> None:
    """Bring the bank in this folder to this size."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}/s"),
        TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with open_server(folder) as server, Progress(*columns, console=console) as progress:
        tasks = {}
        began: dict[str, tuple[float, int]] = {}

        def advance(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=total, rate="-")
                began[stage] = (time.perf_counter(), done)
            since, first = began[stage]
            rate = (done - first) / max(1e-9, time.perf_counter() - since)
            progress.update(tasks[stage], completed=done, rate=f"{rate:,.0f}")
            if not console.is_terminal and (done == total or done // MAX_BATCH % 25 == 0):
                console.print(f"{stage}: {done:,} of {total:,}, {rate:,.0f}/s", highlight=False)

        uvloop.run(grow(server, size, advance))


async def grow(server: Server, size: Size, advance: Advance) -> None:
    """Open what accounts are missing, then post what transfers are missing.

    Raises:
        OtherBank: transfers are there already, between another number of accounts.

    """
    url = server.ledger()
    accounts = account_numbers(url, 0)
    posted = _recorded(url) - len(accounts)
    if posted > 0 and len(accounts) != size.accounts:
        raise OtherBank(f"the bank in {server.folder} has {len(accounts)} accounts, not {size.accounts}")
    async with open_writer(url) as writer:
        while len(accounts) < size.accounts:
            await _open_some(writer, len(accounts), size.accounts, advance)
            accounts = account_numbers(url, 0)
        await _post(writer, accounts, max(0, posted), size.transfers, advance)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ANALYZE")


async def _open_some(writer: ShardWriter, have: int, wanted: int, advance: Advance) -> None:
    for start in range(have, wanted, MAX_BATCH):
        end = min(start + MAX_BATCH, wanted)
        await writer.submit([(opening(0, serial),) for serial in range(start, end)])
        advance("opening accounts", end, wanted)


async def _post(writer: ShardWriter, accounts: Sequence[int], posted: int, wanted: int, advance: Advance) -> None:
    """Post the batches from where the bank stands; the last may be short, and then it is as short on each attempt."""
    places = iter(range(posted, wanted, MAX_BATCH))
    done = posted
    advance("posting transfers", done, wanted)

    async def post_in_turn() -> None:
        nonlocal done
        for place in places:
            batch = transfers_at(place, min(MAX_BATCH, wanted - place), accounts)
            if refused(await writer.submit(batch)):
                raise AssertionError("a transfer of the large bank was refused")
            done += len(batch)
            advance("posting transfers", done, wanted)

    await asyncio.gather(*(post_in_turn() for _ in range(_UNDER_WAY)))


def transfers_at(place: int, number: int, accounts: Sequence[int]) -> list[Chain]:
    """Return the transfers from this place in the history of the bank, the same each time."""
    return transfers(Workload.RANDOM, accounts, number, random.Random(place), _ids_from(place))


def _ids_from(place: int) -> Callable[[], UUID]:
    """Return a source of the UUIDv7 of the places from this one on."""
    places = count(place)

    def next_id() -> UUID:
        here = next(places)
        millisecond, counter = divmod(here, _IDS_A_MILLISECOND)
        tail = int.from_bytes(sha256(here.to_bytes(8)).digest()[:8]) & ((1 << 62) - 1)
        return UUID(int=_FIRST_MILLISECOND + millisecond << 80 | 0x7 << 76 | counter << 64 | 0b10 << 62 | tail)

    return next_id


def _recorded(url: str) -> int:
    """Return how many commands the shard has recorded."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT next_seq - 1 FROM shard_heads WHERE book = 1 AND shard = 0").fetchone()
    return int(row[0]) if row else 0
