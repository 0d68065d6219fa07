"""Whole or not at all, and at most once: chains of commands, and commands that come again."""

from copy import deepcopy
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latticebank.banking.ledger.model.accounts import FreezeAccount
from latticebank.banking.ledger.model.decide import Chain, Command, decide
from latticebank.banking.ledger.model.posting import member_id
from latticebank.banking.ledger.model.transfers import DONE, Purpose, Rejection, Transfer
from tests.banking.ledger.samples import (
    ACTOR,
    ANNA,
    BERT,
    CASH,
    EVIDENCE,
    TODAY,
    TOMORROW,
    YESTERDAY,
    Ledger,
    alone,
    books,
    named,
    opening,
    post,
    post_reserved,
    reserve,
    reverse,
    void,
)
from tests.clocks import NOON

BROKEN = Rejection.CHAIN_BROKEN
REUSED = Rejection.ID_REUSED


def test_a_chain_that_can_be_done_is_done_in_its_order() -> None:
    ledger = Ledger()

    outcomes = ledger.outcomes(post("in", CASH, ANNA, 50), post("through", ANNA, BERT, 150), reverse("back", "in"))

    assert outcomes == [Rejection.CHAIN_BROKEN, Rejection.CHAIN_BROKEN, Rejection.INSUFFICIENT_FUNDS]
    assert ledger.outcomes(post("in2", CASH, ANNA, 50), post("through2", ANNA, BERT, 150)) == [DONE, DONE]
    assert ledger.balances() == (0, 200)
    assert [transfer.chain for transfer in ledger.desk.transfers] == [named("in2")] * 2


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_chain_with_one_link_that_cannot_be_done_does_nothing_at_all(place: int) -> None:
    ledger = Ledger()
    links: list[Command] = [post("a", amount=10), post("b", BERT, ANNA, 20), post("c", amount=30)]
    links[place] = post("abc"[place], amount=10_000)

    outcomes = ledger.outcomes(*links)

    assert outcomes == [Rejection.INSUFFICIENT_FUNDS if n == place else BROKEN for n in range(3)]
    assert ledger.balances() == (100, 50)
    assert ledger.desk.changed == {}
    assert ledger.desk.entries == []
    assert [transfer.seq for transfer in ledger.desk.transfers] == [1, 2, 3]


def test_a_broken_chain_leaves_what_the_batch_did_before_it_and_does_after_it() -> None:
    ledger = Ledger()

    answers = ledger.batch(
        [
            (post("before", amount=1),),
            (post("x", amount=2), reverse("y", "before"), post("z", amount=500)),
            (reserve("r", amount=3), reserve("s", amount=500)),
            (reverse("back", "before"),),
            (post("after", amount=4),),
            (void("v", "r"),),
        ]
    )

    outcomes = [[a.outcome for a in chain if isinstance(a, Transfer)] for chain in answers]
    short = Rejection.INSUFFICIENT_FUNDS
    assert outcomes == [[DONE], [BROKEN, BROKEN, short], [BROKEN, short], [DONE], [DONE], [DONE]]
    assert ledger.balances() == (96, 54)
    assert ledger.account(ANNA).held == 0
    assert ledger.account(ANNA).entries == 3
    assert [transfer.seq for transfer in ledger.desk.transfers] == list(range(1, 10))
    assert [entry.number for entry in ledger.desk.entries if entry.account == ANNA] == [1, 2, 3]
    assert ledger.books.reservations == {}


@pytest.mark.parametrize(
    ("command", "other"),
    [
        (post("i"), post("i", amount=11)),
        (post("i"), post("i", debit=CASH)),
        (post("i"), post("i", credit=CASH)),
        (post("i"), post("i", currency="USD")),
        (post("i"), post("i", purpose=Purpose.FEE)),
        (post("i"), post("i", evidence=bytes(32))),
        (post("i"), post("i", evidence_class=3)),
        (post("i"), post("i", booking_date=YESTERDAY)),
        (post("i"), post("i", value_date=TOMORROW)),
        (post("i", amount=1000), post("i", amount=1)),
        (post("i"), reserve("i")),
        (post("i"), void("i", "r")),
        (post("i"), post_reserved("i", "r")),
        (post("i"), reverse("i", "p")),
        (reserve("i"), reserve("i", amount=11)),
        (reserve("i"), post("i")),
        (void("i", "r"), void("i", "other")),
        (void("i", "r"), post_reserved("i", "r")),
        (post_reserved("i", "r"), post_reserved("i", "s")),
        (post_reserved("i", "r", amount=5), post_reserved("i", "r", amount=6)),
        (post_reserved("i", "r", amount=5), post_reserved("i", "r", amount=5, currency="USD")),
        (post_reserved("i", "none", amount=5), post_reserved("i", "none", amount=5, currency="USD")),
        (reverse("i", "p"), reverse("i", "q")),
    ],
)
def test_an_identifier_stands_for_one_command_and_is_refused_for_another(command: Command, other: Command) -> None:
    ledger = Ledger()
    ledger.batch(alone([post("p"), post("q"), reserve("r"), reserve("s")]))
    first = ledger.answer(command)
    after = deepcopy(ledger.books)

    assert ledger.outcome(other) == REUSED
    assert ledger.answer(command) == first
    assert ledger.books == after


