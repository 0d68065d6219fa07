"""The event bus: streams of events that every service may append to and read, each at its own place.

`PostgresEventBus` is the bus of a bank on one server: a database of its own, in which an appender takes the lock of a
topic, numbers its events and commits before the next one gets the lock. Offsets are therefore gapless and become
visible in their order: whoever reads after offset n can never see n + 2 before n + 1.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from latticebank.kernel.database import Database
from latticebank.kernel.events import Event
from latticebank.kernel.outbox import MAX_BATCH_EVENTS, BatchTooLarge
from latticebank.kernel.worker import Pace, Wake, keep_working
from latticebank.values.errors import BankError, Fault, InvalidValue

MAX_READ_EVENTS = 1_000
MAX_READ_BYTES = 8_000_000
MAX_TRIM_EVENTS = 10_000
WATCH_SECONDS = 0.1


class EventsMissing(BankError):
    """The place of a consumer and the bus do not fit together: events would be skipped in silence.

    It stays so, whatever is appended, until the databases fit together again.
    """

    code = "events-missing"
    title = "The event bus does not have the events that come next"
    fault = Fault.CONFLICT


@dataclass(frozen=True, slots=True)
class Extent:
    """The events that a topic has: from `first_offset` up to, without, `next_offset`."""

    first_offset: int
    next_offset: int


class EventBus(Protocol):
    """What relays and consumers need of a bus."""

    async def append(self, events: Sequence[Event]) -> int:
        """Append the events that the bus does not have yet, by id, in this order; return how many those were."""
        ...

    async def read(
        self, topic: str, after_offset: int, limit: int, handled: UUID | None = None
    ) -> list[tuple[int, Event]]:
        """Return the next events after an offset, at most `limit`, with their offsets; none where it is the last.

        `handled` is the id of the event at this offset as the caller remembers it, if it does.

        Raises:
            EventsMissing: the events after this offset are gone, the bus does not reach as far, or it has another event
                at this offset.

        """
        ...

    async def extent(self, topic: str) -> Extent:
        """Return which events the topic has."""
        ...

    async def report(self, consumer: str, topic: str, offset: int) -> None:
        """Tell the bus that a consumer has handled everything up to an offset, so that it keeps the rest."""
        ...

    def wake(self, topic: str) -> Wake:
        """Return what rings when the topic may have new events."""
        ...


class PostgresEventBus:
    """The event bus in a PostgreSQL database of its own, for one book; the tables are those of `BUS_TABLES`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._wakes: defaultdict[str, Wake] = defaultdict(Wake)

    async def append(self, events: Sequence[Event]) -> int:
        """Append the events that the bus does not have yet, by id, in this order; return how many those were.

        An id is remembered as long as its event is kept. One transaction: all of them or none.

        Raises:
            BatchTooLarge: more than `MAX_BATCH_EVENTS`.
            DatabaseUnavailable: the bus is down; whether they were appended is unknown, and appending again is safe.

        """
        if len(events) > MAX_BATCH_EVENTS:
            raise BatchTooLarge(f"at most {MAX_BATCH_EVENTS} events are appended at once, not {len(events)}")
        appended: dict[str, int] = {}
        async with self._database.begin() as unit_of_work:
            # In the order of their names, so that two appenders cannot wait for each other.
            for topic, batch in groupby(sorted(events, key=_topic), key=_topic):
                appended[topic] = await self._append_to(unit_of_work.connection, topic, list(batch))
        for topic, count in appended.items():
            if count:
                self._wakes[topic].ring()
        return sum(appended.values())

    async def _append_to(self, connection: AsyncConnection, topic: str, events: list[Event]) -> int:
        where = {"book": self._database.book, "topic": topic}
        await connection.exec_driver_sql(
            "INSERT INTO topics (book, topic) VALUES (%(book)s, %(topic)s) ON CONFLICT DO NOTHING", where
        )
        next_offset: int = (
            await connection.exec_driver_sql(
                "SELECT next_offset FROM topics WHERE book = %(book)s AND topic = %(topic)s FOR UPDATE", where
            )
        ).scalar_one()
        # READ COMMITTED: this statement sees what those who had the lock before us have committed.
        known: set[UUID] = set(
            (
                await connection.exec_driver_sql(
                    "SELECT id FROM events WHERE book = %(book)s AND topic = %(topic)s AND id = ANY(%(ids)s)",
                    where | {"ids": [event.id for event in events]},
                )
            ).scalars()
        )
        first_said: dict[UUID, Event] = {}
        for event in events:
            if event.id not in known:
                first_said.setdefault(event.id, event)
        fresh = list(first_said.values())
        if fresh:
            await connection.exec_driver_sql(_INSERT_EVENTS, where | {"next_offset": next_offset} | _columns(fresh))
            await connection.exec_driver_sql(
                "UPDATE topics SET next_offset = next_offset + %(count)s WHERE book = %(book)s AND topic = %(topic)s",
                where | {"count": len(fresh)},
            )
        return len(fresh)

    async def read(
        self, topic: str, after_offset: int, limit: int = MAX_READ_EVENTS, handled: UUID | None = None
    ) -> list[tuple[int, Event]]:
        """Return the next events after an offset with their offsets; none where it is the last.

        At most `limit`, and no more than fit into `MAX_READ_BYTES`, but always one if there is one. `handled` is the id
        of the event at this offset as the caller remembers it, if it does: a bus that was set back and has gone on since
        has another one there.

        Raises:
            EventsMissing: the events after this offset were trimmed; or the bus ends before it, or has another event at
                it, because it was restored from a backup, say, and has lost events that a consumer has handled.
            InvalidValue: `limit` is not between 1 and `MAX_READ_EVENTS`.
            DatabaseUnavailable: the bus is down.

        """
        if not 1 <= limit <= MAX_READ_EVENTS:
            raise InvalidValue(f"1 to {MAX_READ_EVENTS} events are read at once, not {limit}", field="limit")
        book = self._database.book
        place = (book, topic, after_offset)
        wanted = (*place, after_offset, *place, limit, MAX_READ_BYTES, book, topic)
        rows = await self._database.fetch(_READ_EVENTS, wanted)
        extent = Extent(rows[0][0], rows[0][1]) if rows else Extent(1, 1)
        there: UUID | None = rows[0][2] if rows else None
        events = [(row[3], Event(*row[4:])) for row in rows if row[3] is not None]
        _require_reach(topic, after_offset, extent)
        if handled is not None and there != handled and after_offset >= extent.first_offset:
            raise EventsMissing(
                f"{topic} has another event at offset {after_offset} than the one that was handled: it was set back, and "
                "what came next is not what comes next now",
                hint=_AT_ONE_MOMENT,
            )
        if (events[-1][0] if events else extent.next_offset - 1) != after_offset + len(events):
            raise EventsMissing(f"{topic} has a hole after offset {after_offset}", hint=_AT_ONE_MOMENT)
        return events

    async def extent(self, topic: str) -> Extent:
        """Return which events the topic has; none, from 1 on, where nobody has spoken of it.

        Raises:
            DatabaseUnavailable: the bus is down.

        """
        async with self._database.read() as connection:
            return await self._extent(connection, topic)

    async def _extent(self, connection: AsyncConnection, topic: str) -> Extent:
        row = (
            await connection.exec_driver_sql(
                "SELECT first_offset, next_offset FROM topics WHERE book = %(book)s AND topic = %(topic)s",
                {"book": self._database.book, "topic": topic},
            )
        ).one_or_none()
        return Extent(row.first_offset, row.next_offset) if row else Extent(1, 1)

    async def report(self, consumer: str, topic: str, offset: int) -> None:
        """Tell the bus that a consumer has handled everything up to an offset; that one and later ones are never trimmed.

        Raises:
            DatabaseUnavailable: the bus is down.

        """
        async with self._database.begin() as unit_of_work:
            await unit_of_work.connection.exec_driver_sql(
                """
                INSERT INTO consumers (book, topic, consumer, "offset")
                VALUES (%(book)s, %(topic)s, %(consumer)s, %(offset)s)
                ON CONFLICT (book, topic, consumer) DO UPDATE SET "offset" = EXCLUDED."offset", reported_at = now()
                """,
                {"book": self._database.book, "topic": topic, "consumer": consumer, "offset": offset},
            )

    async def forget(self, consumer: str, topic: str) -> None:
        """Keep nothing more for a consumer that is no longer there.

        Raises:
            DatabaseUnavailable: the bus is down.

        """
        async with self._database.begin() as unit_of_work:
            await unit_of_work.connection.exec_driver_sql(
                "DELETE FROM consumers WHERE book = %(book)s AND topic = %(topic)s AND consumer = %(consumer)s",
                {"book": self._database.book, "topic": topic, "consumer": consumer},
            )

    async def trim(self, topic: str, before: datetime, limit: int = MAX_TRIM_EVENTS) -> int:
        """Delete the oldest events that were appended before an instant; return how many.

        At most `limit` at a time, and none that a registered consumer has not handled, nor the last one that it has: one
        that is gone is to be forgotten first. An event that was trimmed is appended anew if it comes again.

        Raises:
            DatabaseUnavailable: the bus is down.

        """
        where = {"book": self._database.book, "topic": topic}
        async with self._database.begin() as unit_of_work:
            connection = unit_of_work.connection
            row = (
                await connection.exec_driver_sql(_TRIMMABLE, where | {"before": before, "limit": limit})
            ).one_or_none()
            if row is None or row.keep_from <= row.first_offset:
                return 0
            await connection.exec_driver_sql(
                'DELETE FROM events WHERE book = %(book)s AND topic = %(topic)s AND "offset" < %(keep_from)s',
                where | {"keep_from": row.keep_from},
            )
            await connection.exec_driver_sql(
                "UPDATE topics SET first_offset = %(keep_from)s WHERE book = %(book)s AND topic = %(topic)s",
                where | {"keep_from": row.keep_from},
            )
            trimmed: int = row.keep_from - row.first_offset
            return trimmed

    def wake(self, topic: str) -> Wake:
        """Return what rings when the topic has new events: of this process, and with `watch` of others."""
        return self._wakes[topic]

    async def watch(self) -> None:
        """Ring for what other processes append, until cancelled; without it they are found when consumers look."""
        seen: dict[str, int] = {}

        async def look() -> int:
            for topic, next_offset in (await self._next_offsets()).items():
                if seen.get(topic) != next_offset:
                    seen[topic] = next_offset
                    self._wakes[topic].ring()
            return 0

        await keep_working("the watch of the event bus", look, wake=Wake(), pace=Pace(idle=WATCH_SECONDS))

    async def topics(self) -> list[str]:
        """Return the names of all topics, sorted.

        Raises:
            DatabaseUnavailable: the bus is down.

        """
        return sorted(await self._next_offsets())

    async def _next_offsets(self) -> dict[str, int]:
        async with self._database.read() as connection:
            rows = await connection.exec_driver_sql(
                "SELECT topic, next_offset FROM topics WHERE book = %(book)s", {"book": self._database.book}
            )
            return {row.topic: row.next_offset for row in rows}


