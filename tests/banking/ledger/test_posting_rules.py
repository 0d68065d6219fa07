"""What moves money at once: who may pay whom how much, on which days, and what stands in the way."""

from datetime import date, timedelta

import pytest
from msgspec.structs import replace as changed

from latticebank.banking.ledger.model.accounts import AccountKind, AccountStatus
from latticebank.banking.ledger.model.transfers import (
    DONE,
    VALUE_DATE_REACH,
    EvidenceClass,
    Kind,
    Purpose,
    Rejection,
    Reverse,
    Transfer,
)
from latticebank.values.money import MAX_BALANCE, MAX_MINOR
from tests.banking.ledger.samples import (
    ANNA,
    BERT,
    CASH,
    EVIDENCE,
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
    reverse,
)

FROZEN, CLOSED = AccountStatus.FROZEN, AccountStatus.CLOSED
REACH = timedelta(days=VALUE_DATE_REACH)


def test_a_posting_makes_two_entries_that_sum_to_zero_and_keep_the_balance_after() -> None:
    ledger = Ledger()

    answer = ledger.answer(post("rent", amount=30))

    assert isinstance(answer, Transfer)
    assert (answer.seq, answer.kind, answer.outcome) == (1, Kind.POST, DONE)
    assert (answer.debit_balance, answer.credit_balance) == (70, 80)
    debit, credit = ledger.desk.entries
    assert (debit.account, debit.number, debit.amount, debit.balance) == (ANNA, 1, -30, 70)
    assert (credit.account, credit.number, credit.amount, credit.balance) == (BERT, 1, 30, 80)
    assert debit.transfer == credit.transfer == named("rent")


@pytest.mark.parametrize(
    ("given", "command", "refusal"),
    [
        ([], post("p", debit=STRANGER), Rejection.DEBIT_ACCOUNT_UNKNOWN),
        ([], post("p", credit=STRANGER), Rejection.CREDIT_ACCOUNT_UNKNOWN),
        ([], post("p", debit=STRANGER, credit=STRANGER), Rejection.DEBIT_ACCOUNT_UNKNOWN),
        ([], post("p", credit=ANNA), Rejection.SAME_ACCOUNT),
        ([account(ANNA, balance=100, status=FROZEN)], post("p"), Rejection.ACCOUNT_FROZEN),
        ([account(BERT, status=FROZEN)], post("p"), Rejection.ACCOUNT_FROZEN),
        ([account(ANNA, status=CLOSED)], post("p"), Rejection.ACCOUNT_CLOSED),
        ([account(BERT, status=CLOSED)], post("p"), Rejection.ACCOUNT_CLOSED),
        ([], post("p", currency="USD"), Rejection.CURRENCY_MISMATCH),
        ([account(BERT, currency="USD")], post("p"), Rejection.CURRENCY_MISMATCH),
        ([account(ANNA, balance=100, currency="USD")], post("p"), Rejection.CURRENCY_MISMATCH),
        ([], post("p", evidence=b""), Rejection.EVIDENCE_MISSING),
        ([], post("p", evidence=EVIDENCE[:31]), Rejection.EVIDENCE_MISSING),
        ([], post("p", amount=101), Rejection.INSUFFICIENT_FUNDS),
        ([account(ANNA, balance=100, held=1)], post("p", amount=100), Rejection.INSUFFICIENT_FUNDS),
        ([account(ANNA, balance=100, limit=9)], post("p", amount=110), Rejection.INSUFFICIENT_FUNDS),
        ([account(BERT, balance=MAX_BALANCE)], post("p", amount=1), Rejection.BALANCE_OVERFLOW),
        ([], post("p", booking_date=TOMORROW), Rejection.BOOKING_DATE_IN_FUTURE),
        ([account(BERT, last_booking=TODAY)], post("p", booking_date=YESTERDAY), Rejection.BOOKING_DATE_BEFORE_LAST),
        (
            [account(ANNA, balance=100, last_booking=TODAY)],
            post("p", booking_date=YESTERDAY),
            Rejection.BOOKING_DATE_BEFORE_LAST,
        ),
        ([], post("p", value_date=TODAY + REACH + timedelta(1)), Rejection.VALUE_DATE_OUT_OF_REACH),
        ([], post("p", value_date=TODAY - REACH - timedelta(1)), Rejection.VALUE_DATE_OUT_OF_REACH),
        ([], post("p", value_date=date.max), Rejection.VALUE_DATE_OUT_OF_REACH),
        ([], post("p", value_date=date.min), Rejection.VALUE_DATE_OUT_OF_REACH),
    ],
)
def test_a_posting_is_refused_for_its_reason_and_moves_nothing(
    given: list[object], command: object, refusal: Rejection
) -> None:
    ledger = Ledger(books(*given))  # type: ignore[arg-type]
    before = {number: changed(each) for number, each in ledger.books.accounts.items()}

    answer = ledger.answer(command)  # type: ignore[arg-type]

    assert isinstance(answer, Transfer)
    assert answer.outcome == refusal
    assert (answer.debit_entry, answer.credit_entry) == (0, 0)
    assert ledger.desk.transfers == [answer]
    assert ledger.desk.entries == []
    assert dict(ledger.books.accounts) == before
    assert ledger.books.next_seq == 2


@pytest.mark.parametrize(
    ("given", "amount"),
    [
        ([], 100),
        ([account(ANNA, balance=100, held=40)], 60),
        ([account(ANNA, balance=100, limit=20)], 120),
        ([account(ANNA, balance=-20, limit=21)], 1),
        ([account(ANNA, balance=MAX_MINOR), account(BERT, balance=MAX_BALANCE - MAX_MINOR - 1)], MAX_MINOR),
        ([account(ANNA, balance=0, limit=MAX_MINOR), account(BERT, balance=-MAX_MINOR, limit=MAX_MINOR)], MAX_MINOR),
    ],
)
def test_everything_available_may_be_spent_to_the_last_cent(given: list[object], amount: int) -> None:
    ledger = Ledger(books(*given))  # type: ignore[arg-type]

    assert ledger.outcome(post("all", amount=amount)) == DONE
    assert ledger.account(ANNA).available == 0
    assert ledger.outcome(post("more", amount=1)) == Rejection.INSUFFICIENT_FUNDS


def test_the_bank_debits_its_own_accounts_without_evidence_and_to_either_side() -> None:
    ledger = Ledger()

    assert ledger.outcome(post("in", CASH, ANNA, 500, evidence=b"", evidence_class=EvidenceClass.NONE)) == DONE
    assert ledger.account(CASH).balance == -650
    assert ledger.outcome(post("out", ANNA, CASH, 600)) == DONE
    assert ledger.account(CASH).balance == -50


@pytest.mark.parametrize("steps", [10, 23])
def test_no_balance_ever_leaves_64_bits_on_either_side(steps: int) -> None:
    other = account(BERT, kind=AccountKind.SUSPENSE)
    ledger = Ledger(books(other))

    outcomes = [ledger.outcome(post(n, CASH, BERT, MAX_MINOR)) for n in range(steps)]

    room_above, room_below = MAX_BALANCE, MAX_BALANCE - 150
    fits = min(room_above, room_below) // MAX_MINOR
    assert outcomes == ([DONE] * fits + [Rejection.BALANCE_OVERFLOW] * steps)[:steps]
    assert all(-MAX_BALANCE <= each.balance <= MAX_BALANCE for each in ledger.books.accounts.values())


def test_a_bank_account_at_the_bottom_of_64_bits_gives_nothing_more() -> None:
    ledger = Ledger(books(account(CASH, balance=-MAX_BALANCE + 5, kind=AccountKind.CASH)))

    assert ledger.outcome(post("too much", CASH, ANNA, 6)) == Rejection.INSUFFICIENT_FUNDS
    assert ledger.outcome(post("fits", CASH, ANNA, 5)) == DONE


def test_a_posting_without_dates_is_booked_today_and_valued_when_booked() -> None:
    ledger = Ledger(books(account(ANNA, balance=100, last_booking=YESTERDAY)))

    answer = ledger.answer(post("p"))

    assert isinstance(answer, Transfer)
    assert (answer.booking_date, answer.value_date) == (TODAY, TODAY)
    assert [entry.booking_date for entry in ledger.desk.entries] == [TODAY, TODAY]
    assert ledger.account(ANNA).last_booking == ledger.account(BERT).last_booking == TODAY


def test_a_posting_without_a_booking_date_follows_the_last_of_either_account() -> None:
    ledger = Ledger(books(account(BERT, last_booking=TOMORROW)))

    answer = ledger.answer(post("p"))

    assert isinstance(answer, Transfer)
    assert answer.booking_date == TOMORROW


@pytest.mark.parametrize("value", [TODAY - REACH, YESTERDAY, TODAY, TOMORROW, TODAY + REACH])
def test_a_value_date_may_lie_a_year_on_either_side_of_the_booking(value: date) -> None:
    ledger = Ledger()

    answer = ledger.answer(post("p", value_date=value))

    assert isinstance(answer, Transfer)
    assert (answer.outcome, answer.booking_date, answer.value_date) == (DONE, TODAY, value)


def test_an_entry_may_be_booked_on_an_earlier_day_while_nothing_was_booked_after_it() -> None:
    ledger = Ledger()

    assert ledger.outcome(post("old", booking_date=TODAY - timedelta(400))) == DONE
    assert ledger.outcome(post("later", booking_date=YESTERDAY)) == DONE
    assert ledger.outcome(post("before", booking_date=YESTERDAY - timedelta(1))) == Rejection.BOOKING_DATE_BEFORE_LAST
    assert ledger.outcome(post("same day", booking_date=YESTERDAY)) == DONE


@pytest.mark.parametrize("amount", [0, -1, -MAX_BALANCE])
def test_an_amount_that_is_not_positive_never_reaches_the_books(amount: int) -> None:
    ledger = Ledger()

    with pytest.raises(AssertionError):
        ledger.answer(post("p", amount=amount))
    with pytest.raises(AssertionError):
        ledger.answer(reserve("r", amount=amount))
    assert ledger.outcome(reserve("r")) == DONE
    with pytest.raises(AssertionError):
        ledger.answer(post_reserved("pr", "r", amount=amount))


def test_a_reversal_moves_the_money_back_as_an_entry_of_its_own() -> None:
    ledger = Ledger()
    ledger.answer(post("p", amount=30))

    answer = ledger.answer(reverse("back", "p"))

    assert isinstance(answer, Transfer)
    assert (answer.kind, answer.outcome, answer.purpose) == (Kind.REVERSE, DONE, Purpose.REVERSAL)
    assert (answer.debit, answer.credit, answer.amount, answer.reference) == (BERT, ANNA, 30, named("p"))
    assert ledger.balances() == (100, 50)
    assert ledger.account(ANNA).entries == 2


def test_a_posting_is_reversed_once_even_within_one_batch() -> None:
    ledger = Ledger()
    ledger.answer(post("p"))

    answers = ledger.batch([(reverse("first", "p"),), (reverse("second", "p"),)])

    assert [answer.outcome for [answer] in answers if isinstance(answer, Transfer)] == [
        DONE,
        Rejection.ALREADY_REVERSED,
    ]
    assert ledger.outcome(reverse("third", "p")) == Rejection.ALREADY_REVERSED
    assert ledger.balances() == (100, 50)


@pytest.mark.parametrize(
    ("history", "target", "refusal"),
    [
        ([], "never heard of", Rejection.TRANSFER_UNKNOWN),
        ([post("p", amount=1000)], "p", Rejection.NOT_REVERSIBLE),
        ([reserve("r")], "r", Rejection.NOT_REVERSIBLE),
        ([post("p"), reverse("back", "p")], "back", Rejection.NOT_REVERSIBLE),
        ([post("p"), reverse("back", "p")], "p", Rejection.ALREADY_REVERSED),
        ([post("p", credit=BERT, amount=100), post("gone", BERT, CASH, 140)], "p", Rejection.INSUFFICIENT_FUNDS),
    ],
)
def test_only_a_posting_whose_money_is_still_there_is_reversed(
    history: list[object], target: str, refusal: Rejection
) -> None:
    ledger = Ledger()
    for command in history:
        ledger.answer(command)  # type: ignore[arg-type]
    before = ledger.balances()

    assert ledger.outcome(reverse("now", target)) == refusal
    assert ledger.balances() == before


def test_a_posted_reservation_is_reversed_like_any_posting() -> None:
    ledger = Ledger()
    ledger.batch([(reserve("r", amount=40),), (post_reserved("pr", "r", amount=25),)])

    assert ledger.outcome(reverse("back", "pr")) == DONE
    assert ledger.balances() == (100, 50)


def test_a_customer_is_not_debited_by_a_reversal_without_evidence() -> None:
    ledger = Ledger()
    ledger.answer(post("p"))

    assert ledger.outcome(Reverse(named("back"), named("p"), 0, b"")) == Rejection.EVIDENCE_MISSING


@pytest.mark.parametrize("status", [FROZEN, CLOSED])
def test_a_reversal_waits_for_a_frozen_account_and_comes_too_late_for_a_closed_one(status: AccountStatus) -> None:
    ledger = Ledger()
    ledger.answer(post("p"))
    account_of_bert = ledger.account(BERT)
    account_of_bert.status = status

    expected = Rejection.ACCOUNT_FROZEN if status == FROZEN else Rejection.ACCOUNT_CLOSED
    assert ledger.outcome(reverse("back", "p")) == expected
