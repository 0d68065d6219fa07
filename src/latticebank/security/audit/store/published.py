"""What was published, what witnesses have cosigned, and which records of the ledger are missing."""

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from latticebank.kernel.database import UnitOfWork
from latticebank.security.audit.model.gaps import Span

_SIGNER = "SELECT pg_try_advisory_xact_lock(hashtextextended('log-signer', %(book)s))"
_PUBLISH = """
    INSERT INTO checkpoints (book, log, size, note, published_at) VALUES (%(book)s, %(log)s, %(size)s, %(note)s, %(at)s)
    ON CONFLICT (book, log) DO UPDATE
    SET size = EXCLUDED.size, note = EXCLUDED.note, published_at = EXCLUDED.published_at
"""
_NEWEST = "SELECT size, note FROM checkpoints WHERE book = %s AND log = %s"
_COSIGNED = """
    INSERT INTO witnesses (book, log, name, size) VALUES (%(book)s, %(log)s, %(name)s, %(size)s)
    ON CONFLICT (book, log, name) DO UPDATE SET size = EXCLUDED.size
"""
_WITNESSED = "SELECT name, size FROM witnesses WHERE book = %(book)s AND log = %(log)s"
_EXPECTED = "SELECT expected FROM spans WHERE book = %(book)s AND shard = %(shard)s FOR UPDATE"
_EXPECT = """
    INSERT INTO spans (book, shard, expected) VALUES (%(book)s, %(shard)s, %(expected)s)
    ON CONFLICT (book, shard) DO UPDATE SET expected = EXCLUDED.expected
"""
_GAPS = "SELECT shard, first_seq, next_seq, found_at FROM gaps WHERE book = %(book)s ORDER BY shard, first_seq"
_OF_SHARD = "SELECT shard, first_seq, next_seq FROM gaps WHERE book = %(book)s AND shard = %(shard)s ORDER BY first_seq"
_CLOSE_GAP = "DELETE FROM gaps WHERE book = %(book)s AND shard = %(shard)s AND first_seq = %(first_seq)s"
_OPEN_GAP = """
    INSERT INTO gaps (book, shard, first_seq, next_seq, found_at)
    VALUES (%(book)s, %(shard)s, %(first_seq)s, %(next_seq)s, %(at)s)
"""


class Published(Struct, frozen=True):
    """A checkpoint as it was published: a C2SP note."""

    size: int
    note: bytes


async def become_signer(work: UnitOfWork, book: int) -> bool:
    """Whether this transaction is the one that may publish; another one may from its end on."""
    return bool((await work.connection.exec_driver_sql(_SIGNER, {"book": book})).scalar_one())


async def newest(connection: AsyncConnection, book: int, log: int) -> Published | None:
    """Return the checkpoint of a log that was published last."""
    row = (await connection.exec_driver_sql(_NEWEST, (book, log))).one_or_none()
    return None if row is None else Published(row.size, bytes(row.note))


async def publish(work: UnitOfWork, book: int, log: int, checkpoint: Published, at: datetime) -> None:
    """Show a checkpoint in the place of the last one; one of the same size has further cosignatures."""
    facts = {"book": book, "log": log, "size": checkpoint.size, "note": checkpoint.note, "at": at}
    await work.connection.exec_driver_sql(_PUBLISH, facts)


async def cosigned(work: UnitOfWork, book: int, log: int, name: str, size: int) -> None:
    """Remember how large a tree a witness has cosigned."""
    await work.connection.exec_driver_sql(_COSIGNED, {"book": book, "log": log, "name": name, "size": size})


async def witnessed(connection: AsyncConnection, book: int, log: int) -> dict[str, int]:
    """Return the largest size that each witness has cosigned."""
    return {row.name: row.size for row in await connection.exec_driver_sql(_WITNESSED, {"book": book, "log": log})}


async def expected(work: UnitOfWork, book: int, shard: int) -> tuple[int, list[Span]]:
    """Return the number of the record that is to be heard of next, and the gaps before it; both are held."""
    where = {"book": book, "shard": shard}
    number = (await work.connection.exec_driver_sql(_EXPECTED, where)).scalar()
    rows = await work.connection.exec_driver_sql(_OF_SHARD, where)
    return (1 if number is None else number), [Span(row.shard, row.first_seq, row.next_seq) for row in rows]


async def expect(work: UnitOfWork, book: int, shard: int, number: int) -> None:
    """Keep the number of the record that is to be heard of next."""
    await work.connection.exec_driver_sql(_EXPECT, {"book": book, "shard": shard, "expected": number})


async def replace_gaps(work: UnitOfWork, book: int, before: Sequence[Span], left: Sequence[Span], at: datetime) -> None:
    """Close the gaps that are left no more, and open those that were not there before."""
    for gap in set(before) - set(left):
        where = {"book": book, "shard": gap.shard, "first_seq": gap.first_seq}
        await work.connection.exec_driver_sql(_CLOSE_GAP, where)
    for gap in set(left) - set(before):
        facts = {"book": book, "shard": gap.shard, "first_seq": gap.first_seq, "next_seq": gap.next_seq, "at": at}
        await work.connection.exec_driver_sql(_OPEN_GAP, facts)


async def gaps(connection: AsyncConnection, book: int) -> list[tuple[Span, datetime]]:
    """Return all gaps, and when each was found."""
    rows = await connection.exec_driver_sql(_GAPS, {"book": book})
    return [(Span(row.shard, row.first_seq, row.next_seq), row.found_at) for row in rows]
