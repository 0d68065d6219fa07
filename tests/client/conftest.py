"""A whole bank to call; passwords and wallets cost less than outside of tests."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from latticebank.crypto import passphrase
from latticebank.kernel.client import RemoteProblem
from latticebank.kernel.settings import BUS, SERVICES
from tests.client.customers import Town, open_town
from tests.clocks import MovingClock


@pytest.fixture(autouse=True)
def least_work_for_passphrases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passphrase, "MEMORY_KIB", 65_536)
    monkeypatch.setattr(passphrase, "PASSES", 1)


@pytest.fixture
async def town(database_url: Callable[[str], str], tmp_path: Path) -> AsyncIterator[Town]:
    """A bank, once it has its keys."""
    urls = {name: database_url(name) for name in (*SERVICES, BUS)}
    async with open_town(urls, tmp_path / "bank", MovingClock()) as opened:
        async with asyncio.timeout(60):
            await _until_open(opened)
        yield opened


async def _until_open(town: Town) -> None:
    while True:
        try:
            await town.stranger("nobody").bank.security_info()
        except RemoteProblem:
            await asyncio.sleep(0.02)
        else:
            return
