"""Balances and entries as of any day, by booking or by value date, against plain sums; pages reach each entry once."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from latticebank.banking.ledger.model.accounts import AccountKind
from latticebank.banking.ledger.model.decide import Chain
from latticebank.banking.ledger.service.ledger import Ledger, Period
from latticebank.banking.ledger.wire import Basis
from latticebank.kernel.database import Database
from latticebank.values.account_number import account_number
from latticebank.values.ids import Uuid7Source
from latticebank.values.money import MAX_MINOR
from tests.banking.ledger.samples import TODAY, alone, opening, outcome, post
from tests.clocks import NOON, FixedClock

ONE, OTHER, EMPTY = (account_number(0, serial) for serial in range(3))
DAY = timedelta(days=1)
BASES: tuple[Basis, Basis] = ("booking", "value")

History = list[tuple[int, date, date]]
"""Signed amount, booking date and value date of each entry of the first account, in order."""


class Archive:
    """A loop and a database for many short books."""

    def __init__(self, url: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.database = Database(url, application_name="as-of", pool_size=2)
        self.books = count(1)

    def keep(self, history: History, now: datetime = NOON) -> Ledger:
        """Return the ledger of a new book with this history."""
        clock = FixedClock(now)
        ledger = Ledger(self.database, next(self.books), 1, clock, Uuid7Source(clock))
        orders = [
            post(
                n, *((OTHER, ONE) if amount > 0 else (ONE, OTHER)), abs(amount), booking_date=booked, value_date=valued
            )
            for n, (amount, booked, valued) in enumerate(history)
        ]
        accounts = [opening(("account", n), AccountKind.SUSPENSE) for n in range(3)]
        chains: list[Chain] = [*alone(accounts), *alone(orders)]

        async def write() -> list[Any]:
            writing = asyncio.create_task(ledger._writers[0].run())
            try:
                return await ledger._writers[0].submit(chains)
            finally:
                writing.cancel()
                await asyncio.wait([writing])

        answers = self.loop.run_until_complete(write())
        assert [outcome(answer) for [answer] in answers] == [0] * len(chains)
        return ledger

    def balance(self, ledger: Ledger, number: int, day: date, basis: Basis) -> int:
        return self.loop.run_until_complete(ledger.balance(number, day, basis))[1]

    def page(self, ledger: Ledger, number: int, period: Period, after: int, limit: int) -> list[Any]:
        return self.loop.run_until_complete(ledger.entries(number, period, after=after, limit=limit))[1]

    def pages(self, ledger: Ledger, number: int, period: Period, limit: int) -> list[int]:
        """The numbers of all entries of a period, page after page."""
        found: list[int] = []
        while page := self.page(ledger, number, period, found[-1] if found else 0, limit):
            assert len(page) <= limit
            found += [row.number for row in page]
        return found


@pytest.fixture
def archive(url: str) -> Iterator[Archive]:
    """An archive of books."""
    made = Archive(url)
    yield made
    made.loop.run_until_complete(made.database.close())
    made.loop.close()


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Entries booked over about three years in order, valued up to a year before or after."""
    steps = draw(st.lists(st.sampled_from([0, 0, 0, 1, 2, 30, 365, 400]), max_size=40))
    booked = TODAY - timedelta(days=sum(steps))
    history = []
    for step in steps:
        booked += timedelta(days=step)
        reach = draw(st.sampled_from([0, 0, 1, -1, 30, -30, 365, 366, -366]))
        amount = draw(st.sampled_from([1, -1, 5, -7, 1_000, MAX_MINOR, -MAX_MINOR]))
        history.append((amount, booked, booked + timedelta(days=reach)))
    return history


def days_around(history: History) -> list[date]:
    """Every day on which something changes, and the days beside it."""
    days = {day for _, booked, valued in history for day in (booked, valued)} | {TODAY}
    beside = {day + DAY * n for day in days for n in (-1, 0, 1)}
    return sorted(beside | {min(beside) - DAY * 1_000, max(beside) + DAY * 1_000, date.min, date.max})


