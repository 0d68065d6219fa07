"""The books of a real bank, taken over whole."""

import csv
from collections import defaultdict
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import pytest

from latticebank.banking.ledger.client import LedgerClient
from latticebank.banking.ledger.wire import AccountView, EntryView
from latticebank.banking.takeover.errors import CannotContinue
from latticebank.banking.takeover.run import take_over
from tests.banking.takeover.banks import entries_of

MAPPING = Path(__file__).resolve().parents[3] / "examples" / "berka" / "mapping.toml"
ROWS = 14_125
OFF_BY_ROUNDING = 715


class Stated(NamedTuple):
    """A row of the source, read here without any of the importer's code."""

    day: str
    amount: Decimal
    balance: Decimal


@pytest.fixture
def transactions(shared_data: Path) -> Path:
    path = shared_data / "berka" / "trans.asc"
    if not path.is_file():
        pytest.skip(f"the Berka transactions are not at {path}")
    return path


@pytest.fixture
def stated(transactions: Path) -> dict[str, list[Stated]]:
    """What the source states of each account, in the order of its booking."""
    accounts = defaultdict(list)
    with transactions.open(encoding="ascii", newline="") as file:
        for row in csv.DictReader(file, delimiter=";"):
            sign = 1 if row["type"] == "PRIJEM" else -1
            day = date.fromisoformat("19" + row["date"]).isoformat()
            accounts[row["account_id"]].append(Stated(day, sign * Decimal(row["amount"]), Decimal(row["balance"])))
    for rows in accounts.values():
        rows.sort(key=lambda row: (row.day, row.amount < 0, row.balance if row.amount > 0 else -row.balance))
    return accounts


async def test_all_rows_are_posted_every_step_within_the_tolerance_and_the_drift_is_told(
    ledger: LedgerClient, transactions: Path
) -> None:
    report = await take_over(ledger, MAPPING, transactions)

    assert report.reconciled
    assert (report.rows, report.posted, report.already_posted, report.refused) == (ROWS, ROWS, 0, 0)
    assert (report.exact, report.within_tolerance, report.off) == (13_410, OFF_BY_ROUNDING, 0)
    assert (report.accounts, report.accounts_opened) == (858, 858)
    assert (report.drifting, report.drifting_at_end) == (378, 281)
    assert max(abs(Decimal(drift.largest)) for drift in report.drifts) == Decimal("0.30")
    assert sum(Decimal(drift.final) for drift in report.drifts) == Decimal("25676123.50") - Decimal("25676105.80")
    [migration] = report.migration
    assert (migration.balance, migration.entries, migration.agrees) == ("-25676123.50", ROWS, True)
    assert Decimal(migration.debited) - Decimal(migration.credited) == Decimal(migration.balance)
    assert (await ledger.account(migration.number)).balance == migration.balance


async def test_accounts_that_went_negative_get_the_overdraft_they_had_and_no_other(
    ledger: LedgerClient, transactions: Path
) -> None:
    report = await take_over(ledger, MAPPING, transactions)

    limits = {each.account: each.limit for each in report.overdrafts}
    needed = {"berka/1539": "633.30", "berka/4034": "2994.50", "berka/5740": "3724.70", "berka/5868": "3370.30"}
    assert limits == needed
    for each in report.overdrafts:
        assert (await ledger.account(each.number)).overdraft_limit == needed[each.account]
    untouched = await ledger.accounts_by_reference(["berka/576"])
    assert (await ledger.account(untouched["berka/576"])).overdraft_limit == "0.00"


async def test_accounts_have_the_owners_and_mandates_of_the_source(ledger: LedgerClient, transactions: Path) -> None:
    await take_over(ledger, MAPPING, transactions)

    found = await ledger.accounts_by_reference(["berka/2"])
    account = await ledger.account(found["berka/2"])
    assert (account.owners, account.mandates) == (["berka:client/2"], ["berka:client/3"])


