"""Serves a bank: its application over HTTP, its relays to the event bus, and a watch over its database."""

import asyncio
import errno
import gc
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta

import structlog
import uvicorn
from prometheus_client import Gauge

from latticebank.bank import SERVICES, Bank, compose, open_context
from latticebank.kernel.bus import PostgresEventBus
from latticebank.kernel.http.closing import ClosedWhile
from latticebank.kernel.relay import Relay
from latticebank.kernel.settings import BUS, Settings
from latticebank.kernel.telemetry import Metrics
from latticebank.kernel.worker import Pace, Wake, keep_working
from latticebank.runtime.archive_watch import ArchiveWatch
from latticebank.runtime.postgres import EmbeddedPostgres
from latticebank.runtime.premises import Premises
from latticebank.runtime.presence import Presence, announced
from latticebank.values.clock import Clock
from latticebank.values.errors import BankError, Fault

LOOK_AT_DATABASE_SECONDS = 0.5
TRIM_SECONDS = 600
MEASURE_SECONDS = 5
WELL_SECONDS = 5
DRAIN_SECONDS = 10
_BACKLOG = 1_024

_log = structlog.get_logger()


class CannotListen(BankError):
    """The bank cannot listen at its address."""

    code = "cannot-listen"
    title = "The bank cannot listen at its address"
    fault = Fault.CONFLICT

    def __init__(self, host: str, port: int, error: OSError) -> None:
        if error.errno == errno.EADDRINUSE:
            super().__init__(
                f"port {port} of {host} is in use by another program",
                field="port",
                hint="stop that program, or choose another port with --port",
            )
        else:
            super().__init__(f"cannot listen at {host} port {port}: {error.strerror}", field="host")


@asynccontextmanager
async def running_bank(settings: Settings, names: Iterable[str], premises: Premises) -> AsyncIterator[Bank]:
    """Run the services of these names, and the relays that take what they publish to the event bus."""
    async with open_context(settings, premises.database_urls) as context:
        bank = compose(names, context)
        async with bank.running(), asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in _background(bank, settings)]
            try:
                yield bank
            finally:
                for task in tasks:
                    task.cancel()


def _background(bank: Bank, settings: Settings) -> Iterator[Coroutine[None, None, None]]:
    """Yield what runs beside the services: relays, their measuring, the trimming of the bus; nothing without databases."""
    publishing = [name for name in bank.names if SERVICES[name].migrations is not None]
    if publishing:
        bus = PostgresEventBus(bank.context.database(BUS))
        relays = {name: Relay(bank.context.database(name), bus) for name in publishing}
        yield from (relay.run() for relay in relays.values())
        yield _measure(relays, bank.context.metrics)
        yield _trim(bus, bank.context.clock, settings.event_retention_days)


@contextmanager
def listening(host: str, port: int) -> Generator[socket.socket, None, None]:
    """Take the address at which a bank will listen, before anything is started for it.

    Raises:
        CannotListen: another process listens there, or the address is not of this machine.

    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise CannotListen(host, port, error) from error
        yield listener


async def serve(
    settings: Settings,
    names: Iterable[str],
    premises: Premises,
    listener: socket.socket,
    *,
    prepare: Callable[[Bank], Awaitable[None]],
    opened: Callable[[str], None],
) -> None:
    """Serve on a socket of `listening` until SIGINT or SIGTERM.

    `prepare` is done before anyone can connect, and what it raises keeps the bank closed; `opened` is told the address.
    """
    address = _address(settings.host, listener.getsockname()[1])
    async with running_bank(settings, names, premises) as bank:
        await prepare(bank)
        gc.collect()
        gc.freeze()  # what a bank is made of stays; to look through it again and again costs time at every collection
        archive = ArchiveWatch(premises.server)
        if archive.needed:
            bank.health.further["bank"] = {"archive": archive.check}
        server = _Server(
            uvicorn.Config(
                ClosedWhile(bank.app, lambda: archive.trouble) if archive.needed else bank.app,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                date_header=True,
                backlog=_BACKLOG,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=DRAIN_SECONDS,
            )
        )
        presence = Presence.of_this_process(address, premises.database_urls)
        async with asyncio.TaskGroup() as group:
            watches = [
                group.create_task(_watch(premises.server)),
                group.create_task(_tell_when_open(server, bank, address, opened)),
            ]
            if archive.needed:
                watches.append(group.create_task(archive.run()))
            with announced(settings.data, presence):
                await server.serve(sockets=[listener])
            for watch in watches:
                watch.cancel()


class _Server(uvicorn.Server):
    """A server that stops at SIGINT and SIGTERM, leaves it to us to end the process, and says when it answers."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.answers = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.answers.set()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


async def _tell_when_open(server: _Server, bank: Bank, address: str, opened: Callable[[str], None]) -> None:
    """Tell the address once the bank answers and is well. One that waits for services elsewhere tells it all the same."""
    await server.answers.wait()
    await bank.health.until_well(WELL_SECONDS)
    opened(address)


async def _measure(relays: Mapping[str, Relay], metrics: Metrics) -> None:
    """Keep telling Prometheus what waits in the outboxes."""
    rows = Gauge(
        "latticebank_outbox_rows", "Batches of events not on the bus yet.", ["service"], registry=metrics.registry
    )
    oldest = Gauge("latticebank_outbox_oldest_seconds", "Age of the oldest.", ["service"], registry=metrics.registry)

    async def step() -> int:
        for name, relay in relays.items():
            backlog = await relay.backlog()
            rows.labels(name).set(backlog.rows)
            oldest.labels(name).set(backlog.oldest_seconds)
        return 0

    await keep_working("the measuring of the outboxes", step, wake=Wake(), pace=Pace(idle=MEASURE_SECONDS))


async def _trim(bus: PostgresEventBus, clock: Clock, days: int) -> None:
    """Delete events that every consumer has handled and that are older than so many days, over and over."""

    async def step() -> int:
        before = clock.now() - timedelta(days=days)
        return sum([await bus.trim(topic, before) for topic in await bus.topics()])

    await keep_working("the trimming of the event bus", step, wake=Wake(), pace=Pace(idle=TRIM_SECONDS))


async def _watch(server: EmbeddedPostgres | None) -> None:
    """Start the embedded database again, on its port, should it die under the bank."""
    if server is None:
        return
    while True:
        await asyncio.sleep(LOOK_AT_DATABASE_SECONDS)
        if not server.alive:
            _log.error("the database ended; starting it again")
            await asyncio.to_thread(server.restart)
            _log.info("the database runs again")


def _address(host: str, port: int) -> str:
    name = "localhost" if host in ("127.0.0.1", "::1") else host
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"
