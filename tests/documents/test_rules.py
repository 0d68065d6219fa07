"""What each kind of document must be, beyond its form."""

from collections.abc import Callable

import msgspec
import pytest

from latticebank.crypto.errors import AlgorithmNotPermitted, InvalidSignature, UnknownAlgorithm
from latticebank.crypto.signatures import SigningKey, VerifyingKey
from latticebank.documents.batch import BatchManifest, leaves_of, read_payment, require_match
from latticebank.documents.cash import CASH, CashOrder
from latticebank.documents.decision import PAYMENT_DECISION, PROPOSAL_DECISION, Decision
from latticebank.documents.document import InvalidDocument, base64url, identity, read, to_bytes
from latticebank.documents.enrolment import ENROLMENT, DeviceEnrolment
from latticebank.documents.login import LOGIN, LoginProof
from latticebank.documents.payment import PAYMENT, CardNumberInText, PaymentInstruction, refuse_card_number
from latticebank.documents.rights import RIGHTS, RightsProposal
from latticebank.documents.signing import sign, verify
from latticebank.values.errors import BankError, InvalidValue
from tests.documents.papers import ADA, BOB, batch, instruction, new_id, signed_part


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111111",
        "4111 1111 1111 1111",
        "pay 4111-1111-1111-1111 now",
        "378282246310005",
        "6011.1111.1111.1117",
        "4111\u00a01111\u00a01111\u00a01111",
        "4111\u200b1111\u200b1111\u200b1111",
        "4111_1111_1111_1111",
        "4111 - 1111 / 1111 | 1111",
        "\uff14" + "\uff11" * 15,
        "\u0664" + "\u0661" * 15,
        "Käse 4111\u20091111\u20101111\u20111111",
        "order 12, 4111111111111111 12/28",
    ],
)
def test_a_card_number_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(CardNumberInText) as refused:
        read(PaymentInstruction, to_bytes(instruction(reference=text)))
    assert "1111" not in str(refused.value)
    with pytest.raises(CardNumberInText):
        read(PaymentInstruction, to_bytes(instruction(creditor_name=text)))


@pytest.mark.parametrize(
    "iban", ["DE89370400440532013000", "GB82 WEST 1234 5698 7654 32", "FR14 2004 1010 0505 0001 3M02 606"]
)
def test_an_account_number_of_another_bank_may_be_named(iban: str) -> None:
    refuse_card_number(f"from {iban}, thank you", "reference")


@pytest.mark.parametrize("check", range(100))
def test_a_card_number_behind_country_letters_is_found_unless_it_is_an_iban(check: int) -> None:
    text = f"DE{check:02d} 4111 1111 1111 1111"
    iban = int(f"41111111111111111314{check:02d}") % 97 == 1
    if iban:
        refuse_card_number(text, "reference")
    else:
        with pytest.raises(CardNumberInText):
            refuse_card_number(text, "reference")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rent",
        "4111111111111112",
        "invoice 2026-0001",
        "12345678901",
        "0 1 2 3",
        "4111 1111 1111 no 1111",
        "4111 1111    1111 1111",
        "41111111111111110000",
        "Miete März 2026",
    ],
)
def test_other_numbers_are_no_card_numbers(text: str) -> None:
    refuse_card_number(text, "reference")


