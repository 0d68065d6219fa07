"""The relay: whatever a service has published reaches the bus, once."""

import asyncio
from collections.abc import Sequence

import pytest

from latticebank.kernel import relay as relay_room
from latticebank.kernel.bus import Extent, PostgresEventBus
from latticebank.kernel.database import Database, DatabaseUnavailable
from latticebank.kernel.events import Event
from latticebank.kernel.outbox import OUTBOX_INSERT, outbox_parameters
from latticebank.kernel.relay import Backlog, Relay
from latticebank.kernel.worker import Pace
from tests.kernel.said import KILLED, TOPIC, event, finished, process, subjects

IMPATIENT = Pace(idle=0.01, first_failure=0.01, longest_failure=0.02)


async def publish(database: Database, *names: str, shard: int = 0, data: bytes = b"") -> None:
    async with database.begin(shard=shard) as unit_of_work:
        for name in names:
            unit_of_work.publish(event(name, data=data))


async def drain(relay: Relay) -> int:
    moved = 0
    while now := await relay.step():
        moved += now
    return moved


async def until_read(bus: PostgresEventBus, count: int) -> list[str]:
    for _ in range(6000):
        read = subjects(await bus.read(TOPIC, 0))
        if len(read) == count:
            return read
        await asyncio.sleep(0.01)
    pytest.fail(f"the bus did not have {count} events within 60 s")


async def test_what_was_published_reaches_the_bus_and_leaves_the_outbox(
    database: Database, bus: PostgresEventBus
) -> None:
    relay = Relay(database, bus)
    await publish(database, "a", "b")
    await publish(database, "c", shard=2)
    assert (await relay.backlog()).rows == 2
    assert await relay.step() == 3
    assert subjects(await bus.read(TOPIC, 0)) == ["a", "b", "c"]
    assert await relay.backlog() == Backlog(0, 0.0)
    assert await relay.step() == 0


async def test_what_a_writer_on_a_raw_connection_appends_is_moved_too(
    database: Database, bus: PostgresEventBus
) -> None:
    async with await database.connect() as raw, raw.transaction():
        await raw.execute(OUTBOX_INSERT, outbox_parameters(1, 5, [event("a", data=bytes(900_000))]))
    assert await Relay(database, bus).step() == 1
    assert await bus.read(TOPIC, 0) == [(1, event("a", data=bytes(900_000)))]


async def test_the_age_of_the_oldest_event_that_waits_is_known(database: Database, bus: PostgresEventBus) -> None:
    await publish(database, "a")
    await asyncio.sleep(0.1)
    backlog = await Relay(database, bus).backlog()
    assert backlog.rows == 1
    assert 0.1 <= backlog.oldest_seconds < 30


async def test_a_relay_killed_between_append_and_delete_doubles_nothing(
    database: Database, service_url: str, bus: PostgresEventBus, bus_url: str
) -> None:
    await publish(database, "a", "b")
    await publish(database, "c")
    assert await asyncio.to_thread(finished, process("relay-and-die", service_url, bus_url)) == [KILLED]
    assert subjects(await bus.read(TOPIC, 0)) == ["a", "b", "c"]
    await publish(database, "d")
    moved = 0
    for _ in range(6000):  # until the server has noticed the death and given the rows back
        moved += await drain(Relay(database, bus))
        if moved == 4:
            break
        await asyncio.sleep(0.01)
    assert moved == 4
    assert subjects(await bus.read(TOPIC, 0)) == ["a", "b", "c", "d"]
    assert await bus.extent(TOPIC) == Extent(1, 5)


async def test_relays_of_several_processes_share_an_outbox(
    database: Database, service_url: str, bus: PostgresEventBus, bus_url: str
) -> None:
    for number in range(300):
        await publish(database, f"transfer-{number}")
    assert await asyncio.to_thread(lambda: finished(*(process("relay", service_url, bus_url) for _ in range(3)))) == [
        0,
        0,
        0,
    ]
    assert await drain(Relay(database, bus)) == 0
    read = subjects(await bus.read(TOPIC, 0))
    assert sorted(read) == sorted(f"transfer-{number}" for number in range(300))


