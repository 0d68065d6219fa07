"""Logging in: one answer for everyone who is not let in, a bound on guessing, and a door that known devices keep open."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import bcrypt
import pytest
from prometheus_client import CollectorRegistry

from latticebank.crypto.signatures import SigningKey
from latticebank.kernel.transports import Response
from latticebank.security.identity.service import passwords
from latticebank.security.identity.service.passwords import Busy, Passwords
from tests.security.identity.people import Branch, Device, Signed, said, signed, told

WRONG = "not the password at all"


def without_instance(answer: Response) -> dict[str, Any]:
    """A problem but for the id of its request."""
    return {name: value for name, value in said(answer).items() if name != "instance"}


async def fail(branch: Branch, email: str, times: int, proof: Signed | None = None) -> list[int]:
    """Try a wrong password over and over."""
    return [(await branch.try_log_in(email, WRONG, proof)).status for _ in range(times)]


def proof_of(branch: Branch, device: Device, **other: str) -> Signed:
    return signed(device.key, branch.login_proof(device, **other))


async def test_each_log_in_opens_a_session_of_its_own(branch: Branch) -> None:
    ada = await branch.register("ada")
    first, second = await branch.log_in(ada), await branch.log_in(ada)
    assert first["token"].startswith("lbs_")
    assert len(first["token"]) == 47
    assert first["token"] != second["token"]
    assert first["session"] != second["session"]
    assert (first["idle_seconds"], first["roles"]) == (300, ["customer"])
    assert branch.rows("SELECT ends_at - started_at FROM sessions GROUP BY 1") == [(timedelta(hours=2),)]


async def test_who_is_no_customer_gets_the_answer_of_who_is_and_costs_the_same(branch: Branch) -> None:
    ada = await branch.register("ada")
    before = branch.password_work()
    known = await branch.try_log_in(ada.email, WRONG)
    known_work = branch.password_work() - before
    unknown = await branch.try_log_in("nobody@example.org", WRONG)
    unknown_work = branch.password_work() - before - known_work
    assert without_instance(known) == without_instance(unknown)
    assert (known.status, set(known.headers)) == (unknown.status, set(unknown.headers))
    assert known.status == 401
    assert known_work == unknown_work == 1


async def test_five_failures_lock_an_address_whether_or_not_it_is_known(branch: Branch) -> None:
    ada = await branch.register("ada")
    for email in (ada.email, "nobody@example.org"):
        assert await fail(branch, email, 5) == [401] * 5
        before = branch.password_work()
        locked = await branch.try_log_in(email, ada.password)
        assert told(locked) == (429, "too-many-attempts")
        assert locked.headers["retry-after"] == "1800"
        assert branch.password_work() == before
    assert (await branch.try_log_in("ADA@example.org", ada.password)).status == 429
    branch.clock.advance(timedelta(minutes=30))
    assert (await branch.try_log_in(ada.email, ada.password)).status == 200
    happened = [name for name, happening in branch.events() if happening.user == ada.user]
    assert happened.count("login-failed") == 1
    assert happened.count("locked-out") == 1


async def test_a_right_password_forgets_the_failures_before_it_and_time_does_too(branch: Branch) -> None:
    ada = await branch.register("ada")
    await fail(branch, ada.email, 4)
    await branch.log_in(ada)
    assert await fail(branch, ada.email, 4) == [401] * 4
    branch.clock.advance(timedelta(minutes=31))
    assert await fail(branch, ada.email, 4) == [401] * 4
    await branch.log_in(ada)


async def test_who_tries_many_passwords_at_once_gets_no_more_than_five(branch: Branch) -> None:
    ada = await branch.register("ada")
    before = branch.password_work()
    answers = await asyncio.gather(*(branch.try_log_in(ada.email, f"{WRONG} {n}") for n in range(15)))
    assert sorted(answer.status for answer in answers) == [401] * 5 + [429] * 10
    assert branch.password_work() - before == 5


async def test_a_known_device_passes_the_lock_and_has_a_lock_of_its_own(branch: Branch) -> None:
    ada, bob = await branch.register("ada"), await branch.register("bob")
    await fail(branch, ada.email, 5)
    assert (await branch.try_log_in(ada.email, ada.password)).status == 429
    opened = await branch.try_log_in(ada.email, ada.password, proof_of(branch, ada.device))
    assert opened.status == 200
    [(device,)] = branch.rows("SELECT device FROM sessions WHERE id = %s", said(opened)["session"])
    assert device == ada.device.id
    # What the device opened is no pardon for others.
    assert (await branch.try_log_in(ada.email, ada.password)).status == 429

    for stranger in (
        proof_of(branch, bob.device),
        proof_of(branch, Device(ada.device.id, SigningKey.generate())),
        proof_of(branch, Device(branch.ids())),
    ):
        assert (await branch.try_log_in(ada.email, ada.password, stranger)).status == 429

    assert await fail(branch, ada.email, 5, proof_of(branch, ada.device)) == [401] * 5
    again = await branch.try_log_in(ada.email, ada.password, proof_of(branch, ada.device))
    assert told(again) == (429, "too-many-attempts")


async def test_a_revoked_or_cooling_device_passes_no_lock(branch: Branch) -> None:
    ada = await branch.register("ada")
    cooling = Device(branch.ids())
    assert (await branch.enrol(ada, cooling)).status == 201
    await branch.ask("POST", f"/api/devices/{ada.device.id}/revoke", {"reason": "lost"}, who=ada)
    await fail(branch, ada.email, 5)
    for device in (ada.device, cooling):
        assert (await branch.try_log_in(ada.email, ada.password, proof_of(branch, device))).status == 429


async def test_a_proof_for_elsewhere_or_for_another_time_is_refused(branch: Branch) -> None:
    ada = await branch.register("ada")
    stale = proof_of(branch, ada.device)
    other_bank = proof_of(branch, ada.device, bank="demo.test")
    half = {"document": stale["document"]}
    assert told(await branch.try_log_in(ada.email, ada.password, other_bank)) == (422, "other-bank")
    assert told(await branch.try_log_in(ada.email, ada.password, half)) == (400, "invalid-value")
    branch.clock.advance(seconds=61)
    assert told(await branch.try_log_in(ada.email, ada.password, stale)) == (422, "document-expired")


async def test_an_old_hash_is_replaced_at_the_first_log_in(branch: Branch) -> None:
    ada = await branch.register("ada")
    old = bcrypt.hashpw(ada.password.encode(), bcrypt.gensalt(4)).decode()
    branch.write("UPDATE users SET password = %s WHERE id = %s", old, ada.user)
    assert (await branch.try_log_in(ada.email, WRONG)).status == 401
    assert branch.rows("SELECT password FROM users") == [(old,)]
    await branch.log_in(ada)
    [(new,)] = branch.rows("SELECT password FROM users")
    assert new.startswith("$argon2id$")
    await branch.log_in(ada)
    assert branch.rows("SELECT password FROM users") == [(new,)]


async def test_a_hash_that_nobody_can_verify_lets_nobody_in_and_tells_nothing(branch: Branch) -> None:
    ada = await branch.register("ada")
    branch.write("UPDATE users SET password = 'crypt:xyz' WHERE id = %s", ada.user)
    answer = await branch.try_log_in(ada.email, ada.password)
    assert without_instance(answer) == without_instance(await branch.try_log_in("nobody@example.org", ada.password))


async def test_the_same_address_typed_otherwise_is_the_same_address(branch: Branch) -> None:
    zoe = replace(branch.person("zoé"), password="a kettle under the bridge")
    assert (await branch.ask("POST", "/api/users/register", branch.registration(zoe))).status == 201
    assert (await branch.try_log_in("ZOE\u0301@EXAMPLE.ORG", zoe.password)).status == 200


async def test_when_too_many_wait_the_others_are_asked_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "WAITING", 1)
    pool = Passwords(CollectorRegistry())
    try:
        tried = await asyncio.gather(*(pool.hash(f"password {n}") for n in range(6)), return_exceptions=True)
        assert sum(isinstance(one, Busy) for one in tried) == 3
        assert sum(isinstance(one, str) for one in tried) == 3
        assert await pool.hash("later")
    finally:
        pool.close()


async def test_a_log_in_that_found_no_room_is_no_failure(branch: Branch, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = await branch.register("ada")
    monkeypatch.setattr(passwords, "WAITING", -passwords.AT_ONCE)
    for _ in range(6):
        busy = await branch.try_log_in(ada.email, ada.password)
        assert told(busy) == (503, "busy")
        assert int(busy.headers["retry-after"]) > 0
    monkeypatch.undo()
    await branch.log_in(ada)
