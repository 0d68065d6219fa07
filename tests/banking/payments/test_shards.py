"""A bank of two shards: payments of both, and none between accounts of the two."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.banking.payments.counter import Counter, ok, open_counter
from tests.clocks import MovingClock
from tests.security.identity.people import Person, told


@pytest.fixture
async def wide(urls: dict[str, str], clock: MovingClock, tmp_path: Path) -> AsyncIterator[Counter]:
    """A bank of two shards."""
    async with open_counter(urls, tmp_path / "bank", clock, shards=2) as opened:
        await opened.is_open()
        yield opened


async def test_money_moves_within_a_shard_and_not_across(wide: Counter) -> None:
    on_shard: dict[int, Person] = {}
    for number in range(64):  # whose account is on which shard is chance: one in 2**63 has them all on one
        person = await wide.customer(f"ada{number}", "0.00")
        on_shard.setdefault(int(wide.account(person)[:2]) - 10, person)
        if len(on_shard) == 2:
            break
    for shard, payer in on_shard.items():
        till = await wide.till(shard)
        await wide.fund(payer, "10.00", till)
        ok(await wide.pay(payer, till, "1.00"))
        assert await wide.balance(payer) == ("9.00", "0.00")
    payer, payee = on_shard[0], on_shard[1]
    before = wide.everything()
    assert told(await wide.pay(payer, payee, "1.00")) == (422, "accounts-on-two-shards")
    assert wide.everything() == before
    assert {shard for (shard,) in wide.payments_rows("SELECT DISTINCT shard FROM payments")} <= {0, 1}
