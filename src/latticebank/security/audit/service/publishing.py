"""Publishes the log: signs the tree that is durable, has it cosigned, and shows it.

The size and the root are made durable outside of the database before they are signed, so that no restore of the database
can lead to a second tree of that size.
"""

from latticebank.crypto.checkpoints import Checkpoint
from latticebank.kernel.worker import Wake
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

    def __init__(self, foundation: Foundation, standing: Standing, witnessing: Witnessing) -> None:
        self._base = foundation
        self._standing = standing
        self._witnessing = witnessing
        self.wake = Wake()

    async def greet(self) -> None:
        """Have the newest checkpoint cosigned before anything is appended: a witness may know more than the database.

        Raises:
            LogHalted: one does.

        """
        log = await self._standing.examine()
        async with self._base.database.read() as connection:
            newest = await published.newest(connection, self._base.book, log.log)
        if newest is not None:
            await self._witnessing.cosign(log, _without_cosignatures(newest))

    async def step(self) -> int:
        """Publish the tree as it stands if it has grown, or has further cosignatures; return whether it was published.

        Raises:
            LogHalted: it does not fit what was published before.
            KeptApartUnavailable, DatabaseUnavailable: not now; nothing was signed.

        """
        base = self._base
        examined = await self._standing.examine()
        async with base.database.begin() as work:
            if not await published.become_signer(work, base.book):
                return 0
            log = await tree.current(work.connection, base.book)
            if log is None or log.origin != examined.origin:
                return 1
            newest = await published.newest(work.connection, base.book, log.log)
            if newest is not None and newest.size == log.size:
                if not self._witnessing.lacks(newest):
                    return 0
                further = await self._witnessing.cosign(log, newest)
                if further.note != newest.note:
                    await published.add_cosignatures(work, base.book, log.log, further)
                return 0
            if log.size == 0:
                return 0
            checkpoint = await self._witnessing.cosign(log, await self._signed(log))
            await published.publish(work, base.book, log.log, checkpoint, base.now())
        base.metrics.size.set(log.size)
        base.metrics.published.set(checkpoint.size)
        return 1

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
        await self._standing.remember(log)
        note = self._base.own_keys.log.sign(Checkpoint(log.origin, log.size, log.root), self._base.now())
        return Published(log.size, note)


def _without_cosignatures(checkpoint: Published) -> Published:
    """Return a checkpoint with the signatures of its log only: its first two."""
    text, _, lines = checkpoint.note.partition(b"\n\n")
    own = lines.split(b"\n")[:2]
    return Published(checkpoint.size, text + b"\n\n" + b"".join(line + b"\n" for line in own))
