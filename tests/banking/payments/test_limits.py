"""Limits: by payment, by business day, and which payments wait for a manager."""

import asyncio
from datetime import timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from latticebank.banking.payments.model.limits import Limits, Screening
from latticebank.banking.payments.model.payments import Hold, Kind
from latticebank.banking.payments.model.reasons import OVER_DAILY_LIMIT, OVER_PAYMENT_LIMIT
from tests.banking.payments.counter import Counter, ok
from tests.security.identity.people import signed, told

ADA, BOB = UUID(int=1), UUID(int=2)
LIMITS = Limits(
    payment=1000,
    daily=2000,
    unverified_payment=100,
    unverified_daily=200,
    approval_from=500,
    high_value_from=300,
    high_value_count=3,
    approval=timedelta(hours=72),
)


def screening(used: int = 0, high_values: int = 0) -> Screening:
    """Ada's day so far, in cents."""
    return Screening(LIMITS, {(ADA, "EUR"): used}, {ADA: high_values})


def test_a_payment_up_to_its_limit_passes_and_one_cent_more_does_not() -> None:
    for verified, limit in ((True, 1000_00), (False, 100_00)):
        assert screening().decide(Kind.PAYMENT, ADA, limit, "EUR", verified=verified).reason is None
        said = screening().decide(Kind.PAYMENT, ADA, limit + 1, "EUR", verified=verified)
        assert said.reason == OVER_PAYMENT_LIMIT


def test_the_day_is_counted_in_order_and_what_is_rejected_does_not_count() -> None:
    day = screening(used=1900_00)
    said = [day.decide(Kind.PAYMENT, ADA, amount, "EUR", verified=True).reason for amount in (60_00, 60_00, 40_00, 1)]
    assert said == [None, OVER_DAILY_LIMIT, None, OVER_DAILY_LIMIT]
    assert day.uses == {(ADA, "EUR"): 100_00}
    assert day.bounds == {(ADA, "EUR"): 2000_00}


def test_each_currency_has_its_own_digits_and_its_own_day() -> None:
    day = screening(used=2000_00)
    assert day.decide(Kind.PAYMENT, ADA, 1000, "JPY", verified=True).reason is None
    assert day.decide(Kind.PAYMENT, ADA, 1001, "JPY", verified=True).reason == OVER_PAYMENT_LIMIT
    assert day.decide(Kind.PAYMENT, ADA, 1000_000, "KWD", verified=True).reason is None
    assert day.decide(Kind.PAYMENT, BOB, 1000_00, "EUR", verified=True).reason is None


def test_a_payment_of_the_threshold_waits_and_so_does_the_third_of_high_value() -> None:
    day = screening()
    amounts = (499_99, 500_00, 300_00, 299_99, 300_00)
    holds = [day.decide(Kind.PAYMENT, ADA, amount, "EUR", verified=True).hold for amount in amounts]
    assert holds == [Hold.NONE, Hold.OVER_THRESHOLD, Hold.FIFTH_HIGH_VALUE, Hold.NONE, Hold.FIFTH_HIGH_VALUE]


def test_cash_has_no_limits_but_waits_above_the_threshold() -> None:
    day = screening(used=2000_00)
    assert day.decide(Kind.CASH, ADA, 499_99, "EUR", verified=False).hold is Hold.NONE
    said = day.decide(Kind.CASH, ADA, 5000_00, "EUR", verified=False)
    assert (said.reason, said.hold) == (None, Hold.OVER_THRESHOLD)
    assert day.uses == {}


@given(st.integers(0, 2000_00), st.lists(st.integers(1, 1200_00), max_size=30), st.booleans())
def test_whatever_comes_the_day_is_never_over_its_limit(used: int, amounts: list[int], verified: bool) -> None:
    day = screening(used=used)
    passed = sum(a for a in amounts if day.decide(Kind.PAYMENT, ADA, a, "EUR", verified=verified).reason is None)
    assert day.uses.get((ADA, "EUR"), 0) == passed
    assert passed == 0 or used + passed <= (2000_00 if verified else 200_00)


async def test_over_a_limit_is_an_answer_for_ever_and_uses_nothing(counter: Counter) -> None:
    ada, bob = await counter.customer("ada", "5000.00"), await counter.customer("bob", "0.00")
    order = signed(ada.device.key, counter.instruction(ada, bob, "1000.01"))
    for _ in range(2):
        assert told(await counter.transfer(ada, order)) == (409, "over-payment-limit")
    assert await counter.balance(ada) == ("5000.00", "0.00")
    assert counter.payments_rows("SELECT used FROM limit_uses") == []
    assert counter.payments_rows("SELECT state, reason FROM payments") == [(4, "over-payment-limit")]
    assert counter.payments_rows("SELECT 1 FROM unsettled") == []


async def test_many_at_once_never_pass_the_daily_limit(counter: Counter) -> None:
    ada, bob = await counter.customer("ada", "5000.00"), await counter.customer("bob", "0.00")
    answers = await asyncio.gather(*(counter.pay(ada, bob, "39.00") for _ in range(60)))
    statuses = [answer.status for answer in answers]
    assert statuses.count(201) == 51  # 51 times 39.00 is 1,989.00 of 2,000.00
    assert {told(answer)[1] for answer in answers if answer.status == 409} == {"over-daily-limit"}
    assert await counter.balance(bob) == ("1989.00", "0.00")
    assert counter.payments_rows("SELECT used FROM limit_uses") == [(1989_00,)]
    ok(await counter.pay(ada, bob, "11.00"))
    counter.wait(timedelta(days=1))
    await counter.log_in(ada)
    ok(await counter.pay(ada, bob, "39.00"))


async def test_the_third_payment_of_high_value_within_a_day_waits(counter: Counter) -> None:
    ada, bob = await counter.customer("ada", "500.00"), await counter.customer("bob", "0.00")
    views = [ok(await counter.pay(ada, bob, "45.00"), status) for status in (201, 201, 202)]
    assert [view["hold_reason"] for view in views] == [None, None, "fifth-high-value"]
    assert await counter.balance(ada) == ("410.00", "45.00")
    counter.wait(timedelta(hours=24))
    await counter.log_in(ada)
    assert ok(await counter.pay(ada, bob, "45.00"))["hold_reason"] is None