async def test_history_stands_in_the_ledger_row_by_row_on_its_own_days(
    ledger: LedgerClient, transactions: Path, stated: dict[str, list[Stated]]
) -> None:
    await take_over(ledger, MAPPING, transactions)

    numbers = await ledger.accounts_by_reference([f"berka/{name}" for name in stated])
    for name, rows in _some(stated):
        entries = await entries_of(ledger, numbers[f"berka/{name}"])
        assert [(e.booking_date.isoformat(), Decimal(e.amount)) for e in entries] == [(r.day, r.amount) for r in rows]
        assert all(entry.value_date == entry.booking_date and entry.purpose == "import" for entry in entries)


async def test_with_the_rounding_corrected_every_stated_balance_is_met_exactly(
    ledger: LedgerClient, transactions: Path, stated: dict[str, list[Stated]]
) -> None:
    report = await take_over(ledger, MAPPING, transactions, correct_rounding=True)

    assert report.reconciled
    assert (report.posted, report.rounding_posted) == (ROWS, OFF_BY_ROUNDING)
    assert (report.drifting, report.drifts) == (0, ())
    assert report.migration[0].balance == "-25676105.80"
    final = {f"berka/{name}": f"{rows[-1].balance:.2f}" for name, rows in stated.items()}
    assert {account.reference: account.balance for account in await _accounts(ledger)} == final
    numbers = await ledger.accounts_by_reference(list(final))
    for name, rows in _some(stated):
        met = _met(await entries_of(ledger, numbers[f"berka/{name}"]))
        assert met == [(row.day, row.balance) for row in rows]


async def test_to_import_again_posts_nothing_and_says_the_same(ledger: LedgerClient, transactions: Path) -> None:
    first = await take_over(ledger, MAPPING, transactions, correct_rounding=True)
    again = await take_over(ledger, MAPPING, transactions, correct_rounding=True)

    assert (again.posted, again.rounding_posted, again.accounts_opened) == (0, 0, 0)
    assert (again.already_posted, again.rounding_already_posted) == (ROWS, OFF_BY_ROUNDING)
    assert again.reconciled
    assert (again.exact, again.within_tolerance, again.drifts) == (first.exact, first.within_tolerance, first.drifts)
    assert (again.migration, again.overdrafts) == (first.migration, first.overdrafts)


async def test_what_was_imported_without_correction_is_not_corrected_later(
    ledger: LedgerClient, transactions: Path
) -> None:
    first = await take_over(ledger, MAPPING, transactions)
    with pytest.raises(CannotContinue, match="without correction"):
        await take_over(ledger, MAPPING, transactions, correct_rounding=True)

    again = await take_over(ledger, MAPPING, transactions)
    assert (again.posted, again.drifts, again.migration) == (0, first.drifts, first.migration)


async def test_what_was_imported_with_correction_is_not_repeated_without(
    ledger: LedgerClient, transactions: Path
) -> None:
    await take_over(ledger, MAPPING, transactions, correct_rounding=True)
    with pytest.raises(CannotContinue, match="with its rounding corrected"):
        await take_over(ledger, MAPPING, transactions)


def _some(stated: dict[str, list[Stated]]) -> list[tuple[str, list[Stated]]]:
    """Every eighth account: to page through the entries of all of them takes a minute."""
    return [(name, stated[name]) for name in sorted(stated)[::8]]


async def _accounts(ledger: LedgerClient) -> list[AccountView]:
    page = await ledger.accounts(kind="checking")
    accounts = page.items
    while page.next_cursor:
        page = await ledger.accounts(kind="checking", cursor=page.next_cursor)
        accounts += page.items
    return accounts


def _met(entries: list[EntryView]) -> list[tuple[str, Decimal]]:
    """The day and the balance after each row, the rounding entry that follows it included."""
    met: list[tuple[str, Decimal]] = []
    for entry in entries:
        if entry.purpose == "rounding":
            assert met[-1][0] == entry.booking_date.isoformat()
            assert abs(Decimal(entry.amount)) <= Decimal("0.10")
            met.pop()
        met.append((entry.booking_date.isoformat(), Decimal(entry.balance)))
    return met
