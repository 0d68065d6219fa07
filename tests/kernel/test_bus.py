"""The event bus: gapless streams that nobody reads with a hole in them."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy.exc import DBAPIError

from latticebank.kernel import bus as bus_room
from latticebank.kernel.bus import EventsMissing, Extent, PostgresEventBus
from latticebank.kernel.database import Database, DatabaseUnavailable
from latticebank.kernel.outbox import MAX_BATCH_EVENTS, BatchTooLarge
from latticebank.kernel.worker import Wake
from latticebank.values.clock import SystemClock
from latticebank.values.errors import InvalidValue
from tests.kernel.said import TOPIC, event, execute, finished, process, subjects


async def test_events_come_back_as_they_were_said_in_their_order(bus: PostgresEventBus) -> None:
    said = [event(f"transfer-{number}", data=bytes([number])) for number in range(5)]
    assert await bus.append(said) == 5
    assert await bus.read(TOPIC, 0) == list(enumerate(said, 1))
    assert await bus.read(TOPIC, 3, 1) == [(4, said[3])]
    assert await bus.read(TOPIC, 5) == []
    assert await bus.extent(TOPIC) == Extent(1, 6)


async def test_an_event_is_kept_once_however_often_it_comes(bus: PostgresEventBus) -> None:
    assert await bus.append([event("a"), event("b"), event("a")]) == 2
    assert await bus.append([event("b"), event("c"), event("a")]) == 1
    assert subjects(await bus.read(TOPIC, 0)) == ["a", "b", "c"]
    assert [offset for offset, _ in await bus.read(TOPIC, 0)] == [1, 2, 3]


async def test_every_source_has_a_topic_of_its_own(bus: PostgresEventBus) -> None:
    await bus.append([event("a"), event("k", source="/latticebank/keys"), event("b")])
    assert subjects(await bus.read(TOPIC, 0)) == ["a", "b"]
    assert subjects(await bus.read("latticebank.keys", 0)) == ["k"]
    assert await bus.topics() == ["latticebank.keys", TOPIC]


async def test_the_books_of_two_tenants_share_nothing(bus: PostgresEventBus, bus_database: Database) -> None:
    other_database = Database(bus_database.url, application_name="other", book=2)
    other = PostgresEventBus(other_database)
    await bus.append([event("a")])
    await other.append([event("b"), event("a")])
    assert subjects(await bus.read(TOPIC, 0)) == ["a"]
    assert subjects(await other.read(TOPIC, 0)) == ["b", "a"]
    await other_database.close()


async def test_appenders_in_several_processes_leave_no_gap_and_no_double_and_no_reader_skips(
    bus: PostgresEventBus, bus_url: str
) -> None:
    appenders = [process("append", bus_url, prefix, 60) for prefix in ("north", "south", "west")]
    read: list[str] = []
    async with asyncio.timeout(60):
        while len(read) < 180:
            # `read` refuses a hole, so a reader beside the appenders fails here if it can ever see one.
            read += subjects(await bus.read(TOPIC, len(read), 7))
    assert finished(*appenders) == [0, 0, 0]
    assert await bus.extent(TOPIC) == Extent(1, 181)
    for prefix in ("north", "south", "west"):
        assert [name for name in read if name.startswith(prefix)] == [f"{prefix}-{number}" for number in range(60)]


async def test_an_append_that_fails_uses_no_offset(bus: PostgresEventBus, bus_database: Database) -> None:
    await bus.append([event("a")])
    await execute(bus_database, "ALTER TABLE events ADD CONSTRAINT storm CHECK (subject <> 'lost')")
    with pytest.raises(DBAPIError):
        await bus.append([event("b"), event("lost")])
    assert await bus.append([event("b")]) == 1
    assert await bus.read(TOPIC, 0) == [(1, event("a")), (2, event("b"))]


async def test_a_read_is_bounded_in_bytes_but_always_gets_on(
    bus: PostgresEventBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_room, "MAX_READ_BYTES", 1000)
    await bus.append([event(str(number), data=bytes(600)) for number in range(3)] + [event("big", data=bytes(5000))])
    assert subjects(await bus.read(TOPIC, 0)) == ["0", "1"]
    assert subjects(await bus.read(TOPIC, 2)) == ["2", "big"]
    assert subjects(await bus.read(TOPIC, 3)) == ["big"]


async def test_appends_and_reads_are_bounded_in_events(bus: PostgresEventBus) -> None:
    with pytest.raises(BatchTooLarge):
        await bus.append([event(str(number)) for number in range(MAX_BATCH_EVENTS + 1)])
    for limit in (0, -1, bus_room.MAX_READ_EVENTS + 1):
        with pytest.raises(InvalidValue):
            await bus.read(TOPIC, 0, limit)


async def test_an_event_is_never_changed_and_offsets_never_go_back(
    bus: PostgresEventBus, bus_database: Database
) -> None:
    await bus.append([event("a"), event("b")])
    for forgery in ("UPDATE events SET subject = 'x'", "UPDATE topics SET next_offset = 2"):
        with pytest.raises(DBAPIError, match="never"):
            await execute(bus_database, forgery)


async def test_only_old_events_that_every_consumer_has_handled_are_trimmed(
    bus: PostgresEventBus, bus_database: Database
) -> None:
    await bus.append([event(str(number)) for number in range(10)])
    soon = SystemClock().now() + timedelta(minutes=1)
    await bus.report("slow", TOPIC, 4)
    await bus.report("quick", TOPIC, 9)
    assert await bus.trim(TOPIC, soon - timedelta(days=1)) == 0
    assert await bus.trim(TOPIC, soon, limit=2) == 2
    assert await bus.trim(TOPIC, soon) == 1, "the last that was handled stays"
    assert await bus.trim(TOPIC, soon) == 0
    assert await bus.extent(TOPIC) == Extent(4, 11)
    assert [offset for offset, _ in await bus.read(TOPIC, 4)] == [5, 6, 7, 8, 9, 10]
    await bus.forget("slow", TOPIC)
    assert await bus.trim(TOPIC, soon) == 5
    await bus.forget("quick", TOPIC)
    assert await bus.trim(TOPIC, soon) == 2
    assert await bus.append([event("next")]) == 1
    assert await bus.read(TOPIC, 10) == [(11, event("next"))]
    assert await bus.trim("latticebank.nobody", soon) == 0


async def test_a_young_event_keeps_those_after_it(bus: PostgresEventBus, bus_database: Database) -> None:
    await bus.append([event("old")])
    await asyncio.sleep(0.02)
    between = SystemClock().now()
    await asyncio.sleep(0.02)
    await bus.append([event("young")])
    assert await bus.trim(TOPIC, between) == 1
    assert subjects(await bus.read(TOPIC, 1)) == ["young"]


async def test_a_reader_whose_next_events_were_trimmed_is_told_instead_of_skipping(bus: PostgresEventBus) -> None:
    await bus.append([event("a"), event("b"), event("c")])
    await bus.trim(TOPIC, SystemClock().now() + timedelta(minutes=1), limit=2)
    with pytest.raises(EventsMissing):
        await bus.read(TOPIC, 0)
    assert subjects(await bus.read(TOPIC, 2)) == ["c"]
    await bus.trim(TOPIC, SystemClock().now() + timedelta(minutes=1))
    with pytest.raises(EventsMissing):
        await bus.read(TOPIC, 2)


async def test_a_reader_that_is_ahead_of_a_bus_that_lost_events_is_told(bus: PostgresEventBus) -> None:
    await bus.append([event("a")])
    with pytest.raises(EventsMissing, match="comes next after 7"):
        await bus.read(TOPIC, 7)


async def test_a_reader_whose_last_event_is_another_one_now_is_told(bus: PostgresEventBus) -> None:
    await bus.append([event("a"), event("b"), event("c")])
    assert subjects(await bus.read(TOPIC, 2, handled=event("b").id)) == ["c"]
    assert await bus.read(TOPIC, 3, handled=event("c").id) == []
    for offset in (2, 3):
        with pytest.raises(EventsMissing, match=f"another event at offset {offset}") as told:
            await bus.read(TOPIC, offset, handled=event("x").id)
        assert "latticebank restore" in str(told.value.hint)


async def test_a_last_event_that_was_trimmed_is_not_missed(bus: PostgresEventBus) -> None:
    await bus.append([event("a"), event("b"), event("c")])
    soon = SystemClock().now() + timedelta(minutes=1)
    await bus.trim(TOPIC, soon, limit=2)
    assert subjects(await bus.read(TOPIC, 2, handled=event("b").id)) == ["c"]
    await bus.trim(TOPIC, soon)
    assert await bus.read(TOPIC, 3, handled=event("c").id) == []


async def test_a_hole_is_told_instead_of_skipped(bus: PostgresEventBus, bus_database: Database) -> None:
    await bus.append([event("a"), event("b"), event("c")])
    await execute(bus_database, 'DELETE FROM events WHERE "offset" = 2')
    with pytest.raises(EventsMissing):
        await bus.read(TOPIC, 1)
    with pytest.raises(EventsMissing):
        await bus.read(TOPIC, 2, handled=event("b").id)
    await execute(bus_database, 'DELETE FROM events WHERE "offset" = 3')
    with pytest.raises(EventsMissing, match="hole"):
        await bus.read(TOPIC, 1)


async def test_who_waits_for_a_topic_is_woken_by_its_events_only(bus: PostgresEventBus) -> None:
    wake, heard = bus.wake(TOPIC), bus.wake(TOPIC).rung
    await bus.append([event("k", source="/latticebank/keys")])
    assert wake.rung == heard
    waiting = asyncio.create_task(wake.wait(heard, 30))
    await asyncio.sleep(0)
    await bus.append([event("a")])
    await asyncio.wait_for(waiting, 5)
    await bus.append([event("a")])
    assert wake.rung == heard + 1


async def test_a_watching_process_hears_of_the_events_of_another(bus: PostgresEventBus, bus_url: str) -> None:
    watch = asyncio.create_task(bus.watch())
    await bus.append([event("first")])
    await asyncio.sleep(0.3)
    heard = bus.wake(TOPIC).rung
    appender = process("append", bus_url, "north", 1)
    await bus.wake(TOPIC).wait(heard, 30)
    assert bus.wake(TOPIC).rung > heard
    assert await asyncio.to_thread(finished, appender) == [0]
    watch.cancel()


async def test_a_ring_before_the_wait_is_not_missed_and_a_silent_wait_ends() -> None:
    wake = Wake()
    heard = wake.rung
    wake.ring()
    await asyncio.wait_for(wake.wait(heard, 30), 5)
    await asyncio.wait_for(wake.wait(wake.rung, 0.01), 5)


async def test_a_bus_that_is_down_says_unavailable() -> None:
    bus = PostgresEventBus(Database("postgresql://bus:x@127.0.0.1:1/bus", application_name="bus"))
    with pytest.raises(DatabaseUnavailable):
        await bus.append([event("a")])
    with pytest.raises(DatabaseUnavailable):
        await bus.read(TOPIC, 0)
