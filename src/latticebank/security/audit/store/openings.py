"""What leaves commit to, sealed: written with the leaves, found by their owner or by their place."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from latticebank.kernel.database import UnitOfWork


class SealedRun(Struct, frozen=True):
    """The openings of `count` leaves from `first_index` on, sealed together; `things` are joined ids, 16 bytes each."""

    first_index: int
    count: int
    owner: UUID | None
    things: bytes
    sealed: bytes


_INSERT = """
    INSERT INTO openings (book, log, first_index, count, owner, things, sealed)
    SELECT %(book)s, %(log)s, n.*
    FROM unnest(%(firsts)s::bigint[], %(counts)s::smallint[], %(owners)s::uuid[], %(things)b::bytea[], %(sealed)b::bytea[])
         AS n
"""
# A match within two ids that happen to follow each other is found out when the record is read.
_ABOUT = """
    SELECT first_index, count AS run, owner, things, sealed FROM openings
    WHERE book = %(book)s AND log = %(log)s AND owner = %(owner)s
      AND EXISTS (SELECT FROM unnest(%(wanted)b::bytea[]) AS wanted WHERE position(wanted IN things) > 0)
    ORDER BY first_index LIMIT %(limit)s
"""
_FROM = """
    SELECT first_index, count AS run, owner, things, sealed FROM openings
    WHERE book = %(book)s AND log = %(log)s AND first_index > %(first)s - 250 AND first_index < %(end)s
      AND first_index + count > %(first)s
    ORDER BY first_index
"""


async def insert(work: UnitOfWork, book: int, log: int, runs: Sequence[SealedRun]) -> None:
    """Write the openings of leaves that are appended in the same transaction."""
    columns = {
        "firsts": [run.first_index for run in runs],
        "counts": [run.count for run in runs],
        "owners": [run.owner for run in runs],
        "things": [run.things for run in runs],
        "sealed": [run.sealed for run in runs],
    }
    await work.connection.exec_driver_sql(_INSERT, {"book": book, "log": log, **columns})


async def about(
    connection: AsyncConnection, book: int, log: int, owner: UUID, things: Sequence[UUID], limit: int
) -> list[SealedRun]:
    """Return the runs of an owner in which some of these things may be, in their order, at most `limit`."""
    wanted = {"owner": owner, "wanted": [thing.bytes for thing in things], "limit": limit}
    rows = await connection.exec_driver_sql(_ABOUT, {"book": book, "log": log, **wanted})
    return [_run(row) for row in rows]


async def between(connection: AsyncConnection, book: int, log: int, first: int, end: int) -> list[SealedRun]:
    """Return the runs that have leaves from `first` up to, without, `end`, in their order."""
    rows = await connection.exec_driver_sql(_FROM, {"book": book, "log": log, "first": first, "end": end})
    return [_run(row) for row in rows]


def _run(row: Row[Any]) -> SealedRun:
    return SealedRun(row.first_index, row.run, row.owner, bytes(row.things), bytes(row.sealed))