@pytest.mark.parametrize(
    "command",
    [
        post("i"),
        post("i", booking_date=TODAY, value_date=YESTERDAY),
        post("i", amount=1000),
        reserve("i"),
        post_reserved("i", "r"),
        post_reserved("i", "r", amount=2),
        post_reserved("i", "nothing", amount=2),
        void("i", "r"),
        void("i", "nothing"),
        reverse("i", "p"),
        reverse("i", "nothing"),
        opening("i", reference="berka/1"),
        FreezeAccount(named("i"), ANNA, "court-order", ACTOR),
    ],
)
def test_a_command_that_comes_again_gets_its_first_answer_and_does_nothing(command: Command) -> None:
    ledger = Ledger()
    ledger.batch(alone([post("p"), reserve("r")]))

    [[first], [again]] = ledger.batch([(command,), (command,)])
    later = Ledger(ledger.books, NOON + timedelta(days=3))
    before = deepcopy(later.books)

    assert again == first
    assert later.answer(command) == first
    assert (later.desk.transfers, later.desk.entries, later.desk.events) == ([], [], [])
    assert later.books == before


def test_what_a_command_left_open_may_be_said_when_it_comes_again() -> None:
    ledger = Ledger()
    ledger.batch([(post("p"),), (reserve("r"),), (post_reserved("pr", "r"),)])

    assert ledger.outcome(post("p", booking_date=TODAY, value_date=TODAY)) == DONE
    assert ledger.outcome(post_reserved("pr", "r", amount=10)) == DONE


def test_a_chain_comes_again_only_as_the_same_whole() -> None:
    ledger = Ledger()
    a, b, c = post("a"), post("b"), post("c")
    assert ledger.outcomes(a, b) == [DONE, DONE]
    before = deepcopy(ledger.books)

    assert ledger.outcomes(a, b) == [DONE, DONE]
    assert ledger.outcomes(a, b, c) == [REUSED] * 3
    assert ledger.outcomes(c, a) == [REUSED] * 2
    assert ledger.outcomes(b, a) == [REUSED] * 2
    assert ledger.outcome(a) == REUSED
    assert ledger.outcome(b) == REUSED
    assert ledger.outcomes(a, post("b", amount=11)) == [REUSED] * 2
    assert ledger.books == before
    assert ledger.outcome(c) == DONE


def test_commands_that_stood_alone_are_not_answered_as_a_chain() -> None:
    ledger = Ledger()
    done, refused = post("a"), post("b", amount=1000)
    ledger.batch([(done,), (refused,)])

    assert ledger.outcomes(done, refused) == [REUSED, REUSED]
    assert ledger.outcome(done) == DONE


def test_a_refused_chain_stays_refused() -> None:
    ledger = Ledger()
    chain = (post("a"), post("b", amount=1000))
    first = ledger.outcomes(*chain)
    ledger.answer(post("rich now", CASH, ANNA, 5000))

    assert ledger.outcomes(*chain) == first == [BROKEN, Rejection.INSUFFICIENT_FUNDS]


def test_a_chain_cannot_name_two_links_alike() -> None:
    ledger = Ledger()

    assert ledger.outcomes(post("a"), post("b"), post("a")) == [REUSED] * 3
    assert ledger.books.next_seq == 1


def test_orders_and_acts_on_accounts_are_named_apart_whatever_the_writer_remembers() -> None:
    ledger = Ledger()

    freeze = FreezeAccount(named("i"), CASH, "court-order", ACTOR)
    assert [ledger.outcome(freeze), ledger.outcome(post("i")), ledger.outcome(freeze)] == [DONE, DONE, DONE]


def test_a_posted_chain_gives_its_members_identifiers_that_can_be_told_again() -> None:
    command = named("all")

    assert member_id(command, 0) == command
    assert len({member_id(command, n) for n in range(100)}) == 100
    assert member_id(command, 1) == bytes.fromhex(member_id(command, 1).hex())
    assert all(member_id(command, n)[6] >> 4 == 8 and member_id(command, n)[8] >> 6 == 0b10 for n in range(1, 100))


TARGETS = st.sampled_from([ANNA, BERT, CASH])
NAMES = st.integers(0, 9)
COMMANDS = st.one_of(
    st.builds(post, NAMES, TARGETS, TARGETS, st.integers(1, 160), evidence=st.sampled_from([EVIDENCE, b""])),
    st.builds(reserve, NAMES, TARGETS, TARGETS, st.integers(1, 160)),
    st.builds(post_reserved, NAMES, NAMES, st.none() | st.integers(1, 60)),
    st.builds(void, NAMES, NAMES),
    st.builds(reverse, NAMES, NAMES),
)
LINKED = st.lists(COMMANDS, min_size=1, max_size=4).map(tuple)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.lists(LINKED, min_size=1, max_size=6), min_size=1, max_size=4))
def test_deciding_changes_nothing_it_was_given_and_decides_alike_each_time(batches: list[list[Chain]]) -> None:
    ledger = Ledger()
    for chains in batches:
        before = deepcopy((ledger.books, chains))
        answers, desk = decide(ledger.books, chains, NOON)
        again, _ = decide(ledger.books, chains, NOON)

        assert (ledger.books, chains) == before
        assert again == answers
        assert [len(answer) for answer in answers] == [len(chain) for chain in chains]
        assert sum(entry.amount for entry in desk.entries) == 0
        assert [transfer.seq for transfer in desk.transfers] == list(range(ledger.books.next_seq, desk.next_seq))
        ledger.batch(chains)
        assert sum(each.balance for each in ledger.books.accounts.values()) == 0
        assert all(each.available >= 0 and each.held >= 0 for each in ledger.books.accounts.values())


def test_a_batch_of_nothing_is_decided_into_nothing() -> None:
    answers, desk = decide(books(), [], NOON)

    assert (answers, desk.transfers, desk.entries, desk.changed) == ([], [], [], {})
