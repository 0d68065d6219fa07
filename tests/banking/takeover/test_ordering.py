"""Every rule of ordering brings shuffled rows back into the order in which they were booked."""

import random
from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest

from latticebank.banking.takeover.errors import BadRowList
from latticebank.banking.takeover.history import in_posting_order, walk
from latticebank.banking.takeover.mapping import Mapping
from latticebank.banking.takeover.progress import no_progress
from latticebank.banking.takeover.reading import Row, read_rows
from tests.banking.takeover.sources import HEADER, plain, written

# Two accounts, booked in this order; on the second of January account 7 gets two credits, then pays twice.
BOOKED = [
    "1,7,2020-01-01,10.00,10.00,a",
    "2,8,2020-01-01,5.00,5.00,a",
    "3,7,2020-01-02,1.00,11.00,a",
    "4,7,2020-01-02,20.00,31.00,b",
    "5,7,2020-01-02,-30.00,1.00,c",
    "6,7,2020-01-02,-0.50,0.50,d",
    "7,8,2020-01-02,-4.00,1.00,a",
]
LINES_BY_DAY_AND_ACCOUNT = [1, 2, 3, 4, 5, 6, 7]


def ordered(folder: Path, mapping: Mapping, rows: list[str]) -> list[Row]:
    bad = BadRowList()
    path = written(folder, rows, header=HEADER + ",step")
    source = read_rows(path, mapping, date(2026, 1, 1), bad, no_progress)
    assert walk(source, mapping, correct_rounding=False, bad=bad).steps.exact == len(rows)
    assert bad.count == 0
    return in_posting_order(source.rows, mapping.order)


def ids(rows: list[Row]) -> list[int]:
    return [int(row.identity) for row in rows]


def test_the_order_of_the_file_is_kept_within_a_day(tmp_path: Path) -> None:
    assert ids(ordered(tmp_path, plain(), BOOKED)) == LINES_BY_DAY_AND_ACCOUNT


def test_a_file_that_begins_with_the_newest_row_is_turned_round(tmp_path: Path) -> None:
    mapping = plain(('rule = "file"', 'rule = "file-reversed"'))
    rows = ordered(tmp_path, mapping, BOOKED[::-1])
    assert [i for i in ids(rows) if i not in (2, 7)] == [1, 3, 4, 5, 6]
    assert [i for i in ids(rows) if i in (2, 7)] == [2, 7]


@pytest.mark.parametrize("seed", range(10))
def test_credits_by_rising_then_debits_by_falling_balance(tmp_path: Path, seed: int) -> None:
    mapping = plain(('rule = "file"', 'rule = "credits-then-debits"'))
    shuffled = random.Random(seed).sample(BOOKED, len(BOOKED))
    rows = ordered(tmp_path, mapping, shuffled)
    assert [i for i in ids(rows) if i not in (2, 7)] == [1, 3, 4, 5, 6]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(
    "columns",
    [
        '[{ column = "id" }]',
        '[{ column = "step", kind = "text" }, { column = "id" }]',
        '[{ column = "amount", kind = "text", descending = true }, { column = "id" }]',
    ],
)
def test_columns_are_sorted_by_in_their_order(tmp_path: Path, seed: int, columns: str) -> None:
    mapping = plain(('rule = "file"', f'rule = "columns"\ncolumns = {columns}'))
    if "descending" in columns:  # as text: 20.00, 1.00, -30.00, -0.50
        booked = [row for row in BOOKED if row.split(",")[0] not in "346"]
    else:
        booked = BOOKED
    shuffled = random.Random(seed).sample(booked, len(booked))
    bad = BadRowList()
    source = read_rows(
        written(tmp_path, shuffled, header=HEADER + ",step"), mapping, date(2026, 1, 1), bad, no_progress
    )
    rows = in_posting_order(source.rows, mapping.order)
    assert [i for i in ids(rows) if i not in (2, 7)] == [int(b[0]) for b in booked if b[0] not in "27"]


def test_a_descending_column_turns_its_order_round(tmp_path: Path) -> None:
    mapping = plain(('rule = "file"', 'rule = "columns"\ncolumns = [{ column = "id", descending = true }]'))
    bad = BadRowList()
    path = written(tmp_path, BOOKED, header=HEADER + ",step")
    rows = in_posting_order(read_rows(path, mapping, date(2026, 1, 1), bad, no_progress).rows, mapping.order)
    assert ids(rows) == [1, 2, 6, 5, 4, 3, 7]


@pytest.mark.parametrize("rule", ["file", "credits-then-debits"])
def test_days_come_first_then_accounts_whatever_the_rule(tmp_path: Path, rule: str) -> None:
    mapping = plain(('rule = "file"', f'rule = "{rule}"'))
    rows = ordered(tmp_path, mapping, BOOKED)
    assert all((a.day, a.account) <= (b.day, b.account) for a, b in pairwise(rows))


def test_a_file_that_is_not_in_the_order_it_claims_has_bad_rows(tmp_path: Path) -> None:
    mapping, bad = plain(), BadRowList()
    path = written(tmp_path, ["1,7,2020-01-02,10.00,10.00", "2,7,2020-01-01,1.00,11.00", "3,8,2020-01-01,1.00,1.00"])
    source = read_rows(path, mapping, date(2026, 1, 1), bad, no_progress)
    walk(source, mapping, correct_rounding=False, bad=bad)
    [row] = bad.named()
    assert (row.line, row.column) == (3, "date")
    assert "before the day of an earlier row" in row.reason
