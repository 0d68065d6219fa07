"""Events for tests, what was handled of them, and processes of their own that append, relay and consume them, some killed."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path

from latticebank.kernel.bus import PostgresEventBus
from latticebank.kernel.consumer import Consumer
from latticebank.kernel.database import Database, UnitOfWork
from latticebank.kernel.events import Event
from latticebank.kernel.relay import Relay
from latticebank.kernel.worker import Pace
from latticebank.values.ids import derived_id
from tests.clocks import NOON

ROOT = Path(__file__).resolve().parents[2]
TOPIC = "latticebank.ledger"
KILLED = 137
IMPATIENT = Pace(idle=0.01, first_failure=0.01, longest_failure=0.02)

MakeConsumer = Callable[..., Consumer]


def event(name: str, *, data: bytes = b"", source: str = "/latticebank/ledger") -> Event:
    """An event that `name` tells from others: the same name is the same event."""
    return Event(
        id=derived_id(name),
        source=source,
        type="latticebank.ledger.transfers-posted.v1",
        time=NOON,
        subject=name,
        partition_key="shard-0",
        causation_id="payment-1",
        data_content_type="application/octet-stream",
        data=data,
    )


def subjects(events: Sequence[tuple[int, Event]]) -> list[str]:
    return [each.subject for _, each in events]


def names(count: int) -> list[str]:
    return [f"transfer-{number}" for number in range(count)]


async def say(bus: PostgresEventBus, count: int) -> None:
    """Let the topic have the events of so many names."""
    await bus.append([event(name) for name in names(count)])


async def noted(database: Database) -> list[str]:
    """The names that handlers have written down with `note`."""
    async with database.read() as connection:
        return list((await connection.exec_driver_sql("SELECT subject FROM noted ORDER BY place")).scalars())


async def execute(database: Database, *statements: str) -> None:
    """Do in one transaction what somebody does to a database who is not the bank."""
    async with database.begin() as unit_of_work:
        for statement in statements:
            await unit_of_work.connection.exec_driver_sql(statement)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that nobody tells of."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - nobody rings
            await asyncio.sleep(0.01)


def process(*arguments: object) -> subprocess.Popen[bytes]:
    """Start one of the acts below in a process of its own."""
    return subprocess.Popen([sys.executable, "-m", "tests.kernel.said", *map(str, arguments)], cwd=ROOT)


def finished(*processes: subprocess.Popen[bytes]) -> list[int]:
    """Wait for processes to end; return their exit codes."""
    return [each.wait(timeout=60) for each in processes]


async def append(bus_url: str, prefix: str, count: str) -> None:
    """Append so many events one after the other, each twice."""
    bus = PostgresEventBus(Database(bus_url, application_name="appender", pool_size=1))
    for number in range(int(count)):
        said = event(f"{prefix}-{number}")
        await bus.append([said])
        await bus.append([said])


class DyingBus(PostgresEventBus):
    """A bus whose caller is killed after it has appended, before it hears of it."""

    async def append(self, events: Sequence[Event]) -> int:
        await super().append(events)
        os._exit(KILLED)


async def relay_and_die(database_url: str, bus_url: str) -> None:
    """Relay one batch, and die between the append and the delete."""
    bus = DyingBus(Database(bus_url, application_name="relay"))
    await Relay(Database(database_url, application_name="relay"), bus).step()


async def relay(database_url: str, bus_url: str) -> None:
    """Relay until nothing is left."""
    bus = PostgresEventBus(Database(bus_url, application_name="relay"))
    mover = Relay(Database(database_url, application_name="relay"), bus)
    while await mover.step():
        pass


async def note(unit_of_work: UnitOfWork, events: Sequence[tuple[int, Event]]) -> None:
    """Write down that events were handled; the table of the tests has no key, so that doubles would show."""
    for subject in subjects(events):
        await unit_of_work.connection.exec_driver_sql("INSERT INTO noted (subject) VALUES (%s)", (subject,))


async def consume(database_url: str, bus_url: str, fatal: str = "") -> None:
    """Handle events until there are none; be killed in the middle of the one named `fatal`."""

    async def handle(unit_of_work: UnitOfWork, events: Sequence[tuple[int, Event]]) -> None:
        for each in events:
            await note(unit_of_work, [each])
            if each[1].subject == fatal:
                os._exit(KILLED)

    bus = PostgresEventBus(Database(bus_url, application_name="consumer"))
    consumer = Consumer("notes", TOPIC, Database(database_url, application_name="consumer"), bus, handle, batch=7)
    while await consumer.lag():
        if not await consumer.step():
            await asyncio.sleep(0.005)


ACTS: dict[str, Callable[..., Coroutine[None, None, None]]] = {
    "append": append,
    "relay": relay,
    "relay-and-die": relay_and_die,
    "consume": consume,
}

if __name__ == "__main__":
    asyncio.run(ACTS[sys.argv[1]](*sys.argv[2:]))
