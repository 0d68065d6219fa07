"""Payments that wait: approved or rejected by a manager, cancelled by the payer, or overtaken by time."""

import asyncio
from datetime import timedelta

import msgspec
import pytest

from latticebank.banking.ledger.wire import AccountOpening
from tests.banking.payments.counter import Counter, ok
from tests.banking.payments.test_authority import staff_of
from tests.security.identity.people import Person, said, signed, told


async def test_a_manager_approves_and_only_then_the_money_moves(counter: Counter) -> None:
    _, max_, _ = await counter.teller()
    ada, bob = await counter.customer("ada"), await counter.customer("bob", "0.00")
    held = ok(await counter.pay(ada, bob, "60.00"), 202)
    assert (held["state"], held["hold_reason"]) == ("awaiting_approval", "over-threshold")
    assert held["approval_expires_at"] == "2026-03-05T12:00:00Z"
    assert await counter.balance(ada) == ("100.00", "60.00")
    assert ok(await counter.at("/approvals", who=max_), 200)["items"] == [held]
    order = signed(max_.device.key, counter.payment_decision(max_, held))
    posted = ok(await counter.at(f"/{held['id']}/decision", order, who=max_), 200)
    assert (posted["state"], posted["booking_date"]) == ("posted", "2026-03-02")
    assert await counter.balance(ada) == ("40.00", "0.00")
    assert await counter.balance(bob) == ("60.00", "0.00")
    assert ok(await counter.at(f"/{held['id']}/decision", order, who=max_), 200) == posted
    assert ok(await counter.at(f"/{held['id']}", who=ada), 200) == posted
    assert ok(await counter.at("/approvals", who=max_), 200)["items"] == []
    assert counter.payments_rows("SELECT 1 FROM unsettled") == []


async def test_what_is_rejected_gives_money_and_limit_back(counter: Counter) -> None:
    _, max_, _ = await counter.teller()
    ada, bob = await counter.customer("ada"), await counter.customer("bob", "0.00")
    order = signed(ada.device.key, counter.instruction(ada, bob, "60.00"))
    held = ok(await counter.transfer(ada, order), 202)
    no = signed(max_.device.key, counter.payment_decision(max_, held, "reject"))
    rejected = ok(await counter.at(f"/{held['id']}/decision", no, who=max_), 200)
    assert (rejected["state"], rejected["reason"]) == ("rejected", "approval-rejected")
    assert await counter.balance(ada) == ("100.00", "0.00")
    assert counter.payments_rows("SELECT used FROM limit_uses") == [(0,)]
    assert told(await counter.transfer(ada, order)) == (409, "approval-rejected")
    yes = signed(max_.device.key, counter.payment_decision(max_, held))
    assert told(await counter.at(f"/{held['id']}/decision", yes, who=max_)) == (409, "already-decided")
    assert told(await counter.at(f"/{held['id']}/cancel", who=ada, method="POST")) == (409, "already-decided")


async def test_the_payer_alone_cancels_and_only_while_the_payment_waits(counter: Counter) -> None:
    ada, bob = await counter.customer("ada"), await counter.customer("bob", "0.00")
    order = signed(ada.device.key, counter.instruction(ada, bob, "60.00"))
    held = ok(await counter.transfer(ada, order), 202)
    path = f"/{held['id']}/cancel"
    assert told(await counter.at(path, who=bob, method="POST")) == (404, "payment-not-found")
    cancelled = ok(await counter.at(path, who=ada, method="POST"), 200)
    assert (cancelled["state"], cancelled["reason"]) == ("cancelled", None)
    assert ok(await counter.at(path, who=ada, method="POST"), 200) == cancelled
    assert ok(await counter.transfer(ada, order)) == cancelled
    assert await counter.balance(ada) == ("100.00", "0.00")
    assert counter.payments_rows("SELECT used FROM limit_uses") == [(0,)]
    paid = ok(await counter.pay(ada, bob))
    assert told(await counter.at(f"/{paid['id']}/cancel", who=ada, method="POST")) == (409, "not-held")


