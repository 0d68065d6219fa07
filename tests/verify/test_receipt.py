"""A receipt proves a payment, and nothing that was changed, left out or put in does."""

import json
from collections.abc import Callable
from copy import deepcopy

import msgspec
import pytest

from tests.documents.papers import BANK
from tests.verify.conftest import Verdict
from tests.verify.notary import (
    Json,
    NoteKey,
    Phone,
    PublicLog,
    accept,
    at,
    batch_of,
    cash,
    decide,
    hold,
    new_user,
    payment,
    post,
)
from tests.verify.story import Story, ada_pays

Judge = Callable[..., Verdict]


@pytest.fixture(scope="module")
def paid() -> tuple[Json, str]:
    """A receipt, and the policy that it verifies under: a witness is required."""
    story = ada_pays()
    return story.receipt(), story.log.policy(quorum="w0")


def test_a_receipt_of_a_payment_verifies_and_says_who_witnessed(judge: Judge, paid: tuple[Json, str]) -> None:
    verdict = judge(*paid)

    assert (verdict.code, verdict.faults) == (0, [])
    assert "witnessed by w0 (witness.example/w) at 2026-11-20T12:00:00Z" in verdict.told
    assert "EUR 12.34" in verdict.told


@pytest.mark.parametrize("algorithm", ["ML-DSA-65", "ML-DSA-87"])
def test_every_algorithm_that_may_authorise_is_verified(judge: Judge, algorithm: str) -> None:
    story = Story(Phone(new_user(), algorithm=algorithm)).enrol()
    story.accept_and_post(payment(story.phone))

    assert judge(story.receipt(), story.log.policy()).faults == []


@pytest.mark.parametrize("direction", ["deposit", "withdrawal"])
def test_a_receipt_of_cash_verifies(judge: Judge, direction: str) -> None:
    story = Story().enrol()
    story.accept_and_post(cash(story.phone, direction))

    assert judge(story.receipt(), story.log.policy()).faults == []


@pytest.mark.parametrize("place", [0, 4, 6])
def test_a_receipt_of_one_payment_of_a_batch_verifies(judge: Judge, place: int) -> None:
    story = Story().enrol()
    story.accept_and_post(batch_of(story.phone, place, *(f"{number}.00" for number in range(1, 8))))

    assert judge(story.receipt(), story.log.policy()).faults == []


def test_a_device_with_a_sponsor_verifies(judge: Judge) -> None:
    user = new_user()
    story = Story(Phone(user, Phone(user, Phone(user)))).enrol()
    for index, phone in zip(story.shown, reversed(story.phones), strict=True):
        enrolled = json.loads(story.log.records[index])
        moved = at(-1_999 + 600 * story.phones[::-1].index(phone))
        enrolled |= {"enrolled_at": moved, "active_from": moved}
        story.log.records[index] = json.dumps(enrolled, sort_keys=True, separators=(",", ":"))
    story.accept_and_post(payment(story.phone))

    assert judge(story.receipt(), story.log.policy()).faults == []


def test_a_held_and_approved_payment_verifies(judge: Judge) -> None:
    story = Story().enrol()
    signed = story.signed = payment(story.phone)
    story.shown += [
        accept(story.log, signed),
        hold(story.log, signed),
        decide(story.log, signed),
        post(story.log, signed),
    ]

    assert judge(story.receipt(), story.log.policy()).faults == []


def test_a_device_revoked_later_does_not_spoil_a_receipt(judge: Judge) -> None:
    story = ada_pays()
    story.shown.append(story.phone.revoke(story.log, 2))

    assert judge(story.receipt(), story.log.policy()).faults == []


def test_a_reader_who_asks_for_no_witness_is_told_that_there_was_none(judge: Judge) -> None:
    story = ada_pays()
    story.log.witnesses = []
    verdict = judge(story.receipt(), story.log.policy())

    assert verdict.code == 0
    assert "unwitnessed" in verdict.told


def two_devices(enrolled: float = -1_000, **first: str) -> Story:
    user = new_user()
    story = Story(Phone(user, Phone(user)))
    story.shown.append(story.phones[1].enrol(story.log, **first))
    story.shown.append(story.phone.enrol(story.log, enrolled_at=at(enrolled)))
    return story.accept_and_post(payment(story.phone))


