"""What was signed is shown, as it was signed, to whoever signed it, to managers and to auditors."""

from hashlib import sha256
from typing import Any

import msgspec

from latticebank.banking.payments.wire import InstructionView, PaymentView
from latticebank.client import read_instruction
from latticebank.crypto.merkle import leaf_hash
from latticebank.documents.batch import BATCH
from latticebank.documents.document import from_base64url
from latticebank.documents.payment import PAYMENT
from latticebank.documents.signing import verify
from tests.banking.payments.counter import Counter, ok
from tests.banking.payments.test_authority import staff_of
from tests.security.identity.people import Person, signed, told


async def shown(counter: Counter, payment: dict[str, Any], who: Person) -> InstructionView:
    """What somebody is shown as signed for a payment."""
    return msgspec.convert(ok(await counter.at(f"/{payment['id']}/instruction", who=who), 200), InstructionView)


async def test_a_payment_is_shown_as_it_was_signed_to_who_may_see_it(counter: Counter) -> None:
    tessa, max_, anna, axel = await staff_of(counter)
    ada, bob = await counter.customer("ada"), await counter.customer("bob", "0.00")
    otto = await counter.register("otto")
    await counter.grant(otto, "auditor", anna, axel)
    order = signed(ada.device.key, counter.instruction(ada, bob, "60.00"))
    held = ok(await counter.transfer(ada, order), 202)
    for who in (ada, max_, otto):
        view = await shown(counter, held, who)
        assert (view.document, view.signature) == (order["document"], order["signature"])
        assert (view.device, view.batch_payment) == (ada.device.id, None)
        assert sha256(view.document.encode()).hexdigest() == held["instruction_hash"]
        read = read_instruction(view, msgspec.convert(held, PaymentView))
        assert (read.amount, read.payee, read.hash) == ("60.00", "Bob Builder", held["instruction_hash"])
    path = f"/{held['id']}/instruction"
    for who in (bob, tessa, anna):
        assert told(await counter.at(path, who=who)) == (404, "payment-not-found")
    headers = await counter.operators_header()
    refused = await counter.send("payments", "GET", f"/api/transactions{path}", headers=headers)
    assert told(refused) == (403, "forbidden")
    assert told(await counter.at(f"/{counter.ids()}/instruction", who=max_)) == (404, "payment-not-found")


async def test_of_a_batch_one_payment_is_shown_with_the_manifest_that_was_signed(counter: Counter) -> None:
    _, max_, _ = await counter.teller()
    ada, bob = await counter.customer("ada"), await counter.customer("bob", "0.00")
    sent, ids = counter.batch(ada, [(counter.account(bob), f"{n}.00") for n in (1, 55, 3)])
    ok(await counter.at("/batch", sent, who=ada), 200)
    held = ok(await counter.at(f"/{ids[1]}", who=max_), 200)
    view = await shown(counter, held, max_)
    assert (view.document, view.batch_payment) == (sent["manifest"], sent["payments"][1])
    assert leaf_hash(sent["payments"][1].encode()).hex() == held["instruction_hash"]
    verify(ada.device.key_to_verify(), view.document.encode(), from_base64url(view.signature, "signature"), BATCH)
    read = read_instruction(view, msgspec.convert(held, PaymentView))
    assert (read.debtor_account, read.amount, read.reference) == (counter.account(ada), "55.00", "wages 1")


async def test_a_cash_order_is_shown_to_its_teller_and_to_no_other(counter: Counter) -> None:
    tessa, max_, anna, axel = await staff_of(counter)
    ada, tom = await counter.customer("ada"), await counter.register("tom")
    await counter.grant(tom, "teller", anna, axel)
    order = signed(tessa.device.key, counter.cash_order(tessa, counter.account(ada), "withdrawal", "5.00"))
    booked = ok(await counter.at("/cash", order, who=tessa))
    for who in (tessa, max_):
        view = await shown(counter, booked, who)
        assert view.document == order["document"]
        read = read_instruction(view, msgspec.convert(booked, PaymentView))
        assert (read.payee, read.debtor_account, read.creditor_account) == (
            "cash withdrawal",
            counter.account(ada),
            counter.cash,
        )
    for who in (tom, ada, anna):
        assert told(await counter.at(f"/{booked['id']}/instruction", who=who)) == (404, "payment-not-found")


async def test_what_was_signed_is_not_shown_once_the_records_are_closed(counter: Counter) -> None:
    ada, bob = await counter.customer("ada"), await counter.customer("bob", "0.00")
    paid = ok(await counter.pay(ada, bob))
    view = await shown(counter, paid, ada)
    verify(ada.device.key_to_verify(), view.document.encode(), from_base64url(view.signature, "signature"), PAYMENT)
    counter.write("ALTER TABLE signed_documents DISABLE TRIGGER USER", database="payments")
    counter.write("DELETE FROM signed_documents", database="payments")
    assert told(await counter.at(f"/{paid['id']}/instruction", who=ada)) == (409, "records-erased")
