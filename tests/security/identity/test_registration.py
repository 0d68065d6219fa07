"""Becoming a customer: once, whatever happens in between, and without telling who is one already."""

import asyncio
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest

from latticebank.crypto.signatures import SigningKey
from latticebank.documents.document import base64url, instant_text
from latticebank.kernel.transports import Response
from latticebank.security.identity.events import Happening
from latticebank.security.identity.service import evenness
from tests.security.identity.people import Branch, Device, Person, said, signed, told

PATH = "/api/users/register"


async def test_a_person_becomes_a_customer_with_a_device_and_an_account(branch: Branch) -> None:
    ada = await branch.register("ada")
    profile = said(await branch.ask("GET", f"/api/users/{ada.user}/profile", who=ada))
    assert profile == {
        "user": str(ada.user),
        "email": "ada@example.org",
        "full_name": "Ada Lovelace",
        "phone": "+4915112345678",
        "verified": False,
        "roles": ["customer"],
    }
    accounts = (await branch.ledger.accounts(party=f"user:{ada.user}")).items
    assert [(account.kind, account.currency) for account in accounts] == [("checking", "EUR")]
    [device] = said(await branch.ask("GET", "/api/devices/", who=ada))["items"]
    assert (device["device"], device["state"], device["name"]) == (str(ada.device.id), "active", "ada's laptop")
    assert [name for name, _ in branch.events()] == ["device-enrolled", "user-registered", "logged-in"]
    enrolled, registered, _ = [happening for _, happening in branch.events()]
    assert registered.user == ada.user
    [(document,)] = branch.rows("SELECT document FROM devices")
    now = branch.clock.now()
    assert enrolled == Happening(
        ada.user,
        device=ada.device.id,
        document=sha256(document).hexdigest(),
        algorithm=ada.device.key.algorithm,
        enrolled_at=now,
        active_from=now,
    )


async def test_the_same_registration_again_changes_nothing_even_when_it_is_late(branch: Branch) -> None:
    ada = branch.person("ada")
    order = branch.registration(ada)
    first = await branch.ask("POST", PATH, order)
    again, at_once = await asyncio.gather(branch.ask("POST", PATH, order), branch.ask("POST", PATH, order))
    branch.clock.advance(timedelta(hours=1))
    late = await branch.ask("POST", PATH, order)
    assert {answer.status for answer in (first, again, at_once, late)} == {201}
    assert first.body == again.body == at_once.body == late.body
    assert branch.rows("SELECT count(*) FROM users") == [(1,)]
    assert branch.rows("SELECT count(*) FROM accounts", database="ledger") == [(1,)]


@pytest.mark.parametrize(
    "other", [{"password": "a teapot on the shelf"}, {"full_name": "Bob"}, {"email": "bob@example.org"}]
)
async def test_another_registration_under_the_same_user_id_is_refused(branch: Branch, other: dict[str, str]) -> None:
    ada = branch.person("ada")
    order = branch.registration(ada)
    await branch.ask("POST", PATH, order)
    assert told(await branch.ask("POST", PATH, order | other)) == (409, "user-id-taken")
    assert branch.rows("SELECT count(*) FROM users") == [(1,)]


async def test_a_taken_address_is_answered_exactly_like_a_new_one_and_costs_the_same(branch: Branch) -> None:
    await branch.register("ada")
    before = branch.password_work()
    newcomer = branch.person("bob")
    fresh = await branch.ask("POST", PATH, branch.registration(newcomer))
    fresh_work = branch.password_work() - before

    impostor = branch.person("ada")
    impostor.password = "another kettle altogether"
    taken = await branch.ask("POST", PATH, branch.registration(impostor, email="ADA@Example.Org"))
    taken_work = branch.password_work() - before - fresh_work

    assert (taken.status, sorted(said(taken))) == (fresh.status, sorted(said(fresh)))
    assert said(taken) == {"user": str(impostor.user), "device": str(impostor.device.id)}
    assert set(taken.headers) == set(fresh.headers)
    assert taken_work == fresh_work == 1
    assert branch.rows("SELECT id FROM users WHERE id = %s", impostor.user) == []
    assert branch.rows("SELECT id FROM devices WHERE id = %s", impostor.device.id) == []
    assert told(await branch.try_log_in(impostor.email, impostor.password))[0] == 401
    assert (await branch.ledger.accounts(party=f"user:{impostor.user}")).items == []


