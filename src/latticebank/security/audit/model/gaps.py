"""Gaps and overlaps: records of the ledger that were not told though later ones were, and those that were told twice.

The batches of a shard are numbered without gaps, and reach the log in their order but for what several relays do at
once. So a gap that closes soon is none; one that stays is told to whoever looks after the bank. A number is given once:
whoever tells of it again is a ledger that was set back and has gone on from there.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple


class Span(NamedTuple):
    """Records of a shard from `first_seq` up to, without, `next_seq`."""

    shard: int
    first_seq: int
    next_seq: int


class Heard(NamedTuple):
    """What was heard of a shard: the number expected next, and below it the gaps, and what was told more than once.

    Both are in the order of their numbers and apart from each other.
    """

    expected: int = 1
    gaps: tuple[Span, ...] = ()
    overlaps: tuple[Span, ...] = ()

    def with_batch(self, span: Span) -> "Heard":
        """Return what was heard once a batch is told of, by an event that was not handled before.

        A batch closes gaps unless some of its records were told before: then it is of another history than they.
        """
        expected = max(self.expected, span.next_seq)
        again = list(_without(Span(span.shard, span.first_seq, min(span.next_seq, self.expected)), self.gaps))
        if again:
            return Heard(expected, self.gaps, _merged([*self.overlaps, *again]))
        left = [part for gap in self.gaps for part in _without(gap, [span])]
        if span.first_seq > self.expected:
            left.append(Span(span.shard, self.expected, span.first_seq))
        return Heard(expected, tuple(left), self.overlaps)


def _without(span: Span, others: Iterable[Span]) -> Iterator[Span]:
    """Yield the parts of a span that are in none of others, which are in the order of their numbers and apart."""
    first = span.first_seq
    for other in others:
        if first < min(other.first_seq, span.next_seq):
            yield Span(span.shard, first, min(other.first_seq, span.next_seq))
        first = max(first, other.next_seq)
    if first < span.next_seq:
        yield Span(span.shard, first, span.next_seq)


def _merged(spans: Sequence[Span]) -> tuple[Span, ...]:
    """Return spans in the order of their numbers, those that touch as one."""
    merged: list[Span] = []
    for span in sorted(spans):
        if merged and span.first_seq <= merged[-1].next_seq:
            merged[-1] = merged[-1]._replace(next_seq=max(merged[-1].next_seq, span.next_seq))
        else:
            merged.append(span)
    return tuple(merged)
