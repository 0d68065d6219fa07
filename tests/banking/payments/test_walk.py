"""The walk of a payment: from the signature of a device to money on another account, or to nothing at all."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from latticebank.crypto.signatures import SigningKey
from latticebank.documents.document import base64url, from_base64url
from tests.banking.payments.counter import Counter, ok
from tests.security.identity.people import Device, said, signed, told

MLDSA65_SIGNATURE_BYTES = 3309


async def test_a_signed_payment_moves_the_money_and_says_so(counter: Counter) -> None:
    ada, bob = await counter.customer("ada"), await counter.customer("bob", "0.00")
    instruction = counter.instruction(ada, bob, "12.34")
    view = ok(await counter.transfer(ada, signed(ada.device.key, instruction)))
    assert (view["id"], view["state"], view["amount"], view["reference"]) == (
        instruction.id, "posted", "12.34", "rent for March",
    )  # fmt: skip
    assert (view["booking_date"], view["final_at"]) == ("2026-03-02", "2026-03-02T12:00:00Z")
    assert await counter.balance(ada) == ("87.66", "0.00")
    assert await counter.balance(bob) == ("12.34", "0.00")
    posting = await counter.ledger.customer_debits()
    assert [(d.id, d.evidence_class, d.evidence) for d in posting.items] == [
        (posting.items[0].id, "payment", view["instruction_hash"])
    ]
    assert str(posting.items[0].id) == instruction.id


async def test_the_details_and_the_history_show_what_was_signed_to_its_signer_alone(counter: Counter) -> None:
    ada, bob = await counter.customer("ada"), await counter.customer("bob", "0.00")
    views = [ok(await counter.pay(ada, bob, f"{n}.00")) for n in (1, 2, 3)]
    assert ok(await counter.at(f"/{views[0]['id']}", who=ada), 200) == views[0]
    assert told(await counter.at(f"/{views[0]['id']}", who=bob)) == (404, "payment-not-found")
    first = ok(await counter.at("/history?limit=2", who=ada), 200)
    rest = ok(await counter.at(f"/history?limit=2&cursor={first['next_cursor']}", who=ada), 200)
    assert first["items"] + rest["items"] == views[::-1]
    assert rest["next_cursor"] is None
    assert ok(await counter.at("/history", who=bob), 200)["items"] == []
    elsewhere = await counter.at(f"/history?account={counter.account(bob)}", who=ada)
    assert ok(elsewhere, 200)["items"] == []


async def test_the_same_instruction_gets_the_same_answer_for_ever(counter: Counter) -> None:
    ada, bob = await counter.customer("ada"), await counter.customer("bob", "0.00")
    order = signed(ada.device.key, counter.instruction(ada, bob))
    first = ok(await counter.transfer(ada, order))
    before = counter.everything()
    assert ok(await counter.transfer(ada, order)) == first
    counter.wait(timedelta(hours=1))
    await counter.log_in(ada)
    assert ok(await counter.transfer(ada, order)) == first
    assert counter.everything() == before


async def test_fifty_of_one_instruction_at_once_are_one_posting_and_one_answer(counter: Counter) -> None:
    ada, bob = await counter.customer("ada"), await counter.customer("bob", "0.00")
    instruction = counter.instruction(ada, bob)
    orders = [signed(ada.device.key, instruction) for _ in range(50)]
    answers = await asyncio.gather(*(counter.transfer(ada, order) for order in orders))
    assert {answer.status for answer in answers} == {201}
    assert len({answer.body for answer in answers}) == 1
    assert await counter.balance(bob) == ("10.00", "0.00")


async def test_many_at_once_share_groups_and_each_has_its_answer(counter: Counter) -> None:
    ada, bob = await counter.customer("ada"), await counter.customer("bob", "0.00")
    answers = await asyncio.gather(*(counter.pay(ada, bob, f"0.{cents:02}") for cents in range(10, 70)))
    assert sorted(ok(answer)["amount"] for answer in answers) == [f"0.{cents:02}" for cents in range(10, 70)]
    assert await counter.balance(bob) == ("23.70", "0.00")
    assert len(counter.payments_rows("SELECT 1 FROM outbox")) < 60
    assert counter.payments_rows("SELECT 1 FROM unsettled") == []


async def test_one_id_at_once_for_two_payments_is_good_for_one(counter: Counter) -> None:
    ada, bob = await counter.customer("ada"), await counter.customer("bob", "0.00")
    identifier = str(counter.ids())
    answers = await asyncio.gather(*(counter.pay(ada, bob, f"{n}.00", id=identifier) for n in (1, 2, 3, 4)))
    assert sorted(answer.status for answer in answers) == [201, 422, 422, 422]
    paid = next(said(answer)["amount"] for answer in answers if answer.status == 201)
    assert await counter.balance(bob) == (paid, "0.00")


async def test_an_id_of_another_payment_is_refused(counter: Counter) -> None:
    ada, bob = await counter.customer("ada"), await counter.customer("bob", "0.00")
    paid = ok(await counter.pay(ada, bob))
    before = counter.everything()
    assert told(await counter.pay(ada, bob, "11.00", id=paid["id"])) == (422, "payment-id-reused")
    assert told(await counter.pay(bob, ada, "0.00", id=paid["id"]))[0] == 400
    assert counter.everything() == before


async def test_an_idempotency_key_is_the_id_of_the_instruction_or_nothing(counter: Counter) -> None:
    ada, bob = await counter.customer("ada"), await counter.customer("bob", "0.00")
    instruction = counter.instruction(ada, bob)
    order = signed(ada.device.key, instruction)
    before = counter.everything()
    refused = await counter.at("/transfer", order, who=ada, key=str(counter.ids()))
    assert (told(refused), said(refused)["field"]) == ((400, "invalid-value"), "Idempotency-Key")
    assert counter.everything() == before
    ok(await counter.at("/transfer", order, who=ada, key=instruction.id))


def changed(text: str) -> str:
    """A signed text in which somebody raised the amount."""
    assert '"amount":"10.00"' in text
    return text.replace('"amount":"10.00"', '"amount":"19.00"')


def half(signature: str, *, post_quantum: bool) -> str:
    """One half of a composite signature, the other stripped off."""
    raw = from_base64url(signature, "signature")
    return base64url(raw[:MLDSA65_SIGNATURE_BYTES] if post_quantum else raw[MLDSA65_SIGNATURE_BYTES:])


async def test_what_was_tampered_with_or_half_signed_does_nothing(counter: Counter) -> None:
    ada, bob = await counter.customer("ada"), await counter.customer("bob", "0.00")
    order = signed(ada.device.key, counter.instruction(ada, bob))
    text, signature = order["document"], order["signature"]
    flipped = ("B" if signature[0] == "A" else "A") + signature[1:]
    other = signed(SigningKey.generate(), counter.instruction(ada, bob))
    before = counter.everything()
    for document, by in (
        (changed(text), signature),
        (text, flipped),
        (text, half(signature, post_quantum=True)),
        (text, half(signature, post_quantum=False)),
        (text, ""),
        (text, "no base64!"),
        (other["document"], other["signature"]),
    ):
        refused = await counter.transfer(ada, {"document": document, "signature": by})
        assert told(refused) == (403, "invalid-signature")
    assert counter.everything() == before


async def test_after_ten_wrong_signatures_a_user_has_to_wait_and_others_do_not(counter: Counter) -> None:
    ada, bob = await counter.customer("ada"), await counter.customer("bob")
    order = signed(ada.device.key, counter.instruction(ada, bob))
    before = counter.everything()
    for _ in range(10):
        assert told(await counter.transfer(ada, order | {"signature": "AAAA"})) == (403, "invalid-signature")
    refused = await counter.transfer(ada, order)
    assert told(refused) == (429, "too-many-attempts")
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert counter.everything() == before
    ok(await counter.pay(bob, ada))


async def test_only_the_payers_own_active_devices_sign(counter: Counter) -> None:
    ada, bob = await counter.customer("ada"), await counter.customer("bob")
    before = counter.everything()
    unknown = Device(counter.ids())
    by_unknown = signed(unknown.key, counter.instruction(ada, bob, device=str(unknown.id)))
    assert told(await counter.transfer(ada, by_unknown)) == (403, "unknown-device")
    by_bob = signed(bob.device.key, counter.instruction(ada, bob, device=str(bob.device.id)))
    assert told(await counter.transfer(ada, by_bob)) == (403, "not-your-device")
    tablet = Device(counter.ids())
    assert (await counter.enrol(ada, tablet)).status in (200, 201)
    by_tablet = signed(tablet.key, counter.instruction(ada, bob, device=str(tablet.id)))
    assert told(await counter.transfer(ada, by_tablet)) == (403, "device-cooling")
    assert counter.everything() == before


async def test_a_revocation_counts_at_once_and_leaves_old_answers_alone(counter: Counter) -> None:
    ada, bob = await counter.customer("ada"), await counter.customer("bob", "0.00")
    paid = signed(ada.device.key, counter.instruction(ada, bob))
    first = ok(await counter.transfer(ada, paid))
    order = signed(ada.device.key, counter.instruction(ada, bob))
    revoked = await counter.ask("POST", f"/api/devices/{ada.device.id}/revoke", {"reason": "lost"}, who=ada)
    assert revoked.status in (200, 204)
    before = counter.everything()
    assert told(await counter.transfer(ada, order)) == (403, "device-revoked")
    assert ok(await counter.transfer(ada, paid)) == first
    assert counter.everything() == before


async def test_a_session_that_was_logged_out_pays_nothing_more(counter: Counter) -> None:
    ada, bob = await counter.customer("ada"), await counter.customer("bob", "0.00")
    bearer = {"Authorization": f"Bearer {await counter.bearer(ada, 'payments')}", "Content-Type": "application/json"}
    assert (await counter.ask("POST", "/api/users/logout", who=ada)).status == 204
    before = counter.everything()
    order = signed(ada.device.key, counter.instruction(ada, bob))
    refused = await counter.send("payments", "POST", "/api/transactions/transfer", order, bearer)
    assert told(refused) == (401, "session-ended")
    assert counter.everything() == before


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({"bank": "other.test"}, (422, "other-bank")),
        ({"created": "2026-03-02T11:50:00.000Z", "expires": "2026-03-02T12:00:00.000Z"}, (422, "document-expired")),
        ({"created": "2026-03-02T12:01:01.000Z"}, (422, "document-from-future")),
        ({"expires": "2026-03-02T12:11:00.000Z"}, (400, "invalid-value")),
        ({"reference": "card 4111 1111 1111 1111"}, (422, "card-number-in-text")),
        ({"amount": "10.0"}, (400, "invalid-value")),
        ({"creditor_account": "1000000019"}, (400, "invalid-value")),
        ({"creditor_account": "1100000019"}, (409, "credit-account-unknown")),
        ({"debtor_account": "1000000013"}, (403, "not-your-account")),
        ({"debtor_account": "1000009998"}, (403, "not-your-account")),
    ],
)
async def test_an_instruction_against_the_rules_is_refused_before_it_is_stored(
    counter: Counter, other: dict[str, Any], expected: tuple[int, str]
) -> None:
    await counter.customer("bob")
    ada = await counter.customer("ada")
    other = {"creditor_account": counter.cash} | other
    before = counter.everything()
    order = signed(ada.device.key, counter.instruction(ada, ada, **other))
    assert told(await counter.transfer(ada, order)) == expected
    assert counter.everything() == before


async def test_what_the_ledger_refuses_is_rejected_for_ever_and_moves_nothing(counter: Counter) -> None:
    ada, bob = await counter.customer("ada", "20.00"), await counter.customer("bob", "0.00")
    unknown, dollars = "1000009998", await counter.open("USD")
    frozen, closed = await counter.open("EUR"), await counter.open("EUR")
    await counter.ledger.restrict(counter.ids(), frozen, "freeze", "error")
    await counter.ledger.restrict(counter.ids(), closed, "close", "error")
    for to, amount, code in (
        (counter.account(bob), "20.01", "insufficient-funds"),
        (unknown, "1.00", "credit-account-unknown"),
        (dollars, "1.00", "currency-mismatch"),
        (frozen, "1.00", "account-frozen"),
        (closed, "1.00", "account-closed"),
        (counter.account(ada), "1.00", "same-account"),
    ):
        order = signed(ada.device.key, counter.instruction(ada, to, amount))
        for _ in range(2):
            assert told(await counter.transfer(ada, order)) == (409, code)
    assert await counter.balance(ada) == ("20.00", "0.00")
    assert counter.payments_rows("SELECT DISTINCT used FROM limit_uses") == [(0,)]
    history = ok(await counter.at("/history", who=ada), 200)["items"]
    assert {item["state"] for item in history} == {"rejected"}
    assert history[0]["reason_text"] == "an account cannot pay itself"


async def test_nobody_but_customers_pays_and_nobody_but_tellers_orders_cash(counter: Counter) -> None:
    ada = await counter.customer("ada")
    body = signed(ada.device.key, counter.instruction(ada, counter.cash))
    operator = await counter.send(
        "payments", "POST", "/api/transactions/transfer", body, await counter.operators_header()
    )
    assert told(operator) == (403, "forbidden")
    nobody = await counter.send(
        "payments", "POST", "/api/transactions/transfer", body, {"Content-Type": "application/json"}
    )
    assert told(nobody) == (401, "unauthenticated")
    assert told(await counter.at("/cash", body, who=ada)) == (403, "forbidden")
    assert told(await counter.at("/approvals", who=ada)) == (403, "forbidden")
    assert told(await counter.at("/transfer", {"document": "x" * 40_000, "signature": ""}, who=ada)) == (
        400,
        "invalid-value",
    )
