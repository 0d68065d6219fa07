"""The way through the door to a service that runs elsewhere: ASGI on this side, a transport on the other."""

from starlette.requests import Request as Received
from starlette.responses import Response as Answer
from starlette.types import Receive, Scope, Send

from latticebank.kernel.http.problems import problem_response
from latticebank.kernel.transports import Request, Transport
from latticebank.values.errors import BankError

_ONE_HOP = frozenset(
    {"connection", "content-length", "date", "host", "keep-alive", "server", "te", "transfer-encoding", "upgrade"}
)
"""Header fields that belong to one connection (RFC 9110, 7.6.1) or that each server writes itself."""
MAX_FORWARDED_BYTES = 64 * 2**20


class Forwarding:
    """An ASGI application that passes each request on to a service elsewhere and its answer back, whole."""

    def __init__(self, transport: Transport, seconds: float) -> None:
        self._transport = transport
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request by what the service answers."""
        received = Received(scope, receive)
        path = scope.get("raw_path") or scope["path"].encode()
        query = scope.get("query_string", b"")
        target = (path + b"?" + query if query else path).decode("latin-1")
        headers = {name: value for name, value in received.headers.items() if name not in _ONE_HOP}
        try:
            body = await received.body()
            response = await self._transport.send(Request(scope["method"], target, headers, body, self._seconds))
        except BankError as error:
            await problem_response(error)(scope, receive, send)
            return
        kept = {name: value for name, value in response.headers.items() if name not in _ONE_HOP}
        await Answer(response.body, response.status, kept)(scope, receive, send)
