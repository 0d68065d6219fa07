"""Money: integers of minor units with an ISO 4217 currency. No binary fraction ever touches an amount."""

from dataclasses import dataclass

from latticebank.values.errors import InvalidValue

MAX_MINOR = 10**18
"""The largest amount of one movement, in minor units; a hundredth of what a balance column can hold is far away."""
MAX_BALANCE = 2**63 - 1

# ISO 4217 list one, active currencies that have minor units, by the number of digits of the minor unit.
_CODES_BY_DIGITS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE "
    "CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG "
    "HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK "
    "MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE "
    "SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW "
    "ZWG",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
CURRENCY_DIGITS = {code: digits for digits, codes in _CODES_BY_DIGITS.items() for code in codes.split()}


def currency_digits(currency: str, field: str = "currency") -> int:
    """Return how many digits of minor unit a currency has.

    Raises:
        InvalidValue: not an active ISO 4217 code.

    """
    digits = CURRENCY_DIGITS.get(currency)
    if digits is None:
        raise InvalidValue("this is not an ISO 4217 currency code in upper case", field=field)
    return digits


def parse_amount(text: str, digits: int, field: str = "amount") -> int:
    """Return the minor units that a decimal string such as "12.34" writes with exactly `digits` decimals.

    The string is unsigned, has no leading zeros, no sign, no exponent and no separators.

    Raises:
        InvalidValue: any other form, or more than `MAX_MINOR`.

    """
    whole, point, fraction = text.partition(".")
    joined = whole + fraction
    if (
        len(fraction) != digits
        or (point == "") != (digits == 0)
        or not whole
        or len(joined) > 19  # bounds the work of int()
        or not (joined.isascii() and joined.isdigit())
        or (whole[0] == "0" and len(whole) > 1)
    ):
        example = "12" if digits == 0 else "12." + "34567"[:digits]
        raise InvalidValue(f'an amount of this currency is written like "{example}"', field=field)
    minor = int(joined)
    if minor > MAX_MINOR:
        raise InvalidValue(f"an amount is at most {format_amount(MAX_MINOR, digits)}", field=field)
    return minor


def parse_signed_amount(text: str, digits: int, field: str = "amount") -> int:
    """Return the minor units of a decimal string that may begin with a minus sign; otherwise as `parse_amount`."""
    if text.startswith("-"):
        return -parse_amount(text[1:], digits, field)
    return parse_amount(text, digits, field)


def format_amount(minor: int, digits: int) -> str:
    """Return the decimal string of an amount in minor units, with exactly `digits` decimals."""
    sign = "-" if minor < 0 else ""
    text = str(abs(minor))
    if digits == 0:
        return sign + text
    text = text.rjust(digits + 1, "0")
    return f"{sign}{text[:-digits]}.{text[-digits:]}"


@dataclass(frozen=True, slots=True)
class Money:
    """An amount of one currency, in minor units; it may be negative."""

    minor: int
    currency: str

    def __post_init__(self) -> None:
        """Refuse a currency that does not exist and an amount that no balance could hold."""
        currency_digits(self.currency)
        if not -MAX_BALANCE <= self.minor <= MAX_BALANCE:
            raise InvalidValue("this amount does not fit into 64 bits", field="amount")

    @classmethod
    def parse(cls, text: str, currency: str) -> "Money":
        """Return the money that a decimal string such as "-12.34" writes."""
        return cls(parse_signed_amount(text, currency_digits(currency)), currency)

    @property
    def amount(self) -> str:
        """The decimal string, with exactly the digits of the currency."""
        return format_amount(self.minor, currency_digits(self.currency))

    def __add__(self, other: "Money") -> "Money":
        """Add money of the same currency."""
        return Money(self.minor + self._same_currency(other), self.currency)

    def __sub__(self, other: "Money") -> "Money":
        """Subtract money of the same currency."""
        return Money(self.minor - self._same_currency(other), self.currency)

    def __neg__(self) -> "Money":
        """Return the opposite amount."""
        return Money(-self.minor, self.currency)

    def __str__(self) -> str:
        """Return the amount and its currency."""
        return f"{self.amount} {self.currency}"

    def _same_currency(self, other: "Money") -> int:
        if other.currency != self.currency:
            raise InvalidValue(f"{other.currency} cannot be added to {self.currency}", field="currency")
        return other.minor
