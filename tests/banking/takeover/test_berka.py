"""The books of a real bank, taken over whole."""

from pathlib import Path

import pytest

from latticebank.banking.ledger.client import LedgerClient
from latticebank.banking.takeover.run import take_over

MAPPING = Path(__file__).resolve().parents[3] / "examples" / "berka" / "mapping.toml"
ROWS = 14_125


@pytest.fixture
def transactions(shared_data: Path) -> Path:
    path = shared_data / "berka" / "trans.asc"
    if not path.is_file():
        pytest.skip("the Berka data are not there")
    return path


async def test_all_rows_are_posted_and_every_step_is_within_the_tolerance(
    ledger: LedgerClient, transactions: Path
) -> None:
    report = await take_over(ledger, MAPPING, transactions)
    print("\n".join(report.lines()))
    assert report.posted == ROWS
