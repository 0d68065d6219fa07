"""A log that says otherwise than was signed makes no receipt."""

from collections.abc import Callable

import pytest

from latticebank.documents.payment import PAYMENT
from tests.documents.papers import new_id
from tests.verify.conftest import Verdict
from tests.verify.notary import Phone, accept, at, batch_of, decide, hold, new_user, payment, post
from tests.verify.story import Story

Judge = Callable[..., Verdict]

# Each tells the story otherwise, and what must be said of it.


def without_evidence(story: Story) -> None:
    story.accept_and_post(payment(story.phone), evidence=None)


def revoked(story: Story) -> None:
    story.shown.append(story.phone.revoke(story.log, 1))
    story.accept_and_post(payment(story.phone))


def revoked_at_the_end(story: Story) -> None:
    story.accept_and_post(payment(story.phone))
    story.shown.append(story.phone.revoke(story.log, -1))


def revoked_for_another_user(story: Story) -> None:
    story.accept_and_post(payment(story.phone))
    story.shown.append(story.phone.revoke(story.log, 2, user=new_user()))


def not_active_yet(story: Story) -> None:
    story.shown[-1] = story.phone.enrol(story.log, active_from=at(2))
    story.accept_and_post(payment(story.phone))


def enrolled_after(story: Story) -> None:
    story.shown.clear()
    story.accept_and_post(payment(story.phone))
    story.shown.append(story.phone.enrol(story.log))


def enrolled_twice(story: Story) -> None:
    story.shown.append(story.phone.enrol(story.log))
    story.accept_and_post(payment(story.phone))


def never_enrolled(story: Story) -> None:
    story.shown.clear()
    story.accept_and_post(payment(story.phone))


def other_enrolment(story: Story) -> None:
    story.shown[-1] = story.phone.enrol(story.log, document_hash="00" * 32)
    story.accept_and_post(payment(story.phone))


def other_users_device(story: Story) -> None:
    signed = payment(story.phone)
    signed.posting["signer"] = new_user()
    story.accept_and_post(signed)


def other_device(story: Story) -> None:
    story.accept_and_post(payment(story.phone), device=new_id())


def other_bank(story: Story) -> None:
    story.accept_and_post(payment(story.phone, bank="other.example"))


def logged_of_another_bank(story: Story) -> None:
    story.accept_and_post(payment(story.phone), bank="other.example")


def other_amount(story: Story) -> None:
    story.accept_and_post(payment(story.phone), amount="1234.00")


def other_payee(story: Story) -> None:
    story.accept_and_post(payment(story.phone), creditor_account="1000000069")


def other_payer(story: Story) -> None:
    story.accept_and_post(payment(story.phone), debtor_account="1000000069")


def other_currency(story: Story) -> None:
    story.accept_and_post(payment(story.phone), currency="USD")


def other_class(story: Story) -> None:
    story.accept_and_post(payment(story.phone), evidence_class="cash")


def other_id(story: Story) -> None:
    story.accept_and_post(payment(story.phone), payment=new_id())


def in_a_batch_that_is_none(story: Story) -> None:
    story.accept_and_post(payment(story.phone), batch=new_id())


def too_early(story: Story) -> None:
    signed = payment(story.phone)
    signed.posting["received_at"] = at(-1.01)
    story.accept_and_post(signed)


def too_late(story: Story) -> None:
    signed = payment(story.phone)
    signed.posting["received_at"] = at(10)
    story.accept_and_post(signed)


def signed_before_time_began(story: Story) -> None:
    story.accept_and_post(payment(story.phone, created="9999-12-31T23:59:59.999Z", expires="0001-01-01T00:00:00.000Z"))


def posted_twice(story: Story) -> None:
    story.accept_and_post(payment(story.phone))
    story.shown.append(post(story.log, story.signed))


def accepted_otherwise(story: Story) -> None:
    story.accept_and_post(payment(story.phone))
    story.shown[1] = accept(story.log, story.signed, device=new_id())


def accepted_twice(story: Story) -> None:
    signed = story.signed = payment(story.phone)
    story.shown += [accept(story.log, signed), accept(story.log, signed), post(story.log, signed)]


def never_accepted(story: Story) -> None:
    story.accept_and_post(payment(story.phone))
    del story.shown[1]


def batch_never_accepted(story: Story) -> None:
    story.accept_and_post(batch_of(story.phone, 1, "1.00", "2.00"))
    del story.shown[1]


def batch_accepted_with_another_count(story: Story) -> None:
    story.accept_and_post(batch_of(story.phone, 1, "1.00", "2.00"))
    story.shown[1:] = [accept(story.log, story.signed, count="3"), post(story.log, story.signed)]


def signed_by_another_device(story: Story) -> None:
    """The document and the log name a device of the payer, and another one of the payer signed."""
    other = Phone(story.phone.user)
    other.enrol(story.log)
    signed = payment(other)
    signed.signature = story.phone.sign(signed.document, PAYMENT)
    story.accept_and_post(signed)


