"""The unit of work and the connections of a service's database."""

import asyncio
from contextlib import suppress

import psycopg
import pytest
from psycopg.rows import TupleRow
from sqlalchemy.exc import DBAPIError

from latticebank.kernel import database as database_room
from latticebank.kernel import outbox
from latticebank.kernel.database import AbortedTransaction, Database, DatabaseUnavailable
from latticebank.values.errors import Fault, InvalidValue
from tests.kernel.said import event

SECRET = "wEsEr-9f3b"


async def count(database: Database, table: str) -> int:
    async with database.read() as connection:
        rows = (await connection.exec_driver_sql(f"SELECT count(*) FROM {table}")).scalar_one()
        assert isinstance(rows, int)
        return rows


async def note(database: Database, subject: str) -> None:
    async with database.begin() as unit_of_work:
        await unit_of_work.connection.exec_driver_sql("INSERT INTO noted (subject) VALUES (%s)", (subject,))


def end_sessions(url: str) -> None:
    """End the sessions of the test's database, and wait until they have ended."""
    with psycopg.connect(url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE application_name = 'test'")


async def test_what_a_unit_of_work_writes_and_publishes_is_there_after_it(database: Database) -> None:
    rung = database.published.rung
    async with database.begin(shard=3) as unit_of_work:
        await unit_of_work.connection.exec_driver_sql("INSERT INTO noted (subject) VALUES ('rent')")
        unit_of_work.publish(event("rent-1"))
        unit_of_work.publish(event("rent-2", data=bytes(500_000)))
        assert database.published.rung == rung
    assert database.published.rung == rung + 1
    assert await count(database, "noted") == 1
    async with database.read() as connection:
        row = (await connection.exec_driver_sql("SELECT * FROM outbox")).one()
    assert (row.book, row.shard, row.event_count) == (1, 3, 2)
    assert outbox.events_of(row.events) == [event("rent-1"), event("rent-2", data=bytes(500_000))]


async def test_a_unit_of_work_that_fails_leaves_nothing_and_publishes_nothing(database: Database) -> None:
    async def fail() -> None:
        async with database.begin() as unit_of_work:
            await unit_of_work.connection.exec_driver_sql("INSERT INTO noted (subject) VALUES ('rent')")
            unit_of_work.publish(event("rent"))
            raise RuntimeError("the tenant moved out")

    rung = database.published.rung
    with pytest.raises(RuntimeError, match="moved out"):
        await fail()
    assert await count(database, "noted") == 0
    assert await count(database, "outbox") == 0
    assert database.published.rung == rung


async def test_a_unit_of_work_that_is_cancelled_leaves_nothing(database: Database) -> None:
    begun = asyncio.Event()

    async def wait() -> None:
        async with database.begin() as unit_of_work:
            await unit_of_work.connection.exec_driver_sql("INSERT INTO noted (subject) VALUES ('rent')")
            unit_of_work.publish(event("rent"))
            begun.set()
            await unit_of_work.connection.exec_driver_sql("SELECT pg_sleep(20)")

    task = asyncio.create_task(wait())
    await begun.wait()
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await count(database, "noted") == 0
    assert await count(database, "outbox") == 0


async def test_a_unit_of_work_publishes_a_bounded_number_of_events(database: Database) -> None:
    async def publish_too_many() -> None:
        async with database.begin() as unit_of_work:
            for number in range(outbox.MAX_BATCH_EVENTS + 1):
                unit_of_work.publish(event(str(number)))

    with pytest.raises(outbox.BatchTooLarge):
        await publish_too_many()
    assert await count(database, "outbox") == 0


async def test_a_failure_that_was_passed_over_is_not_taken_for_a_commit(database: Database) -> None:
    async def pass_over() -> None:
        async with database.begin() as unit_of_work:
            await unit_of_work.connection.exec_driver_sql("INSERT INTO noted (subject) VALUES ('rent')")
            with suppress(DBAPIError):
                await unit_of_work.connection.exec_driver_sql("INSERT INTO noted (subject) VALUES (NULL)")

    with pytest.raises(AbortedTransaction):
        await pass_over()
    assert await count(database, "noted") == 0


async def test_a_failure_behind_a_savepoint_undoes_only_what_follows_it(database: Database) -> None:
    async with database.begin() as unit_of_work:
        await unit_of_work.connection.exec_driver_sql("INSERT INTO noted (subject) VALUES ('rent')")
        with pytest.raises(DBAPIError):
            async with unit_of_work.connection.begin_nested():
                await unit_of_work.connection.exec_driver_sql("INSERT INTO noted (subject) VALUES (NULL)")
    assert await count(database, "noted") == 1


async def test_an_empty_unit_of_work_is_no_failure(database: Database) -> None:
    async with database.begin():
        pass
    async with database.begin() as unit_of_work:
        unit_of_work.publish(event("alone"))
    assert await count(database, "outbox") == 1


async def test_a_reader_sees_one_instant_and_writes_nothing(database: Database) -> None:
    async with database.read() as connection:
        before = (await connection.exec_driver_sql("SELECT count(*) FROM noted")).scalar_one()
        await note(database, "meanwhile")
        assert (await connection.exec_driver_sql("SELECT count(*) FROM noted")).scalar_one() == before
        with pytest.raises(DBAPIError, match="read-only transaction"):
            await connection.exec_driver_sql("INSERT INTO noted (subject) VALUES ('no')")
    await note(database, "the connection that was read-only writes again")
    assert await count(database, "noted") == 2


async def test_every_connection_is_read_committed_in_utc_with_bounds_on_its_waits(database: Database) -> None:
    names = ("transaction_isolation", "timezone", "statement_timeout", "lock_timeout", "application_name")
    query = f"SELECT {', '.join(f'current_setting({name!r})' for name in names)}"
    expected = ("read committed", "UTC", "30s", "5s", "test")
    async with database.begin() as unit_of_work:
        assert tuple((await unit_of_work.connection.exec_driver_sql(query)).one()) == expected
    async with await database.connect() as raw:
        assert await (await raw.execute(query.encode())).fetchone() == expected
        assert raw.autocommit


async def test_a_server_that_restarted_is_not_noticed_by_the_next_caller(database: Database) -> None:
    await database.ping()
    end_sessions(database.url)
    await note(database, "as if nothing had happened")
    assert await count(database, "noted") == 1


class DoomedDatabase(Database):
    """A database that closes each new connection at once, from the moment on that it is told to."""

    doomed = False

    async def _open_pooled(self, *arguments: object, **options: object) -> psycopg.AsyncConnection[TupleRow]:
        connection = await super()._open_pooled(*arguments, **options)
        if self.doomed:
            end_sessions(self.url)
        return connection


async def test_a_server_that_closes_each_connection_at_once_is_unavailable(service_url: str) -> None:
    database = DoomedDatabase(service_url, application_name="test", pool_size=1)
    await database.ping()
    database.doomed = True
    end_sessions(service_url)
    for ask in (database.ping, lambda: note(database, "nothing"), lambda: database.fetch("SELECT 1", ())):
        with pytest.raises(DatabaseUnavailable):
            await ask()
    database.doomed = False
    await database.ping()
    await database.close()


async def test_a_connection_that_breaks_in_a_unit_of_work_says_unavailable(database: Database) -> None:
    async def work() -> None:
        async with database.begin() as unit_of_work:
            await unit_of_work.connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(DatabaseUnavailable) as raised:
        await work()
    assert raised.value.fault is Fault.UNAVAILABLE
    await database.ping()


async def test_a_statement_that_takes_too_long_says_unavailable(service_url: str) -> None:
    hasty = Database(service_url, application_name="hasty", statement_seconds=0.05)
    with pytest.raises(DatabaseUnavailable, match="ran out of its time"):
        async with hasty.read() as connection:
            await connection.exec_driver_sql("SELECT pg_sleep(5)")
    await hasty.close()


async def test_a_pool_without_a_free_connection_says_unavailable(
    service_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_room, "POOL_WAIT_SECONDS", 0.05)
    small = Database(service_url, application_name="small", pool_size=1)
    async with small.begin():
        with pytest.raises(DatabaseUnavailable, match="became free"):
            await small.ping()
    await small.close()


async def test_a_broken_rule_of_the_database_is_no_unavailability(database: Database) -> None:
    with pytest.raises(DBAPIError, match="null value"):
        async with database.begin() as unit_of_work:
            await unit_of_work.connection.exec_driver_sql("INSERT INTO noted (subject) VALUES (NULL)")


async def test_a_database_that_is_not_there_is_named_without_its_url() -> None:
    nowhere = Database(f"postgresql://teller:{SECRET}@127.0.0.1:1/ledger", application_name="ledger")
    for refused in (nowhere.ping, nowhere.connect):
        with pytest.raises(DatabaseUnavailable) as raised:
            await refused()
        assert SECRET not in str(raised.value) + repr(raised.value) + repr(raised.value.__cause__)
        assert "postgresql://" not in str(raised.value)
    assert SECRET not in repr(nowhere)


@pytest.mark.parametrize("url", ["", "mysql://teller:{}@host/x", "postgresql://teller:{}@host:port/x", "host=x {}"])
def test_a_url_that_is_none_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(InvalidValue) as raised:
        Database(url.format(SECRET), application_name="ledger")
    assert SECRET not in str(raised.value)
    assert raised.value.__cause__ is None


def test_a_pool_is_bounded() -> None:
    with pytest.raises(InvalidValue):
        Database("postgresql://localhost/x", application_name="x", pool_size=1000)


async def test_an_error_does_not_show_what_was_written(database: Database) -> None:
    with pytest.raises(DBAPIError) as raised:
        async with database.begin() as unit_of_work:
            await unit_of_work.connection.exec_driver_sql("INSERT INTO nowhere VALUES (%s)", ("Erika Mustermann",))
    assert "Mustermann" not in str(raised.value)
