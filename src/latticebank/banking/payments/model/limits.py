"""What a customer may pay without asking: limits by payment and by business day, and what must wait for a manager."""

from datetime import timedelta
from functools import lru_cache
from uuid import UUID

from msgspec import Struct

from latticebank.banking.payments.model.payments import Hold, Kind
from latticebank.banking.payments.model.reasons import OVER_DAILY_LIMIT, OVER_PAYMENT_LIMIT
from latticebank.values.money import CURRENCY_DIGITS

HIGH_VALUE_SPAN = timedelta(hours=24)
"""Over how long the payments of high value are counted."""


class Limits(Struct, frozen=True):
    """The limits of the bank, in whole units of whatever currency; the last two in hours and as a number."""

    payment: int
    daily: int
    unverified_payment: int
    unverified_daily: int
    approval_from: int
    high_value_from: int
    high_value_count: int
    approval: timedelta

    def of(self, currency: str) -> "CurrencyLimits":
        """Return the limits in minor units of a currency."""
        return _in_minor_units(self, currency)


class CurrencyLimits(Struct, frozen=True, gc=False):
    """The limits in minor units of one currency, each pair for customers who are not verified, and who are."""

    payment: tuple[int, int]
    daily: tuple[int, int]
    approval_from: int
    high_value_from: int


class Screened(Struct, frozen=True, gc=False):
    """What the limits say of a payment: a `reason` to reject it, or none and perhaps a hold."""

    reason: str | None
    hold: Hold
    high_value: bool


UseKey = tuple[UUID, str]
"""Whose use of which currency is counted."""


class Screening:
    """Decides payments in order against what was used so far; `used` is by signer and currency, in minor units.

    `high_values` is how many payments of high value each signer has made within `HIGH_VALUE_SPAN`. After the decisions
    `uses` has what each signer newly uses, and `bounds` the limit that held.
    """

    def __init__(self, limits: Limits, used: dict[UseKey, int], high_values: dict[UUID, int]) -> None:
        self._limits = limits
        self._used = used
        self._high_values = high_values
        self.uses: dict[UseKey, int] = {}
        self.bounds: dict[UseKey, int] = {}

    def decide(self, kind: Kind, signer: UUID, amount: int, currency: str, *, verified: bool) -> Screened:
        """Return what becomes of the next payment, and count it if it is not rejected."""
        limits = self._limits.of(currency)
        if kind is Kind.CASH:
            held = Hold.OVER_THRESHOLD if amount >= limits.approval_from else Hold.NONE
            return Screened(None, held, high_value=False)
        if amount > limits.payment[verified]:
            return Screened(OVER_PAYMENT_LIMIT, Hold.NONE, high_value=False)
        key = (signer, currency)
        after = self.uses.get(key, 0) + amount
        if self._used.get(key, 0) + after > limits.daily[verified]:
            return Screened(OVER_DAILY_LIMIT, Hold.NONE, high_value=False)
        self.uses[key] = after
        self.bounds[key] = limits.daily[verified]
        high_value = amount >= limits.high_value_from
        if high_value:
            self._high_values[signer] = self._high_values.get(signer, 0) + 1
        if amount >= limits.approval_from:
            return Screened(None, Hold.OVER_THRESHOLD, high_value)
        if high_value and self._high_values[signer] >= self._limits.high_value_count:
            return Screened(None, Hold.FIFTH_HIGH_VALUE, high_value)
        return Screened(None, Hold.NONE, high_value)


@lru_cache(maxsize=1_024)
def _in_minor_units(limits: Limits, currency: str) -> CurrencyLimits:
    unit = 10 ** CURRENCY_DIGITS[currency]
    return CurrencyLimits(
        (limits.unverified_payment * unit, limits.payment * unit),
        (limits.unverified_daily * unit, limits.daily * unit),
        limits.approval_from * unit,
        limits.high_value_from * unit,
    )
