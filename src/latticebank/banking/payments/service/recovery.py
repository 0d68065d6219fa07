"""What was accepted or decided, and left half-way: it is claimed and taken to its end by the same ids."""

import structlog

from latticebank.banking.payments.model.payments import BatchState, State
from latticebank.banking.payments.service.batches import Batches
from latticebank.banking.payments.service.foundation import CLAIM, Foundation
from latticebank.banking.payments.service.settlement import Settlement
from latticebank.banking.payments.store import accept, read, settle
from latticebank.banking.payments.store.settle import Unsettled
from latticebank.values.errors import BankError

CLAIMED_AT_ONCE = 4


class Recovery:
    """Takes up unsettled work that nobody is on."""

    def __init__(self, foundation: Foundation, settlement: Settlement, batches: Batches) -> None:
        self._bank = foundation
        self._settlement = settlement
        self._batches = batches

    async def step(self) -> int:
        """Claim some work whose claim is over and do it; return how much was done.

        What fails is claimed again when the claim of this time is over; the rest goes on meanwhile.
        """
        bank, finished = self._bank, 0
        for shard in bank.all_shards:
            now = bank.now()
            async with bank.database.begin(shard=shard) as work:
                claimed = await settle.claim(work, bank.book, shard, now=now, until=now + CLAIM, limit=CLAIMED_AT_ONCE)
            for unsettled in claimed:
                try:
                    await self._take_up(shard, unsettled)
                except BankError as error:
                    structlog.get_logger().warning(
                        "unsettled work waits", work=str(unsettled.id), kind=unsettled.kind, reason=str(error)
                    )
                except Exception as error:  # noqa: BLE001 - whatever is wrong with one must not hold up the others
                    structlog.get_logger().error("unsettled work fails", work=str(unsettled.id), exc_info=error)
                else:
                    finished += 1
                    bank.metrics.recovered.inc()
        return finished

    async def _take_up(self, shard: int, unsettled: Unsettled) -> None:
        match unsettled.kind:
            case accept.GROUP:
                await self._group(shard, unsettled)
            case accept.BATCH:
                await self._batch(shard, unsettled)
            case accept.DECISION:
                await self._decision(shard, unsettled)
            case _:
                raise AssertionError(f"there is no unsettled work of kind {unsettled.kind}")

    async def _group(self, shard: int, unsettled: Unsettled) -> None:
        bank = self._bank
        async with bank.database.begin(shard=shard) as work:
            payments = await settle.payments_in(work, bank.book, shard, unsettled.members, State.RECEIVED)
        await self._settlement.payments(shard, unsettled.id, payments)

    async def _batch(self, shard: int, unsettled: Unsettled) -> None:
        bank = self._bank
        async with bank.database.begin(shard=shard) as work:
            batch = await settle.batch(work, bank.book, shard, unsettled.id)
        assert batch is not None, "a batch is stored with the work that it makes"
        if batch.state == BatchState.COMPLETED:
            payments = []
        else:
            ids = await self._batches.payment_ids(batch)
            async with bank.database.begin(shard=shard) as work:
                found = await settle.payments_in(work, bank.book, shard, ids, State.IN_BATCH)
            payments = sorted(found, key=lambda payment: payment.place or 0)
        await self._settlement.batch(shard, batch, payments)

    async def _decision(self, shard: int, unsettled: Unsettled) -> None:
        bank = self._bank
        async with bank.database.read() as connection:
            payments = await read.payments(connection, bank.book, [shard], [unsettled.id])
            decisions = await read.decisions(connection, bank.book, [shard], [unsettled.id])
        await self._settlement.decision(shard, payments[unsettled.id], decisions[unsettled.id])
