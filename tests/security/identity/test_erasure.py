"""A profile is erased for ever, in steps that a crash anywhere does not break; and not while anything stands against it."""

import asyncio
from datetime import timedelta

import psycopg
import pytest

from latticebank.banking.ledger.wire import AccountOpening, PostOrder
from latticebank.security.identity.model.erasure import (
    MoneyLeft,
    Ownership,
    RolesLeft,
    require_no_role,
    require_settled,
)
from tests.security.identity.erasing import erase, key_states, keys_of, let_happen_after, stored
from tests.security.identity.people import Branch, Device, said, told


async def test_a_customer_erases_the_own_profile_with_the_password(branch: Branch) -> None:
    ada, bob = await branch.register("ada"), await branch.register("bob")
    await branch.enrol(ada, Device(branch.ids()))
    before = stored(branch, ada)
    path = f"/api/users/{ada.user}/profile"
    assert (await branch.ask("GET", path, who=ada)).status == 200
    branch.clock.advance(timedelta(minutes=1))

    done = await erase(branch, ada)
    assert done.status == 200, done.body
    assert said(done) == {
        "user": str(ada.user),
        "requested_at": "2026-03-02T12:01:00Z",
        "erased_at": "2026-03-02T12:01:00Z",
        "sessions_ended": 1,
        "devices_revoked": 2,
    }
    assert await key_states(branch, ada) == {"profile": "destroyed", "records": "active"}
    after = stored(branch, ada)
    assert (after[0], after[3]) == (3, "erased")
    assert not set(before[1:]) & set(after[1:])
    assert branch.rows("SELECT DISTINCT revoke_reason FROM devices WHERE user_id = %s", ada.user) == [("erased",)]
    assert await key_states(branch, bob) == {"profile": "active", "records": "active"}
    assert (await branch.ask("GET", f"/api/users/{bob.user}/profile", who=bob)).status == 200


async def test_whoever_is_erased_can_do_nothing_more_and_the_address_is_free(branch: Branch) -> None:
    anna, axel = await branch.first_admins()
    ada = await branch.register("ada")
    internal = {"Authorization": f"Bearer {await branch.bearer(ada)}", "Content-Type": "application/json"}
    assert (await erase(branch, ada)).status == 200

    assert told(await branch.try_log_in(ada.email, ada.password)) == (401, "login-refused")
    with pytest.raises(Exception, match="this session is over"):
        await branch.bearer(ada)
    change = {"old": ada.password, "new": "a lighthouse in the fog"}
    refused = await branch.send("identity", "POST", "/api/users/password", change, internal)
    assert told(refused) == (401, "session-ended")
    tablet = Device(branch.ids())
    joining = branch.joining(ada, tablet, ada.device)
    refused = await branch.send("identity", "POST", "/api/devices/enrol", joining, internal)
    assert refused.status in (403, 404)
    assert told(await branch.propose(anna, ada, "teller")) == (404, "user-unknown")
    bootstrap = {"user": str(ada.user), "role": "admin"}
    assert (await branch.ask("POST", "/api/staff/bootstrap", bootstrap, who="operator")).status in (404, 409)
    assert ada.session is not None
    [standing] = await branch.payments.standing([(ada.session, ada.user, ada.device.id)])
    assert standing.verdict == "session-ended"
    assert told(await branch.ask("GET", f"/api/users/{ada.user}/profile", who=axel)) == (404, "profile-erased")

    again = await branch.register("ada")
    assert again.user != ada.user
    assert (await branch.ask("GET", f"/api/users/{again.user}/profile", who=again)).status == 200
    taken = await branch.ask("POST", "/api/users/register", branch.registration(ada))
    assert told(taken)[0] == 409


async def test_a_proposal_that_waits_is_not_done_for_whoever_is_erased(branch: Branch) -> None:
    anna, axel = await branch.first_admins()
    ada = await branch.register("ada")
    proposal = await branch.propose(anna, ada, "teller")
    assert (await erase(branch, ada)).status == 200
    assert told(await branch.decide(axel, proposal)) == (404, "user-unknown")
    assert branch.rows("SELECT name FROM rights WHERE user_id = %s", ada.user) == []


