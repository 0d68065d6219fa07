"""What a device signs is what the bank reads: well-formed, for this bank and for now, by this key."""

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from latticebank.client.device import Device, Payee, Signatory, SignedDocument, read_enrolment
from latticebank.crypto.errors import AlgorithmNotPermitted, InvalidSignature
from latticebank.crypto.registry import DEFAULT_SIGNATURE, ML_DSA_65
from latticebank.crypto.signatures import VerifyingKey
from latticebank.documents.batch import BATCH, BatchManifest, leaves_of, read_payment, require_match
from latticebank.documents.cash import CASH, CashOrder
from latticebank.documents.decision import PAYMENT_DECISION, PROPOSAL_DECISION, Decision
from latticebank.documents.document import Document, DocumentExpired, OtherBank, from_base64url, instant, judge, read
from latticebank.documents.enrolment import ENROLMENT
from latticebank.documents.login import LOGIN, LoginProof
from latticebank.documents.payment import PAYMENT, CardNumberInText, PaymentInstruction
from latticebank.documents.rights import RIGHTS, RightsProposal
from latticebank.documents.signing import verify
from latticebank.values.account_number import account_number, format_account_number
from latticebank.values.errors import InvalidValue
from latticebank.values.ids import Uuid7Source
from tests.clocks import MovingClock

BANK = "bank.example"
NOW = datetime(2026, 3, 31, 8, 0, tzinfo=UTC)
ADA, BOB = (format_account_number(account_number(0, serial)) for serial in (1, 2))
RENT = Payee(BOB, "Bob", "12.34", "EUR", "rent")


class Customer:
    """A customer with one device, and a clock that is set by hand."""

    def __init__(self, bank: str = BANK) -> None:
        self.clock = MovingClock(NOW)
        self.ids = Uuid7Source(self.clock)
        self.user = self.ids()
        self.bank = bank
        self.device = Device.new(self.ids)
        self.signs = self.with_device(self.device)

    def with_device(self, device: Device) -> Signatory:
        return Signatory(self.bank, device, self.clock, self.ids)


@pytest.fixture(scope="module")
def ada() -> Customer:
    return Customer()


def check(kind: "type[Document]", signed: SignedDocument, device: Device, document_type: str) -> None:
    """Do what the bank does with what it receives."""
    text = signed.document.encode()
    document = read(kind, text)
    judge(document, BANK, NOW)
    assert (document.id, document.device) == (str(signed.id), str(device.id))
    key = VerifyingKey(device.key.algorithm, device.key.public_bytes)
    verify(key, text, from_base64url(signed.signature, "signature"), document_type)


def test_everything_that_is_signed_is_accepted_by_the_rules_of_its_document(ada: Customer) -> None:
    subject = ada.ids()
    for kind, signed, document_type in (
        (PaymentInstruction, ada.signs.payment(ADA, RENT), PAYMENT),
        (BatchManifest, ada.signs.batch(ADA, [RENT]).manifest, BATCH),
        (CashOrder, ada.signs.cash("deposit", ADA, BOB, "5.00", "EUR"), CASH),
        (Decision, ada.signs.payment_decision(subject, "ab" * 32, "approve"), PAYMENT_DECISION),
        (Decision, ada.signs.proposal_decision(subject, "ab" * 32, "reject"), PROPOSAL_DECISION),
        (RightsProposal, ada.signs.rights("grant", "teller", subject), RIGHTS),
        (LoginProof, ada.signs.login_proof(), LOGIN),
    ):
        check(kind, signed, ada.device, document_type)
    assert read_enrolment(ada.signs.enrolment(ada.user)).user == str(ada.user)


def test_a_payment_says_what_was_asked_for_and_has_an_id_of_its_own(ada: Customer) -> None:
    first, second = ada.signs.payment(ADA, RENT), ada.signs.payment(ADA, RENT)
    assert first.id != second.id
    assert first.id.version == 7
    said = json.loads(first.document)
    assert (said["debtor_account"], said["creditor_account"], said["creditor_name"]) == (ADA, BOB, "Bob")
    assert (said["amount"], said["currency"], said["reference"]) == ("12.34", "EUR", "rent")
    assert instant(said["expires"], "expires") - NOW == timedelta(minutes=10)


