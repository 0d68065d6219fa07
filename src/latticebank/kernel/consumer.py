"""Consumers: handle each event of a topic once, in order.

The bus delivers at least once. A consumer keeps its place in its own database and moves it in the transaction of what
its handler does, so that the effect of an event happens exactly once, whoever dies when. The place is an offset and the id
of the event that was handled there: if the bus is ever another one up to there, nothing is handled any more.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from sqlalchemy import Row

from latticebank.kernel.bus import MAX_READ_EVENTS, EventBus, EventsMissing
from latticebank.kernel.database import Database, UnitOfWork
from latticebank.kernel.events import Event
from latticebank.kernel.worker import Pace, keep_working
from latticebank.values.errors import InvalidValue

Handler: TypeAlias = Callable[[UnitOfWork, Sequence[tuple[int, Event]]], Awaitable[None]]
"""Does in the unit of work what events call for, and nothing outside it that could not be done twice.

The events come with their offsets in the topic, in order; there is at least one.
"""

HANDLE_SECONDS = 10.0
"""How long the events of one transaction may take; the database ends a transaction that stands idle for longer."""
REPORT_SECONDS = 1.0
PACE = Pace(idle=2.0)
"""The bus rings; looking is for what was appended by a process that this one does not watch."""


class Place(NamedTuple):
    """How far a consumer is: the offset and the id of the event that it handled last; without an id nothing is compared.

    There is none before the first event, nor where an older version of the bank handled the last one.
    """

    offset: int
    event: UUID | None


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a consumer does not get on: the error of its last step, and how many have failed in a row."""

    error: Exception
    times: int


