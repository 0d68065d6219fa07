"""Work that is done over and over in the background: woken when there is some, backing off when it fails."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from latticebank.values.errors import BankError

_log = logging.getLogger(__name__)


class Wake:
    """Tells those who wait in this process that there may be work. Others find it by looking at intervals."""

    def __init__(self) -> None:
        self._rung = 0
        self._bell = asyncio.Event()

    @property
    def rung(self) -> int:
        """How often it rang; take it before looking for work, and give it to `wait`."""
        return self._rung

    def ring(self) -> None:
        """Wake everyone who waits."""
        self._rung += 1
        self._bell.set()
        self._bell = asyncio.Event()

    async def wait(self, since: int, seconds: float) -> None:
        """Return at the next ring, at once if it rang after `rung` was `since`, and after `seconds` in any case."""
        if self._rung == since:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._bell.wait()


@dataclass(frozen=True, slots=True)
class Pace:
    """How long to pause, in seconds: between looks when idle, and after failures, doubling up to a bound.

    `linger` is the pause after work was done: where a step costs the same for much as for little, more gathers meanwhile.
    """

    idle: float = 0.25
    linger: float = 0.0
    first_failure: float = 0.1
    longest_failure: float = 30.0

    def after_failures(self, failures: int) -> float:
        """Return the pause after so many failures in a row, with up to a quarter less so that workers spread."""
        pause = min(self.longest_failure, self.first_failure * 2.0 ** min(failures - 1, 30))
        return pause * (1 - random.random() / 4)  # noqa: S311


async def keep_working(
    name: str,
    step: Callable[[], Awaitable[int]],
    *,
    wake: Wake,
    pace: Pace,
    failed: Callable[[Exception, int], None] | None = None,
) -> None:
    """Do `step` until cancelled: again, once it lingered, while it says that it did something, else after a ring or a pause.

    A step that fails is reported (`failed` gets the error and how many failed in a row) and done again after a pause.
    """
    failures = 0
    while True:
        heard = wake.rung
        try:
            done = await step()
        except Exception as error:  # noqa: BLE001 - whatever fails, the work goes on; it is logged and reported
            failures += 1
            pause = pace.after_failures(failures)
            told = "%s failed %d times in a row; next try in %.1f s: %s"
            # A known failure needs no traceback: a database that is down would fill the log with them.
            _log.error(told, name, failures, pause, error, exc_info=not isinstance(error, BankError))
            if failed:
                failed(error, failures)
            await asyncio.sleep(pause)
        else:
            failures = 0
            if done == 0:
                await wake.wait(heard, pace.idle)
            elif pace.linger:
                await asyncio.sleep(pace.linger)
