"""Small services for tests, called in memory or over a real HTTP server on loopback."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from starlette.types import ASGIApp

from latticebank.bank import UnknownService
from latticebank.kernel.authentication import CredentialAuthenticator, credentials_in
from latticebank.kernel.caller import Credential
from latticebank.kernel.credential_file import read_operator_token
from latticebank.kernel.database import Database
from latticebank.kernel.http import Router, application
from latticebank.kernel.http.application import Check, Lifespan, nothing_to_start
from latticebank.kernel.problem import Problem
from latticebank.kernel.service import Context, Service, policy_of
from latticebank.kernel.settings import Settings
from latticebank.kernel.telemetry import Metrics
from latticebank.kernel.transports import Request, Response, Transport
from latticebank.kernel.transports.memory import MemoryTransport
from latticebank.values.clock import SystemClock
from latticebank.values.ids import Uuid7Source

KEY = "019a0b1c-7d2e-7f3a-8b4c-5d6e7f8a9b0c"
"""An Idempotency-Key."""
ANYONE_READS = 'permit (principal, action == Action::"%s:Read", resource);'


def service_of(
    *routers: Router,
    name: str = "ledger",
    policies: str | None = None,
    prefixes: tuple[str, ...] | None = None,
    lifespan: Lifespan = nothing_to_start,
    checks: Mapping[str, Check] | None = None,
    accepts: tuple[str, ...] = ("application/json",),
) -> Service:
    """A service of these routers; without other policies anyone may read, and only the operator may do the rest."""
    service = Service(
        name=name,
        port=8002,
        prefixes=prefixes or (f"/api/{name}/", f"/internal/{name}/"),
        migrations=None,
        policies=ANYONE_READS % name if policies is None else policies,
        build=lambda context: application(service, context, lifespan, routers, checks=checks, accepts=accepts),
    )
    return service


def no_database(name: str) -> Database:
    raise AssertionError(f"{name} has no database here")


def no_transport(name: str) -> Transport:
    raise UnknownService(f"{name} is not elsewhere")


def no_credential(caller: str, audience: str) -> Credential:
    raise AssertionError(f"{caller} has nothing to present to {audience} here")


def context_in(folder: Path, *services: Service, **settings: Any) -> Context:
    """What these services need, with the operator's token in this folder."""
    metrics = Metrics()
    clock = SystemClock()
    return Context(
        settings=Settings(data=folder, **settings),
        clock=clock,
        ids=Uuid7Source(clock),
        database=no_database,
        transport=no_transport,
        credential=no_credential,
        authenticator=CredentialAuthenticator(credentials_in(folder, ()), metrics.refused_credentials.inc),
        policy=policy_of(services),
        metrics=metrics,
    )


class Desk:
    """Asks an application in memory, as anyone or as the operator."""

    def __init__(self, app: ASGIApp, folder: Path) -> None:
        self.transport = MemoryTransport(app)
        self.token = read_operator_token(folder)

    async def ask(
        self,
        method: str,
        target: str,
        body: bytes | AsyncIterator[bytes] = b"",
        *,
        operator: bool = False,
        **headers: str,
    ) -> Response:
        """Send a request; header names are written with underscores. A body is JSON unless said otherwise."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if body:
            named.setdefault("content-type", "application/json")
        if operator:
            named["authorization"] = f"Bearer {self.token}"
        return await self.transport.send(Request(method, target, named, body))


def desk_of(service: Service, folder: Path, **settings: Any) -> Desk:
    """A desk at this one service."""
    return Desk(service.build(context_in(folder, service, **settings)), folder)


def problem(response: Response) -> Problem:
    """The problem document of a response, of which nothing else may come with an error."""
    assert response.headers["content-type"] == "application/problem+json"
    found = msgspec.json.decode(response.body, type=Problem)
    assert found.status == response.status
    assert found.instance == response.headers["x-correlation-id"]
    return found


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[str]:
    """Serve an application on a free port of loopback; its base URL."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, ws="none", lifespan="off", server_header=False)
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started:  # noqa: ASYNC110 - the server has a flag, not an event
        await asyncio.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.force_exit = server.should_exit = True
        await running
        listening.close()
