"""The fields of a row: text to dates and minor units. What comes again and again is remembered."""

from collections.abc import Callable
from datetime import date, datetime

from latticebank.banking.takeover.errors import Unfit
from latticebank.banking.takeover.mapping import Dates, Numbers
from latticebank.values.money import MAX_MINOR

FIRST_DAY = date(1850, 1, 1)
_MAX_DIGITS = 19
_SHOWN = 40


class DayParser:
    """Reads dates of one form, from `FIRST_DAY` to `today`; each one only once."""

    def __init__(self, dates: Dates, today: date) -> None:
        self._format = dates.format
        self._window = dates.two_digit_years_from
        self._today = today
        self._known: dict[str, date] = {}

    def __call__(self, column: str, text: str) -> date:
        """Return the date that a text writes.

        Raises:
            Unfit: it writes none, or one before banking or after today.

        """
        known = self._known.get(text)
        if known is not None:
            return known
        try:
            instant = datetime.strptime(text, self._format)  # noqa: DTZ007 - only its date is taken
            day = instant.date()
            exact = instant.strftime(self._format) == text
            if self._window is not None:
                day = day.replace(year=self._window + (day.year - self._window) % 100)
        except (ValueError, OverflowError):
            exact, day = False, self._today
        if not exact:
            raise Unfit(column, f'{shown(text)} is no date of the form "{self._format}"')
        if not FIRST_DAY <= day <= self._today:
            raise Unfit(column, f"{day} lies not between {FIRST_DAY} and today, {self._today}")
        self._known[text] = day
        return day


def amount_parser(numbers: Numbers, digits: int) -> Callable[[str, str], int]:
    """Return the function (column, text) -> minor units of a currency of so many digits; the text may be negative."""
    decimal, width = numbers.decimal, digits + 1

    def parse(column: str, text: str) -> int:
        """Return the minor units; raise `Unfit` for anything but an amount in the form of the mapping."""
        # The plain form, of which files are full, in three steps; everything else is looked at with care.
        if digits and text[-width:-digits] == decimal:
            joined = text[:-width] + text[-digits:]
            if joined.isdigit() and joined.isascii() and digits < len(joined) <= _MAX_DIGITS:
                minor = int(joined)
                if minor <= MAX_MINOR:
                    return minor
        return _parse_with_care(numbers, digits, column, text)

    return parse


def _parse_with_care(numbers: Numbers, digits: int, column: str, text: str) -> int:
    unsigned = text.removeprefix("-")
    whole, point, fraction = unsigned.partition(numbers.decimal)
    if numbers.thousands and numbers.thousands in whole:
        groups = whole.split(numbers.thousands)
        if not 1 <= len(groups[0]) <= 3 or any(len(group) != 3 for group in groups[1:]):
            raise Unfit(column, f"the thousands of {shown(text)} are not grouped by three")
        whole = "".join(groups)
    joined = whole + fraction
    if not whole or bool(point) != bool(fraction) or not (joined.isascii() and joined.isdigit()):
        raise Unfit(column, f'{shown(text)} is no amount with "{numbers.decimal}" before its decimals')
    if len(fraction) > digits or (len(fraction) < digits and numbers.decimals == "exact"):
        raise Unfit(column, f"{shown(text)} has {len(fraction)} decimals, the currency {digits}")
    joined += "0" * (digits - len(fraction))
    if len(joined) > _MAX_DIGITS or int(joined) > MAX_MINOR:
        raise Unfit(column, f"{shown(text)} is more than any amount may be")
    minor = int(joined)
    if text == unsigned:
        return minor
    if minor == 0:
        raise Unfit(column, f"{shown(text)} is a negative zero")
    return -minor


def shown(text: str) -> str:
    """Return a text of the source as a message may show it: quoted, escaped, short."""
    return ascii(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