@pytest.mark.parametrize("name", ["", " ", "   ", "\u2003", "\u3000 ", "\u200b"])
def test_a_payee_has_a_name_that_is_not_blank(name: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        read(PaymentInstruction, to_bytes(instruction(creditor_name=name)))
    assert refused.value.field == "creditor_name"


def test_a_manifest_speaks_of_exactly_its_payments() -> None:
    manifest, texts = batch("1.00", "2.50", "3.00")
    payments = [read_payment(text, place) for place, text in enumerate(texts)]
    require_match(manifest, payments, leaves_of(texts))
    assert manifest.totals == {"EUR": "6.50"}
    for fewer in (texts[:2], texts[::-1], [*texts, texts[0]]):
        others = [read_payment(text, place) for place, text in enumerate(fewer)]
        with pytest.raises(InvalidValue):
            require_match(manifest, others, leaves_of(fewer))


def test_two_payments_of_a_batch_never_share_an_id() -> None:
    _, [text] = batch("1.00")
    payments = [read_payment(text, 0)] * 2
    manifest, _ = batch("1.00", "1.00")
    same = msgspec.structs.replace(manifest, root=_root([text, text]))
    with pytest.raises(InvalidValue, match="same id"):
        require_match(same, payments, leaves_of([text, text]))


def _root(texts: list[bytes]) -> str:
    from latticebank.crypto.merkle import root_of

    return root_of(leaves_of(texts)).hex()


def test_a_faulty_payment_of_a_batch_is_named_by_its_place() -> None:
    _, [text] = batch("1.00")
    with pytest.raises(InvalidValue) as refused:
        read_payment(text.replace(b'"1.00"', b'"1.0"'), 7)
    assert refused.value.field == "/payments/7/amount"


@pytest.mark.parametrize(
    "change",
    [{"count": "0"}, {"count": "01"}, {"count": "8001"}, {"count": "x"}, {"totals": {"EUR": "1"}}, {"root": "AB"}],
)
def test_a_manifest_that_makes_no_sense_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(InvalidValue):
        read(BatchManifest, to_bytes(batch("1.00", **change)[0]))


def test_the_totals_stand_in_order() -> None:
    manifest, _ = batch("1.00", totals={"USD": "1.00", "EUR": "1.00"})
    with pytest.raises(InvalidDocument):
        read(BatchManifest, to_bytes(manifest))


def enrolment(key: SigningKey, **changed: str) -> DeviceEnrolment:
    members = {
        **signed_part(),
        "algorithm": key.algorithm,
        "public_key": base64url(key.public_bytes),
        "type": ENROLMENT,
        "user": new_id(),
    }
    return msgspec.convert(members | changed, DeviceEnrolment)


@pytest.mark.parametrize("algorithm", ["MLDSA65-Ed25519-SHA512", "ML-DSA-65", "ML-DSA-87"])
def test_a_device_has_a_key_that_may_authorise(algorithm: str) -> None:
    key = SigningKey.generate(algorithm)
    document = enrolment(key)
    assert read(DeviceEnrolment, to_bytes(document)) == document


def test_a_classical_key_alone_enrols_no_device() -> None:
    key = SigningKey.generate("ML-DSA-65")
    for algorithm, error in (("Ed25519", AlgorithmNotPermitted), ("ML-DSA-44", BankError), ("RSA-1", UnknownAlgorithm)):
        with pytest.raises(error):
            read(DeviceEnrolment, to_bytes(enrolment(key, algorithm=algorithm)))
    with pytest.raises(InvalidValue):
        read(DeviceEnrolment, to_bytes(enrolment(key, algorithm="ML-DSA-87")))


@pytest.mark.parametrize(
    ("right", "fine"),
    [
        ("teller", True),
        ("verified", True),
        ("party:berka:client/12", True),
        ("device:" + "0" * 64, True),
        ("customer", False),
        ("root", False),
        ("party:", False),
        ("party:user:019a0b1c-7d2e-7f3a-8b4c-5d6e7f8a9b0c", False),
        ("device:xyz", False),
    ],
)
def test_only_rights_that_exist_are_proposed(right: str, fine: bool) -> None:
    members = {**signed_part(), "action": "grant", "right": right, "subject": new_id(), "type": RIGHTS}
    received = to_bytes(msgspec.convert(members, RightsProposal))
    if fine:
        read(RightsProposal, received)
    else:
        with pytest.raises(InvalidValue):
            read(RightsProposal, received)


def cash() -> CashOrder:
    members = {
        **signed_part(),
        "account": ADA,
        "amount": "5.00",
        "currency": "EUR",
        "direction": "deposit",
        "till": BOB,
    }
    return msgspec.convert({**members, "type": CASH}, CashOrder)


def decision(kind: str = PAYMENT_DECISION) -> Decision:
    members = {**signed_part(), "decision": "approve", "subject": new_id(), "subject_hash": "0" * 64, "type": kind}
    return msgspec.convert(members, Decision)


def login() -> LoginProof:
    return msgspec.convert({**signed_part(), "type": LOGIN}, LoginProof)


def test_a_proof_of_a_device_is_short_lived() -> None:
    with pytest.raises(InvalidValue):
        read(LoginProof, to_bytes(login()))


@pytest.mark.parametrize("make", [instruction, cash, decision, lambda: decision(PROPOSAL_DECISION)])
def test_a_signature_counts_for_its_kind_of_document_alone(make: "Callable[[], PaymentInstruction]") -> None:
    key = SigningKey.generate()
    document = make()
    signed, signature = sign(key, document)
    public = VerifyingKey(key.algorithm, key.public_bytes)
    verify(public, signed, signature, document.type)
    assert identity(signed) == identity(to_bytes(document))
    for other in {PAYMENT, CASH, PAYMENT_DECISION, PROPOSAL_DECISION, LOGIN, ""} - {document.type}:
        with pytest.raises(InvalidSignature):
            verify(public, signed, signature, other)
