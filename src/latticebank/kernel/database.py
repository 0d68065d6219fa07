"""The way to a service's database: SQLAlchemy Core on psycopg 3, small pools, a bound on every wait, UTC.

`begin` is the only place that commits, besides the ledger's write path on the raw connection of `connect`.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psycopg
import sqlalchemy
from psycopg.conninfo import make_conninfo
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow
from sqlalchemy.exc import DBAPIError, DisconnectionError, InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from latticebank.kernel import outbox
from latticebank.kernel.events import Event
from latticebank.kernel.production import url_parts
from latticebank.kernel.worker import Wake
from latticebank.values.errors import BankError, Fault, InvalidValue

CONNECT_SECONDS = 5
POOL_WAIT_SECONDS = 5
LOCK_SECONDS = 5
IDLE_IN_TRANSACTION_SECONDS = 15
STATEMENT_SECONDS = 30
MAX_POOL_SIZE = 50
_RECYCLE_SECONDS = 1800
_POOL_GAVE_UP = "This connection is closed"
"""What SQLAlchemy says when connections that it has just opened were lost as well, twice in a row."""
_ENDED_BY_TIMEOUT = frozenset({"25P03", "25P04"})


class DatabaseUnavailable(BankError):
    """The database cannot be reached, or did not do its work in the time it had.

    What was being written may have been written or not: whoever tries again does so under the same id.
    """

    code = "database-unavailable"
    title = "The database is not available"
    fault = Fault.UNAVAILABLE


class AbortedTransaction(BankError):
    """A statement failed, the failure was passed over, and the database would undo everything at the commit."""

    code = "aborted-transaction"
    title = "The bank passed over a failure"
    fault = Fault.INTERNAL


class UnitOfWork:
    """One transaction: what is written through `connection` and what is published happen together or not at all."""

    __slots__ = ("_events", "connection")

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
        self._events: list[Event] = []

    def publish(self, event: Event) -> None:
        """Tell others of an event if this transaction commits.

        Raises:
            BatchTooLarge: more than `outbox.MAX_BATCH_EVENTS` in one transaction.

        """
        if len(self._events) == outbox.MAX_BATCH_EVENTS:
            raise outbox.BatchTooLarge(f"one transaction publishes at most {outbox.MAX_BATCH_EVENTS} events")
        self._events.append(event)

    @property
    def published(self) -> tuple[Event, ...]:
        """The events that this transaction publishes, in the order of their publication."""
        return tuple(self._events)


class Database:
    """A service's database.

    `book` is the tenant whose rows this process keeps; `published` rings when events were committed to the outbox, for
    the relay in this process (a writer on a raw connection rings it itself).

    Raises:
        InvalidValue: the URL is not a PostgreSQL URL; the message does not repeat it.

    """

    def __init__(
        self,
        url: str,
        *,
        application_name: str,
        pool_size: int = 4,
        book: int = 1,
        statement_seconds: float = STATEMENT_SECONDS,
    ) -> None:
        if not 1 <= pool_size <= MAX_POOL_SIZE:
            raise InvalidValue(f"a pool has 1 to {MAX_POOL_SIZE} connections, not {pool_size}", field="pool_size")
        self.url = url
        self.book = book
        self.published = Wake()
        self._application_name = application_name
        self._conninfo = connection_string(url, application_name, statement_seconds)
        self._engine = create_async_engine(
            "postgresql+psycopg://",
            async_creator=self._open_pooled,
            isolation_level="READ COMMITTED",
            use_native_hstore=False,
            hide_parameters=True,  # parameters are personal data, and errors reach logs
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=POOL_WAIT_SECONDS,
            pool_recycle=_RECYCLE_SECONDS,
            pool_use_lifo=True,
        )
        self._single = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        sqlalchemy.event.listen(self._engine.sync_engine, "checkout", _refuse_lost_connection)

    def __repr__(self) -> str:
        return f"Database({self._application_name!r})"

    @asynccontextmanager
    async def begin(self, *, shard: int = 0) -> AsyncIterator[UnitOfWork]:
        """Open one READ COMMITTED transaction; it commits when the block ends normally and rolls back otherwise.

        What the block publishes is written to the outbox of `shard` as one row.

        Raises:
            DatabaseUnavailable: the database is down or too slow; the outcome of a commit is then unknown.
            AbortedTransaction: the block ended normally although a statement in it had failed; nothing was written.
            BatchTooLarge: the block published too much.

        """
        with unavailability():
            async with self._engine.connect() as connection, connection.begin():
                unit_of_work = UnitOfWork(connection)
                yield unit_of_work
                await _require_sound(connection)
                await outbox.append(connection, self.book, shard, unit_of_work.published)
        if unit_of_work.published:
            self.published.ring()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Open one read-only REPEATABLE READ transaction: everything read in the block is of one instant.

        Raises:
            DatabaseUnavailable: the database is down or too slow.

        """
        with unavailability():
            async with self._engine.connect() as connection:
                reader = await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
                async with reader.begin():
                    yield reader

    async def fetch(self, statement: str, parameters: Sequence[object]) -> list[TupleRow]:
        """Return the rows of one statement that only reads: all of one instant, in one round trip.

        A question on a hot path; `read` costs three round trips more. Placeholders are `%s`, rows come in binary.

        Raises:
            DatabaseUnavailable: the database is down or too slow.

        """
        with unavailability():
            async with self._single.connect() as connection:
                raw = await connection.get_raw_connection()
                driver = raw.driver_connection
                assert isinstance(driver, psycopg.AsyncConnection)
                cursor = await driver.execute(statement, parameters, binary=True)
                return await cursor.fetchall()

    async def connect(self) -> psycopg.AsyncConnection[TupleRow]:
        """Return a connection of its own outside the pool, in autocommit; the caller closes it.

        Raises:
            DatabaseUnavailable: the database cannot be reached.

        """
        with unavailability():
            return await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True, prepare_threshold=1)

    async def ping(self) -> None:
        """Ask the database for a sign of life.

        Raises:
            DatabaseUnavailable: there is none.

        """
        async with self.read() as connection:
            await connection.exec_driver_sql("SELECT 1")

    async def close(self) -> None:
        """Close the connections of the pool."""
        await self._engine.dispose()

    async def _open_pooled(self, *_: object, **__: object) -> psycopg.AsyncConnection[TupleRow]:
        return await psycopg.AsyncConnection.connect(self._conninfo)


