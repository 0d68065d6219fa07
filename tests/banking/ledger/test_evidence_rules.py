"""A customer's money moves by a signed act and nothing else, on whatever path; the bank's own by its own word."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from msgspec.structs import replace as changed

from latticebank.banking.ledger.model.accounts import AccountKind
from latticebank.banking.ledger.model.transfers import (
    DONE,
    SIGNED,
    EvidenceClass,
    Post,
    Purpose,
    Rejection,
    Reserve,
    Transfer,
)
from latticebank.values.account_number import account_number
from tests.banking.ledger.samples import (
    ANNA,
    BERT,
    CASH,
    EVIDENCE,
    Ledger,
    account,
    books,
    named,
    post,
    post_reserved,
    reserve,
    reverse,
)

PAST = account_number(0, 3)
"""The account through which another bank's history comes in."""
BANKS_OWN = [kind for kind in AccountKind if not kind.of_customer]
Order = Callable[..., Post | Reserve]
UNSIGNED = sorted(set(EvidenceClass) - SIGNED)


def bank() -> Ledger:
    """Books with an account of migration besides the usual ones."""
    return Ledger(books(account(PAST, kind=AccountKind.MIGRATION)))


@pytest.mark.parametrize("order", [post, reserve])
@pytest.mark.parametrize("signed", sorted(SIGNED))
def test_a_signed_act_debits_a_customer(order: Order, signed: EvidenceClass) -> None:
    assert bank().outcome(order("p", evidence_class=signed)) == DONE


@pytest.mark.parametrize("order", [post, reserve])
@pytest.mark.parametrize("unsigned", UNSIGNED)
@pytest.mark.parametrize("credit", [BERT, CASH])
def test_nobodys_word_alone_debits_a_customer(order: Order, unsigned: EvidenceClass, credit: int) -> None:
    ledger = bank()

    assert ledger.outcome(order("p", credit=credit, evidence_class=unsigned)) == Rejection.EVIDENCE_NOT_SIGNED
    assert ledger.account(ANNA).available == 100


@pytest.mark.parametrize("signed", sorted(SIGNED))
@pytest.mark.parametrize("evidence", [b"", EVIDENCE[:31]])
def test_a_class_of_evidence_does_not_stand_for_the_evidence(signed: EvidenceClass, evidence: bytes) -> None:
    assert bank().outcome(post("p", evidence_class=signed, evidence=evidence)) == Rejection.EVIDENCE_MISSING


@pytest.mark.parametrize("order", [post, reserve])
@pytest.mark.parametrize("purpose", [Purpose.IMPORT, Purpose.ROUNDING])
def test_history_that_is_taken_over_debits_a_customer(order: Order, purpose: Purpose) -> None:
    facts: Any = {"credit": PAST, "purpose": purpose, "evidence_class": EvidenceClass.IMPORT}

    assert bank().outcome(order("p", **facts)) == DONE


@pytest.mark.parametrize("kind", [kind for kind in AccountKind if kind is not AccountKind.MIGRATION])
def test_history_moves_against_no_account_but_one_of_migration(kind: AccountKind) -> None:
    ledger = Ledger(books(account(PAST, kind=kind)))
    order = post("p", credit=PAST, purpose=Purpose.IMPORT, evidence_class=EvidenceClass.IMPORT)

    assert ledger.outcome(order) == Rejection.EVIDENCE_NOT_SIGNED


@pytest.mark.parametrize("unsigned", [each for each in UNSIGNED if each is not EvidenceClass.IMPORT])
def test_an_account_of_migration_opens_no_other_way_to_a_customers_money(unsigned: EvidenceClass) -> None:
    order = post("p", credit=PAST, purpose=Purpose.IMPORT, evidence_class=unsigned)

    assert bank().outcome(order) == Rejection.EVIDENCE_NOT_SIGNED


@pytest.mark.parametrize("kind", BANKS_OWN)
@pytest.mark.parametrize("evidence_class", EvidenceClass)
def test_the_banks_own_accounts_are_debited_by_its_own_word(kind: AccountKind, evidence_class: EvidenceClass) -> None:
    ledger = Ledger(books(account(PAST, kind=kind)))

    assert ledger.outcome(post("p", debit=PAST, evidence_class=evidence_class)) == DONE


@pytest.mark.parametrize("unsigned", UNSIGNED)
def test_a_reversal_takes_money_back_from_a_customer_by_a_signed_act_alone(unsigned: EvidenceClass) -> None:
    ledger = bank()
    ledger.answer(post("p"))

    assert ledger.outcome(reverse("word", "p", evidence_class=unsigned)) == Rejection.EVIDENCE_NOT_SIGNED
    assert ledger.balances() == (90, 60)
    assert ledger.outcome(reverse("signed", "p", evidence_class=EvidenceClass.CASH)) == DONE
    assert ledger.balances() == (100, 50)


def test_what_was_taken_over_for_a_customer_is_taken_back_by_a_signed_act_alone() -> None:
    ledger = bank()
    ledger.answer(post("in", PAST, ANNA, purpose=Purpose.IMPORT, evidence_class=EvidenceClass.IMPORT))

    assert ledger.outcome(reverse("i", "in", evidence_class=EvidenceClass.IMPORT)) == Rejection.EVIDENCE_NOT_SIGNED
    assert ledger.outcome(reverse("s", "in", evidence_class=EvidenceClass.CASH)) == DONE


def test_money_that_the_bank_got_is_given_back_by_its_own_word() -> None:
    ledger = bank()
    ledger.answer(post("fee", ANNA, CASH))

    assert ledger.outcome(reverse("back", "fee", evidence_class=EvidenceClass.OPERATOR)) == DONE


def test_a_reversal_repeated_with_another_class_of_evidence_is_another_reversal() -> None:
    ledger = bank()
    ledger.answer(post("p"))
    ledger.answer(reverse("back", "p", evidence_class=EvidenceClass.CASH))

    assert ledger.outcome(reverse("back", "p", evidence_class=EvidenceClass.CASH)) == DONE
    assert ledger.outcome(reverse("back", "p", evidence_class=EvidenceClass.PAYMENT)) == Rejection.ID_REUSED


@pytest.mark.parametrize("evidence_class", EvidenceClass)
def test_a_reservation_is_posted_by_what_it_was_made_by_and_only_if_that_still_suffices(
    evidence_class: EvidenceClass,
) -> None:
    ledger = bank()
    ledger.answer(reserve("r"))
    reservation = changed(ledger.books.reservations[named("r")], evidence_class=evidence_class)
    ledger.books = replace(ledger.books, reservations={reservation.id: reservation})

    answer = ledger.answer(post_reserved("pr", "r"))

    assert isinstance(answer, Transfer)
    if evidence_class in SIGNED:
        assert (answer.outcome, answer.evidence_class, answer.evidence) == (DONE, evidence_class, EVIDENCE)
    else:
        assert answer.outcome == Rejection.EVIDENCE_NOT_SIGNED
        assert ledger.balances() == (100, 50)
