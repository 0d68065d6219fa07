"""A running bank of keys, identity, ledger and payments on real databases, with a clock that the test moves."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.banking.payments.counter import ALL, Counter, open_counter
from tests.clocks import MovingClock


@pytest.fixture
def clock() -> MovingClock:
    """The time of the bank."""
    return MovingClock()


@pytest.fixture
def urls(database_url: Callable[[str], str]) -> dict[str, str]:
    """Fresh databases."""
    return {name: database_url(name) for name in ALL}


@pytest.fixture
async def counter(urls: dict[str, str], clock: MovingClock, tmp_path: Path) -> AsyncIterator[Counter]:
    """The bank, once identity has its keys; a payment of 50.00 or more waits for a manager."""
    folder = tmp_path / "bank"
    small = {"approval_from": "50", "high_value_from": "40", "high_value_count": 3}
    async with open_counter(urls, folder, clock, **small) as opened:
        await opened.is_open()
        yield opened
