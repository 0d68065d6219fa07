"""Holds the journal against the public log: reads both once, side by side, and remembers neither."""

from collections.abc import AsyncIterator, Iterable
from heapq import heappop, heappush

from msgspec import Struct

from latticebank.banking.ledger.model.journal import Link
from latticebank.banking.ledger.model.logged import Difference, LoggedBatch, ShardComparison
from latticebank.banking.ledger.store.proof import Snapshot

EARLY = 10_000
"""By how many batches of its shard an entry may come too early into the log: writers under way at once may turn their order."""


class Beyond(Struct, frozen=True):
    """The newest batches of a shard, which come after the last of which an opened entry tells."""

    shard: int
    batches: int
    first_seq: int
    next_seq: int


class HeldAgainstLog(Struct, frozen=True):
    """What was compared: entries of the log that tell of batches, and how many differences there are.

    Of `not_opened` batches before or between them entries may tell that were not opened: a later link commits to each.
    """

    entries: int
    differences: int
    not_opened: int
    beyond: list[Beyond]


async def hold_against_log(
    books: Snapshot, logged: Iterable[LoggedBatch], limit: int
) -> tuple[HeldAgainstLog, list[Difference]]:
    """Compare each batch of which the log tells, in the order of the log, with the journal; name the first `limit` differences.

    Errors of `logged` come out as they are.
    """
    shards = {end.shard: _Shard(end.shard, books.links(end.shard)) for end in await books.shard_ends()}
    named: list[Difference] = []
    entries = differences = 0

    def note(found: list[Difference]) -> None:
        nonlocal differences
        differences += len(found)
        named.extend(found[: limit - len(named)])

    for entry in logged:
        entries += 1
        if entry.shard in shards:
            note(await shards[entry.shard].hear(entry))
        else:
            note([Difference(f"entry {entry.place}", f"the ledger has no shard {entry.shard}")])
    for shard in shards.values():
        while shard.waits:
            note(await shard.compare_next())
        await shard.pass_the_rest()
    beyond = [
        Beyond(number, *shard.comparison.passed)
        for number, shard in shards.items()
        if shard.comparison.passed is not None
    ]
    not_opened = sum(shard.comparison.not_opened for shard in shards.values())
    return HeldAgainstLog(entries, differences, not_opened, beyond), named


class _Shard:
    """A shard: its journal, of which one may look at the next batch, and the entries that wait for their turn."""

    def __init__(self, shard: int, links: AsyncIterator[Link]) -> None:
        self.comparison = ShardComparison(shard)
        self.waits: list[LoggedBatch] = []
        self._links = links
        self._next: Link | None = None

    async def hear(self, entry: LoggedBatch) -> list[Difference]:
        """Take an entry, and compare the first of those that wait once nothing can come before it."""
        heappush(self.waits, entry)
        return await self.compare_next() if len(self.waits) > EARLY else []

    async def compare_next(self) -> list[Difference]:
        """Compare the first entry that waits with the batch of the journal that begins where it does."""
        entry = heappop(self.waits)
        while (batch := await self._first()) is not None and batch.first_seq < entry.first_seq:
            self._next = None
            self.comparison.pass_by(batch)
        if batch is None or batch.first_seq != entry.first_seq:
            return self.comparison.compare(entry, None)
        self._next = None
        return self.comparison.compare(entry, batch)

    async def pass_the_rest(self) -> None:
        """Go past what the journal has after the last entry."""
        while (batch := await self._first()) is not None:
            self._next = None
            self.comparison.pass_by(batch)

    async def _first(self) -> Link | None:
        if self._next is None:
            self._next = await anext(self._links, None)
        return self._next
