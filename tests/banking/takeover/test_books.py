"""What an import does to the books: any history, any currency, limits, refusals, and what was there before."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from itertools import count
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from latticebank.banking.ledger.client import LedgerClient
from latticebank.banking.ledger.wire import AccountView
from latticebank.banking.takeover.errors import BadRows, CannotContinue
from latticebank.banking.takeover.progress import Phase
from latticebank.banking.takeover.run import take_over
from tests.banking.takeover.banks import entries_of, ledger_of
from tests.banking.takeover.sources import HEADER, plain, written

AS_NEEDED = '\n[overdraft]\npolicy = "as-needed"\n'
_sources = count(1)

steps = st.tuples(
    st.integers(0, 3),  # account
    st.integers(0, 40),  # days after the first
    st.integers(-50_000, 50_000).filter(bool),  # amount
    st.sampled_from([0, 0, 0, 1, -1, 10, -10]),  # rounding of the source
)


def decimal(minor: int) -> str:
    return f"{Decimal(minor).scaleb(-2):.2f}"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(steps, min_size=1, max_size=30), correct=st.booleans())
async def test_any_history_comes_into_the_books_as_it_was(
    ledger: LedgerClient, tmp_path: Path, history: list[tuple[int, int, int, int]], correct: bool
) -> None:
    source = f"s{next(_sources)}"
    balances = [0] * 4
    rounded = [0] * 4
    stated: dict[int, list[tuple[date, int]]] = {}
    rows = []
    for number, (account, days, amount, rounding) in enumerate(sorted(history, key=lambda step: step[1])):
        day = date.fromordinal(date(2019, 12, 20).toordinal() + days)
        balances[account] += amount + rounding
        rounded[account] += rounding
        stated.setdefault(account, []).append((day, balances[account]))
        rows.append(f"{number},{account},{day},{decimal(amount)},{decimal(balances[account])}")
    mapping = plain(('"old"', f'"{source}"'), more=AS_NEEDED)

    report = await take_over(ledger, mapping, written(tmp_path, rows), correct_rounding=correct)

    assert report.reconciled
    within = sum(bool(step[3]) for step in history)
    assert (report.posted, report.within_tolerance, report.exact) == (len(rows), within, len(rows) - within)
    assert report.rounding_posted == (within if correct else 0)
    drifts = {each.account: each.final for each in report.drifts if each.final != "0.00"}
    left = {f"{source}/{account}": decimal(-rounded[account]) for account in range(4) if rounded[account]}
    assert drifts == ({} if correct else left)
    numbers = await ledger.accounts_by_reference([f"{source}/{account}" for account in stated])
    for account, movements in stated.items():
        view = await ledger.account(numbers[f"{source}/{account}"])
        off = 0 if correct else rounded[account]
        assert view.balance == decimal(movements[-1][1] - off)
        entries = await entries_of(ledger, view.account)
        imported = [entry.booking_date for entry in entries if entry.purpose == "import"]
        assert imported == [day for day, _ in movements]
        lowest = min(Decimal(entry.balance) for entry in entries)
        assert Decimal(view.overdraft_limit or "") == max(Decimal(0), -lowest)


async def test_a_step_off_by_more_than_the_tolerance_is_told_and_never_corrected(
    ledger: LedgerClient, tmp_path: Path
) -> None:
    rows = ["1,7,2020-01-01,10.00,10.00", "2,7,2020-01-02,5.00,15.11", "3,7,2020-01-03,5.00,20.21"]
    report = await take_over(ledger, plain(), written(tmp_path, rows), correct_rounding=True)

    assert (report.exact, report.within_tolerance, report.off) == (1, 1, 1)
    assert [(step.line, step.difference) for step in report.off_steps] == [(3, "0.11")]
    assert report.rounding_posted == 1
    assert [(drift.final, drift.largest, drift.line_of_largest) for drift in report.drifts] == [("-0.11", "-0.11", 3)]
    assert not report.reconciled


async def test_without_an_overdraft_a_row_that_needs_one_is_bad(ledger: LedgerClient, tmp_path: Path) -> None:
    rows = ["1,7,2020-01-01,10.00,10.00", "2,7,2020-01-02,-10.01,-0.01"]
    with pytest.raises(BadRows, match=r"line 3, column amount: takes '7' to -0.01, allowed is 0.00"):
        await take_over(ledger, plain(), written(tmp_path, rows))


async def test_a_fixed_overdraft_is_given_to_every_account(ledger: LedgerClient, tmp_path: Path) -> None:
    rows = ["1,7,2020-01-01,10.00,10.00", "2,8,2020-01-02,-500.00,-500.00"]
    mapping = plain(more='\n[overdraft]\npolicy = "fixed"\nlimit = "500.00"\n')
    report = await take_over(ledger, mapping, written(tmp_path, rows))
    assert [(each.account, each.limit) for each in report.overdrafts] == [("old/7", "500.00"), ("old/8", "500.00")]
    assert report.reconciled
    with pytest.raises(BadRows, match=r"allowed is -500\.00"):
        await take_over(ledger, mapping, written(tmp_path, [*rows, "3,8,2020-01-03,-0.01,-500.01"]))


async def test_a_longer_file_goes_on_and_raises_the_overdraft_that_it_needs(
    ledger: LedgerClient, tmp_path: Path
) -> None:
    rows = ["1,7,2020-01-01,10.00,10.00", "2,7,2020-01-02,-15.00,-5.00"]
    mapping = plain(more=AS_NEEDED)
    first = await take_over(ledger, mapping, written(tmp_path, rows))
    report = await take_over(ledger, mapping, written(tmp_path, [*rows, "3,7,2020-01-03,-20.00,-25.00"]))
    assert [each.limit for each in first.overdrafts + report.overdrafts] == ["5.00", "25.00"]
    assert (report.posted, report.already_posted, report.accounts_opened) == (1, 2, 0)
    assert report.reconciled


async def test_a_row_that_changed_since_it_was_imported_is_refused_and_the_account_stops(
    ledger: LedgerClient, tmp_path: Path
) -> None:
    rows = ["1,7,2020-01-01,10.00,10.00", "2,8,2020-01-02,5.00,5.00"]
    await take_over(ledger, plain(), written(tmp_path, rows))
    changed = ["1,7,2020-01-01,11.00,11.00", *rows[1:]]
    report = await take_over(ledger, plain(), written(tmp_path, changed))
    assert [(row.line, row.account) for row in report.refused_rows] == [(2, "old/7")]
    assert "it changed since it was imported" in report.refused_rows[0].reason
    assert not report.reconciled


async def test_after_a_refusal_the_rest_of_the_account_is_withheld_and_the_others_go_on(
    ledger: LedgerClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("latticebank.banking.takeover.posting.MAX_ORDERS", 2)
    first = ["1,7,2020-01-01,10.00,10.00", "2,8,2020-01-01,5.00,5.00"]
    await take_over(ledger, plain(), written(tmp_path, first))
    [frozen] = (await ledger.accounts_by_reference(["old/7"])).values()
    await ledger.restrict(uuid4(), frozen, "freeze", "fraud-suspected")

    more = [
        f"{n},{account},2020-01-{n:02d},1.00,{n}.00" for n, account in ((3, 7), (4, 8), (5, 7), (6, 7), (7, 8), (8, 7))
    ]
    report = await take_over(ledger, plain(), written(tmp_path, [*first, *more]))

    refused = [(row.line, row.reason.partition(":")[0]) for row in report.refused_rows]
    # The third batch holds nothing but rows of the frozen account; the fourth still comes.
    assert refused == [(4, "account-frozen"), (6, "withheld"), (7, "withheld"), (9, "withheld")]
    assert (report.posted, report.already_posted, report.refused) == (2, 2, 4)
    assert (await ledger.account(frozen)).balance == "10.00"
    assert not report.reconciled


async def test_new_rows_before_the_last_day_posted_are_refused_before_anything_is_posted(
    ledger: LedgerClient, tmp_path: Path
) -> None:
    rows = ["1,7,2020-01-01,10.00,10.00", "2,7,2020-01-03,5.00,15.00"]
    await take_over(ledger, plain(), written(tmp_path, rows))
    late = [rows[0], "3,8,2020-01-02,1.00,1.00", rows[1]]
    with pytest.raises(CannotContinue, match="line 3 is new and dated 2020-01-02"):
        await take_over(ledger, plain(), written(tmp_path, late))
    [account] = (await ledger.accounts_by_reference(["old/8"])).values()
    assert (await ledger.account(account)).entries == 0


async def test_rows_without_ids_are_known_by_content_and_by_how_often_it_came(
    ledger: LedgerClient, tmp_path: Path
) -> None:
    mapping = plain(('id = "id"\n', ""), ('balance = "balance"\n', ""))
    rows = ["x,7,2020-01-01,10.00,", "x,7,2020-01-01,10.00,", "x,7,2020-01-02,-1.00,"]
    first = await take_over(ledger, mapping, written(tmp_path, rows))
    again = await take_over(ledger, mapping, written(tmp_path, [*rows, rows[2]]))
    assert (first.posted, first.uncompared) == (3, 3)
    assert (again.posted, again.already_posted) == (1, 3)
    [account] = (await ledger.accounts_by_reference(["old/7"])).values()
    assert (await ledger.account(account)).balance == "18.00"


async def test_currencies_have_their_own_digits_and_migration_accounts(ledger: LedgerClient, tmp_path: Path) -> None:
    mapping = plain(('code = "EUR"', 'column = "currency"'), ('step = "0.10"', 'step = "1"'))
    rows = ["1,7,2020-01-01,10.00,10.00,EUR", "2,8,2020-01-01,500,501,JPY", "3,9,2020-01-01,1.234,1.234,KWD"]
    report = await take_over(ledger, mapping, written(tmp_path, rows, header=HEADER + ",currency"))
    assert (report.exact, report.within_tolerance, report.reconciled) == (2, 1, True)
    sums = {each.reference: each.balance for each in report.migration}
    names = ("old/migration/EUR/0", "old/migration/JPY/0", "old/migration/KWD/0")
    assert sums == dict(zip(names, ("-10.00", "-500", "-1.234"), strict=True))


async def test_accounts_on_several_shards_have_a_migration_account_on_each(ledger_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "bank"
    folder.mkdir(mode=0o700)
    rows = [f"{n},{n},2020-01-01,1.00,1.00" for n in range(20)]
    async with ledger_of(ledger_url, folder, shards=2) as ledger:
        report = await take_over(ledger, plain(), written(tmp_path, rows))
        again = await take_over(ledger, plain(), written(tmp_path, rows))
    assert [each.reference for each in report.migration] == ["old/migration/EUR/0", "old/migration/EUR/1"]
    assert sum(Decimal(each.balance) for each in report.migration) == -20
    assert (report.posted, again.already_posted, report.reconciled, again.reconciled) == (20, 20, True, True)


async def test_a_bank_elsewhere_is_reached_over_http(ledger_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "bank"
    folder.mkdir(mode=0o700)
    rows = [f"{n},{n % 5},2020-01-01,1.00,{n // 5 + 1}.00" for n in range(9_000)]
    async with ledger_of(ledger_url, folder, over_http=True) as ledger:
        report = await take_over(ledger, plain(), written(tmp_path, rows))
    assert (report.posted, report.exact, report.reconciled) == (9_000, 9_000, True)


async def test_owners_come_from_their_file_and_an_account_of_nobody_is_bad(
    ledger: LedgerClient, tmp_path: Path
) -> None:
    owners = '\n[owners]\nfile = "owners.csv"\naccount = "account"\nparty = "party"\nprefix = "old:client/"\n'
    accounts = '\n[accounts]\nfile = "accounts.csv"\ncolumn = "account"\n'
    written(tmp_path, ["7,1", "7,2", "8,1"], header="account,party", name="owners.csv")
    written(tmp_path, ["7", "8"], header="account", name="accounts.csv")
    path = written(tmp_path, ["1,7,2020-01-01,10.00,10.00", "2,9,2020-01-01,1.00,1.00"])
    with pytest.raises(BadRows, match=r"line 3: owners.csv names no owner of the account 9"):
        await take_over(ledger, plain(more=owners + accounts), path)

    report = await take_over(ledger, plain(more=owners + accounts), path, skip_bad_rows=True)
    found = await ledger.accounts_by_reference(["old/7", "old/8", "old/9"])
    assert sorted(found) == ["old/7", "old/8"]
    assert (await ledger.account(found["old/7"])).owners == ["old:client/1", "old:client/2"]
    assert report.accounts_opened == 2


@pytest.mark.parametrize(("entry", "balance"), [(0, "-15.01"), (1, "-15.00")])
async def test_a_migration_account_that_is_not_where_the_import_took_it_is_not_reconciled(
    ledger: LedgerClient, tmp_path: Path, entry: int, balance: str
) -> None:
    class Meddled(LedgerClient):
        """A ledger in which somebody else used the migration account meanwhile."""

        async def account(self, account: str) -> AccountView:
            view = await super().account(account)
            return replace(view, balance=balance, entries=view.entries + entry)

    client = Meddled(ledger._transport, ledger._credential)
    rows = ["1,7,2020-01-01,10.00,10.00", "2,7,2020-01-02,5.00,15.00"]
    report = await take_over(client, plain(), written(tmp_path, rows))
    assert (report.posted, report.migration[0].agrees, report.reconciled) == (2, False, False)


async def test_progress_goes_through_the_phases_and_ends_whole(ledger: LedgerClient, tmp_path: Path) -> None:
    told: dict[Phase, list[tuple[int, int]]] = {}
    path = written(tmp_path, ["1,7,2020-01-01,10.00,10.00", "2,7,2020-01-02,5.00,15.10"])
    await take_over(
        ledger, plain(), path, correct_rounding=True,
        progress=lambda phase, done, total: told.setdefault(phase, []).append((done, total)),
    )  # fmt: skip
    assert list(told) == list(Phase)
    assert all(calls == sorted(calls) and calls[-1][0] == calls[-1][1] for calls in told.values())
    assert told[Phase.POSTING][-1] == (3, 3)


async def test_the_report_is_json_and_lines(ledger: LedgerClient, tmp_path: Path) -> None:
    path = written(tmp_path, ["1,7,2020-01-01,10.00,10.00", "2,7,2020-01-02,5.00,15.10", "3,7,2020-01-02,x,1.00"])
    report = await take_over(ledger, plain(), path, skip_bad_rows=True)
    json = report.as_json()
    assert (json["rows"], json["reconciled"], json["drifts"][0]["final"]) == (3, False, "-0.10")
    assert json["skipped_rows"] == [
        {"line": 4, "column": "amount", "reason": "'x' is no amount with \".\" before its decimals"}
    ]
    lines = list(report.lines())
    assert lines[0] == "rows.csv as old: NOT reconciled"
    assert any("line 4, column amount" in line for line in lines)
