"""Argon2id costs a tenth of a second and 64 MiB: two at once, 64 waiting, and no more."""

import asyncio
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge

from latticebank.crypto.errors import UnknownAlgorithm
from latticebank.crypto.passwords import Verdict, hash_password, verify_password
from latticebank.values.errors import BankError, Fault

AT_ONCE = 2
WAITING = 64

T = TypeVar("T")


class Busy(BankError):
    """More log-ins are waiting than the bank lets wait."""

    code = "busy"
    title = "The bank is busy"
    fault = Fault.UNAVAILABLE
    retry_after = 2


class Passwords:
    """Hashes and verifies passwords in a bounded pool of threads.

    What is done for someone unknown costs the same as for a customer, and is counted the same.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="argon2")
        self._in_hand = 0
        self._nobody = ""
        self._work = Counter(
            "latticebank_identity_password_work", "Passwords hashed or verified.", ("work",), registry=registry
        )
        self._waiting = Gauge("latticebank_identity_password_waiting", "Passwords in hand.", registry=registry)

    async def prepare(self) -> None:
        """Make the hash that stands for everyone unknown."""
        self._nobody = await self.hash(secrets.token_urlsafe(32))

    async def hash(self, password: str) -> str:
        """Return the hash of a new password.

        Raises:
            Busy: too many wait.

        """
        return await self._run("hash", lambda: hash_password(password))

    async def verify(self, stored: str | None, password: str) -> Verdict:
        """Say whether a password is the one of a stored hash; of nobody (None) it never is.

        Raises:
            Busy: too many wait.

        """
        verdict = await self._run("verify", lambda: self._verdict(stored or self._nobody, password))
        return Verdict(matches=False, upgrade=False) if stored is None else verdict

    def close(self) -> None:
        """Let the threads go."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _verdict(self, stored: str, password: str) -> Verdict:
        try:
            return verify_password(stored, password)
        except UnknownAlgorithm:
            # To say so would tell that this customer exists; a new password must be set.
            verify_password(self._nobody, password)
            return Verdict(matches=False, upgrade=False)

    async def _run(self, work: str, call: Callable[[], T]) -> T:
        with self._place():
            self._work.labels(work).inc()
            return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self._in_hand >= AT_ONCE + WAITING:
            raise Busy("too many are logging in at once", hint="try again in a moment")
        self._in_hand += 1
        self._waiting.set(self._in_hand)
        try:
            yield
        finally:
            self._in_hand -= 1
            self._waiting.set(self._in_hand)