def test_balances_and_pages_of_any_day_are_the_plain_sums_of_the_entries(archive: Archive, depth: int) -> None:
    @settings(
        max_examples=15 * depth, deadline=None, derandomize=depth == 1, suppress_health_check=[HealthCheck.too_slow]
    )
    @given(histories(), st.data())
    def hunt(history: History, data: st.DataObject) -> None:
        ledger = archive.keep(history)
        days = days_around(history)
        for basis in BASES:
            dated = [(amount, booked if basis == "booking" else valued) for amount, booked, valued in history]
            for day in data.draw(st.lists(st.sampled_from(days), min_size=4, max_size=12)):
                expected = sum(amount for amount, date_of in dated if date_of <= day)
                assert archive.balance(ledger, ONE, day, basis) == expected
                assert archive.balance(ledger, OTHER, day, basis) == -expected
            since, until = sorted(data.draw(st.tuples(st.sampled_from(days), st.sampled_from(days))))
            within = [n for n, (_, date_of) in enumerate(dated, start=1) if since <= date_of <= until]
            period = Period(since, until, basis == "value")
            limit = data.draw(st.sampled_from([1, 2, 7, 100]))
            assert archive.pages(ledger, ONE, period, limit) == within

    hunt()


@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("day", [date.min, TODAY, date.max])
def test_an_account_without_entries_has_nothing_on_any_day(archive: Archive, basis: Basis, day: date) -> None:
    ledger = archive.keep([(5, TODAY, TODAY)])

    assert archive.balance(ledger, EMPTY, day, basis) == 0
    assert archive.pages(ledger, EMPTY, Period(date.min, day, basis == "value"), 10) == []


@pytest.mark.parametrize("booked", [date.min, date.min + DAY, date.min + 366 * DAY])
def test_entries_of_the_first_days_of_the_calendar_are_found_like_any_other(archive: Archive, booked: date) -> None:
    history = [(5, booked, booked), (7, booked, booked + 366 * DAY), (-1, TODAY, TODAY)]
    ledger = archive.keep(history)

    everything = [Period(date.min, date.max, by_value) for by_value in (False, True)]
    assert [archive.pages(ledger, ONE, period, 2) for period in everything] == [[1, 2, 3], [1, 2, 3]]
    assert archive.pages(ledger, ONE, Period(date.min + 100 * DAY, TODAY - DAY, True), 10) == (
        [1, 2] if booked >= date.min + 100 * DAY else [2]
    )
    assert archive.balance(ledger, ONE, booked, "booking") == 12
    assert archive.balance(ledger, ONE, booked, "value") == 5
    assert archive.balance(ledger, ONE, booked + 365 * DAY, "value") == 5
    assert archive.balance(ledger, ONE, booked + 366 * DAY, "value") == 12


def test_entries_of_the_last_day_of_the_calendar_are_found_like_any_other(archive: Archive) -> None:
    last = date.max
    ledger = archive.keep([(5, last, last - 366 * DAY), (7, last, last)], datetime(9999, 12, 31, 12, tzinfo=UTC))

    assert archive.balance(ledger, ONE, last - DAY, "value") == 5
    assert archive.balance(ledger, ONE, last, "value") == archive.balance(ledger, ONE, last, "booking") == 12
    assert archive.pages(ledger, ONE, Period(last, last, True), 10) == [2]


def test_a_balance_by_value_date_may_for_a_while_be_more_than_64_bits(archive: Archive) -> None:
    there_and_back = [(MAX_MINOR, TODAY, TODAY), (-MAX_MINOR, TODAY, TODAY + DAY)] * 12
    ledger = archive.keep(there_and_back)

    assert archive.balance(ledger, ONE, TODAY, "value") == 12 * MAX_MINOR
    assert archive.balance(ledger, OTHER, TODAY, "value") == -12 * MAX_MINOR
    assert archive.balance(ledger, ONE, TODAY + DAY, "value") == 0
