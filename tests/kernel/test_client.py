"""Services call each other through typed clients: problems come back as errors, and a retry never does a thing twice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import msgspec
import pytest
from fastapi import Query, Request, Response

from latticebank.kernel.caller import Caller
from latticebank.kernel.client import RemoteProblem, ServiceClient
from latticebank.kernel.credential_file import operator_credential
from latticebank.kernel.deadline import DeadlineExceeded, seconds_left
from latticebank.kernel.http import IdempotencyKey, Router, permit
from latticebank.kernel.telemetry import correlation_id
from latticebank.kernel.transports import HttpTransport, ServiceUnavailable, Transport
from latticebank.kernel.transports.memory import MemoryTransport
from latticebank.values.errors import BankError, Fault, InvalidValue
from tests.kernel.serving import KEY, context_in, served, service_of


class Posting(msgspec.Struct):
    account: str
    minor: int


class Down(BankError):
    code = "down"
    title = "Down"
    fault = Fault.UNAVAILABLE


class Ledger:
    """A service that fails so many times before it answers."""

    def __init__(self) -> None:
        self.failures = 0
        self.asked = 0
        self.service = service_of(self._router())

    def fail_or_answer(self) -> int:
        self.asked += 1
        if self.asked <= self.failures:
            raise Down("the database is away")
        return self.asked

    def _router(self) -> Router:
        router = Router(prefix="/internal/ledger", dependencies=[])

        @router.get("/flaky", dependencies=[permit("ledger:Read")])
        async def flaky() -> int:
            return self.fail_or_answer()

        @router.post("/flaky", dependencies=[permit("ledger:Read")])
        async def flaky_post() -> int:
            return self.fail_or_answer()

        @router.post("/orders", dependencies=[permit("ledger:Read")])
        async def order(key: IdempotencyKey) -> int:
            return self.fail_or_answer()

        @router.post("/postings", dependencies=[permit("ledger:Read")])
        async def post(request: Request, times: Annotated[int, Query()]) -> Response:
            posting = msgspec.json.decode(await request.body(), type=Posting)
            return Response(msgspec.json.encode([posting] * times), media_type="application/json")

        @router.get("/invalid", dependencies=[permit("ledger:Read")])
        async def invalid() -> None:
            raise InvalidValue("too small", field="/minor", hint="add to it")

        @router.get("/slow", dependencies=[permit("ledger:Read")])
        async def slow() -> None:
            await asyncio.sleep(30)

        @router.get("/odd", dependencies=[permit("ledger:Read")])
        async def odd(status: int) -> Response:
            return Response(b"<html>", status_code=status)

        @router.get("/me")
        async def me(caller: Annotated[Caller, permit("ledger:ReadMe")]) -> list[Any]:
            return [caller.kind, correlation_id.get(), seconds_left()]

        return router


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@asynccontextmanager
async def connected(kind: str, ledger: Ledger, folder: Path) -> AsyncIterator[Transport]:
    app = ledger.service.build(context_in(folder, ledger.service))
    if kind == "memory":
        yield MemoryTransport(app)
        return
    async with served(app) as url:
        transport = HttpTransport(url)
        yield transport
        await transport.aclose()


@pytest.fixture(params=["memory", "http"])
async def transport(request: pytest.FixtureRequest, ledger: Ledger, tmp_path: Path) -> AsyncIterator[Transport]:
    """The way to the ledger."""
    async with connected(request.param, ledger, tmp_path) as way:
        yield way


@pytest.fixture
def client(transport: Transport) -> ServiceClient:
    return ServiceClient(transport, jitter=lambda: 0.0)


async def test_bodies_and_answers_are_typed(client: ServiceClient) -> None:
    posting = Posting("1000000010", 1234)
    answer = await client.call("POST", "/internal/ledger/postings", list[Posting], body=posting, query={"times": 2})
    assert answer == [posting, posting]


async def test_a_problem_comes_back_as_the_error_it_was(client: ServiceClient) -> None:
    with pytest.raises(RemoteProblem) as told:
        await client.call("GET", "/internal/ledger/invalid", int)
    error = told.value
    assert (error.code, error.status, error.fault) == ("invalid-value", 400, Fault.INVALID)
    assert (error.title, error.detail) == (InvalidValue.title, "too small")
    assert (error.field, error.hint) == ("/minor", "add to it")


async def test_a_safe_call_is_tried_again_while_the_service_is_away(client: ServiceClient, ledger: Ledger) -> None:
    ledger.failures = 1
    assert await client.call("GET", "/internal/ledger/flaky", int) == 2


async def test_a_call_with_a_key_is_tried_again_and_another_never(client: ServiceClient, ledger: Ledger) -> None:
    ledger.failures = 1
    assert await client.call("POST", "/internal/ledger/orders", int, idempotency_key=UUID(KEY)) == 2
    ledger.failures, ledger.asked = 1, 0
    with pytest.raises(RemoteProblem) as told:
        await client.call("POST", "/internal/ledger/flaky", int)
    assert told.value.status == 503
    assert ledger.asked == 1


async def test_retries_end(ledger: Ledger, transport: Transport) -> None:
    ledger.failures = 100
    began = asyncio.get_running_loop().time()
    with pytest.raises(RemoteProblem):
        await ServiceClient(transport, timeout=1.0).call("GET", "/internal/ledger/flaky", int)
    assert ledger.asked <= 3
    assert asyncio.get_running_loop().time() - began < 1.0


async def test_a_call_has_one_deadline_for_all_its_tries(transport: Transport) -> None:
    began = asyncio.get_running_loop().time()
    with pytest.raises((DeadlineExceeded, RemoteProblem)) as late:
        await ServiceClient(transport, timeout=0.2).call("GET", "/internal/ledger/slow", int)
    assert isinstance(late.value, BankError)
    assert late.value.fault is Fault.TIMEOUT
    assert asyncio.get_running_loop().time() - began < 1.0


@pytest.mark.parametrize(("status", "fault"), [(200, Fault.UNAVAILABLE), (418, Fault.INVALID), (502, Fault.INTERNAL)])
async def test_an_answer_that_makes_no_sense_is_an_error(
    ledger: Ledger, tmp_path: Path, status: int, fault: Fault
) -> None:
    async with connected("memory", ledger, tmp_path) as transport:
        client = ServiceClient(transport, timeout=0.5)
        with pytest.raises((RemoteProblem, ServiceUnavailable)) as odd:
            await client.call("GET", "/internal/ledger/odd", int, query={"status": status})
    assert isinstance(odd.value, BankError)
    assert odd.value.fault is fault


async def test_who_calls_why_and_until_when_goes_along(transport: Transport, tmp_path: Path) -> None:
    client = ServiceClient(transport, operator_credential(tmp_path), timeout=3.0)
    token = correlation_id.set("payment-4711")
    kind, correlation, left = await client.call("GET", "/internal/ledger/me", tuple[str, str, float])
    correlation_id.reset(token)
    assert (kind, correlation) == ("Operator", "payment-4711")
    assert 2.0 < left <= 3.0


async def test_a_service_that_calls_another_passes_its_own_deadline_on(ledger: Ledger, tmp_path: Path) -> None:
    async with connected("memory", ledger, tmp_path) as transport:
        client = ServiceClient(transport, operator_credential(tmp_path))
        router = Router(prefix="/api/payments", dependencies=[permit("payments:Read")])

        @router.get("/relay")
        async def relay() -> list[Any]:
            return await client.call("GET", "/internal/ledger/me", list[Any])

        payments = service_of(router, name="payments")
        caller = ServiceClient(MemoryTransport(payments.build(context_in(tmp_path, payments))), timeout=1.0)
        token = correlation_id.set("payment-4712")
        _, correlation, left = await caller.call("GET", "/api/payments/relay", tuple[str, str, float])
        correlation_id.reset(token)
    assert correlation == "payment-4712"
    assert left <= 1.0
