"""How accounts are opened, frozen, released, closed and given an overdraft limit."""

import pytest

from latticebank.banking.ledger.model.accounts import (
    UNBOUNDED,
    AccountCommand,
    AccountEvent,
    AccountKind,
    AccountStatus,
    CloseAccount,
    FreezeAccount,
    Party,
    SetOverdraftLimit,
    UnfreezeAccount,
)
from latticebank.banking.ledger.model.transfers import DONE, Rejection
from latticebank.values.account_number import SERIALS, account_number
from latticebank.values.money import MAX_MINOR
from tests.banking.ledger.samples import (
    ACTOR,
    ANNA,
    BERT,
    CASH,
    STRANGER,
    Ledger,
    account,
    books,
    named,
    opening,
    post,
    reserve,
    void,
)

FROZEN, CLOSED = AccountStatus.FROZEN, AccountStatus.CLOSED


def freeze(name: object, number: int = ANNA) -> FreezeAccount:
    return FreezeAccount(named(name), number, "court-order", ACTOR)


def unfreeze(name: object, number: int = ANNA) -> UnfreezeAccount:
    return UnfreezeAccount(named(name), number, "error", ACTOR)


def close(name: object, number: int = ANNA) -> CloseAccount:
    return CloseAccount(named(name), number, "customer-request", ACTOR)


def limit(name: object, minor: int, number: int = ANNA) -> SetOverdraftLimit:
    return SetOverdraftLimit(named(name), number, minor, ACTOR)


def test_accounts_are_numbered_in_the_order_of_their_opening() -> None:
    ledger = Ledger()

    answers = ledger.batch([(opening(name),) for name in range(3)])

    events = [answer for [answer] in answers if isinstance(answer, AccountEvent)]
    assert [event.account for event in events] == [account_number(0, serial) for serial in (3, 4, 5)]
    assert ledger.books.next_serial == 6


def test_an_account_can_be_paid_in_the_batch_that_opens_it() -> None:
    ledger = Ledger()
    number = account_number(0, 3)

    ledger.batch([(opening("o", overdraft_limit=5),), (post("p", credit=number),), (post("q", number, ANNA, 15),)])

    new = ledger.account(number)
    assert (new.balance, new.entries, new.version, new.available) == (-5, 2, 0, 0)


def test_a_customer_gets_the_limit_that_was_asked_for_and_the_bank_none_at_all() -> None:
    ledger = Ledger()

    ledger.batch([(opening("c", overdraft_limit=7),), (opening("b", AccountKind.FEES),)])

    assert [ledger.account(account_number(0, n)).overdraft_limit for n in (3, 4)] == [7, UNBOUNDED]


def test_a_reference_names_one_account() -> None:
    ledger = Ledger()
    owner = Party("customer/1", 1)

    outcomes = [
        ledger.outcome(opening("a", reference="berka/1", parties=(owner,))),
        ledger.outcome(opening("b", reference="berka/1")),
        ledger.outcome(opening("a", reference="berka/1", parties=(owner,))),
        ledger.outcome(opening("a", reference="berka/2", parties=(owner,))),
        ledger.outcome(opening("a", reference="berka/1")),
    ]

    reused = Rejection.ID_REUSED
    assert outcomes == [DONE, Rejection.REFERENCE_TAKEN, DONE, reused, reused]
    assert ledger.books.next_serial == 4


def test_the_last_number_of_a_shard_is_given_out_and_then_no_more() -> None:
    ledger = Ledger()
    ledger.books = books()
    object.__setattr__(ledger.books, "next_serial", SERIALS - 1)

    assert [ledger.outcome(opening(name)) for name in range(2)] == [DONE, Rejection.NUMBERS_EXHAUSTED]
    assert account_number(0, SERIALS - 1) in ledger.books.accounts


@pytest.mark.parametrize(
    ("given", "command", "refusal"),
    [
        ([], freeze("a", STRANGER), Rejection.ACCOUNT_UNKNOWN),
        ([], unfreeze("a", STRANGER), Rejection.ACCOUNT_UNKNOWN),
        ([], close("a", STRANGER), Rejection.ACCOUNT_UNKNOWN),
        ([], limit("a", 1, STRANGER), Rejection.ACCOUNT_UNKNOWN),
        ([account(ANNA, status=FROZEN)], freeze("a"), Rejection.ALREADY_SO),
        ([], unfreeze("a"), Rejection.ALREADY_SO),
        ([account(ANNA, status=CLOSED)], freeze("a"), Rejection.ACCOUNT_CLOSED),
        ([account(ANNA, status=CLOSED)], unfreeze("a"), Rejection.ACCOUNT_CLOSED),
        ([account(ANNA, status=CLOSED)], close("a"), Rejection.ACCOUNT_CLOSED),
        ([account(ANNA, status=CLOSED)], limit("a", 1), Rejection.ACCOUNT_CLOSED),
        ([account(ANNA, status=FROZEN)], close("a"), Rejection.ACCOUNT_FROZEN),
        ([account(ANNA, status=FROZEN)], limit("a", 1), Rejection.ACCOUNT_FROZEN),
        ([account(ANNA, balance=1)], close("a"), Rejection.BALANCE_NOT_ZERO),
        ([account(ANNA, balance=-1, limit=1)], close("a"), Rejection.BALANCE_NOT_ZERO),
        ([account(ANNA, balance=0, held=1, limit=1)], close("a"), Rejection.BALANCE_NOT_ZERO),
        ([], limit("a", 1, CASH), Rejection.LIMIT_NOT_OF_CUSTOMER),
        ([account(ANNA, balance=-5, limit=9)], limit("a", 4), Rejection.LIMIT_BELOW_USE),
        ([account(ANNA, balance=0, held=5, limit=9)], limit("a", 4), Rejection.LIMIT_BELOW_USE),
    ],
)
def test_an_act_against_the_rules_is_recorded_and_changes_nothing(
    given: list[object], command: AccountCommand, refusal: Rejection
) -> None:
    ledger = Ledger(books(*given))  # type: ignore[arg-type]

    answer = ledger.answer(command)

    assert isinstance(answer, AccountEvent)
    assert answer.outcome == refusal
    assert ledger.desk.events == [answer]
    assert ledger.desk.changed == {}


def test_no_money_moves_on_a_frozen_account_until_it_is_released() -> None:
    ledger = Ledger()
    steps = [
        ledger.outcome(freeze("f")),
        ledger.outcome(post("out")),
        ledger.outcome(post("in", BERT, ANNA)),
        ledger.outcome(reserve("r")),
        ledger.outcome(unfreeze("u")),
        ledger.outcome(post("out again")),
    ]

    frozen = Rejection.ACCOUNT_FROZEN
    assert steps == [DONE, frozen, frozen, frozen, DONE, DONE]


def test_a_freeze_counts_from_its_place_in_the_batch() -> None:
    ledger = Ledger()

    answers = ledger.batch([(post("before"),), (freeze("f"),), (post("after"),)])

    assert [getattr(answer, "outcome", None) for [answer] in answers] == [DONE, DONE, Rejection.ACCOUNT_FROZEN]


def test_an_account_closes_at_zero_and_for_ever() -> None:
    ledger = Ledger()
    ledger.batch([(post("all", amount=100),)])

    assert ledger.outcome(close("c")) == DONE
    assert ledger.outcome(post("in", BERT, ANNA)) == Rejection.ACCOUNT_CLOSED
    assert ledger.outcome(close("c")) == DONE


def test_an_account_with_money_held_closes_when_it_is_released() -> None:
    ledger = Ledger(books(account(ANNA, limit=10)))
    ledger.answer(reserve("r"))

    assert ledger.outcome(close("c")) == Rejection.BALANCE_NOT_ZERO
    ledger.answer(void("v", "r"))
    assert ledger.outcome(close("c2")) == DONE


def test_a_limit_lets_an_account_go_below_zero_by_just_that_much() -> None:
    ledger = Ledger()

    assert ledger.outcome(limit("l", 20)) == DONE
    assert ledger.outcome(post("p", amount=121)) == Rejection.INSUFFICIENT_FUNDS
    assert ledger.outcome(post("q", amount=120)) == DONE
    assert ledger.outcome(limit("less", 19)) == Rejection.LIMIT_BELOW_USE
    assert ledger.outcome(limit("most", MAX_MINOR)) == DONE
    assert ledger.account(ANNA).available == MAX_MINOR - 20


def test_an_act_cannot_be_a_link_of_a_chain_of_transfers() -> None:
    ledger = Ledger()

    with pytest.raises(AssertionError):
        ledger.outcomes(post("p"), freeze("f"))
