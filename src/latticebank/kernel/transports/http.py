"""Reaches a service elsewhere, over HTTP."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from ssl import SSLContext

import httpx

from latticebank.kernel.deadline import DeadlineExceeded
from latticebank.kernel.transports.interface import (
    Headers,
    Request,
    Response,
    ResponseTooLarge,
    ServiceUnavailable,
    StreamedResponse,
    by_name,
)

MAX_CONNECTIONS = 100
_CONNECT_SECONDS = 2.0
_IDLE_SECONDS = 30.0


class HttpTransport:
    """The transport to a service at a base URL. It follows no redirects and knows no proxies or `.netrc`.

    `socket` is the path of a Unix socket to connect to in place of the host of the URL; `tls` verifies the service and
    says who calls.
    """

    def __init__(self, base_url: str, *, socket: str | None = None, tls: SSLContext | None = None) -> None:
        self._base_url = base_url.rstrip("/")
        limits = httpx.Limits(
            max_connections=MAX_CONNECTIONS,
            max_keepalive_connections=MAX_CONNECTIONS,
            keepalive_expiry=_IDLE_SECONDS,
        )
        verify: SSLContext | bool = True if tls is None else tls
        self._client = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(verify=verify, trust_env=False, limits=limits, uds=socket),
            follow_redirects=False,
            trust_env=False,
        )

    async def send(self, request: Request) -> Response:
        """Return the whole response; cancelling this closes the connection."""
        async with self.stream(request) as response:
            body = b"".join([chunk async for chunk in response.chunks()])
            return Response(response.status, response.headers, body)

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[StreamedResponse]:
        """Open the response once its head is there."""
        expires = asyncio.get_running_loop().time() + request.timeout
        outgoing = self._client.build_request(
            request.method,
            self._base_url + request.target,
            headers=dict(request.headers or {}),
            content=request.body,
            timeout=httpx.Timeout(request.timeout, connect=min(_CONNECT_SECONDS, request.timeout)),
        )
        with _named(request):
            async with asyncio.timeout_at(expires):
                response = await self._client.send(outgoing, stream=True)
        try:
            yield _Streamed(response, request, expires)
        finally:
            await response.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()


class _Streamed:
    def __init__(self, response: httpx.Response, request: Request, expires: float) -> None:
        self._response = response
        self._request = request
        self._expires = expires
        self.status = response.status_code
        self.headers: Headers = by_name(response.headers.raw)

    async def chunks(self) -> AsyncIterator[bytes]:
        size = 0
        source = self._response.aiter_raw()
        while True:
            with _named(self._request):
                async with asyncio.timeout_at(self._expires):
                    chunk = await anext(source, None)
            if chunk is None:
                return
            size += len(chunk)
            if size > self._request.max_response_bytes:
                raise ResponseTooLarge(f"the answer has more than {self._request.max_response_bytes} bytes")
            yield chunk


@contextmanager
def _named(request: Request) -> Iterator[None]:
    """Give what the network does to us the names of the bank."""
    try:
        yield
    except (TimeoutError, httpx.ReadTimeout, httpx.WriteTimeout):
        raise DeadlineExceeded(f"the service did not answer within {request.timeout:g} seconds") from None
    except (httpx.ConnectError, httpx.ConnectTimeout):
        raise ServiceUnavailable("the service cannot be reached") from None
    except httpx.PoolTimeout:
        raise ServiceUnavailable("all connections to the service are busy") from None
    except httpx.TransportError as error:
        raise ServiceUnavailable("the service broke off its answer") from error
