"""A bank of two shards: payments of both, and none between accounts of the two."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.banking.payments.counter import Counter, ok, open_counter
from tests.clocks import MovingClock
from tests.security.identity.people import told


@pytest.fixture
async def wide(urls: dict[str, str], clock: MovingClock, tmp_path: Path) -> AsyncIterator[Counter]:
    """A bank of two shards."""
    async with open_counter(urls, tmp_path / "bank", clock, shards=2) as opened:
        await opened.is_open()
        yield opened


async def test_money_moves_within_a_shard_and_not_across(wide: Counter) -> None:
    people = [await wide.customer(f"ada{number}", "0.00") for number in range(6)]
    halves: dict[str, list[int]] = {"10": [], "11": []}
    for number, person in enumerate(people):
        halves[wide.account(person)[:2]].append(number)
    assert halves["10"]
    assert halves["11"]
    for numbers in halves.values():
        payer = people[numbers[0]]
        till = await wide.till(int(wide.account(payer)[:2]) - 10)
        await wide.fund(payer, "10.00", till)
        ok(await wide.pay(payer, till, "1.00"))
        assert await wide.balance(payer) == ("9.00", "0.00")
    payer, payee = people[halves["10"][0]], people[halves["11"][0]]
    before = wide.everything()
    assert told(await wide.pay(payer, payee, "1.00")) == (422, "accounts-on-two-shards")
    assert wide.everything() == before
    assert {shard for (shard,) in wide.payments_rows("SELECT DISTINCT shard FROM payments")} <= {0, 1}
