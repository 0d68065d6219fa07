"""How the log stands: for the operator, for auditors, and for the health of the bank."""

import asyncio
from contextlib import suppress

from latticebank.kernel.transports import ServiceUnavailable
from latticebank.security.audit.model.standing import origin_of
from latticebank.security.audit.service.foundation import Foundation
from latticebank.security.audit.service.hearing import findings
from latticebank.security.audit.service.standing import FIRST, Standing
from latticebank.security.audit.service.witnessing import Witnessing
from latticebank.security.audit.store import published, tree
from latticebank.security.audit.wire import LogStatus, SpanView, StuckTopic, WitnessView

_EXAMINED_SECONDS = 5.0
_LOOK_SECONDS = 0.02


class Status:
    """Tells how the log stands."""

    def __init__(self, foundation: Foundation, standing: Standing, witnessing: Witnessing) -> None:
        self._base = foundation
        self._standing = standing
        self._witnessing = witnessing

    async def read(self) -> LogStatus:
        """Return how the log stands now; right after a start, once that is known.

        Raises:
            ServiceUnavailable: it is not known yet whether the log may go on.
            DatabaseUnavailable: the database of audit or the bus is down.

        """
        await self._examined()
        base = self._base
        async with base.database.read() as connection:
            log = await tree.current(connection, base.book)
            number = FIRST if log is None else log.log
            newest = await published.newest(connection, base.book, number)
            witnessed = await published.witnessed(connection, base.book, number)
        size, shown = (0 if log is None else log.size), (0 if newest is None else newest.size)
        heard = await findings(base)
        return LogStatus(
            origin_of(base.bank, FIRST) if log is None else log.origin,
            size,
            shown,
            size - shown,
            self._standing.refusal,
            [SpanView(*gap) for gap in heard.gaps],
            [SpanView(*overlap) for overlap in heard.overlaps],
            [StuckTopic(*stuck) for stuck in heard.stuck],
            [WitnessView(each.name, witnessed.get(each.name, 0), each.trouble) for each in self._witnessing.witnesses],
        )

    async def _examined(self) -> None:
        standing = self._standing
        with suppress(TimeoutError):
            async with asyncio.timeout(_EXAMINED_SECONDS):
                while standing.refusal is None and not standing.ready.is_set():  # noqa: ASYNC110 - a refusal rings nothing
                    await asyncio.sleep(_LOOK_SECONDS)
        if standing.refusal is None:
            standing.require()

    async def check(self) -> None:
        """Tell the health of the bank whether the log goes on.

        Raises:
            LogHalted: it does not fit what was published of it.
            ServiceUnavailable: that is not known yet.

        """
        self._standing.require()
        if not self._base.own_keys.is_loaded:
            raise ServiceUnavailable("audit has not got its keys yet")
