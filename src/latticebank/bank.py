"""The composition root: chosen services become one bank, with one ASGI application.

A service that lives here is called in memory, any other over HTTP; nothing else in the house knows the difference.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any

import structlog
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from latticebank.banking.ledger.api import SERVICE as LEDGER
from latticebank.kernel.caller import OperatorAuthenticator, operator_token_digest
from latticebank.kernel.database import Database
from latticebank.kernel.http import RouteRow, application, route_table
from latticebank.kernel.http.front import front_router
from latticebank.kernel.http.health import Checks, Health, health_router, metrics_router
from latticebank.kernel.http.openapi import merged
from latticebank.kernel.policy import KERNEL
from latticebank.kernel.service import Context, Service, policy_of
from latticebank.kernel.settings import Settings
from latticebank.kernel.telemetry import Metrics
from latticebank.kernel.transports import HttpTransport, MemoryTransport, Transport
from latticebank.values.clock import Clock, SystemClock
from latticebank.values.errors import BankError, Fault
from latticebank.values.ids import Uuid7Source

SERVICES: dict[str, Service] = {LEDGER.name: LEDGER}
"""Every service that exists, by name, in the order in which they start."""

PUBLIC = "/api/"
INTERNAL = "/internal/"


class UnknownService(BankError):
    """No service has this name, here or at a known address."""

    code = "unknown-service"
    title = "There is no such service"
    fault = Fault.NOT_FOUND


class UnfitService(BankError):
    """Services claim the same paths, or paths that are not a service's to claim."""

    code = "unfit-service"
    title = "The services do not fit together"
    fault = Fault.INTERNAL


def compose(
    names: Iterable[str],
    context: Context,
    *,
    services: Mapping[str, Service] = SERVICES,
    internal: bool | None = None,
) -> "Bank":
    """Return the bank of the services of these names, each built and none started.

    The policy of the bank is that of its services. `internal` says whether internal routes answer over HTTP; None says
    they do if some service lives elsewhere, since one that lives here is called in memory.

    Raises:
        UnknownService: a name is not that of a service.
        UnfitService: two services claim the same paths.
        UnfitRoute: a route is outside its service's paths, or has not exactly one action of its service.
        InvalidPolicy: a policy does not parse, or names an action or an entity that does not exist.

    """
    wanted = list(names)
    if unknown := [name for name in wanted if name not in services]:
        raise UnknownService(
            f"there is no service called {' or '.join(unknown)}", hint=f"there are: {' '.join(services)}"
        )
    here = [service for name, service in services.items() if name in wanted]
    _refuse_claims(here)
    apart = len(here) < len(services)
    return Bank(here, replace(context, policy=policy_of(here)), internal=apart if internal is None else internal)


