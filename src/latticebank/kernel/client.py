"""The base of the typed clients by which services call each other."""

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import TypeVar
from urllib.parse import urlencode
from uuid import UUID

import msgspec

from latticebank.kernel.caller import Credential
from latticebank.kernel.deadline import TIMEOUT_HEADER, DeadlineExceeded, seconds_left
from latticebank.kernel.problem import STATUS_OF_FAULT, TYPE_PREFIX, Problem
from latticebank.kernel.telemetry import correlation_id
from latticebank.kernel.transports import Request, Response, ServiceUnavailable, Transport
from latticebank.kernel.transports.interface import DEFAULT_TIMEOUT_SECONDS
from latticebank.values.errors import BankError, Fault

T = TypeVar("T")

_ATTEMPTS = 3
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 2.0
_SAFE_METHODS = frozenset({"GET", "HEAD"})
_FAULT_OF_STATUS = {status: fault for fault, status in STATUS_OF_FAULT.items()}


class RemoteProblem(BankError):
    """The problem document with which a service answered: its code, title, fault, detail, field and hint."""

    def __init__(self, problem: Problem, retry_after: int | None = None) -> None:
        super().__init__(problem.detail, field=problem.field, hint=problem.hint)
        # Each instance carries what its service said, in place of what other errors have for a whole class.
        self.code = problem.code
        self.title = problem.title
        self.fault = _FAULT_OF_STATUS.get(problem.status, _fault_of_class(problem.status))  # type: ignore[misc]
        self.status = problem.status
        self.errors = problem.errors
        self.retry_after = retry_after


class ServiceClient:
    """Calls one service: JSON by msgspec both ways, problem documents as exceptions, the deadline passed on.

    `credential` gives the value of the Authorization header field at each call. A call is tried again, at most twice and
    never past the deadline, only if it is safe or has an idempotency key, and only if the service was not available.
    """

    def __init__(
        self,
        transport: Transport,
        credential: Credential | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._transport = transport
        self._credential = credential
        self._timeout = timeout
        self._jitter = jitter

    async def call(
        self,
        method: str,
        path: str,
        answer: type[T],
        *,
        body: object = None,
        query: Mapping[str, str | int] | None = None,
        idempotency_key: UUID | None = None,
    ) -> T:
        """Return the answer to one call, as this type; `None` for an answer without a body.

        Raises:
            RemoteProblem: the service answered with a problem.
            ServiceUnavailable, DeadlineExceeded, ResponseTooLarge: there was no answer.

        """
        target = f"{path}?{urlencode(query)}" if query else path
        payload = b"" if body is None else msgspec.json.encode(body)
        headers = await self._headers(idempotency_key, has_body=body is not None)
        repeatable = method in _SAFE_METHODS or idempotency_key is not None
        expires = asyncio.get_running_loop().time() + self._time()
        for attempt in range(1, _ATTEMPTS + 1):
            left = expires - asyncio.get_running_loop().time()
            if left <= 0:
                raise DeadlineExceeded("no time was left to ask the service")
            headers[TIMEOUT_HEADER] = str(max(1, int(left * 1000)))
            try:
                response = await self._transport.send(Request(method, target, headers, payload, left))
                return _decoded(response, answer)
            except (ServiceUnavailable, RemoteProblem) as error:
                pause = self._pause(attempt, error)
                waits_past = asyncio.get_running_loop().time() + pause >= expires
                if not repeatable or attempt == _ATTEMPTS or error.fault is not Fault.UNAVAILABLE or waits_past:
                    raise
            await asyncio.sleep(pause)
        raise AssertionError("unreachable")

    def _time(self) -> float:
        left = seconds_left()
        return self._timeout if left is None else min(self._timeout, left)

    async def _headers(self, idempotency_key: UUID | None, *, has_body: bool) -> dict[str, str]:
        headers = {"Accept": "application/json"}
        if has_body:
            headers["Content-Type"] = "application/json"
        if idempotency_key is not None:
            headers["Idempotency-Key"] = str(idempotency_key)
        if self._credential is not None:
            headers["Authorization"] = await self._credential()
        if (correlation := correlation_id.get()) is not None:
            headers["X-Correlation-ID"] = correlation
        return headers

    def _pause(self, attempt: int, error: BankError) -> float:
        """Return the seconds to wait: what the service asked for, or ever longer, and always a little at random."""
        if isinstance(error, RemoteProblem) and error.retry_after is not None:
            return min(float(error.retry_after), _LONGEST_PAUSE_SECONDS) + _FIRST_PAUSE_SECONDS * self._jitter()
        return min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 4.0 ** (attempt - 1)) * (0.5 + self._jitter() / 2)


def _decoded(response: Response, answer: type[T]) -> T:
    if response.status >= 400:
        raise _problem(response)
    try:
        return msgspec.json.decode(response.body or b"null", type=answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ServiceUnavailable("the service answered what cannot be read") from error


def _problem(response: Response) -> RemoteProblem:
    asked = response.headers.get("retry-after", "")
    retry_after = int(asked) if asked.isdigit() and len(asked) < 6 else None
    try:
        problem = msgspec.json.decode(response.body, type=Problem)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        problem = Problem(
            f"{TYPE_PREFIX}http-{response.status}",
            "A service answered without saying why",
            response.status,
            f"the service answered {response.status}",
        )
    return RemoteProblem(problem, retry_after)


def _fault_of_class(status: int) -> Fault:
    return Fault.INVALID if status < 500 else Fault.INTERNAL
