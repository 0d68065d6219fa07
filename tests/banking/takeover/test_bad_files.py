"""Hostile and careless input: each is a clear error that names its place, and nothing of it is posted."""

import os
from datetime import date
from pathlib import Path

import pytest

from latticebank.banking.ledger.client import LedgerClient
from latticebank.banking.takeover import records
from latticebank.banking.takeover.errors import BadRow, BadRowList, BadRows, UnreadableSource
from latticebank.banking.takeover.mapping import Mapping
from latticebank.banking.takeover.progress import no_progress
from latticebank.banking.takeover.reading import read_rows
from latticebank.banking.takeover.run import take_over
from tests.banking.takeover.sources import HEADER, plain, written

GOOD = "1,7,2020-01-01,10.00,10.00"
TODAY = date(2026, 1, 1)
WORDS = '\n[direction]\ncredit = ["IN"]\ndebit = ["OUT"]\n'


def bad_rows(path: Path, mapping: Mapping | None = None) -> tuple[BadRow, ...]:
    bad = BadRowList()
    read_rows(path, mapping or plain(), TODAY, bad, no_progress)
    return bad.named()


@pytest.mark.parametrize(
    ("row", "column", "reason"),
    [
        ("2,7,2020-01-02,1.00", None, "4 fields"),
        ("2,7,2020-01-02,1.00,11.00,more", None, "6 fields"),
        ("2,7,2020-01-02,1.0,11.00", "amount", "1 decimals"),
        ("2,7,2020-01-02,1.000,11.00", "amount", "3 decimals"),
        ("2,7,2020-01-02,1,11.00", "amount", "0 decimals"),
        ("2,7,2020-01-02,1.00,", "balance", "no amount"),
        ("2,7,2020-01-02,,11.00", "amount", "no amount"),
        ("2,7,2020-01-02,0.00,11.00", "amount", "zero"),
        ("2,7,2020-01-02,-0.00,11.00", "amount", "negative zero"),
        ("2,7,2020-01-02,1.00,-0.00", "balance", "negative zero"),
        ("2,7,2020-01-02,+1.00,11.00", "amount", "no amount"),
        ("2,7,2020-01-02,1e2,11.00", "amount", "no amount"),
        ("2,7,2020-01-02,NaN,11.00", "amount", "no amount"),
        ('2,7,2020-01-02,"1,00",11.00', "amount", "no amount"),
        ("2,7,2020-01-02,--1.00,11.00", "amount", "no amount"),
        ("2,7,2020-01-02, 1.00,11.00", "amount", "no amount"),
        ("2,7,2020-01-02,\u0661\u0662.\u0660\u0660,11.00", "amount", "no amount"),
        ("2,7,2020-01-02,10000000000000000.01,11.00", "amount", "more than any"),
        ("2,7,2020-01-02," + "9" * 30_000 + ".00,11.00", "amount", "more than any"),
        ("2,7,2020-02-30,1.00,11.00", "date", "no date of the form"),
        ("2,7,2020-1-2,1.00,11.00", "date", "no date of the form"),
        ("2,7,today,1.00,11.00", "date", "no date of the form"),
        ("2,7,2026-01-02,1.00,11.00", "date", "lies not between"),
        ("2,7,1066-10-14,1.00,11.00", "date", "lies not between"),
        ("1,7,2020-01-02,1.00,11.00", "id", "id of line 2"),
        (",7,2020-01-02,1.00,11.00", "id", "an id has"),
        ("x" * 201 + ",7,2020-01-02,1.00,11.00", "id", "an id has"),
        ("2,,2020-01-02,1.00,11.00", "account", "an account is named"),
        ("2,a/b,2020-01-02,1.00,11.00", "account", "an account is named"),
        ("2,a b,2020-01-02,1.00,11.00", "account", "an account is named"),
        ("2," + "a" * 61 + ",2020-01-02,1.00,11.00", "account", "an account is named"),
        ("2,7\0,2020-01-02,1.00,11.00", None, "NUL"),
        ('2,"7"x,2020-01-02,1.00,11.00', None, "no record of CSV"),
        ('2,"7,2020-01-02,1.00,11.00', None, "no record of CSV"),
    ],
)
def test_a_bad_row_is_named_by_line_column_and_reason(
    tmp_path: Path, row: str, column: str | None, reason: str
) -> None:
    [bad] = bad_rows(written(tmp_path, [GOOD, row]))
    assert (bad.line, bad.column) == (3, column)
    assert reason in bad.reason
    assert len(bad.reason) < 300


