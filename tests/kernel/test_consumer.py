"""Consumers: the effect of every event happens once, in order, whoever dies when."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from latticebank.kernel import consumer as consumer_room
from latticebank.kernel.bus import EventsMissing, PostgresEventBus
from latticebank.kernel.database import Database, UnitOfWork
from latticebank.kernel.events import Event
from latticebank.kernel.worker import Pace
from latticebank.values.clock import SystemClock
from latticebank.values.errors import InvalidValue
from tests.kernel.said import (
    IMPATIENT,
    KILLED,
    TOPIC,
    MakeConsumer,
    event,
    execute,
    finished,
    names,
    note,
    noted,
    process,
    say,
    subjects,
    until,
)

Said = Sequence[tuple[int, Event]]


async def test_a_new_consumer_handles_everything_from_the_beginning_once(
    make: MakeConsumer, bus: PostgresEventBus, database: Database
) -> None:
    await say(bus, 10)
    consumer = make(batch=4)
    assert await consumer.lag() == 10
    assert [await consumer.step() for _ in range(4)] == [4, 4, 2, 0]
    assert await noted(database) == names(10)
    assert await consumer.lag() == 0
    assert await make().step() == 0


async def test_a_handler_is_given_what_goes_into_one_transaction_with_its_offsets(
    make: MakeConsumer, bus: PostgresEventBus
) -> None:
    given: list[list[tuple[int, str]]] = []

    async def keep(_: UnitOfWork, said: Said) -> None:
        given.append([(offset, each.subject) for offset, each in said])

    await say(bus, 5)
    consumer = make(keep, batch=3)
    assert [await consumer.step() for _ in range(2)] == [3, 2]
    assert given == [
        [(1, "transfer-0"), (2, "transfer-1"), (3, "transfer-2")],
        [(4, "transfer-3"), (5, "transfer-4")],
    ]


async def test_consumers_of_different_names_each_have_their_place(
    make: MakeConsumer, bus: PostgresEventBus, database: Database
) -> None:
    await say(bus, 2)
    assert await make(name="fraud").step() == 2
    assert await make(name="audit").step() == 2
    assert await noted(database) == names(2) * 2


async def test_the_effect_of_an_event_and_the_place_after_it_are_one(
    make: MakeConsumer, bus: PostgresEventBus, database: Database
) -> None:
    async def fail_on_the_third(unit_of_work: UnitOfWork, said: Said) -> None:
        await note(unit_of_work, said)
        for subject in subjects(said):
            unit_of_work.publish(event(f"about-{subject}"))
        if "transfer-2" in subjects(said):
            raise RuntimeError("no paper left")

    await say(bus, 5)
    consumer = make(fail_on_the_third)
    with pytest.raises(RuntimeError):
        await consumer.step()
    assert await noted(database) == []
    assert [await consumer.step() for _ in range(2)] == [1, 1]  # now one by one, up to the culprit
    for _ in range(3):
        with pytest.raises(RuntimeError):
            await consumer.step()
    assert await noted(database) == names(2)
    assert await consumer.lag() == 3
    async with database.read() as connection:
        assert (await connection.exec_driver_sql("SELECT count(*) FROM outbox")).scalar_one() == 2
    mended = make()
    assert await mended.step() == 3
    assert await noted(database) == names(5)


async def test_a_consumer_killed_in_a_handler_repeats_what_did_not_happen(
    make: MakeConsumer, bus: PostgresEventBus, database: Database, service_url: str, bus_url: str
) -> None:
    await say(bus, 30)
    dying = process("consume", service_url, bus_url, "transfer-17")
    assert await asyncio.to_thread(finished, dying) == [KILLED]
    assert await noted(database) == names(14)  # two batches of 7; the third died in its middle
    assert await asyncio.to_thread(finished, process("consume", service_url, bus_url)) == [0]
    assert await noted(database) == names(30)


async def test_processes_of_one_consumer_do_not_both_handle_an_event(
    bus: PostgresEventBus, database: Database, service_url: str, bus_url: str
) -> None:
    await say(bus, 400)
    both = [process("consume", service_url, bus_url) for _ in range(3)]
    assert await asyncio.to_thread(finished, *both) == [0, 0, 0]
    assert await noted(database) == names(400)


async def test_while_one_process_handles_the_other_passes_on(
    make: MakeConsumer, bus: PostgresEventBus, database: Database
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(unit_of_work: UnitOfWork, said: Said) -> None:
        begun.set()
        await go_on.wait()
        await note(unit_of_work, said)

    await say(bus, 1)
    handling = asyncio.create_task(make(slow).step())
    await begun.wait()
    assert await make().step() == 0
    go_on.set()
    assert await handling == 1
    assert await noted(database) == names(1)


async def test_a_running_consumer_handles_new_events_at_once(
    make: MakeConsumer, bus: PostgresEventBus, database: Database
) -> None:
    seen: list[str] = []

    async def see(_: UnitOfWork, said: Said) -> None:
        seen.extend(subjects(said))

    running = asyncio.create_task(make(see, pace=Pace(idle=60)).run())
    await asyncio.sleep(0.2)
    await say(bus, 3)
    await until(lambda: seen == names(3))
    running.cancel()


async def test_a_handler_that_fails_keeps_its_place_is_reported_and_tried_again(
    make: MakeConsumer, bus: PostgresEventBus
) -> None:
    tries: list[str] = []
    troubles: list[tuple[str, int] | None] = []

    async def fail_twice(_: UnitOfWork, said: Said) -> None:
        trouble = consumer.trouble
        troubles.append(None if trouble is None else (str(trouble.error), trouble.times))
        tries.extend(subjects(said))
        if len(tries) < 4:
            raise LookupError("not there yet")

    await say(bus, 2)
    consumer = make(fail_twice, pace=IMPATIENT)
    running = asyncio.create_task(consumer.run())
    await until(lambda: len(tries) == 5)
    # Both at once, then one by one.
    assert tries == ["transfer-0", "transfer-1", "transfer-0", "transfer-0", "transfer-1"]
    assert troubles == [None, ("not there yet", 1), ("not there yet", 2), None]
    running.cancel()


async def test_a_consumer_is_well_again_before_anything_new_is_said(
    make: MakeConsumer, bus: PostgresEventBus, bus_database: Database
) -> None:
    await say(bus, 1)
    consumer = make(pace=IMPATIENT)
    assert await consumer.step() == 1
    await execute(bus_database, "ALTER TABLE events RENAME TO events_elsewhere")
    running = asyncio.create_task(consumer.run())
    await until(lambda: consumer.trouble is not None)
    await execute(bus_database, "ALTER TABLE events_elsewhere RENAME TO events")
    await until(lambda: consumer.trouble is None)
    running.cancel()


async def test_a_handler_that_hangs_is_given_up_and_leaves_nothing(
    make: MakeConsumer, bus: PostgresEventBus, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(unit_of_work: UnitOfWork, said: Said) -> None:
        await note(unit_of_work, said)
        await asyncio.sleep(60)

    monkeypatch.setattr(consumer_room, "HANDLE_SECONDS", 0.05)
    await say(bus, 1)
    with pytest.raises(TimeoutError):
        await make(hang).step()
    assert await noted(database) == []


async def test_a_consumer_replays_from_an_offset(make: MakeConsumer, bus: PostgresEventBus, database: Database) -> None:
    await say(bus, 5)
    consumer = make()
    await consumer.step()
    await consumer.replay(3)
    assert await consumer.lag() == 2
    assert await consumer.step() == 2
    assert await noted(database) == [*names(5), "transfer-3", "transfer-4"]


async def test_a_replay_that_another_process_orders_is_followed(
    make: MakeConsumer, bus: PostgresEventBus, database: Database
) -> None:
    await say(bus, 3)
    consumer = make()
    assert await consumer.step() == 3
    assert await consumer.step() == 0
    await make().replay(0)
    assert await consumer.step() == 1
    assert await consumer.step() == 3
    assert await noted(database) == names(3) * 2


async def test_a_replay_of_what_the_bus_does_not_have_is_refused(make: MakeConsumer, bus: PostgresEventBus) -> None:
    await say(bus, 5)
    await bus.trim(TOPIC, SystemClock().now() + timedelta(minutes=1), limit=2)
    consumer = make()
    for offset in (0, 1, 6, -1):
        with pytest.raises(EventsMissing):
            await consumer.replay(offset)
    await consumer.replay(2)
    assert await consumer.step() == 3


async def test_a_registered_consumer_is_waited_for_before_events_are_trimmed(
    make: MakeConsumer, bus: PostgresEventBus
) -> None:
    soon = SystemClock().now() + timedelta(minutes=1)
    await say(bus, 4)
    consumer = make(batch=3)
    assert await consumer.step() == 3
    assert await bus.trim(TOPIC, soon) == 2
    assert await consumer.step() == 1


def test_a_batch_is_bounded(make: MakeConsumer) -> None:
    with pytest.raises(InvalidValue):
        make(batch=0)
