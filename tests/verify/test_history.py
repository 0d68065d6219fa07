"""The opened entries of a log fit their leaves, and what they tell holds together."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.documents.papers import new_id
from tests.verify.conftest import Verdict
from tests.verify.notary import (
    Phone,
    PublicLog,
    Signed,
    accept,
    at,
    batch_of,
    decide,
    hold,
    new_user,
    payment,
    post,
    refuse,
)

Judge = Callable[..., Verdict]


class Year:
    """What happened in a log, as it is told to the tests; `verdict` asks for what its openings prove."""

    def __init__(self, judge: Judge, folder: Path) -> None:
        self.log, self.phone = PublicLog(), Phone(new_user())
        self.phone.enrol(self.log)
        self._judge, self._folder = judge, folder

    def pay(self, signed: Signed | None = None, **changed: str | None) -> int:
        signed = signed or payment(self.phone)
        accept(self.log, signed)
        return post(self.log, signed, **changed)

    def verdict(self, openings: str | None = None) -> Verdict:
        folder = self.log.download(self._folder)
        return self._judge(folder, self.log.policy(), openings=self.log.openings() if openings is None else openings)


@pytest.fixture
def year(judge: Judge, tmp_path: Path) -> Year:
    return Year(judge, tmp_path / "log")


def test_a_sound_year_is_sound(year: Year) -> None:
    log = year.log
    for _ in range(100):
        year.pay()
    batched = [batch_of(year.phone, place, "1.00", "2.00") for place in (0, 1)]
    batched[1].posting["batch"] = batched[0].posting["batch"]
    year.pay(batched[0])
    post(log, batched[1])
    held = payment(year.phone)
    accept(log, held), hold(log, held), decide(log, held), post(log, held)
    for first in (1, 21, 11):
        for shard in ("0", "1"):
            log.record("ledger.batch", shard=shard, first_seq=f"{first}", next_seq=f"{first + 10}", link="ab" * 32)
    tablet = Phone(year.phone.user, year.phone)
    tablet.enrol(log, active_from=at(-1))
    year.phone.revoke(log, 2)
    year.pay(payment(tablet))
    for kind in ("payment.rejected", "payment.failed", "payment.cancelled"):
        refuse(log, payment(tablet), kind)
    log.record("account.opened", account="1000000069", anything="else")
    verdict = year.verdict()

    assert (verdict.code, verdict.faults) == (0, [])
    assert "104 payment.posted" in verdict.told
    assert "enrolment" not in verdict.told


def test_some_openings_prove_what_they_tell_and_no_lack(year: Year) -> None:
    for _ in range(300):
        year.pay()
    some = (0, 1, 2, 255, 256, 511, 512, 599, 600)
    opened = [f"{json.dumps(year.log.opening(index))}\n" for index in some]

    lacking = year.verdict("".join(opened[:-2] + opened[-1:]))
    assert (lacking.code, lacking.faults) == (3, [])
    assert "1 opened entries lack an earlier one" in lacking.told


def test_openings_of_less_than_the_whole_log_are_counted_and_not_called_sound(year: Year) -> None:
    year.pay()
    whole = year.log.openings().splitlines(keepends=True)

    assert year.verdict().code == 0
    for kept in ([], whole[:2], whole[1:], whole[::2]):
        some = year.verdict("".join(kept))
        assert (some.code, some.faults) == (3, [])
        assert f"{len(kept)} of 3 entries are opened" in some.told


def test_a_posting_without_evidence_is_named(year: Year) -> None:
    index = year.pay(evidence=None)

    assert year.verdict().faults == [f"entry {index}: posting without evidence"]


def test_no_more_than_a_hundred_faults_are_told(year: Year) -> None:
    for _ in range(102):
        year.pay(evidence=None)

    faults = year.verdict().faults
    assert len(faults) == 101
    assert faults[-1] == "there are more than 100 faults: the check ended here"


def test_a_posting_that_nobody_accepted_before_is_named(year: Year) -> None:
    signed = payment(year.phone)
    first = post(year.log, signed)
    accept(year.log, signed)
    other = year.pay(device=new_id())
    someone = year.pay(signer=new_user())

    faults = year.verdict().faults
    assert faults[0] == f"entry {first}: posted without an earlier acceptance of it"
    same = "its signer, device, class or time are not those of what was accepted"
    assert faults[1:3] == [
        f"entry {other}: {same} (entry {other - 1})",
        f"entry {someone}: {same} (entry {someone - 1})",
    ]


def test_other_evidence_than_was_accepted_is_named(year: Year) -> None:
    index = year.pay(evidence="ab" * 32)

    assert year.verdict().faults == [f"entry {index}: its evidence is not what was accepted (entry {index - 1})"]


def test_what_is_posted_or_accepted_twice_is_named(year: Year) -> None:
    signed = payment(year.phone)
    first = year.pay(signed)
    again = accept(year.log, signed)
    second = post(year.log, signed)

    faults = year.verdict().faults
    assert [fault.split(":")[0] for fault in faults] == [f"entry {again}", f"entry {second}"]
    assert f"was posted before (entry {first})" in faults[1]


def test_a_payment_of_a_revoked_device_is_named_wherever_the_revocation_stands(year: Year) -> None:
    revocation = year.phone.revoke(year.log, 1)
    index = year.pay()
    assert year.verdict().faults == [f"entry {index}: signed by a device revoked before (entry {revocation})"]


def test_a_revocation_that_comes_late_into_the_log_names_the_payment(year: Year) -> None:
    index = year.pay()
    late = year.phone.revoke(year.log, 1)
    assert f"entry {late}: the device was revoked before it signed what entry {index} tells" in year.verdict().faults


def test_what_was_received_before_the_revocation_may_be_logged_after_it(year: Year) -> None:
    year.phone.revoke(year.log, 1.001)
    year.pay()
    verdict = year.verdict()

    assert verdict.code == 0
    assert "1 payments were logged as accepted after the revocation of their device" in verdict.told


def test_payments_of_a_device_that_nobody_enrolled_are_told(year: Year) -> None:
    year.pay()
    stranger = Phone(year.phone.user)
    for _ in range(2):
        year.pay(payment(stranger))

    verdict = year.verdict()
    assert verdict.code == 0
    assert "2 payments were posted by devices whose enrolment is not opened before" in verdict.told


def test_a_held_payment_that_nobody_approved_is_named(year: Year) -> None:
    signed = payment(year.phone)
    hold(year.log, signed)
    index = year.pay(signed)
    decide(year.log, signed)

    assert year.verdict().faults == [f"entry {index}: posted without the approval for which it was held"]


def test_a_payment_that_its_signer_approved_is_named(year: Year) -> None:
    signed = payment(year.phone)
    accept(year.log, signed), hold(year.log, signed), decide(year.log, signed, by=year.phone.user)
    index = post(year.log, signed)

    assert year.verdict().faults == [f"entry {index}: approved by the user who signed it"]


def test_an_approval_is_for_one_hold_before_it(year: Year) -> None:
    never = payment(year.phone)
    accept(year.log, never)
    index = decide(year.log, never)
    again = payment(year.phone)
    accept(year.log, again), hold(year.log, again), decide(year.log, again), hold(year.log, again)
    posted = post(year.log, again)

    assert year.verdict().faults == [
        f"entry {index}: approved, and was not held before",
        f"entry {posted}: posted without the approval for which it was held",
    ]


@pytest.mark.parametrize("kind", ["payment.rejected", "payment.failed", "payment.cancelled"])
def test_a_payment_that_was_posted_and_came_to_another_end_is_named(year: Year, kind: str) -> None:
    first, second = payment(year.phone), payment(year.phone)
    posted = year.pay(first)
    refused_after = refuse(year.log, first, kind)
    refused = refuse(year.log, second, kind)
    posted_after = year.pay(second)

    assert year.verdict().faults == [
        f"entry {refused_after}: the payment was posted before (entry {posted})",
        f"entry {posted_after}: payment {second.posting['payment']} had come to another end (entry {refused})",
    ]


def test_a_payment_by_the_device_of_another_user_is_named(year: Year) -> None:
    signed = payment(year.phone)
    signed.posting["signer"] = new_user()
    index = year.pay(signed)

    assert year.verdict().faults == [f"entry {index}: signed by a device that was enrolled for another user"]


def test_a_payment_by_a_device_that_was_not_active_yet_is_named(year: Year) -> None:
    tablet = Phone(year.phone.user)
    tablet.enrol(year.log, active_from=at(1.001))
    index = year.pay(payment(tablet))

    assert year.verdict().faults == [f"entry {index}: signed by a device that was not active yet"]


def test_a_device_is_enrolled_once_and_before_it_signs(year: Year) -> None:
    again = year.phone.enrol(year.log)
    tablet = Phone(year.phone.user)
    index = year.pay(payment(tablet))
    late = tablet.enrol(year.log)

    assert year.verdict().faults == [
        f"entry {again}: device {year.phone.id} was enrolled before",
        f"entry {late}: the device was enrolled after it signed what entry {index} tells",
    ]


def test_a_sponsor_is_of_the_same_user_active_and_not_revoked(year: Year) -> None:
    log, user = year.log, year.phone.user
    others = Phone(new_user(), year.phone).enrol(log)
    early = Phone(user, year.phone).enrol(log, enrolled_at=at(-2_000))
    year.phone.revoke(log, -1_000)
    late = Phone(user, year.phone).enrol(log, enrolled_at=at(-1_000))

    assert [fault for fault in year.verdict().faults if "revoked before it signed" not in fault] == [
        f"entry {others}: signed by a device that was enrolled for another user",
        f"entry {early}: signed by a device that was not active yet",
        f"entry {late}: signed by a device revoked before (entry {late - 1})",
    ]


def test_a_batch_posts_no_more_payments_than_were_signed(year: Year) -> None:
    batched = [batch_of(year.phone, 0, "1.00", "2.00") for _ in range(3)]
    accepted = accept(year.log, batched[0])
    posted = [post(year.log, each, batch=batched[0].accepted) for each in batched]

    more = f"more payments are posted than the 2 of what was accepted (entry {accepted})"
    assert year.verdict().faults == [f"entry {posted[2]}: {more}"]


def test_the_ledger_of_a_first_log_begins_at_one(year: Year) -> None:
    index = year.log.record("ledger.batch", shard="0", first_seq="2", next_seq="10", link="ab" * 32)
    some = json.dumps(year.log.opening(index))

    assert year.verdict().faults == [f"entry {index}: shard 0 of the ledger goes on with 2, not with 1"]
    assert year.verdict(some).faults == []


@pytest.mark.parametrize(("first", "following"), [("11", "20"), ("9", "20"), ("10", "10"), ("010", "20")])
def test_a_gap_in_the_ledger_is_named(year: Year, first: str, following: str) -> None:
    year.log.record("ledger.batch", shard="0", first_seq="1", next_seq="10", link="ab" * 32)
    index = year.log.record("ledger.batch", shard="0", first_seq=first, next_seq=following, link="ab" * 32)

    faults = year.verdict().faults
    assert len(faults) == 1
    assert faults[0].startswith(f"entry {index}: ")


def test_an_opening_that_the_log_does_not_commit_to_is_named(year: Year) -> None:
    index = year.pay()
    opening = year.log.opening(index - 1)
    other = year.log.opening(index)
    record = json.loads(opening["record"])
    wrong = [
        {**opening, "record": opening["record"].replace("payment", "paynent")},
        {**opening, "salt": other["salt"]},
        {**opening, "index": index},
        {**opening, "record": json.dumps(record)},
        {**opening, "record": ""},
    ]

    assert year.verdict(json.dumps(opening)).faults == []
    for each in wrong:
        faults = year.verdict(json.dumps(each)).faults
        assert len(faults) == 1
        assert faults[0].startswith(f"entry {each['index']}: ")


@pytest.mark.parametrize(
    "changed",
    [
        {"at": "2026-11-20T10:00:00Z"},
        {"at": "2026-13-20T10:00:00.000Z"},
        {"event": "1"},
        {"bank": ""},
        {"amount": "12.34"},
        {"kind": "payment.accepted"},
        {"user": "\u00e4"},
        {"reason": ""},
    ],
    ids=str,
)
def test_a_record_in_another_form_is_a_fault_although_the_log_commits_to_it(
    year: Year, changed: dict[str, str]
) -> None:
    index = year.log.record("device.revoked", device=new_id(), user=new_id(), revoked_at=at(), reason="stolen")
    record = json.loads(year.log.records[index]) | changed
    year.log.records[index] = json.dumps(record, sort_keys=True, separators=(",", ":"))

    assert [fault.split(":")[0] for fault in year.verdict().faults] == [f"entry {index}"]


def test_a_record_is_in_ascii(year: Year) -> None:
    index = year.log.record("login", user="\u00e4")
    year.log.records[index] = year.log.records[index].replace("\\u00e4", "\u00e4")

    assert year.verdict().faults == [f"entry {index}: a record is ASCII and has at most 8192 bytes"]


def test_a_log_that_was_begun_anew_may_post_what_the_one_before_accepted(year: Year) -> None:
    for previous, code in ((None, 1), ("bank.test/log", 3)):
        log = PublicLog(keys=year.log.keys)
        log.record("log.begun", origin=log.origin, previous=previous)
        post(log, payment(year.phone))
        year.log = log
        assert year.verdict().code == code


def test_a_record_of_another_bank_is_named(year: Year) -> None:
    index = year.log.record("login", bank="other.example", user=new_id())

    assert f"entry {index}: it is of another bank" in year.verdict().faults[0]


@pytest.mark.parametrize(
    "openings",
    [
        "\n",
        "[]\n",
        '{"index": 0}\n',
        '{"index": -1, "salt": "", "record": ""}\n',
        "\u00e4\n",
        "x" * 40_000,
        "{" * 9_000,
    ],
    ids=lambda text: text[:12],
)
def test_a_file_of_something_else_is_a_fault(year: Year, openings: str) -> None:
    verdict = year.verdict(openings)

    assert verdict.code == 1
    assert "openings, line 1" in verdict.faults[0]


def test_openings_come_in_the_order_of_the_log_each_once(year: Year) -> None:
    year.pay()
    first, second, _ = year.log.openings().splitlines(keepends=True)

    assert "in the order of the log" in year.verdict(second + first).faults[0]
    assert "in the order of the log" in year.verdict(first + first).faults[0]


def test_openings_without_a_log_are_wrong_use(judge: Judge) -> None:
    log = PublicLog()

    assert judge(log.checkpoint(), log.policy(), openings="").code == 2
