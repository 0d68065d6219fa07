"""Ten digits name an account, and a slip of the pen names none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latticebank.values.account_number import (
    SERIALS,
    SHARDS,
    account_number,
    check_digit,
    format_account_number,
    parse_account_number,
    shard_of,
)
from latticebank.values.errors import InvalidValue

NUMBERS = st.builds(account_number, st.integers(0, SHARDS - 1), st.integers(0, SERIALS - 1))


@given(st.integers(0, SHARDS - 1), st.integers(0, SERIALS - 1))
def test_a_number_has_ten_digits_and_names_its_shard(shard: int, serial: int) -> None:
    number = account_number(shard, serial)
    text = format_account_number(number)

    assert len(text) == 10
    assert parse_account_number(text) == number
    assert shard_of(number) == shard
    assert int(text[2:9]) == serial


@given(NUMBERS, st.integers(0, 9), st.integers(1, 9))
def test_every_single_wrong_digit_is_noticed(number: int, place: int, by: int) -> None:
    digits = [int(digit) for digit in format_account_number(number)]
    digits[place] = (digits[place] + by) % 10

    with pytest.raises(InvalidValue):
        parse_account_number("".join(map(str, digits)))


def test_nearly_every_exchange_of_neighbours_is_noticed() -> None:
    exchanges = unnoticed = 0
    for serial in range(0, SERIALS, 9_973):
        text = format_account_number(account_number(0, serial))
        for place in range(9):
            other = text[:place] + text[place + 1] + text[place] + text[place + 2 :]
            if other != text and other[0] != "0":
                exchanges += 1
                unnoticed += check_digit(other[:-1]) == int(other[-1])

    assert unnoticed < exchanges // 25


def test_the_check_digit_is_that_of_the_standard() -> None:
    # ISO/IEC 7064 gives 0794 with the check digit 5 as the example of MOD 11,10.
    assert check_digit("0794") == 5


@given(st.text(max_size=12))
def test_what_is_no_number_is_refused(text: str) -> None:
    try:
        number = parse_account_number(text, "debit")
    except InvalidValue:
        return
    assert format_account_number(number) == text


@pytest.mark.parametrize(
    "text", ["", "0000000000", "100000000", "10000000055", "1000000004", "\u0661" * 10, "1000000005\n"]
)
def test_near_misses_are_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        parse_account_number(text)
    with pytest.raises(InvalidValue) as refused:
        parse_account_number(text, "debit")
    assert refused.value.field == "debit"


@pytest.mark.parametrize(("shard", "serial"), [(-1, 0), (SHARDS, 0), (0, -1), (0, SERIALS)])
def test_there_are_so_many_shards_and_so_many_accounts_in_each(shard: int, serial: int) -> None:
    with pytest.raises(InvalidValue):
        account_number(shard, serial)
