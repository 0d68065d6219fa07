"""Calls an ASGI application (ASGI 3.0, HTTP 2.4) that lives in this process, directly.

What crosses is what would cross the network: a deadline, a limit on the answer, and exceptions as 500s.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import unquote

import structlog
from starlette.types import ASGIApp, Message, Scope

from latticebank.kernel.deadline import DeadlineExceeded
from latticebank.kernel.http.problems import problem_response
from latticebank.kernel.transports.interface import (
    Headers,
    Request,
    Response,
    ResponseTooLarge,
    ServiceUnavailable,
    StreamedResponse,
    by_name,
)

_QUEUED_CHUNKS = 8


class MemoryTransport:
    """The transport to an application here. It does not run the application's lifespan."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def send(self, request: Request) -> Response:
        """Return the whole response; cancelling this cancels the application."""
        exchange = _Exchange(request)
        timeout = asyncio.timeout(request.timeout)
        try:
            async with timeout:
                await exchange.run(self._app)
        except TimeoutError:
            if timeout.expired():
                raise _too_late(request) from None
            raise
        return Response(exchange.status, exchange.headers, b"".join(exchange.chunks))

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[StreamedResponse]:
        """Open the response; the application runs at most a few chunks ahead of its reader."""
        exchange = _StreamedExchange(request)
        expires = asyncio.get_running_loop().time() + request.timeout
        running = asyncio.create_task(exchange.run_to_the_end(self._app))
        response = _Streamed(exchange, request, expires)
        try:
            await response.open()
            yield response
        finally:
            running.cancel()
            await asyncio.wait([running])

    async def aclose(self) -> None:
        """There is nothing to let go of."""


class _Exchange:
    """One call of the application: its scope, what it receives and what it sends."""

    def __init__(self, request: Request) -> None:
        self.status = 0
        self.headers: Headers = {}
        self.chunks: list[bytes] = []
        self._request = request
        self._size = 0
        self._overflowed = False
        self._complete = False
        self._source: AsyncIterator[bytes] | None = None
        self._source_failed: Exception | None = None
        self._body_sent = False
        self._disconnected: asyncio.Event | None = None

    async def run(self, app: ASGIApp) -> None:
        """Call the application; an exception of its own becomes the response that a server would make of it."""
        try:
            await app(self._scope(), self.receive, self.send)
        except Exception as error:
            if self._overflowed or self._source_failed is not None:
                pass
            elif self.status:
                raise ServiceUnavailable("the service broke off its answer") from error
            else:
                structlog.get_logger().error("application failed", exc_info=error)
                await problem_response(error)(self._scope(), self.receive, self.send)
        finally:
            if isinstance(self._source, AsyncGenerator):
                await self._source.aclose()
        if self._source_failed is not None:
            raise self._source_failed
        if self._overflowed:
            raise ResponseTooLarge(f"the answer has more than {self._request.max_response_bytes} bytes")
        if not self._complete:
            raise ServiceUnavailable("the service broke off its answer")
        if self._disconnected is not None:
            self._disconnected.set()

    async def receive(self) -> Message:
        """Give the application the next part of the body; after the last, wait until the exchange is over."""
        if not self._body_sent:
            body = self._request.body
            if isinstance(body, bytes):
                self._body_sent = True
                return {"type": "http.request", "body": body, "more_body": False}
            if self._source is None:
                self._source = aiter(body)
            try:
                chunk = await anext(self._source, None)
            except Exception as error:
                # What breaks the caller's own body is the caller's to hear of, and a broken connection to the service.
                self._source_failed = error
                raise OSError("the caller broke off") from error
            self._body_sent = chunk is None
            return {"type": "http.request", "body": chunk or b"", "more_body": chunk is not None}
        if not self._complete:
            self._disconnected = self._disconnected or asyncio.Event()
            await self._disconnected.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Take what the application sends."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = by_name(message.get("headers", ()))
            await self.head()
            return
        body = message.get("body", b"")
        self._size += len(body)
        if self._size > self._request.max_response_bytes:
            self._overflowed = True
            raise OSError("the caller takes no more")
        if body:
            await self.chunk(body)
        if not message.get("more_body", False):
            self._complete = True
            if self._disconnected is not None:
                self._disconnected.set()

    async def head(self) -> None:
        """Note that status and headers are there."""

    async def chunk(self, body: bytes) -> None:
        """Keep a part of the body."""
        self.chunks.append(body)

    def _scope(self) -> Scope:
        request = self._request
        path, _, query = request.target.partition("?")
        raw_path = path.encode("ascii")
        headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in (request.headers or {}).items()
        ]
        headers.append((b"host", b"memory"))
        if not isinstance(request.body, bytes):
            headers.append((b"transfer-encoding", b"chunked"))
        elif request.body:
            headers.append((b"content-length", str(len(request.body)).encode()))
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": "http",
            "path": unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": query.encode("ascii"),
            "root_path": "",
            "headers": headers,
            "client": None,
            "server": ("memory", 0),
        }


class _StreamedExchange(_Exchange):
    """A call whose reader follows it: through a short queue, in which None ends and an error breaks off."""

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self.queue: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue(_QUEUED_CHUNKS)

    async def run_to_the_end(self, app: ASGIApp) -> None:
        try:
            await self.run(app)
        except Exception as error:  # noqa: BLE001 - it is raised on the reader's side
            await self.queue.put(error)
        else:
            await self.queue.put(None)

    async def head(self) -> None:
        await self.queue.put(b"")

    async def chunk(self, body: bytes) -> None:
        await self.queue.put(body)


class _Streamed:
    """The reader's side of a streamed response."""

    def __init__(self, exchange: _StreamedExchange, request: Request, expires: float) -> None:
        self._exchange = exchange
        self._request = request
        self._expires = expires

    @property
    def status(self) -> int:
        return self._exchange.status

    @property
    def headers(self) -> Headers:
        return self._exchange.headers

    async def open(self) -> None:
        """Wait for the head."""
        await self._next()

    async def chunks(self) -> AsyncIterator[bytes]:
        while (chunk := await self._next()) is not None:
            yield chunk

    async def _next(self) -> bytes | None:
        try:
            async with asyncio.timeout_at(self._expires):
                item = await self._exchange.queue.get()
        except TimeoutError:
            raise _too_late(self._request) from None
        if isinstance(item, BaseException):
            raise item
        return item


def _too_late(request: Request) -> DeadlineExceeded:
    return DeadlineExceeded(f"the service did not answer within {request.timeout:g} seconds")
