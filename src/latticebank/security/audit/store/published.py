"""What was published, and what witnesses have cosigned."""

from datetime import datetime

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from latticebank.kernel.database import UnitOfWork

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
