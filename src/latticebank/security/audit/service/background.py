"""What audit does without being asked: fetch its keys, hold its log against the world, publish it."""

from collections.abc import Coroutine, Iterator

from latticebank.kernel.worker import Pace, Wake, keep_working
from latticebank.security.audit.service.foundation import Foundation
from latticebank.security.audit.service.hearing import measure
from latticebank.security.audit.service.publishing import Publishing
from latticebank.security.audit.service.standing import Standing

KEYS_FETCHED_SECONDS = 60.0
_KEYS_PACE = Pace(idle=KEYS_FETCHED_SECONDS, first_failure=0.05, longest_failure=5.0)
_PUBLISHING_PACE = Pace(idle=0.25, linger=0.1, longest_failure=4.0)


class Background:
    """The work of audit. Nothing is appended before the log was held against what was published of it."""

    def __init__(self, foundation: Foundation, standing: Standing, publishing: Publishing) -> None:
        self._base = foundation
        self._standing = standing
        self._publishing = publishing

    def work(self) -> Iterator[Coroutine[None, None, None]]:
        """Yield what runs as long as the service does."""
        yield keep_working("own keys of audit", self._fetch_keys, wake=Wake(), pace=_KEYS_PACE)
        yield keep_working("the publishing of the log", self._publish, wake=Wake(), pace=_PUBLISHING_PACE)
        yield self._base.bus.watch()
        yield measure(self._base)

    async def _fetch_keys(self) -> int:
        await self._base.own_keys.load()
        return 0

    async def _publish(self) -> int:
        if not self._base.own_keys.is_loaded:
            return 0
        if not self._standing.ready.is_set():
            await self._publishing.greet()
            self._standing.ready.set()
        if self._standing.refusal is not None:
            await self._standing.examine()
        return await self._publishing.step()