def test_a_byte_that_is_not_of_the_encoding_is_named_by_its_place(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(f"{HEADER}\n{GOOD}\n2,\xe9,2020-01-02,1.00,11.00\n3,8,2020-01-02,1.00,1.00\n".encode("latin-1"))
    [bad] = bad_rows(path)
    assert (bad.line, bad.reason) == (3, "byte 3 of line 3 is not utf-8")


@pytest.mark.parametrize(
    ("row", "column", "reason"),
    [
        ("2,7,2020-01-02,1.00,11.00,SIDEWAYS", "type", "none of the words"),
        ("2,7,2020-01-02,1.00,11.00,in", "type", "none of the words"),
        ("2,7,2020-01-02,-1.00,11.00,IN", "amount", "negative, though a word"),
    ],
)
def test_words_of_direction_are_those_of_the_mapping(tmp_path: Path, row: str, column: str, reason: str) -> None:
    mapping = plain(('balance = "balance"', 'balance = "balance"\ndirection = "type"'), more=WORDS)
    [bad] = bad_rows(written(tmp_path, [GOOD + ",IN", row], header=HEADER + ",type"), mapping)
    assert (bad.line, bad.column) == (3, column)
    assert reason in bad.reason


def test_lines_are_counted_as_an_editor_counts_them(tmp_path: Path) -> None:
    rows = [GOOD + ',"a note\nof three\nlines"', "", "2,7,2020-01-02,1.0,11.00,"]
    [bad] = bad_rows(written(tmp_path, rows, header=HEADER + ",note"))
    assert bad.line == 6


def test_a_currency_is_an_iso_code_and_one_for_each_account(tmp_path: Path) -> None:
    mapping = plain(('code = "EUR"', 'column = "currency"'))
    rows = [GOOD + ",EUR", "2,7,2020-01-02,1.00,11.00,USD", "3,8,2020-01-02,1.00,1.00,EURO", "4,9,2020-01-02,1,1,JPY"]
    first, second = bad_rows(written(tmp_path, rows, header=HEADER + ",currency"), mapping)
    assert (first.line, first.column) == (3, "account")
    assert "is kept in EUR" in first.reason
    assert (second.line, second.column) == (4, "currency")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (HEADER.encode(), "no rows"),
        (b"id,account,date,amount\n1,7,2020-01-01,1.00\n", 'no column "balance"'),
        (b"id,account,date,amount,balance,id\n", "2 columns called"),
        (HEADER.encode("utf-16"), "UTF-16"),
        (b"\x80" + HEADER.encode() + b"\n", "not utf-8"),
        (b'"id,account\n', "no record of CSV"),
        (b"," * 600, "500 columns"),
        (b"x" * 200_000, "bytes"),
    ],
)
def test_a_file_that_is_not_what_the_mapping_says_is_refused_whole(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(content)
    with pytest.raises(UnreadableSource, match=reason) as refused:
        bad_rows(path)
    assert refused.value.field == "rows.csv"


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"\xef\xbb\xbf" + f"{HEADER}\r\n{GOOD}\r\n".encode())
    assert bad_rows(path) == ()


def test_a_folder_a_pipe_and_a_file_that_is_gone_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, reason in (("", "folder"), ("pipe", "no plain file"), ("gone.csv", "No such file"), ("a\0b", "NUL|null")):
        with pytest.raises(UnreadableSource, match=reason):
            bad_rows(tmp_path / name if name else tmp_path)


def test_a_file_over_the_bounds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, [GOOD, "2,7,2020-01-02,1.00,11.00"])
    monkeypatch.setattr(records, "MAX_ROWS", 1)
    with pytest.raises(UnreadableSource, match="more than 1 rows"):
        bad_rows(path)
    monkeypatch.setattr(records, "MAX_FILE_BYTES", 10)
    with pytest.raises(UnreadableSource, match="more than 10 bytes"):
        bad_rows(path)


async def test_nothing_of_a_file_with_a_bad_row_is_posted(ledger: LedgerClient, tmp_path: Path) -> None:
    path = written(tmp_path, [GOOD, "2,7,2020-01-02,1.0,11.00", "3,8,2020-01-02,1.00,1.00"])
    with pytest.raises(BadRows, match="line 3, column amount") as refused:
        await take_over(ledger, plain(), path)
    assert (refused.value.count, refused.value.rows[0].line) == (1, 3)
    assert (await ledger.accounts()).items == []


async def test_bad_rows_are_skipped_on_request_and_named_in_the_report(ledger: LedgerClient, tmp_path: Path) -> None:
    path = written(tmp_path, [GOOD, "2,9,2020-01-02,1.0,11.00", "3,8,2020-01-02,1.00,1.00"])
    report = await take_over(ledger, plain(), path, skip_bad_rows=True)
    assert (report.rows, report.posted, report.skipped) == (3, 2, 1)
    assert [row.line for row in report.skipped_rows] == [3]
    assert not report.reconciled
    found = await ledger.accounts_by_reference(["old/7", "old/8", "old/9"])
    assert sorted(found) == ["old/7", "old/8"]


def test_of_very_many_bad_rows_the_first_are_named_and_the_rest_counted(tmp_path: Path) -> None:
    bad = BadRowList()
    read_rows(written(tmp_path, ["x"] * 10_500), plain(), TODAY, bad, no_progress)
    assert (bad.count, len(bad.named())) == (10_500, 10_000)
    assert "and 10480 more" in str(BadRows("rows.csv", bad.named(), bad.count))