class Consumer:
    """Handles the events of one topic under one name; processes that share a name share the work, one at a time.

    Events are handled in transactions of up to `batch`. When one fails the consumer keeps its place, tries again after
    a pause that grows, event by event, and goes no further until that event is handled: `trouble` says why, and is None
    while all is well.
    """

    def __init__(
        self,
        name: str,
        topic: str,
        database: Database,
        bus: EventBus,
        handler: Handler,
        *,
        batch: int = 100,
        pace: Pace = PACE,
    ) -> None:
        if not 1 <= batch <= MAX_READ_EVENTS:
            raise InvalidValue(f"a consumer handles 1 to {MAX_READ_EVENTS} events at once, not {batch}", field="batch")
        self._name = name
        self._topic = topic
        self._database = database
        self._bus = bus
        self._handler = handler
        self._batch = batch
        self._pace = pace
        self.trouble: Trouble | None = None
        self._where = {"book": database.book, "consumer": name, "topic": topic}
        self._one_by_one_up_to = 0
        self._place: Place | None = None
        self._report_again = 0.0

    async def run(self) -> None:
        """Handle events until cancelled; failures are reported, and tried again after a pause that grows."""
        name = f"the consumer {self._name} of {self._topic}"

        async def step() -> int:
            done = await self.step()
            self.trouble = None
            return done

        def failed(error: Exception, times: int) -> None:
            self.trouble = Trouble(error, times)

        await keep_working(name, step, wake=self._bus.wake(self._topic), pace=self._pace, failed=failed)

    async def step(self) -> int:
        """Handle the next events in one transaction; return how many, 0 where there are none or another process does.

        Raises:
            EventsMissing: the bus no longer has what comes next, or has lost what was handled already, for good or until the
                databases fit together again.
            DatabaseUnavailable: the database or the bus is down.
            TimeoutError: the handler took longer than `HANDLE_SECONDS`.
            Exception: whatever the handler raised; nothing has happened then.

        """
        if self._place is None:
            self._place = await self._begin()
        place = self._place
        limit = 1 if place.offset < self._one_by_one_up_to else self._batch
        try:
            events = await self._bus.read(self._topic, place.offset, limit, place.event)
        except EventsMissing:
            self._place = None  # the database may be the one that is brought back meanwhile
            raise
        if not events:
            return await self._follow()
        try:
            handled = await self._handle(place, events)
        except Exception:
            self._one_by_one_up_to = max(self._one_by_one_up_to, events[-1][0])
            raise
        await self._report()
        return handled

    async def replay(self, after_offset: int) -> None:
        """Go to an offset: the next event to be handled is the one after it. The handler must be fit for repetition.

        Raises:
            EventsMissing: the bus does not have the event after this offset, or does not reach as far.
            DatabaseUnavailable: the database or the bus is down.

        """
        extent = await self._bus.extent(self._topic)
        if not extent.first_offset - 1 <= after_offset < extent.next_offset:
            raise EventsMissing(
                f"{self._topic} has the offsets from {extent.first_offset} to {extent.next_offset - 1}; "
                f"nothing can be replayed after {after_offset}"
            )
        if self._place is None:
            await self._begin()
        before = await self._bus.read(self._topic, after_offset - 1, 1) if after_offset >= extent.first_offset else []
        place = Place(after_offset, before[0][1].id if before else None)
        await self._bus.report(self._name, self._topic, after_offset)
        async with self._database.begin() as unit_of_work:
            await self._move(unit_of_work, place)
        self._place = place
        self._one_by_one_up_to = 0
        self._bus.wake(self._topic).ring()

    async def lag(self) -> int:
        """Return how many events of the topic are still to be handled; for metrics.

        Raises:
            DatabaseUnavailable: the database or the bus is down.

        """
        extent = await self._bus.extent(self._topic)
        async with self._database.read() as connection:
            place = (await connection.exec_driver_sql(_PLACE, self._where)).scalar()
        return extent.next_offset - 1 - (extent.first_offset - 1 if place is None else place)

    async def _begin(self) -> Place:
        """Return where this consumer stands, which is before the first event of the topic when it is new."""
        extent = await self._bus.extent(self._topic)
        async with self._database.begin() as unit_of_work:
            await unit_of_work.connection.exec_driver_sql(
                """
                INSERT INTO consumer_offsets (book, consumer, topic, "offset")
                VALUES (%(book)s, %(consumer)s, %(topic)s, %(offset)s)
                ON CONFLICT DO NOTHING
                """,
                self._where | {"offset": extent.first_offset - 1},
            )
            row = (await unit_of_work.connection.exec_driver_sql(_PLACE, self._where)).one()
        await self._bus.report(self._name, self._topic, row.offset)
        return _place(row)

    async def _follow(self) -> int:
        """Go where another process has moved the place of this consumer, as a replay does; return 1 if it has."""
        before = self._place
        async with self._database.read() as connection:
            self._place = _place((await connection.exec_driver_sql(_PLACE, self._where)).one())
        return int(self._place != before)

    async def _handle(self, place: Place, events: list[tuple[int, Event]]) -> int:
        async with self._database.begin() as unit_of_work:
            # Whoever holds the row handles; another process of this name passes on.
            held = (
                await unit_of_work.connection.exec_driver_sql(f"{_PLACE} FOR UPDATE SKIP LOCKED", self._where)
            ).one_or_none()
            if held is None:
                return 0
            if _place(held) != place:
                self._place = _place(held)
                return 1
            async with asyncio.timeout(HANDLE_SECONDS):
                await self._handler(unit_of_work, events)
            offset, last = events[-1]
            handled = Place(offset, last.id)
            await self._move(unit_of_work, handled)
        self._place = handled
        return len(events)

    async def _move(self, unit_of_work: UnitOfWork, place: Place) -> None:
        await unit_of_work.connection.exec_driver_sql(
            """
            UPDATE consumer_offsets SET "offset" = %(offset)s, event = %(event)s, updated_at = now()
            WHERE book = %(book)s AND consumer = %(consumer)s AND topic = %(topic)s
            """,
            self._where | {"offset": place.offset, "event": place.event},
        )

    async def _report(self) -> None:
        """Tell the bus from time to time how far we are; it only has to know what it may trim."""
        now = time.monotonic()
        if self._place is not None and now >= self._report_again:
            await self._bus.report(self._name, self._topic, self._place.offset)
            self._report_again = now + REPORT_SECONDS


async def require_place(name: str, topic: str, database: Database, bus: EventBus) -> None:
    """Return if the bus has what comes next for a consumer: for those who ask without consuming.

    Raises:
        EventsMissing: it has not; the consumer handles nothing any more.
        DatabaseUnavailable: the database or the bus is down.

    """
    async with database.read() as connection:
        where = {"book": database.book, "consumer": name, "topic": topic}
        row = (await connection.exec_driver_sql(_PLACE, where)).one_or_none()
    if row is not None:
        place = _place(row)
        await bus.read(topic, place.offset, 1, place.event)


_PLACE = """
    SELECT "offset", event FROM consumer_offsets
    WHERE book = %(book)s AND consumer = %(consumer)s AND topic = %(topic)s
"""


def _place(row: Row[Any]) -> Place:
    return Place(row.offset, row.event)
