"""The door: what comes in from outside is cleaned, known by its session, and sent to the service whose path it is."""

from collections.abc import Callable, Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

from latticebank.gateway.service import SESSION_PREFIX, PhantomTokens
from latticebank.kernel.caller import CredentialRefused
from latticebank.kernel.credential_file import OPERATOR_PREFIX
from latticebank.kernel.http.problems import problem_response
from latticebank.values.errors import BankError

FORGED = b"x-latticebank-"
"""Header fields of the bank's own begin like this; from outside they are dropped."""
_AUTHORIZATION = b"authorization"


class Door:
    """ASGI middleware in front of the bank.

    Two credentials come in from outside: the token of a session, exchanged here for an internal one, and the operator's
    token, which passes. Any other, an internal token above all, is refused. `owner_of` tells the service of a path.
    """

    def __init__(self, bank: ASGIApp, tokens: PhantomTokens, owner_of: Callable[[str], str | None]) -> None:
        self._bank = bank
        self._tokens = tokens
        self._owner_of = owner_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request in, or answer why not."""
        if scope["type"] == "http":
            try:
                scope = {**scope, "headers": await self._cleaned(scope)}
            except BankError as error:
                await problem_response(error)(scope, receive, send)
                return
        await self._bank(scope, receive, send)

    async def _cleaned(self, scope: Mapping[str, object]) -> list[tuple[bytes, bytes]]:
        headers: list[tuple[bytes, bytes]] = []
        given: list[bytes] = []
        raw: list[tuple[bytes, bytes]] = scope["headers"]  # type: ignore[assignment]
        for name, value in raw:
            if name == _AUTHORIZATION:
                given.append(value)
            elif not name.startswith(FORGED):
                headers.append((name, value))
        audience = self._owner_of(str(scope["path"]))
        # The service refuses a second header field. What the bank itself answers, anyone may ask: a session is no hindrance.
        if len(given) == 1 and audience is not None:
            given = [await self._exchanged(given[0], audience)]
        elif len(given) == 1 and _session_token(given[0]):
            given = []
        return [*headers, *((_AUTHORIZATION, value) for value in given)]

    async def _exchanged(self, authorization: bytes, audience: str) -> bytes:
        if token := _session_token(authorization):
            return b"Bearer " + (await self._tokens.internal(token, audience)).encode()
        token = authorization.decode("latin-1").partition(" ")[2]
        if "." in token or not token.startswith(OPERATOR_PREFIX):
            raise CredentialRefused
        return authorization


def _session_token(authorization: bytes) -> str:
    """Return the token of a session that a header field presents; nothing for any other credential."""
    scheme, _, token = authorization.decode("latin-1").partition(" ")
    return token if scheme.lower() == "bearer" and token.startswith(SESSION_PREFIX) else ""
