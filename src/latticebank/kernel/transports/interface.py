"""What a transport takes, gives and promises."""

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from latticebank.values.errors import BankError, Fault

DEFAULT_TIMEOUT_SECONDS = 10.0
DEFAULT_MAX_RESPONSE_BYTES = 16 * 1024 * 1024

Headers = Mapping[str, str]
"""Header fields by their names in lower case."""


class ServiceUnavailable(BankError):
    """A service cannot be reached, or broke off its answer."""

    code = "service-unavailable"
    title = "A part of the bank is not available"
    fault = Fault.UNAVAILABLE


class ResponseTooLarge(BankError):
    """A service answered with more than the caller was ready to take."""

    code = "response-too-large"
    title = "A part of the bank answered too much"
    fault = Fault.INTERNAL


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `target` is the path and query, percent-encoded (RFC 9112, 3.2.1).

    A body that is not bytes is streamed. `timeout` is in seconds and holds for the whole exchange.
    """

    method: str
    target: str
    headers: Headers | None = None
    body: bytes | AsyncIterable[bytes] = b""
    timeout: float = DEFAULT_TIMEOUT_SECONDS
    max_response_bytes: int = DEFAULT_MAX_RESPONSE_BYTES


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response."""

    status: int
    headers: Headers
    body: bytes


class StreamedResponse(Protocol):
    """A response whose body comes in chunks, in the order of sending."""

    @property
    def status(self) -> int:
        """The status code."""
        ...

    @property
    def headers(self) -> Headers:
        """The header fields."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body.

        Raises:
            DeadlineExceeded, ServiceUnavailable, ResponseTooLarge: as `Transport.send`, at any chunk.

        """
        ...


class Transport(Protocol):
    """The way to one service. An answer of any status is a response, and only the lack of one is an error."""

    async def send(self, request: Request) -> Response:
        """Return the whole response.

        Raises:
            DeadlineExceeded: it did not come in time.
            ServiceUnavailable: the service cannot be reached, or broke off.
            ResponseTooLarge: the body has more than `max_response_bytes`.

        """
        ...

    def stream(self, request: Request) -> AbstractAsyncContextManager[StreamedResponse]:
        """Open the response once its head is there; leaving the context before its end cancels the rest."""
        ...

    async def aclose(self) -> None:
        """Let go of all connections."""
        ...


def by_name(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return raw header fields by name, several of one name joined as RFC 9110, 5.3 allows."""
    headers: dict[str, str] = {}
    for name, value in raw:
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers
