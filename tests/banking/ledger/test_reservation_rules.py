"""Money that is held: reserved, posted in full or in part, voided, expired, alone or as a chain; and tombstones."""

from datetime import UTC, datetime, timedelta
from time import process_time

import pytest

from latticebank.banking.ledger.model.accounts import AccountStatus
from latticebank.banking.ledger.model.decide import Command
from latticebank.banking.ledger.model.posting import member_id
from latticebank.banking.ledger.model.transfers import (
    DONE,
    EvidenceClass,
    Expire,
    Kind,
    Rejection,
    ReservationState,
    Transfer,
)
from latticebank.values.money import MAX_BALANCE, MAX_MINOR
from tests.banking.ledger.samples import (
    ANNA,
    BERT,
    CASH,
    SOON,
    STRANGER,
    TODAY,
    TOMORROW,
    YESTERDAY,
    Ledger,
    account,
    books,
    named,
    post,
    post_reserved,
    reserve,
    void,
)
from tests.clocks import NOON

TICK = timedelta(microseconds=1)


def expire(name: object, reservation: object) -> Expire:
    return Expire(named(name), named(reservation))


def test_a_reservation_holds_money_without_moving_it() -> None:
    ledger = Ledger()

    answer = ledger.answer(reserve("r", amount=30))

    assert isinstance(answer, Transfer)
    assert (answer.kind, answer.outcome, answer.debit_entry) == (Kind.RESERVE, DONE, 0)
    assert (ledger.account(ANNA).balance, ledger.account(ANNA).held, ledger.account(ANNA).available) == (100, 30, 70)
    assert ledger.desk.entries == []
    assert ledger.outcome(post("p", amount=71)) == Rejection.INSUFFICIENT_FUNDS
    assert ledger.outcome(reserve("r2", amount=71)) == Rejection.INSUFFICIENT_FUNDS
    assert ledger.outcome(post("p2", amount=70)) == DONE


@pytest.mark.parametrize(
    ("command", "refusal"),
    [
        (reserve("r", debit=STRANGER), Rejection.DEBIT_ACCOUNT_UNKNOWN),
        (reserve("r", credit=STRANGER), Rejection.CREDIT_ACCOUNT_UNKNOWN),
        (reserve("r", credit=ANNA), Rejection.SAME_ACCOUNT),
        (reserve("r", currency="CHF"), Rejection.CURRENCY_MISMATCH),
        (reserve("r", evidence=b""), Rejection.EVIDENCE_MISSING),
        (reserve("r", amount=101), Rejection.INSUFFICIENT_FUNDS),
        (reserve("r", expires_at=NOON), Rejection.EXPIRY_IN_PAST),
        (reserve("r", expires_at=NOON - TICK), Rejection.EXPIRY_IN_PAST),
        (reserve("r", expires_at=datetime.min.replace(tzinfo=UTC)), Rejection.EXPIRY_IN_PAST),
    ],
)
def test_a_reservation_is_refused_for_its_reason_and_holds_nothing(command: Command, refusal: Rejection) -> None:
    ledger = Ledger()

    assert ledger.outcome(command) == refusal
    assert ledger.account(ANNA).held == 0
    assert ledger.books.reservations == {}


def test_what_is_held_never_leaves_64_bits() -> None:
    ledger = Ledger(books(account(CASH, balance=MAX_BALANCE, kind=books().accounts[CASH].kind)))  # type: ignore[arg-type]

    outcomes = [ledger.outcome(reserve(n, CASH, BERT, MAX_MINOR)) for n in range(11)]

    assert outcomes == [DONE] * 9 + [Rejection.BALANCE_OVERFLOW] * 2
    assert ledger.account(CASH).held <= MAX_BALANCE


def test_posting_in_full_moves_what_was_held() -> None:
    ledger = Ledger()
    ledger.answer(reserve("r", amount=30))

    answer = ledger.answer(post_reserved("pr", "r"))

    assert isinstance(answer, Transfer)
    assert (answer.kind, answer.amount, answer.reference) == (Kind.POST_RESERVED, 30, named("r"))
    assert ledger.balances() == (70, 80)
    assert ledger.account(ANNA).held == 0
    assert ledger.books.reservations[named("r")].state == ReservationState.POSTED
    assert ledger.books.reservations[named("r")].resolved_by == named("pr")


def test_posting_a_part_releases_the_rest() -> None:
    ledger = Ledger()
    ledger.answer(reserve("r", amount=30))

    assert ledger.outcome(post_reserved("pr", "r", amount=1)) == DONE
    assert ledger.balances() == (99, 51)
    assert ledger.account(ANNA).held == 0
    assert ledger.outcome(post_reserved("again", "r", amount=1)) == Rejection.RESERVATION_RESOLVED


@pytest.mark.parametrize(
    ("history", "command", "refusal"),
    [
        ([], post_reserved("pr", "r"), Rejection.RESERVATION_UNKNOWN),
        ([post("r")], post_reserved("pr", "r"), Rejection.RESERVATION_UNKNOWN),
        ([reserve("r", amount=1000)], post_reserved("pr", "r"), Rejection.RESERVATION_UNKNOWN),
        ([reserve("r")], post_reserved("pr", "r", amount=11), Rejection.AMOUNT_OVER_RESERVATION),
        ([reserve("r")], post_reserved("pr", "r", amount=5, currency="USD"), Rejection.CURRENCY_MISMATCH),
        ([reserve("r"), post_reserved("p", "r")], post_reserved("pr", "r"), Rejection.RESERVATION_RESOLVED),
        ([reserve("r"), void("v", "r")], post_reserved("pr", "r"), Rejection.RESERVATION_RESOLVED),
        ([reserve("r")], post_reserved("pr", "r", booking_date=TOMORROW), Rejection.BOOKING_DATE_IN_FUTURE),
        (
            [reserve("r"), post("p")],
            post_reserved("pr", "r", booking_date=YESTERDAY),
            Rejection.BOOKING_DATE_BEFORE_LAST,
        ),
        (
            [reserve("r")],
            post_reserved("pr", "r", value_date=TODAY + timedelta(367)),
            Rejection.VALUE_DATE_OUT_OF_REACH,
        ),
        ([reserve("r"), post_reserved("p", "r")], void("v", "r"), Rejection.RESERVATION_RESOLVED),
        ([reserve("r"), void("v", "r")], void("v2", "r"), Rejection.RESERVATION_RESOLVED),
        ([post("r")], void("v", "r"), Rejection.RESERVATION_UNKNOWN),
        ([], void("v", "v"), Rejection.RESERVATION_UNKNOWN),
        ([], expire("e", "r"), Rejection.RESERVATION_UNKNOWN),
        ([reserve("r")], expire("e", "r"), Rejection.RESERVATION_NOT_EXPIRED),
        ([reserve("r", expires_at=SOON)], expire("e", "r"), Rejection.RESERVATION_NOT_EXPIRED),
        ([reserve("r"), void("v", "r")], expire("e", "r"), Rejection.RESERVATION_RESOLVED),
    ],
)
def test_a_reservation_that_cannot_be_resolved_so_stays_as_it_is(
    history: list[Command], command: Command, refusal: Rejection
) -> None:
    ledger = Ledger()
    for earlier in history:
        ledger.answer(earlier)
    before = ledger.balances(), ledger.account(ANNA).held, dict(ledger.books.reservations)

    assert ledger.outcome(command) == refusal
    assert (ledger.balances(), ledger.account(ANNA).held, dict(ledger.books.reservations)) == before


@pytest.mark.parametrize("status", [AccountStatus.FROZEN, AccountStatus.CLOSED])
@pytest.mark.parametrize("number", [ANNA, BERT])
def test_a_freeze_stops_the_posting_of_a_reservation_but_not_its_release(status: AccountStatus, number: int) -> None:
    ledger = Ledger()
    ledger.answer(reserve("r"))
    ledger.account(number).status = status

    expected = Rejection.ACCOUNT_FROZEN if status == AccountStatus.FROZEN else Rejection.ACCOUNT_CLOSED
    assert ledger.outcome(post_reserved("pr", "r")) == expected
    assert ledger.outcome(void("v", "r")) == DONE
    assert ledger.account(ANNA).held == 0


def test_a_reservation_lives_until_the_instant_of_its_expiry_and_not_after_it() -> None:
    ledger = Ledger()
    ledger.batch([(reserve(name, expires_at=SOON),) for name in ("posted", "late", "other")])

    ledger.now = SOON - TICK
    assert ledger.outcome(post_reserved("in time", "posted")) == DONE
    assert ledger.outcome(expire("early", "late")) == Rejection.RESERVATION_NOT_EXPIRED
    ledger.now = SOON
    assert ledger.outcome(post_reserved("too late", "late")) == Rejection.RESERVATION_EXPIRED
    assert ledger.outcome(expire("now", "late")) == DONE
    assert ledger.outcome(void("voided though expired", "other")) == DONE
    assert ledger.account(ANNA).held == 0
    assert ledger.books.reservations[named("late")].state == ReservationState.EXPIRED


def test_voiding_what_never_came_leaves_a_tombstone_that_refuses_it_when_it_comes() -> None:
    ledger = Ledger()

    assert ledger.outcome(void("v", "r")) == DONE
    assert ledger.outcome(reserve("r")) == Rejection.VOIDED_BEFORE_RESERVE
    assert ledger.outcome(reserve("r", BERT, ANNA, 7)) == Rejection.VOIDED_BEFORE_RESERVE
    assert ledger.outcome(post("r")) == Rejection.ID_REUSED
    assert ledger.outcome(void("v2", "r")) == DONE
    assert ledger.outcome(void("v", "r")) == DONE
    assert ledger.account(ANNA).held == 0