Told = dict[str, tuple[int, str]]


async def outcomes(branch: Branch, email: str) -> tuple[dict[str, dict[str, Any]], Told]:
    """What is asked first and after a registration with this address, and what is answered."""
    first, cleo = branch.person("first"), await branch.register(f"cleo{branch.ids()}")
    same_key, same_device = branch.person("second"), branch.person("third")
    same_key.device.key, same_device.device.id = first.device.key, first.device.id
    other_device = Person("first", first.user, Device(branch.ids()))
    order = branch.registration(first, email=email)
    again = Person("first", first.user, first.device)
    fresh = [f"fresh{branch.ids()}@example.org" for _ in range(6)]
    orders = {
        "first": order,
        "the same": order,
        "other address": order | {"email": fresh[0]},
        "other password": order | {"password": "a teapot on the shelf"},
        "other name": order | {"full_name": "Grace Hopper"},
        "other device": branch.registration(other_device, email=email),
        "other address and device": branch.registration(other_device, email=fresh[1]),
        "signed anew": branch.registration(again, email=email),
        "key under another user": branch.registration(same_key, email=fresh[2]),
        "device under another user": branch.registration(same_device, email=fresh[3]),
        "key under another user, same address": branch.registration(same_key, email=email),
        "device under another user, same address": branch.registration(same_device, email=email),
    }
    answers = {what: await branch.ask("POST", PATH, sent) for what, sent in orders.items()}
    answers["key joins a customer"] = await branch.enrol(cleo, Device(branch.ids(), first.device.key))
    answers["device joins a customer"] = await branch.enrol(cleo, Device(first.device.id))
    with branch.out_of_order("ledger", "account_parties"):
        answers["the same, without a ledger"] = await branch.ask("POST", PATH, order)
    assert answers["the same"].body == answers["first"].body
    assert said(answers["first"]) == {"user": str(first.user), "device": str(first.device.id)}
    return orders, {what: briefly(answer) for what, answer in answers.items()}


def briefly(answer: Response) -> tuple[int, str]:
    return (201, "") if answer.status == 201 else told(answer)


async def test_what_follows_a_registration_is_answered_alike_whether_the_address_was_taken_or_not(
    branch: Branch,
) -> None:
    ada = await branch.register("ada")
    fresh, after_fresh = await outcomes(branch, "new@example.org")
    taken, after_taken = await outcomes(branch, ada.email)
    branch.clock.advance(timedelta(hours=1))
    for orders, answers in ((fresh, after_fresh), (taken, after_taken)):
        for what in ("the same", "other address", "other device", "key under another user"):
            answers[f"{what}, late"] = briefly(await branch.ask("POST", PATH, orders[what]))
    assert after_taken == after_fresh
    assert after_taken == {
        "first": (201, ""),
        "the same": (201, ""),
        "other address": (409, "user-id-taken"),
        "other password": (409, "user-id-taken"),
        "other name": (409, "user-id-taken"),
        "other device": (409, "user-id-taken"),
        "other address and device": (409, "user-id-taken"),
        "signed anew": (409, "user-id-taken"),
        "key under another user": (409, "key-already-enrolled"),
        "device under another user": (409, "key-already-enrolled"),
        "key under another user, same address": (409, "key-already-enrolled"),
        "device under another user, same address": (409, "key-already-enrolled"),
        "key joins a customer": (409, "key-already-enrolled"),
        "device joins a customer": (409, "device-id-reused"),
        "the same, late": (201, ""),
        "other address, late": (409, "user-id-taken"),
        "other device, late": (409, "user-id-taken"),
        "key under another user, late": (422, "document-expired"),
        "the same, without a ledger": (201, ""),
    }