class SlowBus(PostgresEventBus):
    """A bus whose appends wait until they may go on."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.asked, self.go_on = asyncio.Event(), asyncio.Event()

    async def append(self, events: Sequence[Event]) -> int:
        self.asked.set()
        await self.go_on.wait()
        return await super().append(events)


async def test_a_relay_waits_its_turn_so_that_the_order_stays(
    database: Database, bus: PostgresEventBus, bus_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_room, "MAX_ROWS", 1)
    await publish(database, "a")
    await publish(database, "b")
    slow = SlowBus(bus_database)
    moving = asyncio.create_task(Relay(database, slow).step())
    await slow.asked.wait()
    assert await Relay(database, bus).step() == 0
    assert subjects(await bus.read(TOPIC, 0)) == []
    slow.go_on.set()
    assert await moving == 1
    assert await Relay(database, bus).step() == 1
    assert subjects(await bus.read(TOPIC, 0)) == ["a", "b"]


async def test_a_running_relay_moves_at_once_what_this_process_publishes(
    database: Database, bus: PostgresEventBus
) -> None:
    running = asyncio.create_task(Relay(database, bus, pace=Pace(idle=60)).run())
    await asyncio.sleep(0.2)
    await publish(database, "a")
    assert await until_read(bus, 1) == ["a"]
    running.cancel()


async def test_a_running_relay_finds_what_a_process_that_died_has_left(
    database: Database, service_url: str, bus: PostgresEventBus
) -> None:
    running = asyncio.create_task(Relay(database, bus, pace=IMPATIENT).run())
    await asyncio.sleep(0.05)
    other = Database(service_url, application_name="other")
    await publish(other, "a")
    assert await until_read(bus, 1) == ["a"]
    running.cancel()
    await other.close()


class UnwillingBus(PostgresEventBus):
    """A bus that is down for the first appends."""

    refusals = 3

    async def append(self, events: Sequence[Event]) -> int:
        if self.refusals:
            self.refusals -= 1
            raise DatabaseUnavailable("the database cannot be reached")
        return await super().append(events)


async def test_while_the_bus_is_down_events_wait_and_the_failure_is_reported(
    database: Database, bus_database: Database
) -> None:
    failures: list[int] = []
    bus = UnwillingBus(bus_database)
    await publish(database, "a")
    relay = Relay(database, bus, pace=IMPATIENT, failed=lambda _, in_a_row: failures.append(in_a_row))
    running = asyncio.create_task(relay.run())
    assert await until_read(bus, 1) == ["a"]
    assert failures == [1, 2, 3]
    running.cancel()


async def test_a_row_that_no_code_can_read_is_reported_and_kept(database: Database, bus: PostgresEventBus) -> None:
    async with database.begin() as unit_of_work:
        await unit_of_work.connection.exec_driver_sql(OUTBOX_INSERT, (1, 0, 1, b"\xc1"))
    relay = Relay(database, bus)
    with pytest.raises(Exception, match="MessagePack"):
        await relay.step()
    assert (await relay.backlog()).rows == 1


async def test_a_move_is_bounded_but_always_gets_on(
    database: Database, bus: PostgresEventBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_room, "MAX_BATCH_EVENTS", 3)
    monkeypatch.setattr(relay_room, "MAX_BATCH_BYTES", 5000)
    await publish(database, "a", "b")
    await publish(database, "c", "d")
    await publish(database, "e", data=bytes(6000))
    await publish(database, "f")
    relay = Relay(database, bus)
    assert [await relay.step() for _ in range(5)] == [2, 2, 1, 1, 0]


def test_pauses_after_failures_grow_up_to_a_bound() -> None:
    pace = Pace(first_failure=0.1, longest_failure=5)
    assert 0.075 <= pace.after_failures(1) <= 0.1
    assert 0.15 <= pace.after_failures(2) <= 0.2
    assert all(3.75 <= pace.after_failures(failures) <= 5 for failures in (10, 1000, 10**9))
