"""One witness of the log, as this process knows it: how it is reached, and when it is asked."""

import asyncio
import time
from base64 import b64encode
from collections.abc import Coroutine, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from latticebank.crypto.log_policy import NamedWitness
from latticebank.crypto.notes import MAX_NOTE
from latticebank.kernel.transports import HttpTransport, Request, Response
from latticebank.kernel.worker import Pace
from latticebank.values.errors import BankError, Fault

ROUND_SECONDS = 0.5
"""How long a log that grows waits for all of its witnesses together: what the bank answered is published within a second."""
PATIENCE_SECONDS = 10.0
"""How long a witness has for an answer that nobody waits for."""
GREETING_SECONDS = 2.0
"""How long it has to show the latest that it knows; a bank that opens waits for that."""
_REST = Pace(first_failure=2.0, longest_failure=60.0)
OK, NOT_FOUND, CONFLICT = 200, 404, 409


class NotCosigned(BankError):
    """A witness did not cosign."""

    code = "not-cosigned"
    title = "A witness did not cosign the checkpoint"
    fault = Fault.UNAVAILABLE


class Cosignature(NamedTuple):
    """A line that a witness gave, verified, for the checkpoint with this text: of `size` leaves of the log of a number."""

    log: int
    size: int
    text: str
    line: str


class Witness:
    """One witness. It is asked one thing at a time."""

    def __init__(self, named: NamedWitness, url: str) -> None:
        self.name = named.key.name
        self.key = named.key
        self.trouble: str | None = None
        self.prompt = True
        """Whether it cosigned in time when it was last asked: for nobody else a log that grows waits."""
        self._transport = HttpTransport(url)
        self._asked: asyncio.Task[Cosignature | None] | None = None
        self._failures, self._rests_until = 0, 0.0
        self._delays, self._passed_until = 0, 0.0

    def is_free(self, *, growing: bool) -> bool:
        """Whether it may be asked now; a log that grows passes by who was late."""
        now = time.monotonic()
        return self._asked is None and now >= self._rests_until and not (growing and now < self._passed_until)

    @property
    def has_answered(self) -> bool:
        """Whether what it was asked is answered, and nobody has heard it."""
        return self._asked is not None and self._asked.done()

    def ask(self, question: Coroutine[Any, Any, Cosignature | None]) -> asyncio.Task[Cosignature | None]:
        """Begin to ask it for a cosignature, and return what becomes of that."""
        assert self._asked is None, "it is asked one thing at a time"
        self._asked = asyncio.create_task(question)
        return self._asked

    def hear(self) -> Cosignature | None:
        """Return what it has answered since it was last heard, None for nothing."""
        if self._asked is None or not self._asked.done():
            return None
        answered, self._asked = self._asked, None
        return answered.result()

    def cosigned(self, seconds: float) -> None:
        """It has cosigned, and took so long for it."""
        self.trouble, self._failures = None, 0
        self.prompt = seconds <= ROUND_SECONDS
        self._delays = 0 if self.prompt else self._delays + 1
        self._passed_until = 0.0 if self.prompt else time.monotonic() + _REST.after_failures(self._delays)

    def failed(self, why: str) -> None:
        """Leave it alone for a while, a longer one each time."""
        self.prompt, self._failures = False, self._failures + 1
        self.trouble, self._rests_until = why, time.monotonic() + _REST.after_failures(self._failures)

    async def add_checkpoint(self, old: int, proof: Sequence[bytes], note: bytes) -> Response:
        """Return what the witness answers to a checkpoint and the proof from the size it knows.

        Raises:
            NotCosigned, ServiceUnavailable, DeadlineExceeded, ResponseTooLarge: it does not answer.

        """
        lines = [f"old {old}", *(b64encode(each).decode() for each in proof), "", ""]
        body = "\n".join(lines).encode() + note
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        return await self._send(Request("POST", "/add-checkpoint", headers, body, PATIENCE_SECONDS, MAX_NOTE))

    async def checkpoint(self, origin: str) -> bytes | None:
        """Return the latest checkpoint of a log that the witness shows, None if it shows none; nothing says it is true.

        Raises:
            NotCosigned, ServiceUnavailable, DeadlineExceeded, ResponseTooLarge: it does not answer that.

        """
        target = f"/{sha256(origin.encode()).hexdigest()}/checkpoint"
        answer = await self._send(Request("GET", target, {}, b"", GREETING_SECONDS, MAX_NOTE))
        if answer.status not in (OK, NOT_FOUND):
            raise NotCosigned(f"it answered {answer.status}")
        return answer.body if answer.status == OK else None

    async def _send(self, request: Request) -> Response:
        try:
            return await self._transport.send(request)
        except BankError:
            raise
        except Exception as error:  # whatever others manage to answer stops this witness only, not the log
            raise NotCosigned(f"it cannot be asked: {error}") from error

    async def aclose(self) -> None:
        """Ask no longer, and close the connections."""
        if self._asked is not None:
            self._asked.cancel()
            await asyncio.wait([self._asked])
        await self._transport.aclose()
