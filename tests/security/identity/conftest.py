"""A running bank of keys, identity and ledger on real databases, with a clock that the test moves."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.clocks import MovingClock
from tests.security.identity.people import SERVICES, Branch, open_branch


@pytest.fixture
def clock() -> MovingClock:
    """The time of the bank."""
    return MovingClock()


@pytest.fixture
def urls(database_url: Callable[[str], str]) -> dict[str, str]:
    """Fresh databases."""
    return {name: database_url(name) for name in SERVICES}


@pytest.fixture
async def branch(urls: dict[str, str], clock: MovingClock, tmp_path: Path) -> AsyncIterator[Branch]:
    """The bank, once identity has its keys."""
    async with open_branch(urls, tmp_path / "bank", clock) as opened:
        await opened.ready()
        yield opened
