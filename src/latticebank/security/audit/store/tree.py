"""The trees of the logs: their size and root, their tiles, their leaves.

READ COMMITTED is assumed. Whoever appends holds the row of the log, so that one process at a time does.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from latticebank.crypto.merkle import EMPTY_ROOT
from latticebank.crypto.tiles import Piece, root_from, root_nodes, tiles_for
from latticebank.kernel.database import UnitOfWork
from latticebank.values.errors import BankError, Fault

Connection = AsyncConnection


class LogOutOfStep(BankError):
    """The tree in the database is not what this process knew it to be: it is read anew, and what failed is done again."""

    code = "log-out-of-step"
    title = "The log was appended to by somebody else"
    fault = Fault.UNAVAILABLE


class Log(Struct, frozen=True):
    """A log as it stands in the database: `size` leaves are durable, `root` is that of the tree over them."""

    log: int
    origin: str
    size: int
    root: bytes


class Growth(NamedTuple):
    """Bytes that come into a row of `tiles` or `bundles` behind the `start` that it has."""

    level: int
    number: int
    start: int
    content: bytes


_ALL = "SELECT log, origin, size, root FROM logs WHERE book = %(book)s ORDER BY log DESC"
_CURRENT = "SELECT log, origin, size, root FROM logs WHERE book = %(book)s ORDER BY log DESC LIMIT 1"
_BEGIN = """
    INSERT INTO logs (book, log, origin, root, begun_at) VALUES (%(book)s, %(log)s, %(origin)s, %(root)s, %(now)s)
    ON CONFLICT DO NOTHING
"""
_GROW = """
    UPDATE logs SET size = %(size)s, root = %(root)s
    WHERE book = %(book)s AND log = %(log)s AND size = %(before)s
      AND NOT EXISTS (SELECT 1 FROM logs AS later WHERE later.book = %(book)s AND later.log > %(log)s)
"""
_NEW_ROWS = """
    INSERT INTO {table} (book, log, level, number, content)
    SELECT %(book)s, %(log)s, n.* FROM unnest(%(levels)s::smallint[], %(numbers)s::bigint[], %(contents)b::bytea[]) AS n
"""
_LONGER_ROWS = """
    UPDATE {table} t SET content = t.content || n.content
    FROM unnest(%(levels)s::smallint[], %(numbers)s::bigint[], %(starts)s::integer[], %(contents)b::bytea[])
         AS n (level, number, start, content)
    WHERE t.book = %(book)s AND t.log = %(log)s AND t.level = n.level AND t.number = n.number
      AND octet_length(t.content) = n.start
"""
# OFFSET 0 keeps the planner from reading all tiles while it knows nothing of the table.
TILES = """
    SELECT n.level, n.number, t.content
    FROM unnest(%s::smallint[], %s::bigint[]) AS n (level, number), LATERAL (
        SELECT content FROM tiles WHERE book = %s AND log = %s AND level = n.level AND number = n.number OFFSET 0
    ) AS t
"""
_CONTENT = "SELECT content FROM {table} WHERE book = %s AND log = %s AND level = %s AND number = %s"
TILE, BUNDLE = _CONTENT.format(table="tiles"), _CONTENT.format(table="bundles")


async def current(connection: Connection, book: int) -> Log | None:
    """Return the log of a bank, None before it was begun."""
    row = (await connection.exec_driver_sql(_CURRENT, {"book": book})).one_or_none()
    return None if row is None else Log(row.log, row.origin, row.size, bytes(row.root))


async def all_of(connection: Connection, book: int) -> list[Log]:
    """Return the logs of a bank, the present one first."""
    rows = await connection.exec_driver_sql(_ALL, {"book": book})
    return [Log(row.log, row.origin, row.size, bytes(row.root)) for row in rows]


async def held(work: UnitOfWork, book: int) -> Log | None:
    """Return the log of a bank, and let nobody else append to it until the transaction ends."""
    row = (await work.connection.exec_driver_sql(f"{_CURRENT} FOR UPDATE", {"book": book})).one_or_none()
    return None if row is None else Log(row.log, row.origin, row.size, bytes(row.root))


async def begin(work: UnitOfWork, book: int, log: int, origin: str, now: datetime) -> None:
    """Begin a log without leaves; nothing where it was begun."""
    facts = {"book": book, "log": log, "origin": origin, "root": EMPTY_ROOT, "now": now}
    await work.connection.exec_driver_sql(_BEGIN, facts)


async def grow(
    work: UnitOfWork, book: int, before: Log, after: Log, pieces: Sequence[Piece], leaves: Sequence[bytes]
) -> None:
    """Append leaves to the log that is held: the pieces of its tiles, the leaves themselves, its new size and root.

    Raises:
        LogOutOfStep: a tile, a bundle or the log is not as it was thought to be, or a later log was begun.

    """
    where = {"book": book, "log": before.log}
    tiles = [Growth(piece.level, piece.number, piece.start * 32, piece.hashes) for piece in pieces]
    await _extend(work.connection, "tiles", where, tiles)
    await _extend(work.connection, "bundles", where, _bundled(before.size, leaves))
    grown = where | {"before": before.size, "size": after.size, "root": after.root}
    if (await work.connection.exec_driver_sql(_GROW, grown)).rowcount != 1:
        raise LogOutOfStep("the log has another size, or is no longer the present one")


async def tiles(
    connection: Connection, book: int, log: int, places: Collection[tuple[int, int]]
) -> dict[tuple[int, int], bytes]:
    """Return those of these tiles, by level and number, that there are."""
    wanted = ([level for level, _ in places], [number for _, number in places], book, log)
    rows = await connection.exec_driver_sql(TILES, wanted)
    return {(row.level, row.number): bytes(row.content) for row in rows}


async def root_at(connection: Connection, book: int, log: Log, size: int) -> bytes:
    """Return the root of the first leaves of a log, from its tiles.

    Raises:
        TilesDamaged: a tile is missing.

    """
    places = [(tile.level, tile.number) for tile in tiles_for(root_nodes(size), log.size)]
    return root_from(await tiles(connection, book, log.log, places), size)


async def _extend(connection: Connection, table: str, where: dict[str, int], growths: Sequence[Growth]) -> None:
    fresh = [growth for growth in growths if growth.start == 0]
    longer = [growth for growth in growths if growth.start]
    if fresh:
        await connection.exec_driver_sql(_NEW_ROWS.format(table=table), where | _columns(fresh))
    if longer:
        done = await connection.exec_driver_sql(_LONGER_ROWS.format(table=table), where | _columns(longer))
        if done.rowcount != len(longer):
            raise LogOutOfStep(f"{table} are not as long as they were")


def _columns(growths: Sequence[Growth]) -> dict[str, object]:
    return {
        "levels": [growth.level for growth in growths],
        "numbers": [growth.number for growth in growths],
        "starts": [growth.start for growth in growths],
        "contents": [growth.content for growth in growths],
    }


def _bundled(size: int, leaves: Sequence[bytes]) -> list[Growth]:
    """Return leaves that come behind `size` others as what comes into which bundle."""
    growths, begin = [], 0
    while begin < len(leaves):
        number, start = divmod(size + begin, 256)
        taken = leaves[begin : begin + 256 - start]
        growths.append(Growth(0, number, start * len(taken[0]), b"".join(taken)))
        begin += len(taken)
    return growths
