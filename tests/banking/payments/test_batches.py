"""Signed batches: one signature, many payments, each with an answer of its own."""

import asyncio
from datetime import timedelta
from typing import Any

from tests.banking.payments.counter import Counter, ok
from tests.security.identity.people import Person, said, told


async def people(counter: Counter, amount: str = "100.00") -> tuple[Person, Person, str]:
    """Ada with money, Bob without, and Bob's account."""
    ada, bob = await counter.customer("ada", amount), await counter.customer("bob", "0.00")
    return ada, bob, counter.account(bob)


async def test_a_batch_pays_all_that_it_names_and_answers_in_its_order(counter: Counter) -> None:
    ada, bob, account = await people(counter)
    sent, ids = counter.batch(ada, [(account, f"0.{cents:02}") for cents in range(1, 60)])
    view = ok(await counter.at("/batch", sent, who=ada), 200)
    assert (view["state"], view["count"], view["posted"]) == ("completed", 59, 59)
    assert [(a["id"], a["state"]) for a in view["answers"]] == [(str(i), "posted") for i in ids]
    assert await counter.balance(bob) == ("17.70", "0.00")
    debits = (await counter.ledger.customer_debits()).items
    assert {(d.id, d.evidence_class) for d in debits} == {(identifier, "batch") for identifier in ids}
    one = ok(await counter.at(f"/{ids[7]}", who=ada), 200)
    assert (one["state"], one["reference"], one["amount"], one["kind"]) == ("posted", "wages 7", "0.08", "batch")
    assert one["final_at"] == "2026-03-02T12:00:00Z"
    history = ok(await counter.at("/history?limit=100", who=ada), 200)["items"]
    assert {item["id"] for item in history} == {str(identifier) for identifier in ids}


async def test_the_same_batch_gets_the_same_answer_for_ever(counter: Counter) -> None:
    ada, bob, account = await people(counter)
    sent, _ = counter.batch(ada, [(account, "1.00"), (account, "2.00"), (account, "500.00")])
    answers = await asyncio.gather(*(counter.at("/batch", sent, who=ada) for _ in range(5)))
    assert len({answer.body for answer in answers}) == 1
    first = ok(answers[0], 200)
    assert [a["state"] for a in first["answers"]] == ["posted", "posted", "rejected"]
    before = counter.everything()
    counter.wait(timedelta(hours=1))
    await counter.log_in(ada)
    assert ok(await counter.at("/batch", sent, who=ada), 200) == first
    assert counter.everything() == before
    assert await counter.balance(bob) == ("3.00", "0.00")
    other, _ = counter.batch(ada, [(account, "1.00")], id=first["id"])
    assert told(await counter.at("/batch", other, who=ada)) == (422, "batch-id-reused")


async def test_payments_of_a_batch_end_each_in_its_own_way(counter: Counter) -> None:
    ada, _, account = await people(counter, "2500.00")
    wanted = [("10.00", account), ("60.00", account), ("5.00", "1000009998"), ("1000.01", account), ("20.00", account)]
    sent, ids = counter.batch(ada, [(to, amount) for amount, to in wanted])
    view = ok(await counter.at("/batch", sent, who=ada), 200)
    assert [(a["state"], a.get("reason")) for a in view["answers"]] == [
        ("posted", None),
        ("awaiting_approval", None),
        ("rejected", "credit-account-unknown"),
        ("rejected", "over-payment-limit"),
        ("posted", None),
    ]
    assert (view["posted"], view["rejected"], view["awaiting_approval"]) == (2, 2, 1)
    assert await counter.balance(ada) == ("2470.00", "60.00")
    assert counter.payments_rows("SELECT used FROM limit_uses") == [(90_00,)]
    cancelled = ok(await counter.at(f"/{ids[1]}/cancel", who=ada, method="POST"), 200)
    assert cancelled["state"] == "cancelled"
    assert await counter.balance(ada) == ("2470.00", "0.00")
    assert counter.payments_rows("SELECT used FROM limit_uses") == [(30_00,)]


async def test_a_batch_over_the_daily_limit_is_decided_payment_by_payment(counter: Counter) -> None:
    ada, _, account = await people(counter, "5000.00")
    sent, _ = counter.batch(ada, [(account, "39.00")] * 60)
    view = ok(await counter.at("/batch", sent, who=ada), 200)
    assert (view["posted"], view["rejected"]) == (51, 9)
    assert {a.get("reason") for a in view["answers"][51:]} == {"over-daily-limit"}
    assert counter.payments_rows("SELECT used FROM limit_uses") == [(1989_00,)]


def altered(sent: dict[str, Any], **other: Any) -> dict[str, Any]:
    """A batch of which something was changed on the way."""
    return sent | other


async def test_a_batch_that_is_not_what_was_signed_does_nothing(counter: Counter) -> None:
    ada, bob, account = await people(counter)
    sent, ids = counter.batch(ada, [(account, "1.00"), (account, "2.00"), (account, "3.00")])
    texts = sent["payments"]
    taken = ok(await counter.pay(ada, bob))
    with_taken, _ = counter.batch(ada, [(account, "1.00"), (account, "2.00")])
    before = counter.everything()
    raised = [texts[0].replace('"1.00"', '"9.00"'), *texts[1:]]
    assert told(await counter.at("/batch", altered(sent, payments=raised), who=ada)) == (400, "invalid-value")
    assert told(await counter.at("/batch", altered(sent, payments=texts[::-1]), who=ada)) == (400, "invalid-value")
    assert told(await counter.at("/batch", altered(sent, payments=texts[:2]), who=ada)) == (400, "invalid-value")
    assert told(await counter.at("/batch", altered(sent, payments=[]), who=ada)) == (400, "invalid-value")
    assert told(await counter.at("/batch", altered(sent, signature="AAAA"), who=ada)) == (403, "invalid-signature")
    assert told(await counter.at("/batch", sent, who=bob)) == (403, "not-your-device")
    broken = await counter.at("/batch", altered(sent, payments=[*texts[:2], texts[2][:-1]]), who=ada)
    assert (told(broken), said(broken)["field"]) == ((400, "invalid-document"), "/payments/2/document")
    assert counter.everything() == before
    assert ok(await counter.at("/batch", with_taken, who=ada), 200)["posted"] == 2
    assert taken["state"] == "posted"
    assert len(ids) == 3


async def test_a_payment_that_exists_keeps_the_whole_batch_out(counter: Counter) -> None:
    ada, _, account = await people(counter)
    first, _ = counter.batch(ada, [(account, "1.00"), (account, "2.00")])
    ok(await counter.at("/batch", first, who=ada), 200)
    before = counter.everything()
    again = counter.manifest_over(ada, first["payments"])
    refused = await counter.at("/batch", again, who=ada)
    assert (told(refused), said(refused)["field"]) == ((422, "payment-id-reused"), "/payments/0/id")
    assert counter.everything() == before


async def test_a_large_batch_is_read_beside_the_loop_and_in_pieces(counter: Counter) -> None:
    ada, bob, account = await people(counter)
    sent, ids = counter.batch(ada, [(account, "0.01")] * 600)
    assert ok(await counter.at("/batch", sent, who=ada), 200)["posted"] == 600
    assert counter.payments_rows("SELECT piece FROM batch_texts ORDER BY 1") == [(0,), (1,), (2,)]
    assert ok(await counter.at(f"/{ids[599]}", who=ada), 200)["reference"] == "wages 599"
    assert await counter.balance(bob) == ("6.00", "0.00")
