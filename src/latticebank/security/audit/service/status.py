"""How the log stands: for the operator, for auditors, and for the health of the bank."""

from latticebank.kernel.transports import ServiceUnavailable
from latticebank.security.audit.model.standing import origin_of
from latticebank.security.audit.service.foundation import Foundation
from latticebank.security.audit.service.standing import FIRST, Standing
from latticebank.security.audit.service.witnessing import Witnessing
from latticebank.security.audit.store import published, tree
from latticebank.security.audit.wire import GapView, LogStatus, WitnessView


class Status:
    """Tells how the log stands."""

    def __init__(self, foundation: Foundation, standing: Standing, witnessing: Witnessing) -> None:
        self._base = foundation
        self._standing = standing
        self._witnessing = witnessing

    async def read(self) -> LogStatus:
        """Return how the log stands now."""
        base = self._base
        async with base.database.read() as connection:
            log = await tree.current(connection, base.book)
            number = FIRST if log is None else log.log
            newest = await published.newest(connection, base.book, number)
            witnessed = await published.witnessed(connection, base.book, number)
            gaps = await published.gaps(connection, base.book)
        size, shown = (0 if log is None else log.size), (0 if newest is None else newest.size)
        base.metrics.gaps.set(len(gaps))
        return LogStatus(
            origin_of(base.bank, FIRST) if log is None else log.origin,
            size,
            shown,
            size - shown,
            self._standing.refusal,
            [GapView(gap.shard, gap.first_seq, gap.next_seq) for gap, _ in gaps],
            [WitnessView(each.name, witnessed.get(each.name, 0), each.trouble) for each in self._witnessing.witnesses],
        )

    async def check(self) -> None:
        """Tell the health of the bank whether the log goes on.

        Raises:
            LogHalted: it does not fit what was published of it.
            ServiceUnavailable: that is not known yet.

        """
        self._standing.require()
        if not self._base.own_keys.is_loaded:
            raise ServiceUnavailable("audit has not got its keys yet")
