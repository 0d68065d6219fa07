"""The rules of identity by themselves."""

from datetime import datetime, timedelta
from itertools import permutations
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as some

from latticebank.documents.rights import ROLES
from latticebank.security.identity.model.attempts import (
    LOCK,
    MAX_FAILURES,
    Attempts,
    TooManyAttempts,
    charge,
    give_back,
)
from latticebank.security.identity.model.common_passwords import COMMON_PASSWORDS
from latticebank.security.identity.model.people import PasswordRefused, fold_email, require_fit_password
from latticebank.security.identity.model.rights import (
    STAFF_ROLES,
    FourEyes,
    Proposal,
    parties_of,
    require_approver,
    require_proposer,
    roles_of,
)
from latticebank.security.identity.model.sessions import AT_MOST, IDLE, Session
from latticebank.security.identity.model.standing import KnownDevice, KnownUser, Verdict, verdict
from latticebank.values.errors import InvalidValue
from tests.clocks import NOON

ADA, BOB, EVE = (UUID(int=number) for number in (1, 2, 3))
ALL_ROLES = ("customer", *ROLES)


@given(some.lists(some.tuples(some.booleans(), some.integers(0, 40)), max_size=40))
def test_no_course_of_events_gets_more_than_five_failures_in_half_an_hour(course: list[tuple[bool, int]]) -> None:
    known: Attempts | None = None
    now = NOON
    failed: list[datetime] = []
    waits: list[int] = []
    for right, minutes in course:
        now += timedelta(minutes=minutes)
        try:
            known = charge(known, now)
        except TooManyAttempts as refused:
            waits.append(refused.retry_after)
            continue
        if right:
            known, failed = None, []
        else:
            failed.append(now)
        recent = [at for at in failed if now - at < LOCK / 10]
        assert len(recent) <= MAX_FAILURES
    assert all(0 < wait <= LOCK.total_seconds() for wait in waits)


def test_an_attempt_that_is_given_back_was_none() -> None:
    known: Attempts | None = None
    for _ in range(MAX_FAILURES):
        known = charge(known, NOON)
    assert known is not None
    known = give_back(known)
    assert charge(known, NOON).failures == MAX_FAILURES
    with pytest.raises(TooManyAttempts):
        charge(charge(known, NOON), NOON)


def proposal_of(right: str, proposer: UUID, subject: UUID) -> Proposal:
    later = NOON + timedelta(days=1)
    return Proposal(
        ADA, proposer, ADA, subject, "grant", right, b"", b"", None, None, None, proposed_at=NOON, expires_at=later
    )


@given(some.sampled_from((*ROLES, "verified", "party:a", "device:" + "0" * 64)), some.data())
def test_a_right_always_takes_three_people_of_the_right_roles(right: str, draw: some.DataObject) -> None:
    people = draw.draw(some.tuples(*[some.sampled_from([ADA, BOB, EVE])] * 3))
    proposer, approver, subject = people
    proposing, deciding = (draw.draw(some.sets(some.sampled_from(ALL_ROLES))) for _ in range(2))
    by_admins = right in ROLES
    may = (
        len(set(people)) == 3
        and bool(proposing & ({"admin"} if by_admins else {"teller", "manager"}))
        and bool(deciding & ({"admin"} if by_admins else {"manager"}))
    )
    try:
        require_proposer(right, proposer, subject, proposing)
        require_approver(proposal_of(right, proposer, subject), approver, deciding)
    except FourEyes:
        assert not may
    else:
        assert may


def test_every_role_of_staff_is_known_and_everyone_is_a_customer() -> None:
    assert set(STAFF_ROLES) == set(ROLES)
    assert roles_of([]) == ["customer"]
    for rights in permutations(("teller", "verified", "party:x", "admin")):
        assert roles_of(rights) == ["customer", "admin", "teller"]
        assert parties_of(ADA, rights) == [f"user:{ADA}", "x"]


@pytest.mark.parametrize(
    "password",
    [
        "passwordpassword",
        "PassWordPassWord",
        "iloveyouforever!",
        "qwertyuiop2026",
        "abababababab",
        "i am ada.lovelace",
        "my bank.test account",
        "ｐａｓｓｗｏｒｄｐａｓｓｗｏｒｄ",
    ],
)
def test_a_password_that_is_tried_first_is_refused(password: str) -> None:
    with pytest.raises(PasswordRefused) as refused:
        require_fit_password(password, "ada.lovelace@example.org", "bank.test")
    assert password not in str(refused.value)


@pytest.mark.parametrize(
    "password", ["a kettle under the bridge", "vier Reiher am Ufer", "海と山と空と風と雨と雪と花", "k7#Jw2!pQz9@"]
)
def test_any_other_password_that_is_long_enough_is_taken(password: str) -> None:
    require_fit_password(password, "ada@example.org", "bank.test")


def test_a_password_has_twelve_to_256_characters() -> None:
    for password in ("", "eleven chars"[:11], "x1y2z3" * 50):
        with pytest.raises(InvalidValue):
            require_fit_password(password, "ada@example.org", "bank.test")


def test_common_passwords_are_in_the_form_they_are_compared_in() -> None:
    assert all(word == word.casefold() for word in COMMON_PASSWORDS)


@pytest.mark.parametrize("typed", ["Ada@Example.Org", "ADA@EXAMPLE.ORG", "ada@example.org"])
def test_an_address_is_found_however_it_is_typed(typed: str) -> None:
    assert fold_email(typed) == "ada@example.org"


@given(some.text(max_size=60))
def test_folding_an_address_again_changes_nothing(typed: str) -> None:
    try:
        folded = fold_email(typed)
    except InvalidValue:
        return
    assert fold_email(folded) == folded


def session(**other: object) -> Session:
    facts = {"id": EVE, "user": ADA, "last_seen": NOON, "ends_at": NOON + AT_MOST, "ended_at": None}
    return Session(**(facts | other))  # type: ignore[arg-type]


def test_what_counts_is_everything_together() -> None:
    user: KnownUser = (2, ["verified"])
    good = session(), user, (ADA, NOON, None)

    def told(session: Session | None, known: KnownUser | None, device: KnownDevice | None) -> Verdict:
        return verdict(ADA, session, known, device, NOON)

    assert told(*good) is Verdict.GOOD
    for ended in (
        None,
        session(user=BOB),
        session(ended_at=NOON),
        session(last_seen=NOON - IDLE),
        session(ends_at=NOON),
    ):
        assert told(ended, good[1], good[2]) is Verdict.SESSION_ENDED
    opening: KnownUser = (1, [])
    for unknown in (None, opening):
        assert told(good[0], unknown, good[2]) is Verdict.USER_UNKNOWN
    for device, expected in (
        (None, Verdict.DEVICE_UNKNOWN),
        ((BOB, NOON, None), Verdict.DEVICE_UNKNOWN),
        ((ADA, NOON + timedelta(seconds=1), None), Verdict.DEVICE_COOLING),
        ((ADA, NOON, NOON + timedelta(hours=1)), Verdict.DEVICE_REVOKED),
    ):
        assert told(good[0], good[1], device) is expected
