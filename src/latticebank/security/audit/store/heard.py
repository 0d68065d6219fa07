"""Which records of the ledger were heard of, which are missing before them, and which were told twice."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncConnection

from latticebank.kernel.database import UnitOfWork
from latticebank.security.audit.model.gaps import Heard, Span

Finding = Literal["gaps", "told_again"]

_EXPECTED = "SELECT expected FROM spans WHERE book = %(book)s AND shard = %(shard)s FOR UPDATE"
_EXPECT = """
    INSERT INTO spans (book, shard, expected) VALUES (%(book)s, %(shard)s, %(expected)s)
    ON CONFLICT (book, shard) DO UPDATE SET expected = EXCLUDED.expected
"""
_ALL = "SELECT shard, first_seq, next_seq FROM {table} WHERE book = %(book)s ORDER BY shard, first_seq"
_OF_SHARD = """
    SELECT shard, first_seq, next_seq FROM {table} WHERE book = %(book)s AND shard = %(shard)s ORDER BY first_seq
"""
_REMOVE = "DELETE FROM {table} WHERE book = %(book)s AND shard = %(shard)s AND first_seq = ANY(%(firsts)s::bigint[])"
# One that grows or shrinks at its end was found when it began.
_KEEP = """
    INSERT INTO {table} (book, shard, first_seq, next_seq, found_at)
    SELECT %(book)s, %(shard)s, n.*, %(at)s FROM unnest(%(firsts)s::bigint[], %(nexts)s::bigint[]) AS n
    ON CONFLICT (book, shard, first_seq) DO UPDATE SET next_seq = EXCLUDED.next_seq
"""


async def held(work: UnitOfWork, book: int, shard: int) -> Heard:
    """Return what was heard of a shard of the ledger; nobody else hears of it until the transaction ends."""
    where = {"book": book, "shard": shard}
    number = (await work.connection.exec_driver_sql(_EXPECTED, where)).scalar()
    if number is None:
        return Heard()
    return Heard(number, await _of_shard(work, "gaps", where), await _of_shard(work, "told_again", where))


async def keep(work: UnitOfWork, book: int, shard: int, before: Heard, after: Heard, at: datetime) -> None:
    """Keep what was heard of a shard, in the place of what was heard before."""
    where = {"book": book, "shard": shard}
    await work.connection.exec_driver_sql(_EXPECT, where | {"expected": after.expected})
    await _replace(work, "gaps", where, before.gaps, after.gaps, at)
    await _replace(work, "told_again", where, before.overlaps, after.overlaps, at)


async def found(connection: AsyncConnection, book: int, finding: Finding) -> list[Span]:
    """Return all gaps, or all that was told again, of all shards."""
    rows = await connection.exec_driver_sql(_ALL.format(table=finding), {"book": book})
    return [Span(row.shard, row.first_seq, row.next_seq) for row in rows]


async def _of_shard(work: UnitOfWork, finding: Finding, where: dict[str, int]) -> tuple[Span, ...]:
    rows = await work.connection.exec_driver_sql(_OF_SHARD.format(table=finding), where)
    return tuple(Span(row.shard, row.first_seq, row.next_seq) for row in rows)


async def _replace(
    work: UnitOfWork,
    finding: Finding,
    where: dict[str, int],
    before: Sequence[Span],
    after: Sequence[Span],
    at: datetime,
) -> None:
    gone = {span.first_seq for span in before} - {span.first_seq for span in after}
    if gone:
        await work.connection.exec_driver_sql(_REMOVE.format(table=finding), where | {"firsts": list(gone)})
    changed = sorted(set(after) - set(before))
    if changed:
        facts = {"firsts": [each.first_seq for each in changed], "nexts": [each.next_seq for each in changed], "at": at}
        await work.connection.exec_driver_sql(_KEEP.format(table=finding), where | facts)
