"""A whole running bank with its log, with a clock that the test moves."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from latticebank.bank import SERVICES
from latticebank.kernel.settings import BUS
from tests.clocks import MovingClock
from tests.security.audit.hall import Hall, open_hall


@pytest.fixture
def clock() -> MovingClock:
    """The time of the bank."""
    return MovingClock()


@pytest.fixture
def urls(database_url: Callable[[str], str]) -> dict[str, str]:
    """Fresh databases."""
    return {name: database_url(name) for name in (*SERVICES, BUS)}


@pytest.fixture
async def hall(urls: dict[str, str], clock: MovingClock, tmp_path: Path) -> AsyncIterator[Hall]:
    """The bank, once identity has its keys."""
    small = {"approval_from": "50", "high_value_from": "40", "high_value_count": 3}
    async with open_hall(urls, tmp_path / "bank", clock, **small) as opened:
        await opened.is_open()
        await opened.open_counter()
        yield opened
