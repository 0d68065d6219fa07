"""A service is reached in memory or over HTTP, and its caller cannot tell which: the same promises, the same tests."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Annotated

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from latticebank.kernel.caller import Caller
from latticebank.kernel.deadline import DeadlineExceeded, seconds_left
from latticebank.kernel.http import Router, permit
from latticebank.kernel.transports import HttpTransport, Request, ResponseTooLarge, ServiceUnavailable, Transport
from latticebank.kernel.transports.memory import MemoryTransport
from tests.kernel.serving import Desk, context_in, served, service_of
from tests.ports import kept_port

Reach = Callable[[ASGIApp], AbstractAsyncContextManager[Transport]]
CALLERS = 20


@asynccontextmanager
async def in_memory(app: ASGIApp) -> AsyncIterator[Transport]:
    yield MemoryTransport(app)


@asynccontextmanager
async def over_http(app: ASGIApp) -> AsyncIterator[Transport]:
    async with served(app) as url:
        transport = HttpTransport(url)
        try:
            yield transport
        finally:
            await transport.aclose()


@pytest.fixture(params=[in_memory, over_http])
def reach(request: pytest.FixtureRequest) -> Reach:
    """Both ways to a service."""
    way: Reach = request.param
    return way


class Bench:
    """An application that does what its path says, and remembers what happened to it."""

    def __init__(self) -> None:
        self.cancelled = asyncio.Event()
        self.entered = asyncio.Event()
        self.running = 0
        self.everyone_is_here = asyncio.Event()
        self.first_chunk_read = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.running += 1
        if self.running == CALLERS:
            self.everyone_is_here.set()
        self.entered.set()
        try:
            await getattr(self, scope["path"].strip("/"))(scope, receive, send)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        finally:
            self.running -= 1

    async def answer(self, send: Send, *chunks: bytes, status: int = 200, ends: bool = True) -> None:
        await send({"type": "http.response.start", "status": status, "headers": [(b"x-given", b"back")]})
        for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if ends:
            await send({"type": "http.response.body", "body": b""})

    async def echo(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while True:
            message = await receive()
            body += message["body"]
            if not message["more_body"]:
                break
        headers = dict(scope["headers"])
        told = [scope["method"].encode(), scope["query_string"], headers.get(b"x-told", b"-"), body]
        await self.answer(send, b"|".join(told))

    async def sleep(self, scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(30)

    async def pause(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with asyncio.timeout(60):
            await self.everyone_is_here.wait()
        await self.answer(send, b"done")

    async def flood(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.answer(send, *[b"x" * 1000] * 100)

    async def defect(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("the password of the vault is 1234")

    async def broken(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.answer(send, b"half", ends=False)

    async def slow_stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.answer(send, b"first", ends=False)
        await asyncio.wait_for(self.first_chunk_read.wait(), 60)
        await send({"type": "http.response.body", "body": b"second"})

    async def endless(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.answer(send, b"first", ends=False)
        await asyncio.sleep(30)

    async def chunks_received(self, scope: Scope, receive: Receive, send: Send) -> None:
        size, more = 0, True
        while more:
            message = await receive()
            size += len(message["body"])
            more = message["more_body"]
        await self.answer(send, str(size).encode())


async def test_a_request_arrives_whole_and_its_answer_comes_back(reach: Reach) -> None:
    async with reach(Bench()) as transport:
        response = await transport.send(Request("POST", "/echo?a=%C3%A9&b=1", {"X-Told": "yes"}, b"body"))
    assert response.status == 200
    assert response.body == b"POST|a=%C3%A9&b=1|yes|body"
    assert response.headers["x-given"] == "back"


async def test_a_service_that_takes_too_long_is_left_at_the_deadline(reach: Reach) -> None:
    async with reach(Bench()) as transport:
        with pytest.raises(DeadlineExceeded):
            await transport.send(Request("GET", "/sleep", timeout=0.1))


async def test_an_answer_larger_than_its_caller_takes_is_refused(reach: Reach) -> None:
    async with reach(Bench()) as transport:
        with pytest.raises(ResponseTooLarge):
            await transport.send(Request("GET", "/flood", max_response_bytes=50_000))
        whole = await transport.send(Request("GET", "/flood", max_response_bytes=100_000))
    assert len(whole.body) == 100_000


async def test_a_defect_in_a_service_is_a_500_that_gives_nothing_away(reach: Reach) -> None:
    async with reach(Bench()) as transport:
        response = await transport.send(Request("GET", "/defect"))
    assert response.status == 500
    assert b"1234" not in response.body


async def test_an_answer_that_is_broken_off_is_never_taken_for_whole(reach: Reach) -> None:
    async with reach(Bench()) as transport:
        with pytest.raises(ServiceUnavailable):
            await transport.send(Request("GET", "/broken"))


async def test_an_answer_is_read_while_it_is_being_written(reach: Reach) -> None:
    bench = Bench()
    async with reach(bench) as transport, transport.stream(Request("GET", "/slow_stream")) as response:
        chunks = response.chunks()
        assert response.status == 200
        assert await anext(chunks) == b"first"
        bench.first_chunk_read.set()
        assert b"".join([chunk async for chunk in chunks]) == b"second"


async def test_a_body_is_sent_while_it_is_being_made(reach: Reach) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(50):
            await asyncio.sleep(0)
            yield b"x" * 100

    async with reach(Bench()) as transport:
        response = await transport.send(Request("POST", "/chunks_received", body=parts()))
    assert response.body == b"5000"


async def test_a_body_that_cannot_be_made_is_the_callers_own_error(reach: Reach, tmp_path: Path) -> None:
    closed = []

    async def parts() -> AsyncIterator[bytes]:
        try:
            yield b"{"
            raise LookupError("no more entries")
        finally:
            closed.append(True)

    router = Router(prefix="/api/ledger", dependencies=[permit("ledger:Read")])

    @router.post("/entries")
    async def take(body: dict[str, str]) -> None: ...

    service = service_of(router)
    async with reach(service.build(context_in(tmp_path, service))) as transport:
        with pytest.raises(LookupError, match="no more entries"):
            await transport.send(Request("POST", "/api/ledger/entries", {"Content-Type": "application/json"}, parts()))
    assert closed == [True]


async def test_a_stream_ends_at_its_deadline_too(reach: Reach) -> None:
    async with reach(Bench()) as transport, transport.stream(Request("GET", "/endless", timeout=3)) as response:
        chunks = response.chunks()
        assert await anext(chunks) == b"first"
        with pytest.raises(DeadlineExceeded):
            await anext(chunks)


async def test_a_stream_larger_than_its_caller_takes_is_refused(reach: Reach) -> None:
    async with (
        reach(Bench()) as transport,
        transport.stream(Request("GET", "/flood", max_response_bytes=5_000)) as response,
    ):
        with pytest.raises(ResponseTooLarge):
            async for _ in response.chunks():
                pass


async def test_a_caller_that_gives_up_is_free_at_once(reach: Reach) -> None:
    bench = Bench()
    async with reach(bench) as transport:
        asking = asyncio.create_task(transport.send(Request("GET", "/sleep")))
        await asyncio.wait_for(bench.entered.wait(), 60)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking


@pytest.mark.parametrize("path", ["/sleep", "/endless"])
async def test_giving_up_in_memory_cancels_the_work_itself(path: str) -> None:
    bench = Bench()

    async def ask() -> None:
        async with MemoryTransport(bench).stream(Request("GET", path)) as response:
            async for _ in response.chunks():
                pass

    asking = asyncio.create_task(ask())
    await asyncio.wait_for(bench.entered.wait(), 60)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert bench.cancelled.is_set()


async def test_callers_do_not_wait_for_each_other(reach: Reach) -> None:
    bench = Bench()
    async with reach(bench) as transport:
        answers = await asyncio.gather(*(transport.send(Request("GET", "/pause")) for _ in range(CALLERS)))
    assert [answer.body for answer in answers] == [b"done"] * CALLERS


async def test_a_service_that_is_not_there_is_unavailable() -> None:
    with kept_port() as port:
        transport = HttpTransport(f"http://127.0.0.1:{port}")
        with pytest.raises(ServiceUnavailable):
            await transport.send(Request("GET", "/"))
        await transport.aclose()


async def test_http_follows_no_redirects_and_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(scope: Scope, receive: Receive, send: Send) -> None:
        await send(
            {"type": "http.response.start", "status": 307, "headers": [(b"location", b"http://elsewhere.example")]}
        )
        await send({"type": "http.response.body"})

    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    async with over_http(away) as transport:
        assert (await transport.send(Request("GET", "/"))).status == 307


async def test_who_calls_and_the_correlation_id_arrive_with_the_request(reach: Reach, tmp_path: Path) -> None:
    router = Router(prefix="/api/ledger")

    @router.get("/me")
    async def me(caller: Annotated[Caller, permit("ledger:ReadMe")]) -> str:
        return caller.kind

    service = service_of(router, policies="")
    app = service.build(context_in(tmp_path, service))
    token = Desk(app, tmp_path).token
    async with reach(app) as transport:
        headers = {"Authorization": f"Bearer {token}", "X-Correlation-ID": "payment-4711"}
        response = await transport.send(Request("GET", "/api/ledger/me", headers))
        stranger = await transport.send(Request("GET", "/api/ledger/me"))
    assert response.body == b'"Operator"'
    assert response.headers["x-correlation-id"] == "payment-4711"
    assert stranger.status == 401


async def test_a_service_knows_how_long_its_caller_waits(reach: Reach, tmp_path: Path) -> None:
    router = Router(prefix="/api/ledger", dependencies=[permit("ledger:Read")])

    @router.get("/left")
    async def left() -> float:
        return seconds_left() or -1.0

    service = service_of(router)
    async with reach(service.build(context_in(tmp_path, service))) as transport:
        response = await transport.send(Request("GET", "/api/ledger/left", {"X-Request-Timeout-Ms": "700"}))
    assert 0.3 < float(response.body) <= 0.7
