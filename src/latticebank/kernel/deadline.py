"""How long a request may take: the bank's limit, or less if the caller says so. What passes it is cancelled."""

import asyncio
from contextvars import ContextVar

from starlette.types import ASGIApp, Receive, Scope, Send

from latticebank.values.errors import BankError, Fault, InvalidValue

TIMEOUT_HEADER = "X-Request-Timeout-Ms"
_HEADER = TIMEOUT_HEADER.lower().encode()
_MAX_DIGITS = 9

_expires: ContextVar[float | None] = ContextVar("expires", default=None)


class DeadlineExceeded(BankError):
    """The time for a request is over; what it set going may still come to pass."""

    code = "deadline-exceeded"
    title = "The time for this request is over"
    fault = Fault.TIMEOUT


def seconds_left() -> float | None:
    """Return the seconds until the deadline of the request being answered, or None outside of one."""
    expires = _expires.get()
    return None if expires is None else expires - asyncio.get_running_loop().time()


class Deadline:
    """ASGI middleware that cancels a request at its deadline: `seconds`, or less by the header field of the caller."""

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        seconds = self._seconds
        for name, value in scope["headers"]:
            if name == _HEADER:
                seconds = min(seconds, _asked(value))
        timeout = asyncio.timeout(seconds)
        expiry = _expires.set(asyncio.get_running_loop().time() + seconds)
        try:
            async with timeout:
                await self._app(scope, receive, send)
        except TimeoutError:
            if not timeout.expired():
                raise
            raise DeadlineExceeded(
                f"this took longer than {seconds:g} seconds and was stopped",
                hint="ask again with the same Idempotency-Key: its outcome is kept",
            ) from None
        finally:
            _expires.reset(expiry)


def _asked(value: bytes) -> float:
    if not value.isdigit() or len(value) > _MAX_DIGITS or int(value) == 0:
        raise InvalidValue("this is a positive number of milliseconds", field=TIMEOUT_HEADER)
    return int(value) / 1000
