"""Watches that the archive takes what the database writes; while it does not, the bank answers nobody.

A commit that waits for the archive can be given up by whoever waits: the database then shows it although the archive has not
got it. So nobody may be told of anything until the archive has caught up.
"""

import asyncio

import structlog

from latticebank.runtime.errors import ArchiveUnavailable
from latticebank.runtime.postgres import EmbeddedPostgres
from latticebank.values.errors import BankError

LOOK_SECONDS = 0.5
_PATIENCE_SECONDS = 5.0

_log = structlog.get_logger()


class ArchiveWatch:
    """What is wrong with the archive of a server now; nothing ever is where there is none."""

    def __init__(self, server: EmbeddedPostgres | None) -> None:
        self._server = server if server is not None and server.archiving is not None else None
        self.trouble: BankError | None = None

    @property
    def needed(self) -> bool:
        """Whether there is an archive to watch."""
        return self._server is not None

    async def check(self) -> None:
        """Raise what is wrong, for the health of the bank."""
        if self.trouble is not None:
            raise self.trouble

    async def run(self) -> None:
        """Keep looking."""
        while True:
            problem = await self._look()
            if problem is not None and self.trouble is None:
                _log.error("the bank is closed until its archive has caught up", reason=problem)
            if problem is None and self.trouble is not None:
                _log.info("the archive has caught up, and the bank is open again")
            self.trouble = None if problem is None else ArchiveUnavailable(
                "the archive of the bank takes nothing", hint="try again later with the same id: nothing is done twice"
            )  # fmt: skip
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self) -> str | None:
        """What is wrong, for the log only: it names folders."""
        archiving = self._server.archiving if self._server is not None else None
        if archiving is None:
            return "the database starts again"
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await asyncio.to_thread(archiving.require_in_step)
        except Exception as problem:  # noqa: BLE001 - whatever is wrong, commits are not known to be archived
            return str(problem) or type(problem).__name__
        return None
