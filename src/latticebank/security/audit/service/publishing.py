"""Publishes the log: signs the tree that is durable, has it cosigned, and shows it.

The size and the root are made durable outside of the database before they are signed, so that no restore of the database
can lead to a second tree of that size.
"""

from latticebank.crypto.checkpoints import Checkpoint
from latticebank.security.audit.service.appending import Appending
from latticebank.security.audit.service.beginning import write_first_entry
from latticebank.security.audit.service.foundation import Foundation
from latticebank.security.audit.service.standing import Standing
from latticebank.security.audit.service.witnessing import Witnessing
from latticebank.security.audit.store import published, tree
from latticebank.security.audit.store.published import Published
from latticebank.security.audit.store.tree import Log
from latticebank.values.errors import BankError, Fault


class NothingPublished(BankError):
    """The log has no checkpoint yet."""

    code = "nothing-published"
    title = "Nothing of the log is published yet"
    fault = Fault.NOT_FOUND


class Publishing:
    """The signing end of the log. Of several processes one signs at a time."""

    def __init__(
        self, foundation: Foundation, standing: Standing, witnessing: Witnessing, appending: Appending
    ) -> None:
        self._base = foundation
        self._standing = standing
        self._appending = appending
        self._witnessing = witnessing

    async def greet(self) -> None:
        """Learn from the witnesses what was published of this log, before anything is appended to it.

        Raises:
            LogHalted: it does not fit that.

        """
        log = await self._standing.examine()
        shown = await self._witnessing.latest(log)
        async with self._base.database.read() as connection:
            for checkpoint in shown:
                await self._standing.confront(connection, log, checkpoint)

    async def step(self) -> int:
        """Publish the tree as it stands if it has grown, or can have further cosignatures; return whether it has grown.

        Raises:
            LogHalted: it does not fit what was published before.
            KeptApartUnavailable, DatabaseUnavailable: not now; nothing was signed.

        """
        base = self._base
        async with base.database.begin() as work:
            if not await published.become_signer(work, base.book):
                return 0
            log = await tree.current(work.connection, base.book)
            assert log is not None, "it was examined"
            if log.size == 0:
                await write_first_entry(base, self._appending, work, log)
                return 1
            newest = await published.newest(work.connection, base.book, log.log)
            grown = newest is None or newest.size != log.size
            if not grown and (newest is None or not self._witnessing.lacks(newest)):
                return 0
            await self._standing.require_fit(work.connection, log)
            checkpoint = await self._signed(log) if grown or newest is None else newest
            shown = await self._witnessing.cosign(work, log, checkpoint, growing=grown)
            if shown != newest:
                await published.publish(work, base.book, log.log, shown, base.now())
        base.metrics.size.set(log.size)
        base.metrics.published.set(shown.size)
        return int(grown)

    async def newest(self) -> Published:
        """Return the checkpoint that was published last.

        Raises:
            NothingPublished: there is none.

        """
        base = self._base
        async with base.database.read() as connection:
            log = await tree.current(connection, base.book)
            found = None if log is None else await published.newest(connection, base.book, log.log)
        if found is None:
            raise NothingPublished("the log has no checkpoint yet", hint="try again in a second")
        return found

    async def _signed(self, log: Log) -> Published:
        checkpoint = Checkpoint(log.origin, log.size, log.root)
        await self._standing.remember(log, checkpoint)
        return Published(log.size, self._base.own_keys.log.sign(checkpoint, self._base.now()))
