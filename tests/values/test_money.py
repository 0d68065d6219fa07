"""Amounts are written with exactly the digits of their currency and counted in whole minor units."""

import csv
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latticebank.values.errors import InvalidValue
from latticebank.values.money import (
    CURRENCY_DIGITS,
    MAX_BALANCE,
    MAX_MINOR,
    Money,
    currency_digits,
    format_amount,
    parse_amount,
    parse_signed_amount,
)

DIGITS = st.sampled_from(sorted(set(CURRENCY_DIGITS.values())))


@given(st.integers(0, MAX_MINOR), DIGITS)
def test_an_amount_reads_back_as_it_was_written(minor: int, digits: int) -> None:
    text = format_amount(minor, digits)

    assert parse_amount(text, digits) == minor
    assert Decimal(text) == Decimal(minor).scaleb(-digits)


@given(st.integers(-MAX_BALANCE, MAX_BALANCE), DIGITS)
def test_a_balance_of_either_sign_is_written_in_full(minor: int, digits: int) -> None:
    text = format_amount(minor, digits)

    assert int(text.replace(".", "")) == minor
    assert len(text.partition(".")[2]) == digits


@given(st.integers(-MAX_MINOR, MAX_MINOR), DIGITS)
def test_a_signed_amount_reads_back_as_it_was_written(minor: int, digits: int) -> None:
    assert parse_signed_amount(format_amount(minor, digits), digits) == minor


@given(st.text() | st.from_regex(r"\A[-+]?[0-9]{0,21}\.?[0-9]{0,5}\n?\Z"), DIGITS)
def test_one_amount_has_one_form_and_everything_else_is_refused(text: str, digits: int) -> None:
    try:
        minor = parse_amount(text, digits)
    except InvalidValue:
        return
    assert 0 <= minor <= MAX_MINOR
    assert format_amount(minor, digits) == text


@pytest.mark.parametrize(
    ("text", "digits", "minor"),
    [("12.34", 2, 1234), ("0.01", 2, 1), ("0.00", 2, 0), ("7", 0, 7), ("1.234", 3, 1234), ("0.0001", 4, 1),
     ("10000000000000000.00", 2, MAX_MINOR), ("1000000000000000000", 0, MAX_MINOR)],
)  # fmt: skip
def test_amounts_are_read(text: str, digits: int, minor: int) -> None:
    assert parse_amount(text, digits) == minor


@pytest.mark.parametrize(
    ("text", "digits"),
    [("", 2), (".", 2), ("1", 2), ("1.", 0), ("1.0", 0), ("1.2", 2), ("1.234", 2), ("-1.00", 2), ("+1.00", 2), ("01.00", 2),
     ("00", 0), ("1,00", 2), ("1.00 ", 2), ("1.00\n", 2), ("\u0661.00", 2), ("\u00b2", 0), ("1e2", 0), ("1_000", 0),
     ("10000000000000000.01", 2), ("1000000000000000001", 0), ("9" * 5_000, 0), ("1.2.3", 3)],
)  # fmt: skip
def test_what_is_no_amount_is_refused(text: str, digits: int) -> None:
    with pytest.raises(InvalidValue) as refused:
        parse_amount(text, digits, "/price")
    assert refused.value.field == "/price"


@pytest.mark.parametrize("text", ["--1.00", "+1.00", "-", "- 1.00", "-1", "\u22121.00"])
def test_what_is_no_signed_amount_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        parse_signed_amount(text, 2)


@pytest.mark.parametrize("code", ["", "eur", "EURO", "XXX", "XAU", "XTS", "DEM", "EUR ", "\uff25UR"])
def test_what_is_no_currency_of_money_is_refused(code: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        currency_digits(code)
    assert refused.value.field == "currency"


MONEY = st.integers(-(10**18), 10**18)


@given(MONEY, MONEY)
def test_money_adds_up(a: int, b: int) -> None:
    one, other = Money(a, "EUR"), Money(b, "EUR")

    assert (one + other).minor == a + b
    assert one + other - other == one
    assert one - other == -(other - one)


def test_money_of_two_currencies_is_not_added() -> None:
    with pytest.raises(InvalidValue):
        Money(1, "EUR") + Money(1, "USD")
    with pytest.raises(InvalidValue):
        Money(1, "EUR") - Money(1, "JPY")


@pytest.mark.parametrize("minor", [MAX_BALANCE + 1, -MAX_BALANCE - 1])
def test_money_fits_into_a_balance(minor: int) -> None:
    with pytest.raises(InvalidValue):
        Money(minor, "EUR")
    with pytest.raises(InvalidValue):
        Money(MAX_BALANCE, "EUR") + Money(1, "EUR")


def test_money_is_written_with_its_currency() -> None:
    assert str(Money.parse("-12.34", "EUR")) == "-12.34 EUR"
    assert Money.parse("500", "JPY").amount == "500"
    assert Money(5, "KWD").amount == "0.005"


def test_the_currencies_are_those_of_iso_4217_with_their_digits(shared_data: Path) -> None:
    with (shared_data / "reference" / "iso4217" / "codes-all.csv").open(encoding="utf-8", newline="") as file:
        active = {
            row["AlphabeticCode"]: int(row["MinorUnit"])
            for row in csv.DictReader(file)
            if not row["WithdrawalDate"] and row["MinorUnit"].isdigit()
        }

    assert len(active) > 150
    assert active == CURRENCY_DIGITS
