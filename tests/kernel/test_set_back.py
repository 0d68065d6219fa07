"""Consumers whose bus, or whose database, was brought back alone: nothing is skipped in silence."""

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from latticebank.kernel.bus import EventsMissing, PostgresEventBus
from latticebank.kernel.consumer import Consumer, require_place
from latticebank.kernel.database import Database
from latticebank.values.clock import SystemClock
from tests.kernel.said import IMPATIENT, TOPIC, MakeConsumer, event, execute, names, noted, say, until


async def keep_a_copy(bus_database: Database) -> None:
    """Back the bus up."""
    for table in ("events", "topics"):
        await execute(bus_database, f"CREATE TABLE {table}_copy AS TABLE {table}")


async def bring_the_copy_back(bus_database: Database) -> None:
    """Bring the bus, and it alone, back to what it was."""
    for table in ("events", "topics"):
        await execute(bus_database, f"DELETE FROM {table}", f"INSERT INTO {table} TABLE {table}_copy")


async def a_consumer_ahead(make: MakeConsumer, bus: PostgresEventBus, bus_database: Database) -> Consumer:
    """A consumer that has handled five events of which the bus, brought back, has the first two."""
    await say(bus, 2)
    await keep_a_copy(bus_database)
    await say(bus, 5)
    consumer = make()
    assert await consumer.step() == 5
    await bring_the_copy_back(bus_database)
    return consumer


async def test_a_consumer_is_not_fooled_by_a_bus_that_lost_events(
    make: MakeConsumer, bus: PostgresEventBus, bus_database: Database
) -> None:
    consumer = await a_consumer_ahead(make, bus, bus_database)
    for each in (consumer, make()):
        with pytest.raises(EventsMissing):
            await each.step()


@pytest.mark.parametrize("later", [5, 6, 40], ids=["up to its place", "by one more", "far past it"])
async def test_a_consumer_is_not_fooled_by_a_bus_that_lost_events_and_went_on(
    later: int, make: MakeConsumer, bus: PostgresEventBus, bus_database: Database, database: Database
) -> None:
    await say(bus, 2)
    await keep_a_copy(bus_database)
    await say(bus, 5)
    consumer = make(batch=3)
    assert [await consumer.step() for _ in range(2)] == [3, 2]
    await bring_the_copy_back(bus_database)
    await bus.append([event(f"later-{number}") for number in range(2, later)])
    for each in (consumer, make(), consumer, make()):
        with pytest.raises(EventsMissing, match="another event at offset 5"):
            await each.step()
    with pytest.raises(EventsMissing):
        await require_place("notes", TOPIC, database, bus)
    assert await noted(database) == names(5)


async def test_a_consumer_goes_on_once_the_bus_is_the_one_again_that_it_knows(
    make: MakeConsumer, bus: PostgresEventBus, bus_database: Database, database: Database
) -> None:
    await say(bus, 5)
    consumer = make(pace=IMPATIENT)
    assert await consumer.step() == 5
    await keep_a_copy(bus_database)
    await execute(bus_database, "DELETE FROM events", "DELETE FROM topics")
    await bus.append([event(f"later-{number}") for number in range(9)])
    running = asyncio.create_task(consumer.run())
    await until(lambda: consumer.trouble is not None)
    assert consumer.trouble is not None
    assert isinstance(consumer.trouble.error, EventsMissing)
    await bring_the_copy_back(bus_database)
    await until(lambda: consumer.trouble is None)
    await require_place("notes", TOPIC, database, bus)
    running.cancel()
    await say(bus, 7)
    assert await make().step() == 2
    assert await noted(database) == names(7)


async def test_a_consumer_goes_on_once_its_own_database_is_the_one_that_was_brought_back(
    make: MakeConsumer, bus: PostgresEventBus, bus_database: Database, database: Database
) -> None:
    await say(bus, 2)
    await keep_a_copy(bus_database)
    consumer = make()
    assert await consumer.step() == 2
    await execute(database, "CREATE TABLE places AS TABLE consumer_offsets")
    await say(bus, 5)
    assert await consumer.step() == 3
    await bring_the_copy_back(bus_database)
    with pytest.raises(EventsMissing):
        await consumer.step()
    await execute(database, "DELETE FROM consumer_offsets", "INSERT INTO consumer_offsets TABLE places")
    await say(bus, 5)
    assert await consumer.step() == 3


async def test_a_bus_without_the_last_event_of_a_consumer_is_noticed_however_long_nobody_looks(
    make: MakeConsumer, bus: PostgresEventBus, bus_database: Database
) -> None:
    await a_consumer_ahead(make, bus, bus_database)
    await bus.append([event(f"later-{number}") for number in range(40)])
    with pytest.raises(EventsMissing):
        await make().step()
    await bus.trim(TOPIC, SystemClock().now() + timedelta(minutes=1))
    with pytest.raises(EventsMissing):
        await make().step()


async def test_a_place_without_an_event_goes_on_and_has_one_from_then_on(
    make: MakeConsumer, bus: PostgresEventBus, database: Database
) -> None:
    await say(bus, 3)
    assert await make(batch=2).step() == 2
    # The version before moves the offset, and knows of nothing else.
    await execute(database, 'UPDATE consumer_offsets SET "offset" = 1')
    assert await place(database) == (1, None)
    assert await make().step() == 2
    assert await place(database) == (3, event("transfer-2").id)


async def test_a_replay_keeps_the_event_that_it_begins_after(
    make: MakeConsumer, bus: PostgresEventBus, database: Database
) -> None:
    await say(bus, 3)
    consumer = make()
    await consumer.replay(2)
    assert await place(database) == (2, event("transfer-1").id)
    await consumer.replay(0)
    assert await place(database) == (0, None)
    assert await consumer.step() == 3


async def place(database: Database) -> tuple[int, UUID | None]:
    async with database.read() as connection:
        row = (await connection.exec_driver_sql('SELECT "offset", event FROM consumer_offsets')).one()
    return row.offset, row.event