async def test_the_evidence_stays_and_says_that_the_profile_is_erased(branch: Branch) -> None:
    anna, axel = await branch.first_admins()
    mary, tom, ada = [await branch.register(name) for name in ("mary", "tom", "ada")]
    await branch.grant(mary, "manager", anna, axel)
    await branch.grant(tom, "teller", anna, axel)
    await branch.grant(ada, "verified", tom, mary)
    before = await branch.payments.evidence([ada.user])
    rows = branch.rows("SELECT document, signature, name FROM devices WHERE user_id = %s", ada.user)
    assert (await erase(branch, ada)).status == 200
    after = await branch.payments.evidence([ada.user])
    assert (before.users[0].registered_device, before.users[0].erased) == (ada.device.id, False)
    assert (after.users[0].registered_device, after.users[0].erased) == (None, True)
    assert after.users[0].devices == before.users[0].devices
    assert after.users[0].proposals == before.users[0].proposals
    assert branch.rows("SELECT document, signature, name FROM devices WHERE user_id = %s", ada.user) == rows
    [record] = await branch.payments.devices([ada.device.id])
    assert (record.state, record.user) == ("revoked", ada.user)


async def test_only_oneself_with_the_password_or_the_operator_without_one_erases(branch: Branch) -> None:
    anna, _ = await branch.first_admins()
    ada, bob = await branch.register("ada"), await branch.register("bob")
    for who in (bob, anna):
        assert told(await erase(branch, ada, who, password=who.password)) == (403, "forbidden")
    assert told(await erase(branch, ada, "payments", password="x"))[0] == 403
    assert (await branch.ask("POST", f"/api/users/{ada.user}/erasure", {"password": ada.password})).status == 401
    assert told(await branch.ask("POST", f"/api/users/{ada.user}/erasure", who=ada)) == (400, "invalid-value")
    assert (await erase(branch, ada, ada, password=7)).status in (400, 422)
    assert (await erase(branch, ada, ada, password=ada.password, why="because")).status in (400, 422)
    for _ in range(4):
        assert told(await erase(branch, ada, ada, password="not at all this")) == (422, "password-wrong")
    assert told(await erase(branch, ada, ada, password="not at all this"))[1] in ("password-wrong", "too-many-attempts")
    assert told(await erase(branch, ada, ada, password=ada.password)) == (429, "too-many-attempts")
    assert told(await branch.ask("POST", f"/api/users/{branch.ids()}/erasure", who="operator")) == (404, "user-unknown")
    assert told(await branch.ask("POST", "/api/users/ada/erasure", who="operator")) == (400, "invalid-value")
    assert branch.rows("SELECT count(*) FROM erasures") == [(0,)]

    first = await erase(branch, ada, "operator")
    assert first.status == 200, first.body
    branch.clock.advance(timedelta(hours=1))
    assert (await erase(branch, ada, "operator")).body == first.body
    [event] = [happening for kind, happening in branch.events() if kind == "profile-erased"]
    assert (event.user, event.by, event.by_operator) == (ada.user, None, True)


