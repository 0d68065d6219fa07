"""Databases of a service and of the bus, opened for one test."""

from collections.abc import AsyncIterator, Callable

import pytest

from latticebank.kernel.bus import PostgresEventBus
from latticebank.kernel.consumer import Consumer, Handler
from latticebank.kernel.database import Database
from tests.kernel.said import TOPIC, MakeConsumer, note


@pytest.fixture
def service_url(database_url: Callable[[str], str]) -> str:
    """A database with the tables of the kernel."""
    return database_url("kernel-only")


@pytest.fixture
def bus_url(database_url: Callable[[str], str]) -> str:
    """A database with the tables of the event bus."""
    return database_url("bus")


@pytest.fixture
async def database(service_url: str) -> AsyncIterator[Database]:
    """The database of a service, with a table `noted` for what its handlers do."""
    opened = Database(service_url, application_name="test")
    async with opened.begin() as unit_of_work:
        await unit_of_work.connection.exec_driver_sql(
            "CREATE TABLE noted (place bigint GENERATED ALWAYS AS IDENTITY, subject text NOT NULL)"
        )
    yield opened
    await opened.close()


@pytest.fixture
async def bus_database(bus_url: str) -> AsyncIterator[Database]:
    """The database of the bus."""
    opened = Database(bus_url, application_name="test-bus")
    yield opened
    await opened.close()


@pytest.fixture
def bus(bus_database: Database) -> PostgresEventBus:
    """The event bus."""
    return PostgresEventBus(bus_database)


@pytest.fixture
def make(database: Database, bus: PostgresEventBus) -> MakeConsumer:
    """Makes consumers of the topic of the tests; they note what they handle, if nothing else is said."""

    def consumer(handler: Handler = note, name: str = "notes", **how: object) -> Consumer:
        return Consumer(name, TOPIC, database, bus, handler, **how)  # type: ignore[arg-type]

    return consumer
