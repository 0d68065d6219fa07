"""What was signed is read by whoever decides about it, and must be what the bank says of the payment."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from latticebank.banking.payments.wire import InstructionView, PaymentView
from latticebank.client import Device, OtherInstruction, Payee, Signatory, SignedDocument, Uuid7Source, read_instruction
from latticebank.crypto.merkle import leaf_hash
from latticebank.documents.document import InvalidDocument
from tests.clocks import MovingClock

CLOCK = MovingClock()
IDS = Uuid7Source(CLOCK)
ADA = Signatory("bank.test", Device.new(IDS), CLOCK, IDS)
GROCER = Payee("1000000064", "Grocer", "12.34", "EUR", "bread")
DEBTOR = "1000000013"


def told(order: SignedDocument, **other: Any) -> PaymentView:
    """A payment as an honest bank tells of it, or as another does."""
    facts: dict[str, Any] = {
        "id": order.id,
        "state": "awaiting_approval",
        "reason": None,
        "reason_text": None,
        "kind": "payment",
        "batch": None,
        "debtor_account": DEBTOR,
        "creditor_account": GROCER.account,
        "creditor_name": GROCER.name,
        "amount": GROCER.amount,
        "currency": GROCER.currency,
        "reference": GROCER.reference,
        "device": ADA.device.id,
        "instruction_hash": order.hash,
        "received_at": datetime(2026, 3, 2, 12, tzinfo=UTC),
        "final_at": None,
        "booking_date": None,
        "hold_reason": "over-threshold",
        "approval_expires_at": None,
    }
    return PaymentView(**(facts | other))


def shown(order: SignedDocument, batch_payment: str | None = None) -> InstructionView:
    return InstructionView(order.document, order.signature, ADA.device.id, batch_payment)


def test_the_text_itself_says_what_is_decided() -> None:
    order = ADA.payment(DEBTOR, GROCER)
    read = read_instruction(shown(order), told(order, creditor_name="a friend", reference="for nothing"))
    assert (read.payee, read.reference, read.hash) == ("Grocer", "bread", order.hash)
    cash = ADA.cash("deposit", GROCER.account, DEBTOR, "12.34", "EUR", "savings")
    read = read_instruction(shown(cash), told(cash, kind="cash"))
    assert (read.payee, read.debtor_account, read.creditor_account) == ("cash deposit", DEBTOR, GROCER.account)
    batch = ADA.batch(DEBTOR, [GROCER])
    text = batch.payments[0]
    one = {"id": batch.payment_ids[0], "kind": "batch", "instruction_hash": leaf_hash(text.encode()).hex()}
    read = read_instruction(shown(batch.manifest, text), told(batch.manifest, **one))
    assert (read.payee, read.amount, read.hash) == ("Grocer", "12.34", one["instruction_hash"])


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("id", {"id": IDS()}),
        ("instruction_hash", {"instruction_hash": "00" * 32}),
        ("device", {"device": IDS()}),
        ("debtor_account", {"debtor_account": GROCER.account}),
        ("creditor_account", {"creditor_account": DEBTOR}),
        ("amount", {"amount": "1.34"}),
        ("amount", {"currency": "USD"}),
    ],
)
def test_a_bank_that_says_another_thing_than_was_signed_is_caught(field: str, other: dict[str, Any]) -> None:
    order = ADA.payment(DEBTOR, GROCER)
    with pytest.raises(OtherInstruction) as caught:
        read_instruction(shown(order), told(order, **other))
    assert caught.value.field == field


def test_a_text_of_another_kind_or_form_is_none() -> None:
    order = ADA.payment(DEBTOR, GROCER)
    for kind in ("cash", "batch"):
        with pytest.raises(InvalidDocument):
            read_instruction(shown(order), told(order, kind=kind))
    spaced = SignedDocument(order.id, msgspec.json.format(order.document.encode()).decode(), order.signature)
    with pytest.raises(InvalidDocument):
        read_instruction(shown(spaced), told(order))
