"""Account numbers: ten digits, of which the last is a check digit.

The first two digits name the shard that keeps the account (10 is shard 0), the next seven count the accounts of the
shard, and the last is the ISO/IEC 7064 MOD 11,10 check digit, which catches every single wrong digit.
An account number is kept and computed with as an integer; people see it as ten digits.
"""

from latticebank.values.errors import InvalidValue

DIGITS = 10
SHARDS = 90
SERIALS = 10_000_000
_FIRST_PREFIX = 10


def check_digit(body: str) -> int:
    """Return the ISO/IEC 7064 MOD 11,10 check digit of a string of digits."""
    remainder = 10
    for digit in body:
        remainder = (remainder + int(digit)) % 10 or 10
        remainder = remainder * 2 % 11
    return (11 - remainder) % 10


def account_number(shard: int, serial: int) -> int:
    """Return the number of the `serial`-th account of a shard."""
    if not 0 <= shard < SHARDS:
        raise InvalidValue(f"a shard lies between 0 and {SHARDS - 1}, not {shard}", field="shard")
    if not 0 <= serial < SERIALS:
        raise InvalidValue(f"a shard numbers at most {SERIALS} accounts", field="serial")
    body = f"{_FIRST_PREFIX + shard}{serial:07d}"
    return int(body) * 10 + check_digit(body)


def parse_account_number(text: str, field: str = "account") -> int:
    """Return the account number that ten digits write.

    Raises:
        InvalidValue: not ten ASCII digits, or the check digit is wrong.

    """
    if len(text) != DIGITS or not (text.isascii() and text.isdigit()) or text[0] == "0":
        raise InvalidValue("an account number has ten digits and does not begin with 0", field=field)
    if check_digit(text[:-1]) != int(text[-1]):
        raise InvalidValue(
            "the check digit of this account number is wrong", field=field, hint="look for a typing slip"
        )
    return int(text)


def format_account_number(number: int) -> str:
    """Return the ten digits of an account number."""
    return f"{number:010d}"


def shard_of(number: int) -> int:
    """Return the shard that keeps the account of this number."""
    return number // 100_000_000 - _FIRST_PREFIX
