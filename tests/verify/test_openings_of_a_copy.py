"""Openings that are newer than the copy of the log with which they are verified."""

from collections.abc import Callable
from pathlib import Path

from tests.verify.conftest import Verdict
from tests.verify.notary import Phone, PublicLog, accept, new_user, payment, post

Judge = Callable[..., Verdict]


def pay(log: PublicLog, phone: Phone, **changed: str | None) -> int:
    """Have a payment accepted and posted; return the entry of the posting."""
    signed = payment(phone)
    accept(log, signed)
    return post(log, signed, **changed)


def test_openings_beyond_the_copy_are_not_shown_and_a_new_copy_shows_them(judge: Judge, tmp_path: Path) -> None:
    log, phone = PublicLog(), Phone(new_user())
    phone.enrol(log)
    pay(log, phone)
    copy = log.download(tmp_path / "copy")
    pay(log, phone)
    unsigned = pay(log, phone, evidence=None)
    verdict = judge(copy, log.policy(), openings=log.openings())

    assert (verdict.code, verdict.faults) == (3, [])
    assert "4 openings lie beyond this copy of the log: download it again" in verdict.told
    assert "3 opened entries fit their leaves" in verdict.told
    again = judge(log.download(tmp_path / "again"), log.policy(), openings=log.openings())
    assert (again.code, again.faults) == (1, [f"entry {unsigned}: posting without evidence"])


def test_an_opening_within_the_copy_is_judged_whatever_lies_beyond_it(judge: Judge, tmp_path: Path) -> None:
    log, phone = PublicLog(), Phone(new_user())
    phone.enrol(log)
    posting = pay(log, phone)
    copy = log.download(tmp_path / "copy")
    pay(log, phone)
    wrong = log.openings().replace(log.opening(posting)["salt"], log.opening(0)["salt"])
    verdict = judge(copy, log.policy(), openings=wrong)

    assert (verdict.code, verdict.faults) == (1, [f"entry {posting}: its opening is not what the log commits to"])
    assert "2 openings lie beyond this copy" in verdict.told
