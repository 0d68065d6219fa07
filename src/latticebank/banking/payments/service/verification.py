"""Signatures are verified by a bounded pool of threads: the library lets go of the interpreter meanwhile.

Whatever waits goes to a thread in small lots, since waking a thread for each signature would cost half as much as the
signature itself.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from uuid import UUID

from latticebank.banking.payments.model.refusals import BankBusy, TooManyAttempts
from latticebank.banking.payments.service.metrics import PaymentMetrics
from latticebank.crypto.errors import InvalidSignature
from latticebank.crypto.signatures import VerifyingKey
from latticebank.documents.signing import verify

WORKERS = 2
MAX_WAITING = 512
MAX_WAITING_OF_USER = 64
MAX_BAD_SIGNATURES = 10
BAD_SIGNATURE_SECONDS = 60.0
_LOT = 8
_MAX_USERS_REMEMBERED = 10_000


@dataclass(slots=True)
class _Check:
    user: UUID
    key: VerifyingKey
    document: bytes
    signature: bytes
    document_type: str
    verdict: "asyncio.Future[None]"


class Verifier:
    """Verifies signatures while it is `running`. `monotonic` gives its time in seconds."""

    def __init__(self, metrics: PaymentMetrics, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._waiting: deque[_Check] = deque()
        self._of_user: dict[UUID, int] = {}
        self._bad: OrderedDict[UUID, deque[float]] = OrderedDict()
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="verify")
        self._bell = asyncio.Event()
        self._bad_signatures = metrics.bad_signatures
        metrics.verifying.set_function(lambda: len(self._waiting))

    async def verify(
        self, user: UUID, key: VerifyingKey, document: bytes, signature: bytes, document_type: str
    ) -> None:
        """Return if the key signed the document as one of this type.

        Raises:
            InvalidSignature: it did not.
            TooManyAttempts: too many signatures of this user were wrong lately; this one was not looked at.
            BankBusy: too many wait already, of this user or at all.

        """
        self._refuse_after_bad_ones(user)
        if len(self._waiting) >= MAX_WAITING:
            raise BankBusy(f"more than {MAX_WAITING} signatures wait to be verified")
        waiting = self._of_user.get(user, 0)
        if waiting >= MAX_WAITING_OF_USER:
            raise BankBusy(f"more than {MAX_WAITING_OF_USER} of your signatures wait to be verified")
        verdict = asyncio.get_running_loop().create_future()
        self._of_user[user] = waiting + 1
        self._waiting.append(_Check(user, key, document, signature, document_type, verdict))
        self._bell.set()
        try:
            await verdict
        except InvalidSignature:
            self._remember_bad_one(user)
            raise
        finally:
            left = self._of_user[user] - 1
            if left:
                self._of_user[user] = left
            else:
                del self._of_user[user]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the workers; who still waits in the end is told that the bank is busy."""
        workers = [asyncio.create_task(self._work()) for _ in range(WORKERS)]
        try:
            yield
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.wait(workers)
            while self._waiting:
                _settle(self._waiting.popleft(), BankBusy("the bank is closing"))
            self._pool.shutdown(wait=True)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while not self._waiting:
                self._bell.clear()
                await self._bell.wait()
            # A fair part of what waits, so that no worker stands idle beside a long lot.
            size = min(_LOT, -(-len(self._waiting) // WORKERS))
            lot = [check for check in (self._waiting.popleft() for _ in range(size)) if not check.verdict.done()]
            try:
                verdicts = await loop.run_in_executor(self._pool, _verify_all, lot)
            except BaseException:
                for check in lot:
                    _settle(check, BankBusy("the bank is closing"))
                raise
            for check, error in zip(lot, verdicts, strict=True):
                _settle(check, error)

    def _refuse_after_bad_ones(self, user: UUID) -> None:
        times = self._bad.get(user)
        if times is None:
            return
        now = self._monotonic()
        while times and times[0] <= now - BAD_SIGNATURE_SECONDS:
            times.popleft()
        if len(times) >= MAX_BAD_SIGNATURES:
            raise TooManyAttempts(int(times[0] + BAD_SIGNATURE_SECONDS - now) + 1)

    def _remember_bad_one(self, user: UUID) -> None:
        self._bad_signatures.inc()
        self._bad.setdefault(user, deque(maxlen=MAX_BAD_SIGNATURES)).append(self._monotonic())
        self._bad.move_to_end(user)
        if len(self._bad) > _MAX_USERS_REMEMBERED:
            self._bad.popitem(last=False)


def _verify_all(lot: list[_Check]) -> list[Exception | None]:
    verdicts: list[Exception | None] = []
    for check in lot:
        try:
            verify(check.key, check.document, check.signature, check.document_type)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer to this check alone
            verdicts.append(error)
        else:
            verdicts.append(None)
    return verdicts


def _settle(check: _Check, error: Exception | None) -> None:
    with suppress(asyncio.InvalidStateError):
        if error is None:
            check.verdict.set_result(None)
        else:
            check.verdict.set_exception(error)
