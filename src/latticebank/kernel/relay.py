"""The relay: moves what a service has published from its outbox to the event bus."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from latticebank.kernel.bus import EventBus
from latticebank.kernel.database import Database
from latticebank.kernel.events import Event
from latticebank.kernel.outbox import MAX_BATCH_BYTES, MAX_BATCH_EVENTS, events_of
from latticebank.kernel.worker import Pace, keep_working

MAX_ROWS = 64
"""The most rows of the outbox that are moved at once."""
MAX_COUNTED_ROWS = 100_000
PACE = Pace(idle=1.0, linger=0.1)
"""A step costs some ten statements however much it moves, so what is published within a moment moves together."""
"""Who publishes in this process rings; looking is for what a process that died has left behind."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits in an outbox: rows, counted up to `MAX_COUNTED_ROWS`, and the age of the oldest in seconds."""

    rows: int
    oldest_seconds: float


class Relay:
    """Moves events from the outbox of one database to the bus, in the order of their writing.

    Rows are claimed, appended to the bus, deleted, committed. If the relay dies before the last step they are appended
    again, and the bus drops what it knows by id. Of several relays on one outbox one works at a time, so that what was
    committed before something else began stays before it; only of what was under way at once may the order turn. A row
    that cannot be moved keeps its place and is reported at each try, and those behind it wait.
    """

    def __init__(
        self,
        database: Database,
        bus: EventBus,
        *,
        pace: Pace = PACE,
        failed: Callable[[Exception, int], None] | None = None,
    ) -> None:
        self._database = database
        self._bus = bus
        self._pace = pace
        self._failed = failed

    async def run(self) -> None:
        """Move events until cancelled; failures are reported, and tried again after a pause that grows."""
        name = f"the relay of {self._database!r}"
        await keep_working(name, self.step, wake=self._database.published, pace=self._pace, failed=self._failed)

    async def step(self) -> int:
        """Move the oldest rows, at most `MAX_ROWS`; return how many events those were.

        Raises:
            DatabaseUnavailable: the database or the bus is down; nothing is lost.

        """
        async with self._database.begin() as unit_of_work:
            rows, events = await self._claim(unit_of_work.connection)
            if not events:
                return 0
            await self._bus.append(events)
            await unit_of_work.connection.exec_driver_sql(
                "DELETE FROM outbox WHERE book = %(book)s AND shard = ANY(%(shards)s) AND id = ANY(%(ids)s)", rows
            )
        return len(events)

    async def backlog(self) -> Backlog:
        """Return what waits to be moved; for metrics.

        Raises:
            DatabaseUnavailable: the database is down.

        """
        async with self._database.read() as connection:
            row = (
                await connection.exec_driver_sql(_BACKLOG, {"book": self._database.book, "limit": MAX_COUNTED_ROWS})
            ).one()
        return Backlog(row.rows, float(row.oldest_seconds))

    async def _claim(self, connection: AsyncConnection) -> tuple[dict[str, Any], list[Event]]:
        """Lock the oldest rows that nobody else moves and that the bus takes at once, at least one if there is one."""
        book = self._database.book
        if not (await connection.exec_driver_sql(_TURN, {"book": book})).scalar_one():
            return {}, []
        claimed: list[tuple[int, UUID]] = []
        events_so_far = bytes_so_far = 0
        for row in await connection.exec_driver_sql(_OLDEST, {"book": book, "limit": MAX_ROWS}):
            events_so_far += row.event_count
            bytes_so_far += row.bytes
            if claimed and (events_so_far > MAX_BATCH_EVENTS or bytes_so_far > MAX_BATCH_BYTES):
                break
            claimed.append((row.shard, row.id))
        rows = {"book": book, "shards": [shard for shard, _ in claimed], "ids": [row for _, row in claimed]}
        if not claimed:
            return rows, []
        batches = await connection.exec_driver_sql(_EVENTS, rows)
        return rows, [event for batch in batches.scalars() for event in events_of(batch)]


_TURN = "SELECT pg_try_advisory_xact_lock(hashtextextended('relay', %(book)s))"

_OLDEST = """
    SELECT shard, id, event_count, octet_length(events) AS bytes
    FROM outbox
    WHERE book = %(book)s
    ORDER BY id
    LIMIT %(limit)s
    FOR UPDATE
"""

_EVENTS = """
    SELECT events
    FROM outbox
    WHERE book = %(book)s AND shard = ANY(%(shards)s) AND id = ANY(%(ids)s)
    ORDER BY id
"""

_BACKLOG = """
    SELECT count(*) AS rows, coalesce(extract(epoch FROM now() - min(created_at)), 0) AS oldest_seconds
    FROM (SELECT created_at FROM outbox WHERE book = %(book)s ORDER BY id LIMIT %(limit)s) AS oldest
"""
