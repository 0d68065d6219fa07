"""The composition root: chosen services become one bank, with one ASGI application.

A service that lives here is called in memory, any other over HTTP; nothing else in the house knows the difference.
Where the gateway lives it is the door: what comes from outside passes it, what services say to each other does not.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from functools import cached_property
from typing import Any

import structlog
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from latticebank.banking.ledger.api import SERVICE as LEDGER
from latticebank.banking.payments.api import SERVICE as PAYMENTS
from latticebank.gateway.api.door import Door
from latticebank.gateway.api.forwarding import Forwarding
from latticebank.gateway.service import PhantomTokens
from latticebank.kernel.authentication import TOKEN_ISSUER, CredentialAuthenticator, credentials_in, own_audiences
from latticebank.kernel.caller import Authenticator, Credential
from latticebank.kernel.configuration import tell_of_changes
from latticebank.kernel.credential_file import service_credential
from latticebank.kernel.database import Database
from latticebank.kernel.http import RouteRow, application, route_table
from latticebank.kernel.http.front import front_router
from latticebank.kernel.http.health import Checks, Health, health_router, metrics_router
from latticebank.kernel.http.openapi import merged
from latticebank.kernel.policy import KERNEL
from latticebank.kernel.service import Context, Service, policy_of
from latticebank.kernel.settings import GATEWAY, Settings
from latticebank.kernel.telemetry import Metrics
from latticebank.kernel.tokens import ServiceTokens, TokenAuthenticator
from latticebank.kernel.transports import HttpTransport, Transport
from latticebank.kernel.transports.memory import MemoryTransport
from latticebank.security.audit.api import SERVICE as AUDIT
from latticebank.security.identity.api import SERVICE as IDENTITY
from latticebank.security.identity.client import IdentityClient
from latticebank.security.keys.api import SERVICE as KEYS
from latticebank.values.clock import Clock, SystemClock
from latticebank.values.errors import BankError, Fault
from latticebank.values.ids import Uuid7Source

SERVICES: dict[str, Service] = {service.name: service for service in (KEYS, IDENTITY, LEDGER, PAYMENTS, AUDIT)}
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
    if unknown := [name for name in wanted if name not in (*services, GATEWAY)]:
        raise UnknownService(
            f"there is no service called {' or '.join(unknown)}", hint=f"there are: {' '.join((*services, GATEWAY))}"
        )
    here = [service for name, service in services.items() if name in wanted]
    elsewhere = [service for name, service in services.items() if name not in wanted]
    _refuse_claims(services.values())
    return Bank(
        here,
        replace(context, policy=policy_of(here)),
        internal=bool(elsewhere) if internal is None else internal,
        behind_the_door=elsewhere if GATEWAY in wanted else None,
    )


class Bank:
    """Services that live together in one process. It is the ASGI application of them all.

    `behind_the_door` are the services elsewhere to which the gateway passes on what is theirs; None without a gateway.
    """

    def __init__(
        self,
        services: Iterable[Service],
        context: Context,
        *,
        internal: bool,
        behind_the_door: Iterable[Service] | None = None,
    ) -> None:
        self._internal = internal
        self._elsewhere = tuple(behind_the_door or ())
        self._services = tuple(services)
        self._apps: dict[str, FastAPI] = {}
        self._memory: dict[str, Transport] = {service.name: self._to(service.name) for service in self._services}
        self.context = replace(context, transport=self._transport_or(context.transport))
        self.context = replace(self.context, credential=self._credential, authenticator=self._build_authenticator())
        self._tokens: dict[str, ServiceTokens] = {}
        self.health = Health(self._checks)
        for service in self._services:
            self._apps[service.name] = service.build(self.context)
        self._front = self._build_front()
        self._doors: tuple[tuple[str, ASGIApp], ...] = tuple(
            (prefix, self._apps[service.name])
            for service in self._services
            for prefix in service.prefixes
            if internal or not prefix.startswith(INTERNAL)
        )
        self._door = None if behind_the_door is None else self._build_door()
        further = [action for service in self._services for action in service.further_actions]
        self.context.policy.validate([*(row.action for row in self.route_table()), *further], self._apps)

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
        await self._tell_of_configurations()
        async with AsyncExitStack() as started:
            for app in self._apps.values():
                if await started.enter_async_context(app.router.lifespan_context(app)):
                    raise TypeError("a lifespan yields nothing: what it opens belongs into app.state")
            self.health.started = True
            try:
                yield
            finally:
                self.health.started = False

    async def _tell_of_configurations(self) -> None:
        """Let each service with a database tell if it starts under another configuration than before."""
        context = self.context
        for service in self._services:
            if service.migrations is not None:
                await tell_of_changes(
                    context.database(service.name),
                    service.name,
                    service.policies,
                    context.settings,
                    context.clock,
                    context.ids,
                )

    @property
    def app(self) -> ASGIApp:
        """What answers over HTTP: the door where the gateway lives here, else the services themselves."""
        return self if self._door is None else self._door

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

    def _reaches(self, name: str) -> bool:
        if name in self._memory:
            return True
        with suppress(UnknownService):
            self.context.transport(name)
            return True
        return False

    def _build_authenticator(self) -> Authenticator:
        """Return what knows callers: by tokens too, where there is a way to identity, which issues them."""
        known = self.context.authenticator
        if not isinstance(known, CredentialAuthenticator) or not self._reaches(TOKEN_ISSUER):
            return known
        issuer = IdentityClient(self.context.transport(TOKEN_ISSUER))
        return TokenAuthenticator(known, issuer, self.context.settings.bank, self.context.clock)

    def _credential(self, caller: str, audience: str) -> Credential:
        """Return what a service of this process presents to another."""
        own = service_credential(self.context.settings.data, caller)
        if audience in own_audiences(caller):
            return own
        if caller not in self._tokens:
            self._tokens[caller] = ServiceTokens(IdentityClient(self.context.transport(TOKEN_ISSUER), own))
        return self._tokens[caller].for_audience(audience)

    def _build_door(self) -> Door:
        credential = self._credential(GATEWAY, TOKEN_ISSUER)
        tokens = PhantomTokens(IdentityClient(self.context.transport(TOKEN_ISSUER), credential))
        seconds = self.context.settings.request_timeout_seconds
        ways = [(service, Forwarding(self.context.transport(service.name), seconds)) for service in self._elsewhere]
        passed_on = [(prefix, way) for service, way in ways for prefix in service.prefixes if prefix.startswith(PUBLIC)]
        self._doors = (*self._doors, *passed_on)
        owners = {prefix: each.name for each in (*self._services, *self._elsewhere) for prefix in each.prefixes}
        # A prefix is a folder below /api/ or /internal/: what stands before the third slash.
        return Door(self._public, tokens, lambda path: owners.get("/".join(path.split("/", 3)[:3]) + "/"))

    async def _public(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what came through the door: never an internal route."""
        internal = scope["type"] == "http" and scope["path"].startswith(INTERNAL)
        await (self._front if internal else self)(scope, receive, send)

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
    clock: Clock | None = None,
) -> AsyncIterator[Context]:
    """Open what the services of one process need, and close it in the end.

    `database_urls` gives the URLs of databases by the name of the service; the settings say where other services are.

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
            if name not in settings.peers:
                raise UnknownService(
                    f"the address of {name} is not known", hint=f"run it here, or set LATTICEBANK_PEERS__{name.upper()}"
                )
            transports[name] = HttpTransport(settings.peers[name])
        return transports[name]

    def credential(caller: str, audience: str) -> Credential:
        raise UnknownService(f"{caller} has nothing to present to {audience} outside of a bank")

    known = credentials_in(settings.data, (*SERVICES, GATEWAY))
    authenticator = CredentialAuthenticator(known, metrics.refused_credentials.inc)
    policy = policy_of(())
    try:
        yield Context(
            settings, time, Uuid7Source(time), database, transport, credential, authenticator, policy, metrics
        )
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
