"""Whatever byte of a receipt is changed, dropped or doubled: it no longer verifies, or it says exactly the same."""

import json
from collections.abc import Iterator
from itertools import cycle

import pytest

from latticebank.verify.checkpoint import Policy, parse_policy
from latticebank.verify.receipt import verify_receipt
from latticebank.verify.strict import Fault, Findings
from tests.verify.notary import NoteKey, Phone, PublicLog, accept, new_user, payment, post, receipt


def small_receipt() -> tuple[bytes, Policy]:
    """A receipt with all that one has, but for a second device; its policy demands the witness."""
    log = PublicLog(witnesses=[NoteKey("witness.example/w", 4)])
    phone = Phone(new_user(), algorithm="ML-DSA-65")
    log.record("login", user=phone.user, session="first")
    signed = payment(phone)
    shown = [phone.enrol(log), accept(log, signed), post(log, signed)]
    content = json.dumps(receipt(log, signed, [phone], shown), indent=1).encode()
    return content, parse_policy(log.policy(quorum="w0").encode())


def verifies(content: bytes, policy: Policy) -> bool:
    findings = Findings("receipt", "receipt")
    try:
        verify_receipt(content, policy, findings)
    except Fault:
        return False
    return not findings.faults


def changes(content: bytes, place: int) -> Iterator[bytes]:
    before, byte, after = content[:place], content[place], content[place + 1 :]
    yield before + bytes([byte ^ 1]) + after
    yield before + after
    yield before + bytes([byte, byte]) + after
    yield before + bytes([byte ^ 0x20]) + after
    yield before + b'"' + after
    yield before + bytes([byte ^ 0x80]) + after


@pytest.mark.parametrize("part", range(4))
def test_no_byte_can_be_changed_unseen(part: int) -> None:
    content, policy = small_receipt()
    said = json.loads(content)
    kinds = cycle(range(6))
    same = refused = 0
    assert verifies(content, policy)

    for place in range(part, len(content), 4):
        chosen = next(kinds)
        for kind, changed in enumerate(changes(content, place)):
            if kind != chosen or changed == content:
                continue
            if verifies(changed, policy):
                assert json.loads(changed) == said, (place, content[place - 20 : place + 20])
                same += 1
            else:
                refused += 1

    assert refused > 3_000
    assert same < refused / 20


def test_every_byte_of_what_is_not_a_key_or_signature_is_changed_in_three_ways() -> None:
    content, policy = small_receipt()
    said = json.loads(content)
    long = [text for text in _texts(said) if len(text) > 1_500]
    covered = bytearray(len(content))
    for text in long:
        escaped = json.dumps(text)[1:-1].encode()
        start = content.index(escaped)
        covered[start : start + len(escaped)] = b"\x01" * len(escaped)
    bare = [place for place in range(len(content)) if not covered[place]]
    assert len(bare) > 1_500

    for place in bare:
        for changed in list(changes(content, place))[place % 2 :: 2]:
            if changed != content and verifies(changed, policy):
                assert json.loads(changed) == said, (place, content[place - 20 : place + 20])


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for member in value.values() if isinstance(value, dict) else value:
            yield from _texts(member)