async def test_a_registration_that_broke_off_is_answered_alike_whether_the_address_was_taken_or_not(
    branch: Branch,
) -> None:
    ada = await branch.register("ada")
    for email in ("new@example.org", ada.email):
        order = branch.registration(branch.person("bob"), email=email)
        with branch.out_of_order("ledger", "account_parties"):
            broken = [await branch.ask("POST", PATH, order) for _ in range(2)]
            other = await branch.ask("POST", PATH, order | {"email": f"other{email}"})
        assert all(answer.status >= 500 for answer in broken)
        assert told(other) == (409, "user-id-taken")
        assert (await branch.ask("POST", PATH, order)).status == 201


async def test_two_registrations_of_one_user_id_at_once_are_one_whether_an_address_was_taken_or_not(
    branch: Branch,
) -> None:
    ada = await branch.register("ada")
    for email in ("new@example.org", ada.email):
        order = branch.registration(branch.person("bob"), email=email)
        other = order | {"email": f"other{email}"}
        answers = await asyncio.gather(branch.ask("POST", PATH, order), branch.ask("POST", PATH, other))
        assert sorted(answer.status for answer in answers) == [201, 409]


async def test_a_refused_registration_is_forgotten_after_a_month(branch: Branch) -> None:
    ada = await branch.register("ada")
    await branch.ask("POST", PATH, branch.registration(branch.person("bob"), email=ada.email))
    branch.clock.advance(timedelta(days=29))
    assert await branch.rooms.registration.forget() == 0
    assert branch.rows("SELECT count(*) FROM refused_registrations") == [(1,)]
    branch.clock.advance(timedelta(days=2))
    assert await branch.rooms.registration.forget() == 1
    assert branch.rows("SELECT count(*) FROM refused_registrations") == [(0,)]


async def test_answers_to_registrations_leave_at_even_times(branch: Branch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evenness, "STEP_SECONDS", 0.25)
    loop = asyncio.get_running_loop()
    await branch.register("ada")
    for person in (branch.person("ada"), branch.person("bob")):
        began = loop.time()
        await branch.ask("POST", PATH, branch.registration(person))
        taken = loop.time() - began
        assert taken >= 0.25


async def test_of_two_people_with_one_address_at_once_one_gets_in(branch: Branch) -> None:
    rivals = [branch.person("ada") for _ in range(4)]
    answers = await asyncio.gather(*(branch.ask("POST", PATH, branch.registration(rival)) for rival in rivals))
    assert [answer.status for answer in answers] == [201] * 4
    [(winner,)] = branch.rows("SELECT id FROM users")
    assert winner in [rival.user for rival in rivals]
    assert branch.rows("SELECT user_id FROM devices") == [(winner,)]


async def test_a_registration_that_the_ledger_broke_off_shows_nothing_and_is_finished_later(branch: Branch) -> None:
    await branch.register("ada")
    bob, impostor = branch.person("bob"), branch.person("ada")
    with branch.out_of_order("ledger", "account_parties"):
        new, taken = await asyncio.gather(
            branch.ask("POST", PATH, branch.registration(bob)), branch.ask("POST", PATH, branch.registration(impostor))
        )
        assert new.status >= 500
        assert taken.status >= 500
    assert branch.rows("SELECT state FROM users WHERE id = %s", bob.user) == [(1,)]
    assert told(await branch.try_log_in(bob.email, bob.password)) == (401, "login-refused")

    assert await branch.rooms.registration.finish() == 0
    branch.clock.advance(seconds=20)
    assert await branch.rooms.registration.finish() == 1
    assert await branch.rooms.registration.finish() == 0
    await branch.log_in(bob)
    assert len((await branch.ledger.accounts(party=f"user:{bob.user}")).items) == 1


def other_user(branch: Branch, person: Person) -> dict[str, str]:
    return signed(person.device.key, branch.enrolment(branch.ids(), person.device))


def sponsored(branch: Branch, person: Person) -> dict[str, str]:
    return signed(person.device.key, branch.enrolment(person.user, person.device, Device(branch.ids())))


def other_bank(branch: Branch, person: Person) -> dict[str, str]:
    return signed(person.device.key, branch.enrolment(person.user, person.device, bank="demo.test"))


