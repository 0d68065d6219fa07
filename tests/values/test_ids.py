"""Identifiers: in order of time within a source, unique, and in one written form."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latticebank.values.errors import InvalidValue
from latticebank.values.ids import Uuid7Source, derived_id, parse_uuid
from tests.clocks import NOON, FixedClock, MovingClock


def test_an_identifier_tells_its_millisecond_version_and_variant() -> None:
    identifier = Uuid7Source(FixedClock())()

    assert (identifier.version, identifier.variant) == (7, RFC_4122)
    assert identifier.int >> 80 == int(NOON.timestamp() * 1000)


def test_identifiers_of_one_instant_are_all_different_and_in_order() -> None:
    source = Uuid7Source(FixedClock())

    made = [source() for _ in range(10_000)]  # more than the counter of one millisecond holds

    assert made == sorted(set(made))


@given(st.lists(st.integers(-5_000, 5_000), max_size=60))
def test_identifiers_never_go_back_whatever_the_clock_does(steps: list[int]) -> None:
    clock = MovingClock()
    source = Uuid7Source(clock)
    made = [source()]
    for step in steps:
        clock.advance(timedelta(milliseconds=step))
        made.append(source())

    assert made == sorted(set(made))
    assert all(identifier.version == 7 for identifier in made)


@pytest.mark.parametrize("worst", [b"\x00", b"\xff"])
def test_bad_luck_with_randomness_leaves_identifiers_in_order(worst: bytes) -> None:
    source = Uuid7Source(FixedClock(), lambda n: worst * n)

    made = [source() for _ in range(5_000)]

    assert made == sorted(set(made))


def test_two_sources_do_not_meet() -> None:
    one, other = Uuid7Source(FixedClock()), Uuid7Source(FixedClock())

    assert not {one() for _ in range(1_000)} & {other() for _ in range(1_000)}


def test_an_identifier_of_a_far_year_is_one_too() -> None:
    identifier = Uuid7Source(FixedClock(datetime(9999, 12, 31, tzinfo=UTC)))()

    assert identifier.version == 7


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_a_derived_identifier_belongs_to_its_names_and_to_no_others(one: list[str], other: list[str]) -> None:
    assert (derived_id(*one) == derived_id(*other)) == (one == other)
    assert (derived_id(*one).version, derived_id(*one).variant) == (8, RFC_4122)


def test_names_do_not_run_together() -> None:
    assert len({derived_id("ab", "c"), derived_id("a", "bc"), derived_id("abc"), derived_id("abc", "")}) == 4


@given(st.uuids())
def test_the_canonical_form_is_read(identifier: UUID) -> None:
    assert parse_uuid(str(identifier), "id") == identifier


CANONICAL = "019a0b1c-7d2e-7f3a-8b4c-5d6e7f8a9b0c"


@pytest.mark.parametrize(
    "text",
    [CANONICAL.upper(), f"{{{CANONICAL}}}", CANONICAL.replace("-", ""), f"urn:uuid:{CANONICAL}", f"{CANONICAL}\n",
     CANONICAL[:-1], f" {CANONICAL}", CANONICAL.replace("0", "\u0660"), ""],
)  # fmt: skip
def test_every_other_form_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        parse_uuid(text, "id")
    assert refused.value.field == "id"


@given(st.text(max_size=40))
def test_no_text_makes_the_reader_fail_otherwise(text: str) -> None:
    with suppress(InvalidValue):
        assert str(parse_uuid(text, "id")) == text