async def test_what_nobody_approves_in_time_is_rejected(counter: Counter) -> None:
    ada, bob = await counter.customer("ada"), await counter.customer("bob", "0.00")
    order = signed(ada.device.key, counter.instruction(ada, bob, "60.00"))
    ok(await counter.transfer(ada, order), 202)
    counter.wait(timedelta(hours=71, minutes=59))
    assert await counter.service.decisions.expire_due() == 0
    counter.wait(timedelta(minutes=1))
    await counter.service.decisions.expire_due()
    await counter.is_settled()
    await counter.log_in(ada)
    assert told(await counter.transfer(ada, order)) == (409, "approval-expired")
    assert await counter.balance(ada) == ("100.00", "0.00")
    assert counter.payments_rows("SELECT used FROM limit_uses") == [(0,)]
    assert counter.payments_rows("SELECT choice, decided_by FROM decisions") == [(4, None)]


async def test_whoever_may_not_decide_changes_nothing(counter: Counter) -> None:
    _, max_, _ = await counter.teller()
    ada, bob = await counter.customer("ada"), await counter.customer("bob", "0.00")
    counter.accounts[max_.user] = (await counter.ledger.accounts(party=f"user:{max_.user}")).items[0].account
    await counter.fund(max_, "100.00")
    held = ok(await counter.pay(ada, bob, "60.00"), 202)
    own = ok(await counter.pay(max_, bob, "60.00"), 202)
    before = counter.everything()

    async def decide(by: Person, view: dict[str, object], **other: str) -> tuple[int, str]:
        order = signed(by.device.key, counter.payment_decision(by, view, **other))
        return told(await counter.at(f"/{held['id']}/decision", order, who=by))

    assert await decide(ada, held) == (403, "forbidden")
    assert await decide(max_, held, subject=own["id"]) == (422, "other-subject")
    assert await decide(max_, held, subject_hash="00" * 32) == (422, "other-subject")
    assert await decide(max_, held, type="latticebank/proposal-decision/v1") == (422, "other-subject")
    assert await decide(max_, held, bank="other.test") == (422, "other-bank")
    assert await decide(max_, held, device=str(ada.device.id)) == (403, "not-your-device")
    by_ada = signed(ada.device.key, counter.payment_decision(max_, held))
    assert told(await counter.at(f"/{held['id']}/decision", by_ada, who=max_)) == (403, "invalid-signature")
    mine = signed(max_.device.key, counter.payment_decision(max_, own))
    assert told(await counter.at(f"/{own['id']}/decision", mine, who=max_)) == (403, "own-payment")
    nothing = {"id": str(counter.ids()), "instruction_hash": held["instruction_hash"]}
    missing = signed(max_.device.key, counter.payment_decision(max_, nothing))
    assert told(await counter.at(f"/{nothing['id']}/decision", missing, who=max_)) == (404, "payment-not-found")
    assert counter.everything() == before


async def test_of_two_decisions_at_once_one_counts(counter: Counter) -> None:
    _, max_, _ = await counter.teller()
    ada, bob = await counter.customer("ada"), await counter.customer("bob", "0.00")
    held = ok(await counter.pay(ada, bob, "60.00"), 202)
    path = f"/{held['id']}/decision"
    orders = [signed(max_.device.key, counter.payment_decision(max_, held, choice)) for choice in ("approve", "reject")]
    answers = await asyncio.gather(
        *(counter.at(path, order, who=max_) for order in orders),
        counter.at(f"/{held['id']}/cancel", who=ada, method="POST"),
    )
    assert sorted(answer.status for answer in answers) == [200, 409, 409]
    state = next(said(answer)["state"] for answer in answers if answer.status == 200)
    assert await counter.balance(bob) == ("60.00" if state == "posted" else "0.00", "0.00")
    assert (await counter.balance(ada))[1] == "0.00"