def expired(branch: Branch, person: Person) -> dict[str, str]:
    enrolment = branch.enrolment(person.user, person.device)
    branch.clock.advance(timedelta(minutes=6))
    return signed(person.device.key, enrolment)


def from_the_future(branch: Branch, person: Person) -> dict[str, str]:
    later = branch.clock.now() + timedelta(minutes=2)
    times: dict[str, Any] = {"created": instant_text(later), "expires": instant_text(later + timedelta(minutes=1))}
    return signed(person.device.key, branch.enrolment(person.user, person.device, **times))


def other_key(branch: Branch, person: Person) -> dict[str, str]:
    return signed(SigningKey.generate(), branch.enrolment(person.user, person.device))


def classical_key(branch: Branch, person: Person) -> dict[str, str]:
    key: dict[str, Any] = {"algorithm": "Ed25519", "public_key": base64url(bytes(32))}
    return signed(person.device.key, branch.enrolment(person.user, person.device, **key))


def tampered(branch: Branch, person: Person) -> dict[str, str]:
    order = signed(person.device.key, branch.enrolment(person.user, person.device))
    return order | {"document": order["document"].replace(str(person.device.id), str(branch.ids()))}


def other_form(branch: Branch, person: Person) -> dict[str, str]:
    order = signed(person.device.key, branch.enrolment(person.user, person.device))
    return order | {"document": order["document"].replace(":", ": ")}


WRONG: list[tuple[Any, tuple[int, str]]] = [
    ({"email": "ada"}, (400, "invalid-value")),
    ({"email": "ada@example"}, (400, "invalid-value")),
    ({"email": "a da@example.org"}, (400, "invalid-value")),
    ({"phone": "0151 1234"}, (400, "invalid-value")),
    ({"full_name": "  "}, (400, "invalid-value")),
    ({"full_name": "Ada\u202eecalevoL"}, (400, "invalid-value")),
    ({"device_name": ""}, (400, "invalid-value")),
    ({"password": "short"}, (400, "invalid-value")),
    ({"password": "qwertyuiop123"}, (422, "password-refused")),
    ({"password": "ada@example.org1"}, (422, "password-refused")),
    ({"user": "5f2c1f9e-0f6b-4e57-9d0f-0d3d6e6c7c11"}, (400, "invalid-value")),
    ({"signature": "AAAA"}, (403, "invalid-signature")),
    ({"signature": "A=="}, (400, "invalid-value")),
    ({"document": "{}"}, (400, "invalid-document")),
    (other_user, (400, "invalid-value")),
    (sponsored, (400, "invalid-value")),
    (other_bank, (422, "other-bank")),
    (expired, (422, "document-expired")),
    (from_the_future, (422, "document-from-future")),
    (other_key, (403, "invalid-signature")),
    (classical_key, (422, "algorithm-not-permitted")),
    (tampered, (403, "invalid-signature")),
    (other_form, (400, "invalid-document")),
]
"""What a form is changed to, and what is answered."""


async def test_a_registration_that_is_not_right_is_refused_and_stores_nothing(branch: Branch) -> None:
    for order, expected in WRONG:
        ada = branch.person("ada")
        changed = order(branch, ada) if callable(order) else order
        answer = await branch.ask("POST", PATH, branch.registration(ada) | changed)
        assert (order, told(answer)) == (order, expected)
    assert branch.rows("SELECT count(*) FROM users") == [(0,)]
    assert branch.rows("SELECT count(*) FROM keys WHERE starts_with(owner, 'customer:')", database="keys") == [(0,)]


async def test_a_key_is_one_device_of_one_customer(branch: Branch) -> None:
    ada, bob = await branch.register("ada"), branch.person("bob")
    bob.device.key = ada.device.key
    assert told(await branch.ask("POST", PATH, branch.registration(bob))) == (409, "key-already-enrolled")
    # The same for an address that is taken, or the difference would tell.
    taken = branch.registration(bob, email=ada.email)
    assert told(await branch.ask("POST", PATH, taken)) == (409, "key-already-enrolled")
    assert branch.rows("SELECT id FROM users") == [(ada.user,)]
