"""Sessions end: after five idle minutes, after two hours, at log-out, with a change of the password."""

from datetime import timedelta

import pytest

from latticebank.kernel.client import RemoteProblem
from tests.security.identity.people import Branch, Person, told


async def is_open(branch: Branch, person: Person) -> bool:
    """Whether the gateway gets a token for the session of a person."""
    try:
        await branch.bearer(person)
    except RemoteProblem as problem:
        if (problem.status, problem.code) != (401, "session-ended"):
            raise
        return False
    return True


async def test_a_session_ends_after_five_idle_minutes(branch: Branch) -> None:
    ada = await branch.register("ada")
    for _ in range(3):
        branch.clock.advance(timedelta(minutes=4, seconds=59))
        assert await is_open(branch, ada)
    branch.clock.advance(timedelta(minutes=5))
    assert not await is_open(branch, ada)


async def test_a_session_ends_after_two_hours_however_busy(branch: Branch) -> None:
    ada = await branch.register("ada")
    for _ in range(29):
        branch.clock.advance(timedelta(minutes=4))
        assert await is_open(branch, ada)
    branch.clock.advance(timedelta(minutes=4))
    assert not await is_open(branch, ada)


async def test_logging_out_ends_the_session_and_no_other(branch: Branch) -> None:
    ada = await branch.register("ada")
    here = Person(**vars(ada))
    await branch.log_in(ada)
    assert (await branch.ask("POST", "/api/users/logout", who=here)).status == 204
    assert not await is_open(branch, here)
    assert await is_open(branch, ada)
    assert [h.session for name, h in branch.events() if name == "session-ended"] == [here.session]


@pytest.mark.parametrize("token", ["", "lbs_", "lbs_" + "A" * 43, "lbo_" + "A" * 43, "x" * 200])
async def test_a_token_that_never_was_is_a_session_that_ended(branch: Branch, token: str) -> None:
    with pytest.raises(RemoteProblem) as refused:
        await branch.gateway.exchange(token, "identity")
    assert refused.value.code == "session-ended"


async def test_a_new_password_ends_all_other_sessions(branch: Branch) -> None:
    ada = await branch.register("ada")
    elsewhere = Person(**vars(ada))
    await branch.log_in(ada)
    change = {"old": ada.password, "new": "three herons and a ladder"}
    assert (await branch.ask("POST", "/api/users/password", change, who=ada)).status == 204
    assert not await is_open(branch, elsewhere)
    assert await is_open(branch, ada)
    assert told(await branch.try_log_in(ada.email, change["old"])) == (401, "login-refused")
    assert (await branch.try_log_in(ada.email, change["new"])).status == 200
    happened = branch.events()
    assert [h.session for name, h in happened if name == "password-changed"] == [ada.session]
    assert [h.session for name, h in happened if name == "session-ended"] == [elsewhere.session]


async def test_a_password_is_not_changed_without_the_old_one_or_to_one_that_is_unfit(branch: Branch) -> None:
    ada = await branch.register("ada")
    for change, expected in (
        ({"old": "wrong", "new": "three herons and a ladder"}, (422, "password-wrong")),
        ({"old": ada.password, "new": "short"}, (400, "invalid-value")),
        ({"old": ada.password, "new": "iloveyouforever"}, (422, "password-refused")),
        ({"old": ada.password, "new": ada.password}, (400, "invalid-value")),
    ):
        assert told(await branch.ask("POST", "/api/users/password", change, who=ada)) == expected
    assert await is_open(branch, ada)
    await branch.log_in(ada)


async def test_the_old_password_cannot_be_guessed_in_an_open_session(branch: Branch) -> None:
    ada = await branch.register("ada")
    change = {"old": "wrong", "new": "three herons and a ladder"}
    tries = [told(await branch.ask("POST", "/api/users/password", change, who=ada)) for _ in range(6)]
    assert tries == [(422, "password-wrong")] * 5 + [(429, "too-many-attempts")]


async def test_the_eleventh_session_ends_the_first(branch: Branch) -> None:
    ada = await branch.register("ada")
    first = Person(**vars(ada))
    for _ in range(9):
        branch.clock.advance(seconds=1)
        await branch.log_in(ada)
    assert await is_open(branch, first)
    branch.clock.advance(seconds=1)
    await branch.log_in(ada)
    assert not await is_open(branch, first)
    assert await is_open(branch, ada)
    assert [h.session for name, h in branch.events() if name == "session-ended"] == [first.session]


async def test_what_is_long_over_is_forgotten(branch: Branch) -> None:
    ada = await branch.register("ada")
    await branch.try_log_in(ada.email, "not the password")
    branch.clock.advance(timedelta(hours=25))
    assert await branch.rooms.sessions.forget() == 1
    assert branch.rows("SELECT count(*) FROM sessions") == [(1,)]
    branch.clock.advance(timedelta(hours=2))
    assert await branch.rooms.sessions.forget() == 1
    assert branch.rows("SELECT count(*) FROM sessions") == [(0,)]
    assert branch.rows("SELECT count(*) FROM login_attempts") == [(0,)]
