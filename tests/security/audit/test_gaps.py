"""What the ledger told and what it did not: gaps are found, and close when the missing comes late."""

from hypothesis import given
from hypothesis import strategies as st

from latticebank.security.audit.model.gaps import Span, heard
from tests.security.audit.hall import Hall


def told(*spans: tuple[int, int]) -> tuple[int, list[tuple[int, int]]]:
    expected, gaps = 1, list[Span]()
    for first, after in spans:
        expected, gaps = heard(expected, gaps, Span(0, first, after))
    return expected, [(gap.first_seq, gap.next_seq) for gap in gaps]


def test_batches_in_order_leave_no_gap() -> None:
    assert told((1, 4), (4, 5), (5, 9)) == (9, [])


def test_a_missing_batch_is_a_gap_until_it_comes() -> None:
    assert told((1, 4), (7, 9)) == (9, [(4, 7)])
    assert told((1, 4), (7, 9), (4, 6)) == (9, [(6, 7)])
    assert told((1, 4), (7, 9), (4, 7)) == (9, [])


def test_a_batch_that_comes_twice_changes_nothing() -> None:
    assert told((1, 4), (1, 4), (4, 6), (4, 6)) == (6, [])


@given(st.permutations(range(12)), st.sets(st.integers(0, 11)))
def test_whatever_the_order_the_gaps_are_what_was_never_told(order: list[int], silent: set[int]) -> None:
    spans = [(1 + 3 * place, 4 + 3 * place) for place in order if place not in silent]
    expected, gaps = told(*spans)
    missing = {number for first, after in gaps for number in range(first, after)}
    heard_of = {number for first, after in spans for number in range(first, after)}
    assert missing == set(range(1, expected)) - heard_of


async def test_a_batch_that_was_taken_from_the_outbox_is_missed(hall: Hall) -> None:
    await hall.integrated()
    hall.write(
        """
        CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
        CREATE TRIGGER swallow BEFORE INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION swallow();
        """,
        database="ledger",
    )
    await hall.open("EUR")
    hall.write("DROP TRIGGER swallow ON outbox", database="ledger")
    await hall.open("EUR")
    await hall.integrated()
    assert len(hall.rows("SELECT 1 FROM gaps", database="audit")) == 1
    status = (await hall.audit("/status", "operator")).body
    assert b'"gaps":[{' in status
