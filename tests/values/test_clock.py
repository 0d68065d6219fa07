"""Time is aware and in UTC, and the bank's day is that of UTC."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latticebank.values.clock import EPOCH, SystemClock, business_date, iso_day


def test_the_clock_of_the_machine_tells_utc() -> None:
    now = SystemClock().now()

    assert now.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - now) < timedelta(seconds=5)


@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31)), st.integers(-23, 23))  # noqa: DTZ001 - made aware below
def test_the_business_date_does_not_depend_on_where_an_instant_was_told(naive: datetime, hours: int) -> None:
    instant = naive.replace(tzinfo=UTC)

    assert business_date(instant.astimezone(timezone(timedelta(hours=hours)))) == instant.date()


def test_the_day_changes_at_midnight_in_utc() -> None:
    midnight = datetime(2026, 3, 3, tzinfo=UTC)

    assert business_date(midnight - timedelta(microseconds=1)) == date(2026, 3, 2)
    assert business_date(midnight) == date(2026, 3, 3)


def test_a_time_without_an_offset_has_no_business_date() -> None:
    with pytest.raises(ValueError, match="aware"):
        business_date(datetime(2026, 3, 2))  # noqa: DTZ001 - what is refused


def test_the_epoch_is_that_of_unix() -> None:
    assert EPOCH.timestamp() == 0


@pytest.mark.parametrize("text", ["1", "20260331", "2026-W01-1", "2026-02-30", "2026-3-31", " 2026-03-31", 0, None])
def test_a_day_is_written_in_one_way_only(text: object) -> None:
    with pytest.raises(ValueError, match=r"day|month"):
        iso_day(text)
    assert iso_day("2026-03-31") == date(2026, 3, 31)
