"""The devices whose enrolment the log tells of: each once."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from latticebank.kernel.database import UnitOfWork

_KNOWN = "SELECT device FROM devices WHERE book = %(book)s AND log = %(log)s AND device = ANY(%(devices)s)"
_INSERT = """
    INSERT INTO devices (book, log, device) SELECT %(book)s, %(log)s, unnest(%(devices)s::uuid[])
    ON CONFLICT DO NOTHING RETURNING device
"""


async def known(connection: AsyncConnection, book: int, log: int, devices: Collection[UUID]) -> set[UUID]:
    """Return those of these devices whose enrolment the log tells of."""
    rows = await connection.exec_driver_sql(_KNOWN, {"book": book, "log": log, "devices": list(devices)})
    return set(rows.scalars())


async def insert(work: UnitOfWork, book: int, log: int, devices: Collection[UUID]) -> set[UUID]:
    """Keep that the log tells of these enrolments; return those of which it had not told before."""
    rows = await work.connection.exec_driver_sql(_INSERT, {"book": book, "log": log, "devices": list(devices)})
    return set(rows.scalars())
