"""The exchange of opaque session tokens for internal ones (the phantom-token pattern), remembered for seconds."""

import asyncio
import re
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Protocol

from latticebank.kernel.caller import CredentialRefused

SESSION_PREFIX = "lbs_"
_SESSION_TOKEN = re.compile(r"lbs_[A-Za-z0-9_-]{43}")

REMEMBERED_SECONDS = 4.0
"""How long an exchanged token is used without asking again: a session that ended is refused within this time."""
_REMEMBERED = 100_000


class Exchanged(Protocol):
    """An internal token for one audience and how long it is good for, in seconds."""

    @property
    def token(self) -> str: ...
    @property
    def expires_in(self) -> float: ...


class Exchange(Protocol):
    """Identity, as the gateway needs it."""

    async def exchange(self, token: str, audience: str) -> Exchanged:
        """Return the internal token of the session that this opaque token stands for.

        Raises:
            RemoteProblem: the session has ended.

        """
        ...


class PhantomTokens:
    """Exchanges session tokens, each at most once every few seconds and once at a time."""

    def __init__(self, exchange: Exchange, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._exchange = exchange
        self._monotonic = monotonic
        self._known: dict[bytes, tuple[str, float]] = {}
        self._asking: dict[bytes, asyncio.Task[str]] = {}

    async def internal(self, token: str, audience: str) -> str:
        """Return the internal token for a session token.

        Raises:
            CredentialRefused: it has not the form of one.
            RemoteProblem: the session has ended.

        """
        if _SESSION_TOKEN.fullmatch(token) is None:
            raise CredentialRefused
        # The opaque token itself is kept nowhere.
        name = sha256(f"{audience} {token}".encode()).digest()
        known = self._known.get(name)
        if known is not None and self._monotonic() < known[1]:
            return known[0]
        asking = self._asking.get(name)
        if asking is None:
            asking = asyncio.create_task(self._ask(name, token, audience))
            self._asking[name] = asking
            asking.add_done_callback(lambda _: self._asking.pop(name, None))
        # Others may wait for the same answer: one who gives up must not take it from them.
        return await asyncio.shield(asking)

    async def _ask(self, name: bytes, token: str, audience: str) -> str:
        self._known.pop(name, None)
        asked_at = self._monotonic()
        exchanged = await self._exchange.exchange(token, audience)
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[name] = (exchanged.token, asked_at + min(REMEMBERED_SECONDS, exchanged.expires_in / 2))
        return exchanged.token
