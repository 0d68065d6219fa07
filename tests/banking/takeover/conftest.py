"""A bank for each test, with a ledger and nothing else."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from latticebank.banking.ledger.client import LedgerClient
from tests.banking.takeover.banks import ledger_of


@pytest.fixture
def ledger_url(database_url: Callable[[str], str]) -> str:
    return database_url("ledger")


@pytest.fixture
async def ledger(ledger_url: str, tmp_path: Path) -> AsyncIterator[LedgerClient]:
    folder = tmp_path / "bank"
    folder.mkdir(mode=0o700)
    async with ledger_of(ledger_url, folder) as client:
        yield client
