"""Holds the log in the database against what was published of it, before anything follows from it."""

import asyncio

import structlog

from latticebank.crypto.tiles import root_from, root_nodes, tiles_for
from latticebank.kernel.transports import ServiceUnavailable
from latticebank.security.audit.model.standing import (
    NEW_LOG,
    LogHalted,
    Remembered,
    line_of,
    origin_of,
    remembered_in,
    require_growth,
    require_same,
)
from latticebank.security.audit.service.foundation import Foundation
from latticebank.security.audit.store import tree
from latticebank.security.audit.store.tree import Log

FIRST = 1


class Standing:
    """Whether the log may go on. Until it was examined it may not."""

    def __init__(self, foundation: Foundation) -> None:
        self._base = foundation
        self._examined: str | None = None
        self._halt: LogHalted | None = None
        self._witnessed: str | None = None
        self._said: dict[str, Remembered] = {}
        self.ready = asyncio.Event()
        """Set once the log was held against the memory of the bank and of its witnesses."""

    @property
    def refusal(self) -> str | None:
        """Why nothing is appended or signed; None if nothing stands against it."""
        return None if self._halt is None else str(self._halt.detail)

    def require(self) -> None:
        """Return if the log may go on.

        Raises:
            LogHalted: it does not fit what was published of it.
            ServiceUnavailable: that is not known yet.

        """
        if self._halt is not None:
            raise LogHalted(self._halt.detail, hint=self._halt.hint)
        if not self.ready.is_set():
            raise ServiceUnavailable("audit has not looked at its log yet", hint="try again in a moment")

    async def contradict(self, log: Log, size: int, why: str) -> LogHalted:
        """Let nothing follow from this log any more: a witness has seen another, of `size` leaves; 0 if it did not say."""
        halted = LogHalted(why, hint=NEW_LOG)
        self._stop(halted)
        self._witnessed = log.origin
        known = self._said.get(log.origin)
        if known is None or size > known.size:
            self._said[log.origin] = Remembered(log.origin, size)
            await self._keep()
        return halted

    async def examine(self) -> Log:
        """Return the log, begun if need be, once it was held against all that was published of it.

        Raises:
            LogHalted: it does not fit.
            KeptApartUnavailable: what was published cannot be read.
            DatabaseUnavailable: the database is down.

        """
        log = await self._current()
        if self._halt is not None and log.origin == self._witnessed:
            raise LogHalted(self._halt.detail, hint=self._halt.hint)
        if self._halt is None and log.origin == self._examined:
            return log
        try:
            self._said = remembered_in(await asyncio.to_thread(self._base.kept.lines))
            if (said := self._said.get(log.origin)) is not None:
                require_growth(log.size, said)
                require_same(await self.root_at(log, said.size), said)
        except LogHalted as why:
            self._stop(why)
            raise
        self._examined, self._halt = log.origin, None
        self._base.metrics.halted.set(0)
        return log

    async def remember(self, log: Log) -> None:
        """Make durable, outside of the database, that a tree is about to be signed.

        Raises:
            KeptApartUnavailable: it cannot be written, and so nothing may be signed.

        """
        self._said[log.origin] = Remembered(log.origin, log.size, log.root.hex())
        await self._keep()

    async def root_at(self, log: Log, size: int) -> bytes:
        """Return the root of the first leaves of a log."""
        places = [(tile.level, tile.number) for tile in tiles_for(root_nodes(size), log.size)]
        async with self._base.database.read() as connection:
            found = await tree.tiles(connection, self._base.book, log.log, places)
        return root_from(found, size)

    def _stop(self, why: LogHalted) -> None:
        if self._halt is None:
            structlog.get_logger().error("the log stands still", reason=why.detail, hint=why.hint)
        self._halt = why
        self._base.metrics.halted.set(1)

    async def _keep(self) -> None:
        lines = [line_of(said) for said in self._said.values()]
        await asyncio.to_thread(self._base.kept.replace, lines)

    async def _current(self) -> Log:
        base = self._base
        async with base.database.read() as connection:
            found = await tree.current(connection, base.book)
        if found is None:
            async with base.database.begin() as work:
                await tree.begin(work, base.book, FIRST, origin_of(base.bank, FIRST), base.now())
            async with base.database.read() as connection:
                found = await tree.current(connection, base.book)
            assert found is not None, "it was begun just now"
        return found
