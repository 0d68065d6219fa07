"""The door of a bank that must not answer for the moment: everything but its health is refused, with the reason."""

from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from latticebank.kernel.http.problems import problem_response
from latticebank.values.errors import BankError

ALWAYS_ANSWERED = ("/health", "/metrics")


class ClosedWhile:
    """ASGI middleware that answers requests with the error that `reason` returns, as long as it returns one."""

    def __init__(self, app: ASGIApp, reason: Callable[[], BankError | None]) -> None:
        self._app = app
        self._reason = reason

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request of ASGI on, or refuse it."""
        reason = self._reason() if scope["type"] == "http" else None
        if reason is None or scope["path"].startswith(ALWAYS_ANSWERED):
            await self._app(scope, receive, send)
        else:
            await problem_response(reason)(scope, receive, send)