@pytest.mark.parametrize(
    ("payee", "error", "field"),
    [
        (Payee("1000000016", "Bob", "1.00", "EUR"), InvalidValue, "creditor_account"),
        (Payee(BOB, "", "1.00", "EUR"), InvalidValue, "creditor_name"),
        (Payee(BOB, "Bob", "1.0", "EUR"), InvalidValue, "amount"),
        (Payee(BOB, "Bob", "0.00", "EUR"), InvalidValue, "amount"),
        (Payee(BOB, "Bob", "1.00", "eur"), InvalidValue, "currency"),
        (Payee(BOB, "Bob", "1.00", "EUR", "a\u202eb"), InvalidValue, "reference"),
        (Payee(BOB, "Bob", "1.00", "EUR", "4111 1111 1111 1111"), CardNumberInText, "reference"),
    ],
)
def test_nothing_that_the_bank_would_call_malformed_is_signed(
    ada: Customer, payee: Payee, error: type[InvalidValue], field: str
) -> None:
    with pytest.raises(error) as refused:
        ada.signs.payment(ADA, payee)
    assert refused.value.field == field
    with pytest.raises(error) as refused:
        ada.signs.batch(ADA, [RENT, payee])
    assert refused.value.field == f"/payments/1/{field}"


def test_a_batch_is_one_signature_for_payments_that_hide_each_other(ada: Customer) -> None:
    batch = ada.signs.batch(ADA, [RENT, RENT, Payee(BOB, "Bob", "7", "JPY")])
    texts = [text.encode() for text in batch.payments]
    payments = [read_payment(text, place) for place, text in enumerate(texts)]
    manifest = read(BatchManifest, batch.manifest.document.encode())
    require_match(manifest, payments, leaves_of(texts))
    assert manifest.totals == {"EUR": "24.68", "JPY": "7"}
    assert tuple(UUID(payment.id) for payment, _ in payments) == batch.payment_ids
    assert len({payment.salt for payment, _ in payments}) == 3


def test_an_empty_batch_is_not_signed(ada: Customer) -> None:
    with pytest.raises(InvalidValue) as refused:
        ada.signs.batch(ADA, [])
    assert refused.value.field == "count"


def test_salts_come_from_the_randomness_that_is_given(ada: Customer) -> None:
    signs = Signatory(BANK, ada.device, ada.clock, ada.ids, randomness=lambda size: b"\x07" * size)
    assert json.loads(signs.batch(ADA, [RENT]).payments[0])["salt"] == "07" * 32


def test_a_second_device_is_sponsored_by_the_first(ada: Customer) -> None:
    phone = Device.new(ada.ids, ML_DSA_65)
    request = ada.with_device(phone).enrolment(ada.user, ada.device.id)
    signature = ada.signs.sponsor(request, ada.user)
    key = VerifyingKey(DEFAULT_SIGNATURE, ada.device.key.public_bytes)
    verify(key, request.document.encode(), from_base64url(signature, "signature"), ENROLMENT)


def test_no_device_is_sponsored_for_another_user_another_sponsor_or_another_bank(ada: Customer) -> None:
    phone = ada.with_device(Device.new(ada.ids))
    with pytest.raises(InvalidValue, match="another user"):
        ada.signs.sponsor(phone.enrolment(ada.ids(), ada.device.id), ada.user)
    with pytest.raises(InvalidValue, match="another sponsor"):
        ada.signs.sponsor(phone.enrolment(ada.user), ada.user)
    elsewhere = Customer("other.example")
    with pytest.raises(OtherBank):
        ada.signs.sponsor(elsewhere.signs.enrolment(ada.user, ada.device.id), ada.user)


def test_no_device_is_sponsored_that_does_not_show_its_key_or_came_too_late() -> None:
    ada = Customer()
    request = ada.with_device(Device.new(ada.ids)).enrolment(ada.user, ada.device.id)
    other = ada.with_device(Device.new(ada.ids)).enrolment(ada.user, ada.device.id)
    with pytest.raises(InvalidSignature):
        ada.signs.sponsor(SignedDocument(request.id, request.document, other.signature), ada.user)
    ada.clock.advance(timedelta(minutes=10))
    with pytest.raises(DocumentExpired):
        ada.signs.sponsor(request, ada.user)


def test_a_device_shows_a_fingerprint_and_never_its_seed(ada: Customer) -> None:
    assert len(ada.device.fingerprint.split()) == 8
    assert ada.device.fingerprint != Device.new(ada.ids).fingerprint
    assert ada.device.key.seed.hex() not in repr(ada.device)
    assert repr(ada.device.key.seed) not in repr(ada.device)


def test_a_classical_key_is_no_device(ada: Customer) -> None:
    with pytest.raises(AlgorithmNotPermitted):
        Device.new(ada.ids, "Ed25519")