class Bank:
    """Services that live together in one process. It is the ASGI application of them all."""

    def __init__(self, services: Iterable[Service], context: Context, *, internal: bool) -> None:
        self._internal = internal
        self._services = tuple(services)
        self._apps: dict[str, FastAPI] = {}
        self._memory: dict[str, Transport] = {service.name: self._to(service.name) for service in self._services}
        self.context = replace(context, transport=self._transport_or(context.transport))
        self.health = Health(self._checks)
        for service in self._services:
            self._apps[service.name] = service.build(self.context)
        self._front = self._build_front()
        self._doors = tuple(
            (prefix, self._apps[service.name])
            for service in self._services
            for prefix in service.prefixes
            if internal or not prefix.startswith(INTERNAL)
        )
        self.context.policy.validate((row.action for row in self.route_table()), self._apps)

    @property
    def names(self) -> tuple[str, ...]:
        """The services that live here."""
        return tuple(self._apps)

    def route_table(self) -> list[RouteRow]:
        """Return every route of the bank with its policy action: its own first, then those of each service."""
        return [row for app in (self._front, *self._apps.values()) for row in route_table(app)]

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI 3.1 document of what this bank answers over HTTP."""
        return self._document

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the lifespan of every service: started in order, stopped in reverse, those before a failure too."""
        async with AsyncExitStack() as started:
            for app in self._apps.values():
                if await started.enter_async_context(app.router.lifespan_context(app)):
                    raise TypeError("a lifespan yields nothing: what it opens belongs into app.state")
            self.health.started = True
            try:
                yield
            finally:
                self.health.started = False

    @property
    def app(self) -> ASGIApp:
        """The one ASGI application: the bank itself."""
        return self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request of ASGI by the service whose path it is, or run all lifespans."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        path: str = scope["path"]
        for prefix, app in self._doors:
            if path.startswith(prefix):
                await app(scope, receive, send)
                return
        await self._front(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        """Follow the lifespan protocol of ASGI."""
        await receive()
        stage = "startup"
        try:
            async with self.running():
                await send({"type": "lifespan.startup.complete"})
                await receive()
                stage = "shutdown"
        except Exception as error:
            structlog.get_logger().error(f"{stage} failed", exc_info=error)
            await send({"type": f"lifespan.{stage}.failed", "message": str(error)})
            raise
        await send({"type": "lifespan.shutdown.complete"})

    def _to(self, name: str) -> Transport:
        async def door(scope: Scope, receive: Receive, send: Send) -> None:
            await self._apps[name](scope, receive, send)

        return MemoryTransport(door)

    def _transport_or(self, elsewhere: Callable[[str], Transport]) -> Callable[[str], Transport]:
        def transport(name: str) -> Transport:
            return self._memory.get(name) or elsewhere(name)

        return transport

    def _build_front(self) -> FastAPI:
        front = Service(KERNEL, 8000, ("/",), None, "", lambda _: self._front)
        routers = (
            front_router(self.openapi, lambda: [row for row in self.route_table() if self._answers(row.path)]),
            health_router(self.health),
            metrics_router(self.context.metrics),
        )
        return application(front, self.context, routers=routers)

    @cached_property
    def _document(self) -> dict[str, Any]:
        document = merged({KERNEL: self._front.openapi(), **{name: app.openapi() for name, app in self._apps.items()}})
        document["paths"] = {path: item for path, item in document["paths"].items() if self._answers(path)}
        return document

    def _answers(self, path: str) -> bool:
        return self._internal or not path.startswith(INTERNAL)

    def _checks(self) -> dict[str, Checks]:
        checks: dict[str, Checks] = {}
        for service in self._services:
            own: Checks = self._apps[service.name].state.checks
            if service.migrations is not None:
                own = {"database": self.context.database(service.name).ping, **own}
            checks[service.name] = own
        return checks


@asynccontextmanager
async def open_context(
    settings: Settings,
    database_urls: Mapping[str, str],
    *,
    peers: Mapping[str, str] | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[Context]:
    """Open what the services of one process need, and close it in the end.

    `database_urls` and `peers` give the URLs of databases and of services elsewhere, by the name of the service.

    Raises:
        UnsafeCredentialFile: the operator's token is open to others.

    """
    time = clock or SystemClock()
    metrics = Metrics()
    databases: dict[str, Database] = {}
    transports: dict[str, Transport] = {}

    def database(name: str) -> Database:
        if name not in databases:
            if name not in database_urls:
                raise UnknownService(f"there is no database of {name}")
            databases[name] = Database(
                database_urls[name],
                application_name=f"latticebank-{name}",
                pool_size=settings.pool_size,
                book=settings.book,
            )
        return databases[name]

    def transport(name: str) -> Transport:
        if name not in transports:
            if name not in (peers or {}):
                raise UnknownService(f"the address of {name} is not known", hint="run it here, or say where it is")
            transports[name] = HttpTransport((peers or {})[name])
        return transports[name]

    authenticator = OperatorAuthenticator(operator_token_digest(settings.data), metrics.refused_credentials.inc)
    policy = policy_of(())
    try:
        yield Context(settings, time, Uuid7Source(time), database, transport, authenticator, policy, metrics)
    finally:
        async with AsyncExitStack() as closing:
            for opened in databases.values():
                closing.push_async_callback(opened.close)
            for way in transports.values():
                closing.push_async_callback(way.aclose)


def _refuse_claims(services: Iterable[Service]) -> None:
    claims: dict[str, str] = {}
    for service in services:
        for prefix in service.prefixes:
            if not prefix.startswith((PUBLIC, INTERNAL)) or not prefix.endswith("/") or prefix in (PUBLIC, INTERNAL):
                raise UnfitService(
                    f"{service.name} claims {prefix}, which is not a folder below {PUBLIC} or {INTERNAL}"
                )
            for other, owner in claims.items():
                if prefix.startswith(other) or other.startswith(prefix):
                    raise UnfitService(f"{service.name} and {owner} both claim {max(prefix, other)}")
            claims[prefix] = service.name
