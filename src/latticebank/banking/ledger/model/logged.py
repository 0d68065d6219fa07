"""The journal held against the public log, whose entries `ledger.batch` tell the range and the link of each batch.

Whoever rewrites the books can recompute the journal, and cannot have the log unsay its links. A link commits to all that the
shard recorded before it, so one that is the same proves every earlier batch, told of or not.
"""

from typing import NamedTuple

from latticebank.banking.ledger.model.journal import Link


class LoggedBatch(NamedTuple):
    """A batch as an entry of the log tells of it: records from `first_seq` up to, without, `next_seq`, and their link.

    `place` is the index of the entry in the log; `unopened` counts the entries before it that were not opened.
    """

    first_seq: int
    next_seq: int
    place: int
    unopened: int
    shard: int
    link: bytes


class Stretch(NamedTuple):
    """Batches of a journal that follow each other, and the range of their records."""

    batches: int
    first_seq: int
    next_seq: int


class Difference(NamedTuple):
    """What does not fit: where in the log and in the journal, and how."""

    where: str
    what: str


class ShardComparison:
    """A shard's journal held against the log. Both are told in the order of `first_seq`; it remembers where they stand.

    `passed` are the batches of the journal since the last entry, `not_opened` counts those before it of which entries may
    tell that were not opened.
    """

    def __init__(self, shard: int) -> None:
        self.passed: Stretch | None = None
        self.not_opened = 0
        self._shard = shard
        self._last: LoggedBatch | None = None

    def pass_by(self, batch: Link) -> None:
        """Go past a batch of the journal of which no entry tells that was opened."""
        if self._last is not None and batch.first_seq < self._last.next_seq:
            return  # the last entry tells of these records in another range, which is named already
        before = self.passed or Stretch(0, batch.first_seq, batch.first_seq)
        self.passed = Stretch(before.batches + 1, before.first_seq, batch.next_seq)

    def compare(self, entry: LoggedBatch, batch: Link | None) -> list[Difference]:
        """Return how the journal differs from what an entry tells; `batch` begins with the same record, if there is one."""
        where = f"entry {entry.place}, shard {self._shard}, records {entry.first_seq} to {entry.next_seq - 1}"
        last, passed = self._last, self.passed
        if last is not None and entry.first_seq <= last.first_seq:
            return [Difference(where, f"entry {last.place} already told of these records, or of later ones")]
        found: list[Difference] = []
        if passed is not None and last is not None and last.unopened == entry.unopened:
            found.append(_untold(self._shard, passed, last, entry))
        elif passed is not None:
            self.not_opened += passed.batches
        self._last, self.passed = entry, None
        if batch is None:
            found.append(Difference(where, "the journal has no batch that begins there"))
        elif batch.next_seq != entry.next_seq:
            found.append(Difference(where, f"in the journal this batch goes to record {batch.next_seq - 1}"))
        elif batch.link != entry.link:
            found.append(Difference(where, f"the journal has the link {batch.link.hex()}, the log {entry.link.hex()}"))
        return found


def _untold(shard: int, passed: Stretch, last: LoggedBatch, entry: LoggedBatch) -> Difference:
    where = f"shard {shard}, records {passed.first_seq} to {passed.next_seq - 1}"
    between = f"entries {last.place} and {entry.place}"
    return Difference(
        where, f"the journal has {passed.batches} batches here that the log has not, between its {between}"
    )
