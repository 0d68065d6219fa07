"""What the ledger told, and how often: gaps are found, and close when the missing comes late; overlaps are found and stay."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from latticebank.security.audit.model.gaps import Heard, Span
from tests.clocks import MovingClock
from tests.security.audit.hall import Hall, old_copy, open_hall
from tests.security.identity.people import said

Numbers = list[tuple[int, int]]


def told(*spans: tuple[int, int]) -> tuple[int, Numbers, Numbers]:
    """The number that is expected next, the gaps and the overlaps."""
    heard = Heard()
    for first, after in spans:
        heard = heard.with_batch(Span(0, first, after))
    return heard.expected, numbers(heard.gaps), numbers(heard.overlaps)


def numbers(spans: tuple[Span, ...]) -> Numbers:
    return [(span.first_seq, span.next_seq) for span in spans]


def every(spans: Numbers) -> set[int]:
    return {number for first, after in spans for number in range(first, after)}


def test_batches_in_order_leave_no_gap() -> None:
    assert told((1, 4), (4, 5), (5, 9)) == (9, [], [])


def test_a_missing_batch_is_a_gap_until_it_comes() -> None:
    assert told((1, 4), (7, 9)) == (9, [(4, 7)], [])
    assert told((1, 4), (7, 9), (4, 6)) == (9, [(6, 7)], [])
    assert told((1, 4), (7, 9), (5, 6)) == (9, [(4, 5), (6, 7)], [])
    assert told((1, 4), (7, 9), (4, 7)) == (9, [], [])


def test_numbers_that_are_given_again_are_an_overlap() -> None:
    assert told((1, 50), (10, 12)) == (50, [], [(10, 12)])
    assert told((1, 50), (10, 12), (12, 20)) == (50, [], [(10, 20)])
    assert told((1, 50), (12, 20), (30, 31), (10, 12)) == (50, [], [(10, 20), (30, 31)])
    assert told((1, 50), (10, 12), (10, 12)) == (50, [], [(10, 12)])


def test_a_ledger_that_was_set_back_goes_on_past_what_it_had_told() -> None:
    assert told((1, 50), (40, 60), (60, 61)) == (61, [], [(40, 50)])


def test_what_a_ledger_that_was_set_back_tells_closes_no_gap() -> None:
    assert told((1, 10), (12, 50), (8, 12)) == (50, [(10, 12)], [(8, 10)])
    assert told((1, 10), (12, 50), (8, 14)) == (50, [(10, 12)], [(8, 10), (12, 14)])


@given(st.lists(st.integers(0, 11), max_size=24))
def test_whatever_the_order_gaps_were_never_told_and_overlaps_more_than_once(order: list[int]) -> None:
    spans = [(1 + 3 * place, 4 + 3 * place) for place in order]
    expected, gaps, overlaps = told(*spans)
    assert every(gaps) == set(range(1, expected)) - every(spans)
    assert every(overlaps) == {
        number for place in order if order.count(place) > 1 for number in range(1 + 3 * place, 4 + 3 * place)
    }


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
    status = said(await hall.audit("/status", "operator"))
    assert [len(status[finding]) for finding in ("gaps", "overlaps", "stuck")] == [1, 0, 0]
    assert await hall.measured("latticebank_log_gaps") == 1


async def test_a_ledger_that_was_set_back_is_noticed_by_the_numbers_that_it_gives_again(
    urls: dict[str, str], clock: MovingClock, tmp_path: Path
) -> None:
    async with open_hall(urls, tmp_path / "bank", clock) as hall:
        await hall.is_open()
        await hall.open("EUR")
        await hall.integrated()
        [(next_seq,)] = hall.rows("SELECT max(next_seq) FROM journal", database="ledger")
    older = old_copy(urls["ledger"])
    async with open_hall(urls, tmp_path / "bank", clock) as hall:
        await hall.is_open()
        for _ in range(3):
            await hall.open("EUR")
        await hall.integrated()
    async with open_hall({**urls, "ledger": older}, tmp_path / "bank", clock) as hall:
        await hall.is_open()
        assert said(await hall.audit("/status", "operator"))["overlaps"] == []
        for _ in range(2):
            await hall.open("EUR")
        await hall.integrated()
        status = said(await hall.audit("/status", "operator"))
        assert status["overlaps"] == [{"shard": 0, "first_seq": next_seq, "next_seq": next_seq + 2}]
        assert status["gaps"] == []
        assert len(await hall.kinds("ledger.batch", first_seq=str(next_seq))) == 2, "the log tells of both"
        assert await hall.measured("latticebank_log_overlaps") == 1
