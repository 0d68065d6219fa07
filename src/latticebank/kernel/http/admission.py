"""What a request must be before anything of the bank looks at it: well-formed, bounded, and honest about its caller."""

import asyncio
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from latticebank.kernel.caller import Authenticator, CredentialRefused
from latticebank.kernel.http.permission import CALLER
from latticebank.kernel.http.problems import HttpError
from latticebank.values.errors import BankError, Fault, InvalidValue

MAX_TARGET_BYTES = 4096
MAX_HEADERS = 64
MAX_HEADER_BYTES = 16 * 1024
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_ONCE = frozenset(
    {b"authorization", b"content-length", b"content-type", b"host", b"idempotency-key", b"x-request-timeout-ms"}
)
_SLOW_SECONDS = 0.25
_MAX_SLOWED = 64


class TargetTooLong(HttpError):
    """The path and query are longer than any of this bank."""

    code = "target-too-long"
    title = "The address is too long"
    status = 414


class HeadersTooLarge(HttpError):
    """The header fields are too many or too large (RFC 6585, 5)."""

    code = "headers-too-large"
    title = "The header fields are too large"
    status = 431


class UnsupportedMediaType(HttpError):
    """The body is of a type that this service does not read."""

    code = "unsupported-media-type"
    title = "This type of body is not read here"
    status = 415


class BodyTooLarge(BankError):
    """The body is larger than the bank reads."""

    code = "body-too-large"
    title = "The body is too large"
    fault = Fault.TOO_LARGE


class Admission:
    """ASGI middleware that refuses what no route should see, and finds out who calls.

    `service` is the audience that credentials must be for. `max_body_bytes` holds for announced and for streamed bodies;
    `accepts` are the media types of bodies it lets in.
    """

    def __init__(
        self, app: ASGIApp, authenticator: Authenticator, service: str, max_body_bytes: int, accepts: Iterable[str]
    ) -> None:
        self._app = app
        self._authenticator = authenticator
        self._service = service
        self._max_body = max_body_bytes
        self._accepts = tuple(accepts)
        self._slowed = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        _refuse_odd_target(scope)
        headers = _headers(scope)
        scope[CALLER] = await self._caller(headers)
        has_body = self._refuse_large(headers)
        if has_body and scope["method"] not in _SAFE_METHODS:
            self._refuse_other_types(headers)
        await self._app(scope, self._bounded(receive), send)

    async def _caller(self, headers: dict[bytes, bytes]) -> object:
        authorization = headers.get(b"authorization")
        try:
            text = None if authorization is None else authorization.decode("latin-1")
            return await self._authenticator.authenticate(text, self._service)
        except CredentialRefused as refused:
            if refused.slow and self._slowed < _MAX_SLOWED:
                self._slowed += 1
                try:
                    await asyncio.sleep(_SLOW_SECONDS)
                finally:
                    self._slowed -= 1
            raise

    def _refuse_large(self, headers: dict[bytes, bytes]) -> bool:
        """Return whether there is a body; refuse one that is announced as too large."""
        length = headers.get(b"content-length")
        if length is None:
            return b"transfer-encoding" in headers
        if not length.isdigit() or len(length) > 19:
            raise InvalidValue("this is not a number of bytes", field="Content-Length")
        if int(length) > self._max_body:
            raise self._too_large()
        return int(length) > 0

    def _refuse_other_types(self, headers: dict[bytes, bytes]) -> None:
        value = headers.get(b"content-type", b"").decode("latin-1")
        media_type, _, parameters = value.partition(";")
        charset = parameters.strip().lower().replace('"', "")
        if media_type.strip().lower() not in self._accepts or charset not in ("", "charset=utf-8"):
            raise UnsupportedMediaType(
                "a body of this type is not read here",
                field="Content-Type",
                hint=f"send {' or '.join(self._accepts)} in UTF-8",
            )

    def _bounded(self, receive: Receive) -> Receive:
        received = 0

        async def bounded() -> Message:
            nonlocal received
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > self._max_body:
                    raise self._too_large()
            return message

        return bounded

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"a body has at most {self._max_body} bytes", field="body", hint="send it in parts")


def _refuse_odd_target(scope: Scope) -> None:
    query: bytes = scope.get("query_string", b"")
    path: bytes = scope.get("raw_path") or scope["path"].encode("utf-8", "surrogateescape")
    if len(path) + len(query) > MAX_TARGET_BYTES:
        raise TargetTooLong(f"an address has at most {MAX_TARGET_BYTES} bytes", field="path")
    for field, part in (("path", path), ("query", query)):
        try:
            text = (unquote_to_bytes(part.replace(b"+", b" ")) if b"%" in part else part).decode()
        except UnicodeDecodeError:
            raise InvalidValue("this is not UTF-8", field=field) from None
        if "\0" in text:
            raise InvalidValue("this holds NUL", field=field)


def _headers(scope: Scope) -> dict[bytes, bytes]:
    """Return the header fields by name; refuse too many, and a second one where two would contradict each other."""
    raw: list[tuple[bytes, bytes]] = scope["headers"]
    if len(raw) > MAX_HEADERS or sum(len(name) + len(value) for name, value in raw) > MAX_HEADER_BYTES:
        raise HeadersTooLarge(f"a request has at most {MAX_HEADERS} header fields and {MAX_HEADER_BYTES} bytes of them")
    headers = dict(raw)
    if len(headers) != len(raw):
        seen: set[bytes] = set()
        for name, _ in raw:
            if name in seen and name in _ONCE:
                raise InvalidValue("this header field stands twice", field=name.decode("latin-1"))
            seen.add(name)
    return headers
