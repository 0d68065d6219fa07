"""A document has one text: the canonical one. Every other spelling of the same content is refused."""

import json
from datetime import timedelta
from typing import Any

import msgspec
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from latticebank.documents.batch import BatchManifest, BatchPayment
from latticebank.documents.cash import CashOrder
from latticebank.documents.decision import Decision
from latticebank.documents.document import (
    DocumentExpired,
    DocumentFromFuture,
    InvalidDocument,
    OtherBank,
    base64url,
    from_base64url,
    identity,
    judge,
    read,
    read_canonical,
    to_bytes,
)
from latticebank.documents.enrolment import DeviceEnrolment
from latticebank.documents.login import LoginProof
from latticebank.documents.payment import PaymentInstruction
from latticebank.documents.rights import RightsProposal
from latticebank.values.errors import BankError, InvalidValue
from tests.documents.papers import BANK, NOW, batch, instruction

KINDS: list[type[msgspec.Struct]] = [
    PaymentInstruction,
    BatchManifest,
    BatchPayment,
    CashOrder,
    Decision,
    DeviceEnrolment,
    LoginProof,
    RightsProposal,
]
TEXT = st.text(alphabet=st.characters(exclude_categories=("Cs", "Cc")), max_size=30)


@pytest.mark.parametrize("kind", KINDS)
def test_the_members_of_a_document_stand_in_canonical_order(kind: type[msgspec.Struct]) -> None:
    names = [field.encode_name for field in msgspec.structs.fields(kind)]
    assert names == sorted(names)


@given(name=TEXT, reference=TEXT)
def test_what_is_signed_is_the_canonical_form_of_rfc_8785(name: str, reference: str) -> None:
    document = instruction(creditor_name=name, reference=reference)
    members = {key: value for key, value in msgspec.to_builtins(document).items() if (key, value) != ("reference", "")}
    assert to_bytes(document) == rfc8785.dumps(members)


def test_a_document_reads_back_as_it_was_signed() -> None:
    document = instruction()
    assert read(PaymentInstruction, to_bytes(document)) == document
    manifest, _ = batch("1.00", "2.00")
    assert read(BatchManifest, to_bytes(manifest)) == manifest


def spellings(members: dict[str, Any]) -> dict[str, bytes]:
    """The same content in other words."""
    text = json.dumps(members, sort_keys=True, separators=(",", ":"))
    last = dict(reversed(members.items()))
    return {
        "spaces": json.dumps(members, sort_keys=True).encode(),
        "order": json.dumps(last, separators=(",", ":")).encode(),
        "escape": text.replace("Bob", "\\u0042ob").encode(),
        "twice": text.replace('"amount"', '"amount":"99.00","amount"').encode(),
        "more": text.replace('"amount"', '"about":"x","amount"').encode(),
        "number": text.replace('"12.34"', "12.34").encode(),
        "empty member": text.replace('"rent"', '""').encode(),
        "line end": text.encode() + b"\n",
        "byte order mark": b"\xef\xbb\xbf" + text.encode(),
        "not UTF-8": text.encode().replace(b"Bob", b"B\xffb"),
        "an array": b"[" + text.encode() + b"]",
        "nothing": b"",
        "long": text.replace("rent", "r" * 5_000).encode(),
        "deep": b"[" * 4_000,
    }


@pytest.mark.parametrize("spelling", spellings(msgspec.to_builtins(instruction())))
def test_any_other_spelling_is_refused(spelling: str) -> None:
    received = spellings(msgspec.to_builtins(instruction()))[spelling]
    with pytest.raises(InvalidDocument):
        read(PaymentInstruction, received)


@given(place=st.integers(0, 10_000), byte=st.integers(1, 255))
def test_a_changed_byte_is_refused_or_makes_another_document(place: int, byte: int) -> None:
    received = bytearray(to_bytes(document := instruction()))
    received[place % len(received)] ^= byte
    try:
        other = read(PaymentInstruction, bytes(received))
    except BankError:
        return
    assert other != document
    assert identity(bytes(received)) != identity(to_bytes(document))


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("amount", "12.3"),
        ("amount", "012.34"),
        ("amount", "-1.00"),
        ("amount", "0.00"),
        ("amount", "1e2"),
        ("amount", "٣.00"),
        ("currency", "eur"),
        ("currency", "XXX"),
        ("id", "019a0b1c-7d2e-4f3a-8b4c-5d6e7f8a9b0c"),
        ("id", "019A0B1C-7D2E-7F3A-8B4C-5D6E7F8A9B0C"),
        ("device", "my phone"),
        ("debtor_account", "1000000016"),
        ("creditor_account", "100000001"),
        ("creditor_name", ""),
        ("creditor_name", "x" * 141),
        ("creditor_name", "e\u0301ve"),
        ("creditor_name", "Bob\u202eecila"),
        ("reference", "a\u0000b"),
        ("reference", "two\nlines"),
        ("created", "2026-03-31T08:00:00Z"),
        ("created", "2026-03-31 08:00:00.000Z"),
        ("created", "2026-02-30T08:00:00.000Z"),
        ("expires", "2026-03-31T08:10:00.001Z"),
        ("expires", "2026-03-31T08:00:00.000Z"),
    ],
)
def test_a_member_that_breaks_a_rule_is_named(member: str, value: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        read(PaymentInstruction, to_bytes(instruction(**{member: value})))
    assert refused.value.field == member


def test_a_document_is_judged_once_for_this_bank_and_this_moment() -> None:
    document = instruction()
    judge(document, BANK, NOW)
    judge(document, BANK, NOW - timedelta(seconds=60))
    judge(document, BANK, NOW + timedelta(minutes=5) - timedelta(milliseconds=1))
    with pytest.raises(OtherBank):
        judge(document, "other.bank", NOW)
    with pytest.raises(DocumentExpired):
        judge(document, BANK, NOW + timedelta(minutes=5))
    with pytest.raises(DocumentFromFuture):
        judge(document, BANK, NOW - timedelta(seconds=61))


@given(st.binary(max_size=200))
def test_bytes_have_one_base64url_form(raw: bytes) -> None:
    assert from_base64url(base64url(raw), "x") == raw


@pytest.mark.parametrize("text", ["A", "AB==", "A B", "AA=", "A+A/", "AB", "é"])
def test_another_base64url_form_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        from_base64url(text, "signature")


def test_a_payment_of_a_batch_has_its_own_canonical_form() -> None:
    _, [text] = batch("1.00")
    assert read_canonical(BatchPayment, text).amount == "1.00"
    with pytest.raises(InvalidDocument):
        read_canonical(BatchPayment, text.replace(b":", b": ", 1))