def test_a_sponsor_counts_only_between_its_activation_and_its_revocation(judge: Judge) -> None:
    good, early = two_devices(), two_devices(active_from=at(-999))
    assert judge(good.receipt(), good.log.policy()).faults == []
    good.shown.append(good.phones[1].revoke(good.log, -999))
    assert judge(good.receipt(), good.log.policy()).faults == []
    good.shown.append(good.phones[1].revoke(good.log, -1_000))

    assert f"device {good.phones[1].id}: revoked device" in judge(good.receipt(), good.log.policy()).faults[0]
    assert f"device {early.phones[1].id}: device not active yet" in judge(early.receipt(), early.log.policy()).faults[0]


def test_a_sponsor_is_of_the_same_user_logged_before_and_has_signed(judge: Judge) -> None:
    story = two_devices()
    policy = story.log.policy()
    others = Story(Phone(new_user(), Phone(new_user()))).enrol()
    others.accept_and_post(payment(others.phone))
    late = Story(story.phone)
    late.shown = [story.phone.enrol(late.log, enrolled_at=at(-1_000)), story.phones[1].enrol(late.log)]
    late.accept_and_post(payment(story.phone))
    unsigned = story.receipt()
    unsigned["devices"][0]["sponsor_signature"] = unsigned["devices"][0]["signature"]
    without = story.receipt()
    without["devices"][0]["sponsor_signature"] = None
    alone = story.receipt()
    del alone["devices"][1]

    assert "device of another user" in "".join(judge(others.receipt(), others.log.policy()).faults)
    assert "its enrolment was logged after what it signed" in "".join(judge(late.receipt(), late.log.policy()).faults)
    assert "its sponsor did not sign" in "".join(judge(unsigned, policy).faults)
    assert "only one of both has signed" in "".join(judge(without, policy).faults)
    assert "its sponsor is not the device that follows" in "".join(judge(alone, policy).faults)


def test_no_other_payment_of_the_batch_passes_for_the_one(judge: Judge) -> None:
    story = Story().enrol()
    amounts = ("1.00", "2.00", "3.00", "4.00")
    story.accept_and_post(batch_of(story.phone, 1, *amounts))
    sound = story.receipt()
    other = batch_of(story.phone, 2, *amounts)
    swapped = {**sound, "in_batch": other.in_batch}
    moved = {**sound, "in_batch": {**sound["in_batch"], "place": 2}}
    counted = {**sound, "in_batch": {**sound["in_batch"], "count": 3}}
    rewritten = deepcopy(sound)
    rewritten["in_batch"]["payment"] = rewritten["in_batch"]["payment"].replace("2.00", "9.00")
    bare = {**sound, "in_batch": None}

    assert judge(sound, story.log.policy()).faults == []
    for wrong in (swapped, moved, counted, rewritten, bare):
        assert judge(wrong, story.log.policy()).code == 1


def test_what_is_stripped_exchanged_or_added_is_a_fault(judge: Judge, paid: tuple[Json, str]) -> None:
    sound, policy = paid
    other = ada_pays()
    wrong: list[Json] = [{name: value for name, value in sound.items() if name != left} for left in sound]
    wrong += [{**sound, name: None} for name in sound if name != "in_batch"]
    wrong += [{**sound, name: other.receipt()[name]} for name in sound if name not in ("type", "bank", "in_batch")]
    wrong += [{**sound, "entries": sound["entries"][:n] + sound["entries"][n + 1 :]} for n in (0, 2)]
    wrong += [{**sound, "entries": [*sound["entries"], sound["entries"][0]]}]
    wrong += [{**sound, "devices": sound["devices"] * 2}, {**sound, "devices": []}]
    wrong += [{**sound, "extra": ""}, {**sound, "type": "latticebank/receipt/v2"}, {**sound, "bank": "other.example"}]
    wrong += [{**sound, "signature": sound["devices"][0]["signature"]}]

    assert [each for each in wrong if judge(each, policy).code != 1] == []