async def test_two_who_ask_at_once_get_one_erasure(branch: Branch) -> None:
    ada = await branch.register("ada")
    answers = await asyncio.gather(*(erase(branch, ada, "operator") for _ in range(6)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    kinds = [kind for kind, _ in branch.events()]
    assert (kinds.count("profile-erased"), kinds.count("device-revoked")) == (1, 1)


async def test_events_tell_what_ended_and_nothing_personal(branch: Branch) -> None:
    anna, axel = await branch.first_admins()
    mary, tom, ada = [await branch.register(name) for name in ("mary", "tom", "ada")]
    await branch.grant(mary, "manager", anna, axel)
    await branch.grant(tom, "teller", anna, axel)
    await branch.grant(ada, "verified", tom, mary)
    known = len(branch.events())
    assert (await erase(branch, ada)).status == 200
    events = branch.events()[known:]
    assert [kind for kind, _ in events] == ["session-ended", "device-revoked", "rights-changed", "profile-erased"]
    assert {happening.user for _, happening in events} == {ada.user}
    revoked, withdrawn, erased = (happening for _, happening in events[1:])
    assert (revoked.device, revoked.reason, revoked.revoked_at) == (ada.device.id, "erased", branch.clock.now())
    assert (withdrawn.right, withdrawn.action, withdrawn.by, erased.by) == ("verified", "withdraw", ada.user, ada.user)
    assert not erased.by_operator


async def test_a_legal_hold_refuses_before_anything_changes(branch: Branch) -> None:
    ada = await branch.register("ada")
    before, known = stored(branch, ada), len(branch.events())
    await keys_of(branch).place_hold(ada.user, "court-order")
    for who in (None, "operator"):
        assert told(await erase(branch, ada, who)) == (409, "legal-hold")
    assert stored(branch, ada) == before
    assert len(branch.events()) == known
    assert (await branch.ask("GET", f"/api/users/{ada.user}/profile", who=ada)).status == 200
    await keys_of(branch).lift_hold(ada.user)
    assert (await erase(branch, ada)).status == 200


async def test_a_hold_that_comes_while_an_erasure_begins_leaves_all_as_it_was(
    branch: Branch, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await branch.register("ada")
    let_happen_after("_begin", lambda: keys_of(branch).place_hold(ada.user, "investigation"), monkeypatch)
    before = stored(branch, ada)
    assert told(await erase(branch, ada)) == (409, "legal-hold")
    assert stored(branch, ada) == before
    assert branch.rows("SELECT count(*) FROM erasures") == [(0,)]
    assert (await branch.ask("GET", f"/api/users/{ada.user}/profile", who=ada)).status == 200


async def test_money_left_on_an_account_refuses_and_is_not_told(branch: Branch) -> None:
    ada = await branch.register("ada")
    [account] = (await branch.ledger.accounts(party=f"user:{ada.user}")).items
    till = await branch.ledger.open_account(branch.ids(), AccountOpening(kind="cash", currency="EUR"))
    paid = PostOrder(id=branch.ids(), debit=till.account, credit=account.account, amount="13.57", currency="EUR")
    [done] = await branch.ledger.order([paid])
    assert done.outcome == "done", done
    before = stored(branch, ada)
    for who in (None, "operator"):
        refused = await erase(branch, ada, who)
        assert told(refused) == (409, "money-left")
        assert "13" not in said(refused)["detail"]
    assert stored(branch, ada) == before


def test_debts_and_reserved_money_of_an_own_account_count_and_those_of_others_do_not() -> None:
    mine = ["user:ada"]
    for balance, held in (("0.01", "0.00"), ("-5", "0"), ("0.000", "0.001")):
        with pytest.raises(MoneyLeft):
            require_settled(mine, [Ownership("1", "open", ["user:bob", "user:ada"], balance, held)])
    settled = Ownership("1", "open", ["user:ada"], "0.00", "0")
    require_settled(mine, [settled, Ownership("2", "open", ["user:bob"], "7.00", "1.00")])


@pytest.mark.parametrize("role", ["admin", "auditor", "manager", "teller"])
def test_nobody_who_works_for_the_bank_is_erased(role: str) -> None:
    with pytest.raises(RolesLeft):
        require_no_role(["verified", role])
    require_no_role(["verified", "party:C-1"])


async def test_staff_are_refused_until_their_roles_are_withdrawn(branch: Branch) -> None:
    anna, axel = await branch.first_admins()
    ada = await branch.register("ada")
    await branch.grant(ada, "teller", anna, axel)
    assert told(await erase(branch, ada, "operator")) == (409, "roles-left")
    await branch.decide(axel, await branch.propose(anna, ada, "teller", "withdraw"))
    assert (await erase(branch, ada, "operator")).status == 200


async def test_an_erased_user_stays_erased_in_the_database(branch: Branch) -> None:
    ada = await branch.register("ada")
    assert (await erase(branch, ada)).status == 200
    for statement in (
        "UPDATE users SET state = 2",
        "UPDATE users SET password = 'x'",
        "UPDATE erasures SET erased_at = NULL, sessions_ended = NULL, devices_revoked = NULL",
        "DELETE FROM erasures",
        "TRUNCATE erasures",
    ):
        with pytest.raises(psycopg.Error):
            branch.write(statement)
    assert stored(branch, ada)[0] == 3


async def test_the_attempts_on_an_erased_customer_are_forgotten(branch: Branch) -> None:
    ada, bob = await branch.register("ada"), await branch.register("bob")
    for person in (ada, bob):
        await branch.try_log_in(person.email, "not at all this")
    await branch.ask("POST", "/api/users/password", {"old": "wrong", "new": "a lighthouse in the fog"}, who=ada)
    assert branch.rows("SELECT count(*) FROM login_attempts") == [(3,)]
    assert (await erase(branch, ada)).status == 200
    assert branch.rows("SELECT count(*) FROM login_attempts") == [(1,)]
