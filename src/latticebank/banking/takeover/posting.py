"""Posting in full batches, one after the other, and comparing what the ledger answers with what the source states.

A batch is sent only when the one before it is answered: booking dates never go back, and an order that overtook another
would have the other refused for ever. While the ledger works, the next batch is made ready and the last one compared.
"""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import islice

from msgspec import Struct

from latticebank.banking.ledger.client import LedgerClient
from latticebank.banking.ledger.wire import MAX_ORDERS, OrderAnswer, PostOrder
from latticebank.banking.takeover.comparing import Comparison
from latticebank.banking.takeover.orders import Books, Movement, order_of
from latticebank.banking.takeover.progress import Phase, Progress

_SLICE = 256
_DONE = "done"


class _Batch(Struct):
    movements: list[Movement]
    orders: list[PostOrder]


class Poster:
    """Posts movements in their order; each is compared once it is answered."""

    def __init__(
        self, client: LedgerClient, books: Books, comparison: Comparison, progress: Progress, total: int
    ) -> None:
        self._client = client
        self._books = books
        self._comparison = comparison
        self._progress = progress
        self._total = total
        self._posted = 0
        self._compared = 0

    async def post(self, movements: Iterator[Movement]) -> None:
        """Post movements that all go through the same migration accounts.

        Raises:
            RemoteProblem, ServiceUnavailable, DeadlineExceeded: the ledger did not answer; to repeat all is safe.

        """
        answered: tuple[_Batch, list[OrderAnswer]] | None = None
        batch = await self._make_ready(movements)
        while batch.orders:
            sending = asyncio.ensure_future(self._client.order(batch.orders))
            try:
                following = await self._make_ready(movements)
                if answered is not None:
                    await self._compare(*answered)
                answers = await sending
            finally:
                sending.cancel()
            self._posted += len(answers)
            self._progress(Phase.POSTING, self._posted, self._total)
            answered = batch, answers
            batch = self._without_stopped(following, batch, answers)
            if not batch.orders:
                batch = await self._make_ready(movements)
        if answered is not None:
            await self._compare(*answered)

    async def _make_ready(self, movements: Iterator[Movement]) -> _Batch:
        """Return the next batch, letting the ledger go on between slices of it."""
        batch = _Batch([], [])
        while len(batch.orders) < MAX_ORDERS:
            await asyncio.sleep(0)
            some = list(islice(movements, min(_SLICE, MAX_ORDERS - len(batch.orders))))
            if not some:
                break
            kept = [each for each in some if not self._comparison.withholds(each)]
            batch.movements += kept
            batch.orders += [order_of(each, self._books) for each in kept]
        return batch

    def _without_stopped(self, following: _Batch, batch: _Batch, answers: Sequence[OrderAnswer]) -> _Batch:
        """Return the following batch without accounts of which an order was just refused: their history has a gap."""
        if all(answer.outcome == _DONE for answer in answers):
            return following
        self._comparison.note_refusals(batch.movements, answers)
        pairs = zip(following.movements, following.orders, strict=True)
        kept = [(movement, order) for movement, order in pairs if not self._comparison.withholds(movement)]
        return _Batch([movement for movement, _ in kept], [order for _, order in kept])

    async def _compare(self, batch: _Batch, answers: Sequence[OrderAnswer]) -> None:
        for start in range(0, len(answers), _SLICE):
            await asyncio.sleep(0)
            self._comparison.compare(batch.movements[start : start + _SLICE], answers[start : start + _SLICE])
        self._compared += len(answers)
        self._progress(Phase.COMPARING, self._compared, self._total)
