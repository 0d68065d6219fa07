"""Gaps: records of the ledger that were not told though later ones were.

The batches of a shard are numbered without gaps, and reach the log in their order but for what several relays do at
once. So a gap that closes soon is none; one that stays is told to whoever looks after the bank.
"""

from collections.abc import Sequence
from typing import NamedTuple


class Span(NamedTuple):
    """Records of a shard from `first_seq` up to, without, `next_seq`."""

    shard: int
    first_seq: int
    next_seq: int


def heard(expected: int, gaps: Sequence[Span], span: Span) -> tuple[int, list[Span]]:
    """Return the number expected next and the gaps that are left once a batch of a shard was heard of.

    A batch that was heard of before changes nothing.
    """
    if span.first_seq >= expected:
        left = [*gaps, Span(span.shard, expected, span.first_seq)] if span.first_seq > expected else list(gaps)
        return span.next_seq, left
    left = []
    for gap in gaps:
        before = Span(gap.shard, gap.first_seq, min(gap.next_seq, span.first_seq))
        after = Span(gap.shard, max(gap.first_seq, span.next_seq), gap.next_seq)
        left += [rest for rest in (before, after) if rest.first_seq < rest.next_seq]
    return expected, left