# %(data)b: lists are sent as text otherwise, which costs 4 ms for half a megabyte instead of 0.2.
_INSERT_EVENTS = """
    INSERT INTO events (book, topic, "offset", id, source, type, time, subject, partition_key, causation_id,
                        data_content_type, data)
    SELECT %(book)s, %(topic)s, %(next_offset)s + place - 1, id, source, type, time, subject, partition_key,
           causation_id, data_content_type, data
    FROM unnest(%(ids)s::uuid[], %(sources)s::text[], %(types)s::text[], %(times)s::timestamptz[], %(subjects)s::text[],
                %(partition_keys)s::text[], %(causation_ids)s::text[], %(content_types)s::text[], %(data)b::bytea[])
         WITH ORDINALITY AS fresh (id, source, type, time, subject, partition_key, causation_id, data_content_type,
                                   data, place)
"""

# One row at least where the topic exists, so that its extent, the event at the place of the reader and what comes next are
# of one instant. The columns after the offset are the fields of an event in their order. The one event is asked for by order
# and limit so that the planner does not look through all ids while it knows nothing of the table. octet_length knows the size
# of stored data without fetching it.
_READ_EVENTS = """
    SELECT first_offset, next_offset,
           (SELECT id FROM events WHERE book = %s AND topic = %s AND "offset" BETWEEN %s AND %s
            ORDER BY "offset" LIMIT 1) AS handled,
           "offset", id, source, type, time, subject, partition_key, causation_id, data_content_type, data
    FROM topics LEFT JOIN (
        SELECT "offset", id, source, type, time, subject, partition_key, causation_id, data_content_type, data,
               sum(octet_length(data)) OVER (ORDER BY "offset" ROWS UNBOUNDED PRECEDING) AS bytes_so_far
        FROM events
        WHERE book = %s AND topic = %s AND "offset" > %s
        ORDER BY "offset"
        LIMIT %s
    ) AS next_events ON bytes_so_far - octet_length(data) < %s
    WHERE topics.book = %s AND topics.topic = %s
    ORDER BY "offset"
"""

