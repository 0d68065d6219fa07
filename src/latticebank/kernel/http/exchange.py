"""The outermost layer of every application: what each exchange gets, whatever happens inside.

A correlation id, a log line, its metrics, the security headers, and a problem document for any exception.
"""

import asyncio
import re
from collections.abc import Callable
from time import perf_counter
from uuid import UUID

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from latticebank.kernel.http.permission import CALLER
from latticebank.kernel.http.problems import problem_response
from latticebank.kernel.telemetry import Metrics, correlation_id
from latticebank.values.errors import BankError, Fault

CORRELATION_HEADER = "X-Correlation-ID"
_HEADER = CORRELATION_HEADER.lower().encode()
_SAFE = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]{7,63}")
_ABANDONED = 499
_UNMATCHED = "(none)"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

SECURITY_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
STRICT_TRANSPORT = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")


class Exchange:
    """ASGI middleware around everything else. `ids` makes correlation ids."""

    def __init__(self, app: ASGIApp, service: str, ids: Callable[[], UUID], metrics: Metrics) -> None:
        self._app = app
        self._service = service
        self._ids = ids
        self._metrics = metrics
        self._in_flight = metrics.in_flight.labels(service)
        self._log = structlog.get_logger().bind(service=service)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        method = scope["method"]
        if method == "HEAD":
            scope = {**scope, "method": "GET"}  # the server goes by its own scope, which stays as it is
        correlation = self._correlation(scope)
        token = correlation_id.set(correlation)
        answer = _Answer(scope, send, correlation, bodiless=method == "HEAD")
        self._in_flight.inc()
        try:
            await self._app(scope, receive, answer.send)
        except asyncio.CancelledError:
            answer.status = _ABANDONED
            raise
        except ClientDisconnect:
            answer.status = _ABANDONED  # nobody is there to be told
        except Exception as error:  # noqa: BLE001 - the edge of the application: what is not known here is a 500
            await self._tell(error, answer, scope, receive)
        finally:
            self._in_flight.dec()
            self._record(scope, method, answer.status, perf_counter() - started)
            correlation_id.reset(token)

    def _correlation(self, scope: Scope) -> str:
        for name, value in scope["headers"]:
            if name == _HEADER and _SAFE.fullmatch(value):
                return str(value, "ascii")
        return str(self._ids())

    async def _tell(self, error: Exception, answer: "_Answer", scope: Scope, receive: Receive) -> None:
        if not isinstance(error, BankError) or error.fault is Fault.INTERNAL:
            self._log.error("request failed", exc_info=error)
        if answer.status:
            # The head is out, so the truth can only be told by leaving the body unfinished.
            self._log.warning("answer broken off", reason=type(error).__name__)
            return
        await problem_response(error)(scope, receive, answer.send)

    def _record(self, scope: Scope, method: str, status: int, seconds: float) -> None:
        route = scope.get("route")
        template = _UNMATCHED if route is None else route.path_format
        # Any token is a valid method, so that the label would grow with the imagination of callers.
        known = method if method in _METHODS else "OTHER"
        self._metrics.requests.labels(self._service, known, template, str(status)).inc()
        self._metrics.seconds.labels(self._service, known, template).observe(seconds)
        caller = scope.get(CALLER)
        self._log.info(
            "request",
            method=known,
            route=template,
            status=status,
            milliseconds=round(seconds * 1000, 3),
            caller=None if caller is None else caller.kind.value,
        )


class _Answer:
    """The sending side of an exchange: adds the headers that every answer has and keeps the status (0 until sent)."""

    __slots__ = ("_bodiless", "_correlation", "_scope", "_send", "status")

    def __init__(self, scope: Scope, send: Send, correlation: str, *, bodiless: bool) -> None:
        self._scope = scope
        self._send = send
        self._correlation = correlation
        self._bodiless = bodiless
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = list(message.get("headers", ()))
            present = {name for name, _ in headers}
            headers.extend(header for header in SECURITY_HEADERS if header[0] not in present)
            if self._scope.get("scheme") == "https":
                headers.append(STRICT_TRANSPORT)
            headers.append((_HEADER, self._correlation.encode()))
            message["headers"] = headers
        elif self._bodiless and message["type"] == "http.response.body":
            message["body"] = b""
        await self._send(message)