def test_a_tombstone_and_the_reservation_it_refuses_may_stand_in_one_batch() -> None:
    ledger = Ledger()

    answers = ledger.batch([(void("v", "r"),), (reserve("r"),)])

    assert [answer.outcome for [answer] in answers if isinstance(answer, Transfer)] == [
        DONE,
        Rejection.VOIDED_BEFORE_RESERVE,
    ]
    assert [transfer.id for transfer in ledger.desk.transfers] == [named("r"), named("v")]


@pytest.mark.parametrize("buried", ["r1", "r2"])
def test_a_tombstone_breaks_the_whole_chain_that_comes_too_late(buried: str) -> None:
    ledger = Ledger()
    ledger.answer(void("v", buried))
    chain = (reserve("r1"), reserve("r2"))
    expected = [
        Rejection.VOIDED_BEFORE_RESERVE if link.id == named(buried) else Rejection.CHAIN_BROKEN for link in chain
    ]

    assert ledger.outcomes(*chain) == expected
    assert ledger.outcomes(*chain) == expected
    assert ledger.account(ANNA).held == 0


def test_a_chain_of_reservations_is_posted_as_a_whole_under_identifiers_of_its_own() -> None:
    ledger = Ledger()
    chain = (reserve("r1", amount=10), reserve("r2", amount=20), reserve("r3", BERT, ANNA, 5))
    assert ledger.outcomes(*chain) == [DONE] * 3

    assert ledger.outcome(post_reserved("one of it", "r2")) == Rejection.RESERVATION_IN_CHAIN
    assert ledger.outcome(post_reserved("a part", "r1", amount=1)) == Rejection.RESERVATION_IN_CHAIN
    assert ledger.outcome(post_reserved("all", "r1")) == DONE

    assert ledger.balances() == (75, 75)
    assert [each.held for each in ledger.books.accounts.values()] == [0, 0, 0]
    assert {transfer.id for transfer in ledger.desk.transfers} == {member_id(named("all"), n) for n in range(3)}
    assert all(each.state == ReservationState.POSTED for each in ledger.books.reservations.values())
    assert ledger.outcome(void("late", "r1")) == Rejection.RESERVATION_RESOLVED


def test_a_chain_of_reservations_is_voided_and_expires_as_a_whole() -> None:
    ledger = Ledger()
    ledger.outcomes(reserve("r1"), reserve("r2"))
    ledger.outcomes(reserve("s1", expires_at=SOON + TICK), reserve("s2", expires_at=SOON), reserve("s3"))

    assert ledger.outcome(void("one of it", "r2")) == Rejection.RESERVATION_IN_CHAIN
    assert ledger.outcome(void("all", "r1")) == DONE
    assert ledger.account(ANNA).held == 30
    ledger.now = SOON  # the first to expire ends the chain
    assert ledger.outcome(post_reserved("too late", "s1")) == Rejection.RESERVATION_EXPIRED
    assert ledger.outcome(expire("e", "s1")) == DONE
    assert ledger.account(ANNA).held == 0
    states = {each.id: each.state for each in ledger.books.reservations.values()}
    assert [states[named(n)] for n in ("r1", "r2", "s1", "s2", "s3")] == [3, 3, 4, 4, 4]


def test_one_frozen_account_stops_the_posting_of_its_whole_chain() -> None:
    ledger = Ledger()
    ledger.outcomes(reserve("r1", ANNA, CASH), reserve("r2", ANNA, BERT))
    ledger.account(BERT).status = AccountStatus.FROZEN

    assert ledger.outcome(post_reserved("all", "r1")) == Rejection.ACCOUNT_FROZEN
    assert ledger.balances() == (100, 50)
    assert ledger.account(ANNA).held == 20


def test_a_chain_that_would_overflow_only_together_is_not_posted() -> None:
    ledger = Ledger(books(account(BERT, balance=MAX_BALANCE - 15)))
    ledger.outcomes(reserve("r1"), reserve("r2"))

    assert ledger.outcome(post_reserved("all", "r1")) == Rejection.BALANCE_OVERFLOW
    assert ledger.account(BERT).balance == MAX_BALANCE - 15


def test_what_a_reservation_was_authorised_by_stands_in_its_posting_too() -> None:
    ledger = Ledger()
    ledger.answer(reserve("r", evidence_class=EvidenceClass.BATCH))

    answer = ledger.answer(post_reserved("pr", "r"))

    assert isinstance(answer, Transfer)
    assert (answer.evidence_class, answer.evidence) == (EvidenceClass.BATCH, reserve("r").evidence)


def test_a_batch_full_of_chains_is_decided_in_a_time_that_grows_with_their_number_only() -> None:
    ledger = Ledger(books(account(ANNA, balance=1_000_000)))
    names = range(4_096)
    ledger.batch([(reserve((n, 1), amount=1), reserve((n, 2), amount=1)) for n in names])

    start = process_time()
    ledger.batch([(post_reserved(("all", n), (n, 1)),) for n in names])

    assert process_time() - start < 2  # to look at every chain for each took more than six
    assert ledger.account(ANNA).held == 0
