"""What payments may rely on at this instant: whatever was ended or revoked before is told at once."""

from datetime import timedelta
from uuid import UUID

from latticebank.security.identity.wire import Check
from tests.security.identity.people import Branch, Device, Person


def check(person: Person, device: Device | None = None) -> Check:
    """The question about a person in the present session."""
    assert person.session is not None
    return person.session, person.user, (device or person.device).id


async def verdicts(branch: Branch, *checks: Check) -> list[str]:
    return [standing.verdict for standing in await branch.payments.standing(checks)]


async def test_each_question_gets_its_own_answer_in_order(branch: Branch) -> None:
    ada, bob = await branch.register("ada"), await branch.register("bob")
    assert ada.session is not None
    phone = Device(branch.ids())
    await branch.enrol(ada, phone)
    somebody = branch.ids()
    asked = [
        check(ada),
        (branch.ids(), ada.user, ada.device.id),
        (ada.session, bob.user, bob.device.id),
        (ada.session, somebody, ada.device.id),
        check(ada, bob.device),
        (ada.session, ada.user, branch.ids()),
        check(ada, phone),
        check(bob),
    ]
    standings = await branch.payments.standing(asked)
    assert [(standing.verdict, standing.user) for standing in standings] == [
        ("good", ada.user),
        ("session-ended", ada.user),
        ("session-ended", bob.user),
        ("session-ended", somebody),
        ("device-unknown", ada.user),
        ("device-unknown", ada.user),
        ("device-cooling", ada.user),
        ("good", bob.user),
    ]
    good = standings[0]
    assert (good.parties, good.roles, good.verified) == ([f"user:{ada.user}"], ["customer"], False)
    assert all(not s.parties and not s.roles for s in standings if s.verdict != "good")


async def test_a_revocation_or_a_log_out_counts_at_once(branch: Branch) -> None:
    ada, bob = await branch.register("ada"), await branch.register("bob")
    assert await verdicts(branch, check(ada), check(bob)) == ["good", "good"]
    await branch.ask("POST", f"/api/devices/{ada.device.id}/revoke", {"reason": "stolen"}, who=ada)
    await branch.ask("POST", "/api/users/logout", who=bob)
    assert await verdicts(branch, check(ada), check(bob)) == ["device-revoked", "session-ended"]


async def test_a_right_counts_at_once_in_both_directions(branch: Branch) -> None:
    anna, axel = await branch.first_admins()
    ada = await branch.register("ada")
    await branch.grant(ada, "teller", anna, axel)
    [standing] = await branch.payments.standing([check(ada)])
    assert standing.roles == ["customer", "teller"]
    await branch.decide(axel, await branch.propose(anna, ada, "teller", "withdraw"))
    [standing] = await branch.payments.standing([check(ada)])
    assert standing.roles == ["customer"]


async def test_to_ask_keeps_no_session_awake(branch: Branch) -> None:
    ada = await branch.register("ada")
    for _ in range(4):
        branch.clock.advance(seconds=70)
        assert await verdicts(branch, check(ada)) == ["good"]
    branch.clock.advance(seconds=20)
    assert await verdicts(branch, check(ada)) == ["session-ended"]
    branch.clock.advance(timedelta(hours=2))
    assert await verdicts(branch, check(ada)) == ["session-ended"]


async def test_a_user_who_is_still_opening_may_not_pay(branch: Branch) -> None:
    ada = await branch.register("ada")
    branch.write("UPDATE users SET state = 1 WHERE id = %s", ada.user)
    assert await verdicts(branch, check(ada)) == ["user-unknown"]


async def test_a_full_batch_is_answered_in_one_go(branch: Branch) -> None:
    ada = await branch.register("ada")
    asked = [check(ada) if number % 2 else (UUID(int=number), ada.user, ada.device.id) for number in range(8_192)]
    assert await verdicts(branch, *asked) == ["session-ended", "good"] * 4_096
