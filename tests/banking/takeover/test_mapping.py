"""A wrong mapping is refused with the key that is wrong."""

from datetime import date
from pathlib import Path

import pytest

from latticebank.banking.takeover.errors import BadRowList, InvalidMapping
from latticebank.banking.takeover.fields import DayParser, amount_parser
from latticebank.banking.takeover.mapping import Dates, Mapping, Numbers, load_mapping, parse_mapping
from latticebank.banking.takeover.progress import no_progress
from latticebank.banking.takeover.reading import read_rows
from tests.banking.takeover.sources import PLAIN, plain, written


@pytest.mark.parametrize(
    ("before", "after", "key"),
    [
        ('name = "old"', 'name = "old"\ncolour = "red"', "source"),
        ('name = "old"', 'name = "an old bank"', "source.name"),
        ('name = "old"', 'name = "old"\ndelimiter = ";;"', "source.delimiter"),
        ('name = "old"', 'name = "old"\nquote = ","', "source.quote"),
        ('name = "old"', 'name = "old"\nencoding = "utf-16"', "source.encoding"),
        ('name = "old"', 'name = "old"\nencoding = "rot13"', "source.encoding"),
        ('name = "old"', 'name = "old"\nencoding = "klingon"', "source.encoding"),
        ('amount = "amount"', "amount = 5", "columns.amount"),
        ('amount = "amount"', "", "columns"),
        ('amount = "amount"', 'amount = "balance"', "columns"),
        ('amount = "amount"', 'amount = "amount"\ndirection = "type"', "direction"),
        ('format = "%Y-%m-%d"', 'format = "%Y-%m"', "date.format"),
        ('format = "%Y-%m-%d"', 'format = "%Y-%m-%d %Q"', "date.format"),
        ('format = "%Y-%m-%d"', 'format = "%y%m%d"', "date.two_digit_years_from"),
        ('format = "%Y-%m-%d"', 'format = "%Y-%m-%d"\ntwo_digit_years_from = 1930', "date.two_digit_years_from"),
        ('code = "EUR"', 'code = "EURO"', "currency.code"),
        ('code = "EUR"', 'code = "EUR"\ncolumn = "currency"', "currency"),
        ('code = "EUR"', "", "currency"),
        ('rule = "file"', 'rule = "random"', "order.rule"),
        ('rule = "file"', 'rule = "columns"', "order.columns"),
        ('rule = "file"', 'rule = "columns"\ncolumns = [{ column = "id", kind = "float" }]', "order.columns[0].kind"),
        ('balance = "balance"\n', "", "order.rule"),
        ('step = "0.10"', 'step = "-0.10"', "tolerance.step"),
        ('step = "0.10"', 'step = "1e3"', "tolerance.step"),
        ('step = "0.10"', "step = 0.10", "tolerance.step"),
    ],
)
def test_a_wrong_key_is_named(before: str, after: str, key: str) -> None:
    text = PLAIN if key != "order.rule" or "balance" not in before else PLAIN.replace('"file"', '"credits-then-debits"')
    with pytest.raises(InvalidMapping) as refused:
        parse_mapping(text.replace(before, after))
    assert refused.value.field == key


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ('[overdraft]\npolicy = "fixed"', "overdraft.limit"),
        ('[overdraft]\npolicy = "fixed"\nlimit = "5"', "overdraft.limit"),
        ('[overdraft]\nlimit = "5.00"', "overdraft.limit"),
        ('[numbers]\nthousands = "."', "numbers.thousands"),
        ('[accounts]\nfile = "accounts.csv"', "accounts.column"),
        ('[accounts]\nkind = "cash"', "accounts.kind"),
        ('[owners]\nfile = "o.csv"\naccount = "a"\nparty = "p"\nprefix = "x:"\nrole = "r"', "owners.role"),
        ('[owners]\nfile = "o.csv"\naccount = "a"\nparty = "p"\nprefix = "John Doe"', "owners.prefix"),
        ('[direction]\ncredit = ["A"]\ndebit = ["A"]', "direction"),
        ("[weather]", None),
    ],
)
def test_a_wrong_table_is_named(more: str, key: str | None) -> None:
    with pytest.raises(InvalidMapping) as refused:
        plain(more="\n" + more + "\n")
    assert refused.value.field == key


def test_what_is_not_toml_or_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidMapping, match="not TOML"):
        parse_mapping("[source")
    with pytest.raises(InvalidMapping, match=r"gone\.toml cannot be read"):
        load_mapping(tmp_path / "gone.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidMapping, match="not UTF-8"):
        load_mapping(tmp_path / "bytes.toml")
    (tmp_path / "large.toml").write_bytes(b"#" * (2**20 + 1))
    with pytest.raises(InvalidMapping, match="more than 1048576 bytes"):
        load_mapping(tmp_path / "large.toml")


@pytest.mark.parametrize(
    ("decimal", "thousands", "text", "minor"),
    [
        (".", "", "0.01", 1),
        (".", "", "-1234.50", -123_450),
        (",", ".", "1.234.567,89", 123_456_789),
        (",", " ", "12 345,00", 1_234_500),
        (".", "'", "-1'000.00", -100_000),
    ],
)
def test_amounts_are_read_as_they_are_written_there(decimal: str, thousands: str, text: str, minor: int) -> None:
    numbers = Numbers(decimal=decimal, thousands=thousands)  # type: ignore[arg-type]
    assert amount_parser(numbers, 2)("amount", text) == minor


def test_fewer_decimals_are_read_where_the_mapping_says_so() -> None:
    parse = amount_parser(Numbers(decimals="up-to"), 3)
    assert [parse("amount", text) for text in ("1", "1.5", "-1.25", "1.125")] == [1000, 1500, -1250, 1125]


@pytest.mark.parametrize(("text", "year"), [("930101", 1993), ("300101", 1930), ("291231", 2029), ("000229", 2000)])
def test_years_of_two_digits_lie_in_the_hundred_years_that_are_meant(text: str, year: int) -> None:
    parse = DayParser(Dates(format="%y%m%d", two_digit_years_from=1930), date(2100, 1, 1))
    assert parse("date", text).year == year


def test_a_file_in_another_encoding_and_form_is_read(tmp_path: Path) -> None:
    text = PLAIN.replace('"%Y-%m-%d"', '"%d.%m.%Y"').replace('"account"', '"\u00fa\u010det"') + (
        '\n[numbers]\ndecimal = ","\nthousands = "\u00a0"\n'
    )
    mapping: Mapping = parse_mapping(text.replace("[source]", '[source]\nencoding = "cp1250"\ndelimiter = "|"'))
    path = written(tmp_path, [])
    path.write_bytes(
        "id|\u00fa\u010det|date|amount|balance\n1|7|31.12.2019|1\u00a0000,00|1\u00a0000,00\n".encode("cp1250")
    )
    bad = BadRowList()
    [row] = read_rows(path, mapping, date(2026, 1, 1), bad, no_progress).rows
    assert (row.day, row.amount, row.balance) == (date(2019, 12, 31), 100_000, 100_000)
