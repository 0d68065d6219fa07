"""Holds the log in the database against what was said of it: before it is opened, and before each signature.

What was said is remembered outside of the database, and by witnesses. A witness is believed if it shows the log's own
signatures for what it says; whoever merely claims something stops nothing.
"""

import asyncio

import structlog

from latticebank.crypto.checkpoints import Checkpoint
from latticebank.kernel.transports import ServiceUnavailable
from latticebank.security.audit.model.standing import (
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
from latticebank.security.audit.store.tree import Connection, Log

FIRST = 1


class Standing:
    """Whether the log may go on. Until it was examined it may not."""

    def __init__(self, foundation: Foundation) -> None:
        self._base = foundation
        self._halt: LogHalted | None = None
        self._contradicted: set[str] = set()
        self._reached: dict[str, int] = {}
        self.ready = asyncio.Event()
        """Set once the log was held against the memory of the bank and of its witnesses."""

    @property
    def refusal(self) -> str | None:
        """Why nothing is appended or signed; None if nothing stands against it."""
        return None if self._halt is None else str(self._halt.detail)

    def require(self) -> None:
        """Return if the log may go on.

        Raises:
            LogHalted: it does not fit what was said of it.
            ServiceUnavailable: that is not known yet.

        """
        if self._halt is not None:
            raise LogHalted(self._halt.detail, hint=self._halt.hint)
        if not self.ready.is_set():
            raise ServiceUnavailable("audit has not looked at its log yet", hint="try again in a moment")

    def require_reached(self, log: Log) -> None:
        """Return if the log that is held has at least what this process knows to be published.

        Raises:
            LogHalted: somebody has set the database back.

        """
        try:
            require_growth(log.size, Remembered(log.origin, self._reached.get(log.origin, 0)))
        except LogHalted as why:
            self._stop(why)
            raise

    async def examine(self) -> Log:
        """Return the log, begun if need be, once it was held against all that was said of it.

        Raises:
            LogHalted: it does not fit.
            KeptApartUnavailable: what was said cannot be read.
            DatabaseUnavailable: the database is down.

        """
        await self._begin()
        async with self._base.database.read() as connection:
            log = await tree.current(connection, self._base.book)
            assert log is not None, "it was begun"
            await self.require_fit(connection, log)
        return log

    async def require_fit(self, connection: Connection, log: Log) -> None:
        """Return if a log fits what was said of it.

        Raises:
            LogHalted: it does not; nothing goes on until it does.
            KeptApartUnavailable: what was said cannot be read.

        """
        if self._halt is not None and log.origin in self._contradicted:
            raise LogHalted(self._halt.detail, hint=self._halt.hint)
        try:
            said = remembered_in(await asyncio.to_thread(self._base.kept.lines)).get(log.origin)
            if said is not None:
                await hold_against(connection, self._base.book, log, said)
                self._reached[log.origin] = said.size
        except LogHalted as why:
            self._stop(why)
            raise
        self._halt = None
        self._base.metrics.halted.set(0)

    async def confront(self, connection: Connection, log: Log, signed: Checkpoint) -> None:
        """Hold a log against what it has signed, as somebody shows it, and remember that.

        Raises:
            LogHalted: the log has signed what it does not have: nothing follows from it any more.
            KeptApartUnavailable: it cannot be remembered.

        """
        said = Remembered(log.origin, signed.size, signed.root.hex())
        try:
            await hold_against(connection, self._base.book, log, said)
        except LogHalted as why:
            self._contradicted.add(log.origin)
            self._stop(why)
            await asyncio.to_thread(self._base.kept.append, line_of(said))
            raise
        await self._keep(said)

    async def remember(self, log: Log, checkpoint: Checkpoint) -> None:
        """Make durable, outside of the database, that a tree of a log is about to be signed.

        Raises:
            LogHalted: somebody has remembered a larger tree since the log was held against it, or another one.
            KeptApartUnavailable: it cannot be written, and so nothing may be signed.

        """
        said = Remembered(log.origin, checkpoint.size, checkpoint.root.hex())
        try:
            require_growth(said.size, await self._keep(said))
        except LogHalted as why:
            self._stop(why)
            raise

    async def _keep(self, said: Remembered) -> Remembered:
        """Remember what was said of a log, and return the furthest that was: other processes remember as well."""
        furthest: dict[str, Remembered] = {}

        def with_this(lines: list[bytes]) -> list[bytes]:
            furthest.update(remembered_in([*lines, line_of(said)]))
            return [line_of(each) for each in furthest.values()]

        await asyncio.to_thread(self._base.kept.revise, with_this)
        self._reached[said.origin] = max(said.size, self._reached.get(said.origin, 0))
        return furthest[said.origin]

    def _stop(self, why: LogHalted) -> None:
        if self._halt is None:
            structlog.get_logger().error("the log stands still", reason=why.detail, hint=why.hint)
        self._halt = why
        self._base.metrics.halted.set(1)

    async def _begin(self) -> None:
        base = self._base
        async with base.database.read() as connection:
            found = await tree.current(connection, base.book)
        if found is None:
            async with base.database.begin() as work:
                await tree.begin(work, base.book, FIRST, origin_of(base.bank, FIRST), base.now())


async def hold_against(connection: Connection, book: int, log: Log, said: Remembered) -> None:
    """Return if a log begins with what was said of it.

    Raises:
        LogHalted: it does not.

    """
    require_growth(log.size, said)
    require_same(await tree.root_at(connection, book, log, said.size), said)
