"""Opens entries of the log for those who may look: the log itself tells of it, before they see anything."""

from uuid import UUID

import msgspec

from latticebank.kernel.events import Event
from latticebank.security.audit.events import ENTRIES_OPENED, SOURCE, EntriesOpened
from latticebank.security.audit.service.foundation import Foundation
from latticebank.security.audit.service.sealing import open_run
from latticebank.security.audit.store import openings, tree
from latticebank.security.audit.wire import OpenedEntry, OpenedPage


class Openings:
    """The sealed side of the log."""

    def __init__(self, foundation: Foundation) -> None:
        self._base = foundation

    async def entries(self, reader: UUID, session: UUID | None, first: int, limit: int) -> OpenedPage:
        """Return entries from an index on, at most `limit`, once the bank has recorded who asked for them.

        Raises:
            SealBroken: one was changed in the database.

        """
        base = self._base
        async with base.database.read() as connection:
            log = await tree.current(connection, base.book)
            size = 0 if log is None else log.size
            end = min(first + limit, size)
            runs = [] if log is None or first >= end else await openings.between(
                connection, base.book, log.log, first, end
            )  # fmt: skip
        if log is None or first >= end:
            return OpenedPage([], None)
        await self._tell(EntriesOpened(reader, session, first, end - first))
        items = []
        for run in runs:
            opened = await open_run(base, log.log, run)
            for place in range(max(first, run.first_index), min(end, run.first_index + run.count)):
                opening = None if opened is None else opened[place - run.first_index]
                salt, record = ("", "") if opening is None else (opening.salt.hex(), opening.record.decode())
                items.append(OpenedEntry(place, salt, record))
        return OpenedPage(items, end if end < size else None)

    async def _tell(self, opened: EntriesOpened) -> None:
        base = self._base
        async with base.database.begin() as work:
            data, by = msgspec.json.encode(opened), str(opened.by)
            work.publish(Event(base.ids(), SOURCE, ENTRIES_OPENED, base.now(), by, by, by, "application/json", data))