def accepted_after(story: Story) -> None:
    story.accept_and_post(payment(story.phone))
    story.shown[1] = accept(story.log, story.signed)


def held_and_not_approved(story: Story) -> None:
    signed = story.signed = payment(story.phone)
    story.shown += [accept(story.log, signed), hold(story.log, signed), post(story.log, signed)]


def approved_after(story: Story) -> None:
    held_and_not_approved(story)
    story.shown.append(decide(story.log, story.signed))


def approved_and_not_held(story: Story) -> None:
    signed = story.signed = payment(story.phone)
    story.shown += [accept(story.log, signed), decide(story.log, signed), post(story.log, signed)]


def approved_before_it_was_held(story: Story) -> None:
    approved_and_not_held(story)
    story.shown[-1:] = [hold(story.log, story.signed), post(story.log, story.signed)]


def held_again_after_the_approval(story: Story) -> None:
    held_and_not_approved(story)
    decided = decide(story.log, story.signed)
    story.shown[-1:] = [decided, hold(story.log, story.signed), post(story.log, story.signed)]


def approved_by_its_signer(story: Story) -> None:
    signed = story.signed = payment(story.phone)
    story.shown += [hold(story.log, signed), decide(story.log, signed, by=story.phone.user), post(story.log, signed)]


def decided_against(story: Story) -> None:
    signed = story.signed = payment(story.phone)
    story.shown += [hold(story.log, signed), decide(story.log, signed), post(story.log, signed)]
    story.shown.append(decide(story.log, signed, "payment.decided", choice="reject"))


def something_else(story: Story) -> None:
    story.accept_and_post(payment(story.phone))
    story.shown.append(0)


def other_payments_entry(story: Story) -> None:
    story.accept_and_post(payment(story.phone))
    story.shown.append(accept(story.log, payment(story.phone)))


def other_devices_entry(story: Story) -> None:
    story.accept_and_post(payment(story.phone))
    story.shown.append(Phone(story.phone.user).enrol(story.log))


def unknown_fact(story: Story) -> None:
    story.accept_and_post(payment(story.phone), note="paid in full")


WRONG: list[tuple[Callable[[Story], None], str]] = [
    (without_evidence, "posting without evidence"),
    (revoked, "revoked device"),
    (revoked_at_the_end, "revoked device"),
    (revoked_for_another_user, "revokes it for another user"),
    (not_active_yet, "device not active yet"),
    (enrolled_after, "was logged after what it signed"),
    (enrolled_twice, "says 2 times that it was enrolled"),
    (never_enrolled, "says 0 times that it was enrolled"),
    (other_enrolment, "enrolled otherwise than its enrolment says"),
    (other_users_device, "it is the device of another user"),
    (other_device, "the device is not the one that was signed"),
    (other_bank, "it was signed for another bank"),
    (logged_of_another_bank, "this payment.posted does not fit"),
    (other_amount, "the amount is not the one that was signed"),
    (other_payee, "the creditor_account is not the one"),
    (other_payer, "the debtor_account is not the one"),
    (other_currency, "the currency is not the one"),
    (other_class, "the evidence_class is not the one"),
    (other_id, "this payment.posted does not fit"),
    (in_a_batch_that_is_none, "the batch is not the one"),
    (too_early, "not received in the time"),
    (too_late, "not received in the time"),
    (signed_before_time_began, "not received in the time"),
    (posted_twice, "one posting, not 2"),
    (accepted_otherwise, "this payment.accepted does not fit"),
    (accepted_twice, "the log says 2 times that it was accepted"),
    (never_accepted, "the log says 0 times that it was accepted"),
    (batch_never_accepted, "the log says 0 times that it was accepted"),
    (batch_accepted_with_another_count, "this payment.accepted does not fit"),
    (signed_by_another_device, "the first one is not the one that signed"),
    (accepted_after, "this payment.accepted does not fit"),
    (held_and_not_approved, "not first held, then approved, then posted"),
    (approved_after, "not first held, then approved, then posted"),
    (approved_and_not_held, "not first held, then approved, then posted"),
    (approved_before_it_was_held, "not first held, then approved, then posted"),
    (held_again_after_the_approval, "not first held, then approved, then posted"),
    (approved_by_its_signer, "this payment.approved does not fit"),
    (decided_against, "this payment.decided does not fit"),
    (something_else, "this login does not fit"),
    (other_payments_entry, "this payment.accepted does not fit"),
    (other_devices_entry, "this device.enrolled does not fit"),
    (unknown_fact, '"note" is not understood'),
]


@pytest.mark.parametrize(("tell", "said"), WRONG, ids=lambda value: getattr(value, "__name__", ""))
def test_a_log_that_says_otherwise_makes_no_receipt(judge: Judge, tell: Callable[[Story], None], said: str) -> None:
    story = Story().enrol()
    tell(story)
    verdict = judge(story.receipt(), story.log.policy())

    assert verdict.code == 1
    assert said in "\n".join(verdict.faults)