# LEAST passes over NULL: no consumer, or no event that is young enough to be kept. The event that a consumer has handled
# last is kept: by it a bus that was set back is told from one that went on.
_TRIMMABLE = """
    SELECT first_offset, LEAST(
        next_offset,
        first_offset + %(limit)s,
        (SELECT min("offset") FROM consumers WHERE book = %(book)s AND topic = %(topic)s),
        (SELECT min("offset") FROM (
            SELECT "offset", appended_at FROM events
            WHERE book = %(book)s AND topic = %(topic)s
            ORDER BY "offset"
            LIMIT %(limit)s
        ) AS oldest WHERE appended_at >= %(before)s)
    ) AS keep_from
    FROM topics
    WHERE book = %(book)s AND topic = %(topic)s
    FOR UPDATE
"""


def _topic(event: Event) -> str:
    return event.topic


_AT_ONE_MOMENT = (
    "bring the bus and the database of the consumer back to one moment: `latticebank restore` does so with all databases "
    "(docs/operations.md)"
)


def _require_reach(topic: str, offset: int, extent: Extent) -> None:
    if not extent.first_offset - 1 <= offset < extent.next_offset:
        raise EventsMissing(
            f"{topic} has the events from {extent.first_offset} up to, without, {extent.next_offset}; "
            f"none of them comes next after {offset}",
            hint=_AT_ONE_MOMENT,
        )


def _columns(events: list[Event]) -> dict[str, Any]:
    return {
        "ids": [event.id for event in events],
        "sources": [event.source for event in events],
        "types": [event.type for event in events],
        "times": [event.time for event in events],
        "subjects": [event.subject for event in events],
        "partition_keys": [event.partition_key for event in events],
        "causation_ids": [event.causation_id for event in events],
        "content_types": [event.data_content_type for event in events],
        "data": [event.data for event in events],
    }