def connection_string(url: str, application_name: str, statement_seconds: float = 0) -> str:
    """Return the libpq connection string of a URL with the bank's time-outs (0 is no bound on statements) and UTC.

    Raises:
        InvalidValue: the URL is not a PostgreSQL URL; the message does not repeat it.

    """
    given = url_parts(url)
    if given is None:
        raise InvalidValue("a database is named by a URL like postgresql://user:password@host/database", field="url")
    options = (
        f"{given.get('options') or ''} -c timezone=UTC -c statement_timeout={int(statement_seconds * 1000)}"
        f" -c lock_timeout={LOCK_SECONDS}s -c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_SECONDS}s"
    )
    bounds: dict[str, Any] = {
        "connect_timeout": CONNECT_SECONDS,
        "keepalives_idle": 15,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,
    }
    return make_conninfo("", **(bounds | given | {"application_name": application_name, "options": options.strip()}))


@contextmanager
def unavailability() -> Iterator[None]:
    """Turn every failure of the block that is the database's into `DatabaseUnavailable`.

    Raises:
        DatabaseUnavailable: the connection failed or broke, or a time-out of the pool or the database passed.

    """
    try:
        yield
    except sqlalchemy.exc.TimeoutError as error:
        raise DatabaseUnavailable(f"no database connection became free within {POOL_WAIT_SECONDS} s") from error
    except InvalidRequestError as error:
        if str(error) != _POOL_GAVE_UP:
            raise
        raise DatabaseUnavailable("each connection to the database is closed at once") from error
    except DBAPIError as error:
        reason = _unavailable_because(error.orig)
        if reason is None and not error.connection_invalidated:
            raise
        raise DatabaseUnavailable(reason or "the connection to the database broke") from error
    except psycopg.Error as error:
        reason = _unavailable_because(error)
        if reason is None:
            raise
        raise DatabaseUnavailable(reason) from error


async def _require_sound(connection: AsyncConnection) -> None:
    """Refuse to commit a transaction that failed: PostgreSQL answers such a COMMIT with a ROLLBACK and no error."""
    raw = await connection.get_raw_connection()
    driver = raw.driver_connection
    if driver is not None and driver.info.transaction_status is TransactionStatus.INERROR:
        raise AbortedTransaction("a statement of this transaction failed and the failure was passed over")


def _unavailable_because(error: BaseException | None) -> str | None:
    match error:
        case psycopg.errors.QueryCanceled():
            return "a statement ran out of its time"
        case psycopg.errors.LockNotAvailable():
            return f"a lock was not to be had within {LOCK_SECONDS} s"
        case psycopg.errors.DeadlockDetected() | psycopg.errors.SerializationFailure():
            return "another transaction was in the way"
        case psycopg.errors.InsufficientResources():
            return "the database server has run out of a resource"
        case psycopg.OperationalError():
            return "the database cannot be reached"
        case psycopg.Error() if error.sqlstate in _ENDED_BY_TIMEOUT:
            return "a transaction stood idle for too long"
        case _:
            return None


def _refuse_lost_connection(connection: Any, _record: object, _proxy: object) -> None:
    """Give a pooled connection that the server has closed back for a new one.

    Reading what the server may have sent shows it without the round trip of a pre-ping; the last words of the server
    come before the end of the stream, so it takes two looks.
    """
    driver = connection.driver_connection
    try:
        driver.pgconn.consume_input()
        driver.pgconn.is_busy()
        driver.pgconn.consume_input()
    except psycopg.Error as error:
        raise DisconnectionError("the server closed this connection") from error