async def test_an_approval_that_the_ledger_cannot_follow_gives_the_money_back(counter: Counter) -> None:
    _, max_, _ = await counter.teller()
    ada, bob = await counter.customer("ada"), await counter.customer("bob", "0.00")
    held = ok(await counter.pay(ada, bob, "60.00"), 202)
    await counter.ledger.restrict(counter.ids(), counter.account(bob), "freeze", "error")
    order = signed(max_.device.key, counter.payment_decision(max_, held))
    rejected = ok(await counter.at(f"/{held['id']}/decision", order, who=max_), 200)
    assert (rejected["state"], rejected["reason"]) == ("rejected", "account-frozen")
    assert await counter.balance(ada) == ("100.00", "0.00")
    assert counter.payments_rows("SELECT used FROM limit_uses") == [(0,)]


async def test_a_manager_who_came_to_speak_for_the_payee_a_moment_ago_does_not_decide(counter: Counter) -> None:
    tessa, max_, anna, axel = await staff_of(counter)
    mara, ada = await counter.register("mara"), await counter.customer("ada")
    await counter.grant(mara, "manager", anna, axel)
    opening = msgspec.convert({"kind": "checking", "currency": "EUR", "owners": ["berka:client/1"]}, AccountOpening)
    old = (await counter.ledger.open_account(counter.ids(), opening)).account
    held = ok(await counter.pay(ada, old, "60.00"), 202)
    bearer = {"Authorization": f"Bearer {await counter.bearer(max_, 'payments')}", "Content-Type": "application/json"}
    await counter.grant(max_, "party:berka:client/1", tessa, mara)
    before = counter.everything()
    yes = signed(max_.device.key, counter.payment_decision(max_, held))
    refused = await counter.send("payments", "POST", f"/api/transactions/{held['id']}/decision", yes, bearer)
    assert told(refused) == (403, "own-payment")
    assert counter.everything() == before


@pytest.mark.parametrize("minutes", [0, 11])
async def test_a_decision_sent_again_while_it_is_carried_out_is_answered_with_its_end(
    counter: Counter, minutes: int
) -> None:
    _, max_, _ = await counter.teller()
    ada, bob = await counter.customer("ada"), await counter.customer("bob", "0.00")
    taken_back, approved = [ok(await counter.pay(ada, bob, "50.00"), 202) for _ in range(2)]
    cancel, decide = f"/{taken_back['id']}/cancel", f"/{approved['id']}/decision"
    yes = signed(max_.device.key, counter.payment_decision(max_, approved))
    with counter.out_of_order("ledger", "transfers"):
        assert ok(await counter.at(cancel, who=ada, method="POST"), 200)["state"] == "awaiting_approval"
        assert ok(await counter.at(decide, yes, who=max_), 200)["state"] == "awaiting_approval"
        counter.write("UPDATE unsettled SET claimed_until = claimed_until + interval '1 day'", database="payments")
    if minutes:
        counter.wait(timedelta(minutes=minutes))
        await counter.log_in(ada)
        await counter.log_in(max_)
    cancelled = await asyncio.gather(*(counter.at(cancel, who=ada, method="POST") for _ in range(4)))
    posted = await asyncio.gather(*(counter.at(decide, yes, who=max_) for _ in range(4)))
    for answers, state in ((cancelled, "cancelled"), (posted, "posted")):
        assert [ok(answer, 200) for answer in answers] == [said(answers[0])] * 4
        assert said(answers[0])["state"] == state
    assert await counter.balance(ada) == ("50.00", "0.00")
    assert await counter.balance(bob) == ("50.00", "0.00")
    assert counter.payments_rows("SELECT used FROM limit_uses") == [(5000,)]
    assert counter.payments_rows("SELECT 1 FROM unsettled") == []