def test_a_receipt_shows_no_device_twice_and_not_too_much(judge: Judge, paid: tuple[Json, str]) -> None:
    sound, policy = paid
    for name, most, said in (
        ("devices", 2, "its sponsor is not the device that follows"),
        ("devices", 101, "1 to 100"),
        ("entries", 1_001, "at most 1000"),
    ):
        verdict = judge({**sound, name: sound[name][:1] * most}, policy)
        assert verdict.code == 1
        assert said in verdict.faults[0]


def test_every_entry_is_proved(judge: Judge, paid: tuple[Json, str]) -> None:
    sound, policy = paid
    for number, entry in enumerate(sound["entries"]):
        proof = entry["proof"]
        for changed in (
            {"index": entry["index"] + 1},
            {"index": 10**6},
            {"salt": "00" * 32},
            {"proof": proof[:-1]},
            {"proof": [*proof, proof[0]]},
            {"proof": ["00" * 32, *proof[1:]]},
            {"record": entry["record"].replace("2026-11-20T12:00:00.000Z", "2026-11-20T12:00:00.001Z", 1)},
        ):
            wrong = {**sound, "entries": [*sound["entries"]]}
            wrong["entries"][number] = entry | changed
            verdict = judge(wrong, policy)
            assert verdict.code == 1
            assert "proof" in "".join(verdict.faults) or "has no leaf" in "".join(verdict.faults)


def test_an_enrolment_is_one_signed_by_its_own_key_of_an_algorithm_that_may_authorise(judge: Judge) -> None:
    def verdict_on(phone: Phone, **changed: str) -> str:
        story = Story(phone).enrol()
        made = story.accept_and_post(payment(phone)).receipt()
        made["devices"][0] |= changed
        return "".join(judge(made, story.log.policy()).faults)

    typed = Phone(new_user())
    typed.enrolment = msgspec.structs.replace(typed.enrolment, type="latticebank/login/v1")

    assert verdict_on(Phone(new_user())) == ""
    assert "its own key did not sign its enrolment" in verdict_on(Phone(new_user()), signature="AAAA")
    assert "it is no enrolment" in verdict_on(typed)
    assert "its algorithm may not authorise anything" in verdict_on(Phone(new_user(), algorithm="ML-DSA-44"))


def test_only_what_moves_money_is_a_document(judge: Judge) -> None:
    story = ada_pays()
    for kind in (
        "latticebank/enrolment/v1",
        "latticebank/payment/v2",
        "",
        "latticebank/batch/v1",
        "latticebank/cash/v1",
    ):
        document = story.signed.document.replace(b"latticebank/payment/v1", kind.encode())
        signed = {"document": document.decode(), "signature": story.phone.sign(document, kind)}
        assert judge({**story.receipt(), **signed}, story.log.policy()).code == 1


def test_each_signature_under_the_checkpoint_is_needed(judge: Judge, paid: tuple[Json, str]) -> None:
    sound, policy = paid
    text, _, under = sound["checkpoint"].partition("\n\n")
    lines = under.splitlines()
    assert len(lines) == 3

    for left in range(3):
        rest = "".join(f"{line}\n" for line in lines[:left] + lines[left + 1 :])
        assert judge({**sound, "checkpoint": f"{text}\n\n{rest}"}, policy).code == 1


def test_another_policy_trusts_nothing_of_it(judge: Judge, paid: tuple[Json, str]) -> None:
    other = PublicLog(witnesses=[NoteKey("witness.example/w", 6)])
    verdict = judge(paid[0], other.policy(quorum="w0"))

    assert verdict.code == 1
    assert "the log did not sign it with its Ed25519 key" in verdict.faults[0]


def test_a_receipt_of_the_log_of_another_bank_is_refused(judge: Judge) -> None:
    story = Story()
    story.log = PublicLog(origin="other.example/log")
    story.enrol().accept_and_post(payment(story.phone))

    assert f"is not a log of {BANK}" in judge(story.receipt(), story.log.policy()).faults[0]


def test_two_receipts_that_show_a_fork_are_a_fault(judge: Judge) -> None:
    keys = PublicLog().keys
    receipts = []
    for _ in range(2):
        story = Story()
        story.log.keys = keys
        receipts.append(story.enrol().accept_and_post(payment(story.phone)).receipt())
    policy = PublicLog(keys=keys).policy()

    assert [judge(each, policy).code for each in receipts] == [0, 0]
    assert "fork" in judge(receipts, policy).faults[0]
