"""The check of signatures asks who gave the right: what an intruder makes up among rights and devices proves nothing."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from hashlib import sha256
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import psycopg
import pytest

from latticebank.banking.ledger.wire import AccountOpening
from latticebank.banking.payments.service.evidence import _Check
from latticebank.documents.enrolment import ENROLMENT
from latticebank.documents.signing import sign
from latticebank.kernel.credential_file import operator_credential
from latticebank.kernel.transports import Response
from latticebank.security.keys.client import KeysClient
from tests.banking.payments.counter import Counter, ok
from tests.banking.payments.test_evidence import report
from tests.security.identity.people import Device, Person, said, signed

DEVICE = """
    INSERT INTO devices (book, id, user_id, algorithm, public_key, name, document, signature, sponsor, sponsor_signature,
                         proposal, enrolled_at, active_from)
    SELECT book, %(id)s, user_id, algorithm, %(key)s, name, %(document)s, %(signature)s, %(sponsor)s, %(vouched)s,
           %(proposal)s, enrolled_at, active_from FROM devices WHERE user_id = %(user)s ORDER BY enrolled_at LIMIT 1
"""
RIGHT = "INSERT INTO rights (book, user_id, name, granted_at, proposal) VALUES (1, %(user)s, %(right)s, now(), %(proposal)s)"
DECIDED = """
    UPDATE decisions SET decided_by = %(by)s, device = %(device)s, document = %(document)s, signature = %(signature)s
"""
REKEYED = """
    UPDATE devices SET public_key = %(key)s, document = %(document)s, signature = %(signature)s WHERE id = %(id)s
"""
NEW_EPOCH = "UPDATE users SET epoch = epoch + 1 WHERE id = %(user)s"
PROPOSAL = """
    INSERT INTO proposals (book, id, proposer, device, subject, action, name, document, signature, proposed_at, expires_at,
                           state, decided_by, decided_at, decision, decision_signature)
    VALUES (1, %(id)s, %(proposer)s, %(device)s, %(subject)s, 'grant', %(right)s, %(document)s, %(signature)s, %(now)s,
            %(now)s + interval '1 day', 2, %(approver)s, %(now)s, %(decision)s, %(decision_signature)s)
"""


class Staff(NamedTuple):
    """Tessa the teller and Max the manager, whom Anna and Axel appointed, the first admins."""

    tessa: Person
    max: Person
    anna: Person
    axel: Person


async def staff_of(counter: Counter) -> Staff:
    """Appoint the staff."""
    anna, axel = await counter.first_admins()
    tessa, max_ = await counter.register("tessa"), await counter.register("max")
    await counter.grant(tessa, "teller", anna, axel)
    await counter.grant(max_, "manager", anna, axel)
    return Staff(tessa, max_, anna, axel)


def intrude(counter: Counter, statement: str, facts: Mapping[str, object], database: str = "identity") -> None:
    """Write as the owner of the server, whom no trigger and no foreign key stops."""
    with psycopg.connect(counter.urls[database], autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(statement.encode(), facts)


def slip_in(counter: Counter, user: UUID, sponsor: Device | None = None, **facts: object) -> Device:
    """Give somebody a device of the intruder's, whose enrolment is in order as far as the intruder can make it so."""
    device = Device(counter.ids())
    text, signature = sign(device.key, counter.enrolment(user, device, sponsor))
    made = {"id": device.id, "key": device.key.public_bytes, "document": text, "signature": signature, "user": user}
    vouched = sponsor.key.sign(text, ENROLMENT.encode()) if sponsor else None
    chain = {"sponsor": sponsor.id if sponsor else None, "vouched": vouched, "proposal": None}
    intrude(counter, DEVICE, made | chain | facts)
    return device


def give(counter: Counter, person: Person, right: str, proposal: UUID | None = None) -> None:
    """Write a right of somebody into the database."""
    facts = {"user": person.user, "right": right, "proposal": proposal}
    intrude(counter, RIGHT, facts)
    intrude(counter, NEW_EPOCH, facts)


def made_up(
    counter: Counter,
    subject: Person,
    right: str,
    proposer: Person,
    approver: Person,
    hands: tuple[Device, Device] | None = None,
) -> None:
    """Write a right with its proposal and approval, which the devices in hand signed."""
    proposing, deciding = hands or (proposer.device, approver.device)
    by = Person(proposer.name, proposer.user, proposing)
    document, signature = sign(proposing.key, counter.proposal(by, subject, right))
    identifier = UUID(msgspec.json.decode(document)["id"])
    view = {"id": str(identifier), "document": document.decode()}
    decider = Person(approver.name, approver.user, deciding)
    decision, decision_signature = sign(deciding.key, counter.decision(decider, view))
    facts = {
        "id": identifier,
        "proposer": proposer.user,
        "device": proposing.id,
        "subject": subject.user,
        "right": right,
        "document": document,
        "signature": signature,
        "now": counter.clock.now(),
        "approver": approver.user,
        "decision": decision,
        "decision_signature": decision_signature,
    }
    intrude(counter, PROPOSAL, facts)
    give(counter, subject, right, identifier)


def in_session_of(counter: Counter, person: Person, device: Device) -> Person:
    """The intruder in the place of somebody: with a device, and with a session written into the database."""
    token = "lbs_" + person.name[0].upper() * 43
    facts = {"token": sha256(token.encode()).digest(), "user": person.user}
    intrude(
        counter,
        "INSERT INTO sessions (book, id, user_id, token_hash, started_at, last_seen, ends_at) SELECT book,"
        " gen_random_uuid(), user_id, %(token)s, started_at, last_seen, ends_at FROM sessions WHERE user_id = %(user)s LIMIT 1",
        facts,
    )
    return Person(person.name, person.user, device, token=token)


async def withdraw(counter: Counter, by: Person, of: Person, amount: str = "5.00") -> Response:
    """Hand out cash from somebody's account, or try to."""
    order = counter.cash_order(by, counter.account(of), "withdrawal", amount)
    return await counter.at("/cash", signed(by.device.key, order), who=by)


async def faults(counter: Counter) -> set[str]:
    """What the check finds."""
    return {finding.fault for finding in (await report(counter)).findings}


async def old_account(counter: Counter, reference: str) -> str:
    """An account from other books, with money on it."""
    opening = msgspec.convert({"kind": "checking", "currency": "EUR", "owners": [reference]}, AccountOpening)
    return (await counter.ledger.open_account(counter.ids(), opening)).account


async def test_rights_are_traced_back_to_the_admins_whom_the_operator_named(counter: Counter) -> None:
    tessa, max_, anna, axel = await staff_of(counter)
    ada, bob = await counter.customer("ada"), await counter.customer("bob", "0.00")
    cora = await counter.register("cora")
    await counter.grant(cora, "admin", anna, axel)
    tom = await counter.register("tom")
    await counter.grant(tom, "teller", anna, cora)
    ok(await withdraw(counter, tom, ada))
    phone = Device(counter.ids())
    assert (await counter.enrol(ada, phone)).status == 201
    lost = Device(counter.ids())
    enrolment = signed(lost.key, counter.enrolment(bob.user, lost))
    right = "device:" + sha256(enrolment["document"].encode()).hexdigest()
    vouched = await counter.propose(tessa, bob, right, enrolment={"device_name": "new phone", **enrolment})
    assert (await counter.decide(max_, vouched)).status == 200
    counter.wait(timedelta(hours=24))
    for person in (ada, bob, max_):
        await counter.log_in(person)
    by_phone = Person("ada", ada.user, phone, token=ada.token)
    held = ok(await counter.pay(by_phone, bob, "60.00"), 202)
    yes = signed(max_.device.key, counter.payment_decision(max_, held))
    ok(await counter.at(f"/{held['id']}/decision", yes, who=max_), 200)
    ok(await counter.pay(Person("bob", bob.user, lost, token=bob.token), ada, "9.00"))
    found = await report(counter)
    assert found.sound, found.findings
    assert (found.checked, found.roots) == (3, [anna.user, axel.user])


async def test_rights_outlive_those_who_gave_them_and_end_when_they_are_taken(counter: Counter) -> None:
    tessa, _, anna, axel = await staff_of(counter)
    ada, cora = await counter.customer("ada"), await counter.register("cora")
    await counter.grant(cora, "admin", anna, axel)
    ok(await withdraw(counter, tessa, ada))
    counter.wait(timedelta(minutes=2))
    assert (await counter.decide(cora, await counter.propose(axel, anna, "admin", "withdraw"))).status == 200
    ok(await withdraw(counter, tessa, ada))
    found = await report(counter)
    assert (found.faults, found.roots) == (0, [anna.user, axel.user])
    assert (await counter.decide(cora, await counter.propose(axel, tessa, "teller", "withdraw"))).status == 200
    counter.wait(timedelta(minutes=2))
    give(counter, tessa, "teller")
    ok(await withdraw(counter, tessa, ada))
    taken = "whoever signed is not proved to have been a teller: this right had been taken from them"
    found = await report(counter)
    assert [finding.fault for finding in found.findings] == [taken]


async def test_the_bank_may_go_on_while_it_is_checked(counter: Counter) -> None:
    ada, bob = await counter.customer("ada"), await counter.customer("bob")
    ok(await counter.pay(ada, bob))
    with ThreadPoolExecutor(1) as pool:
        check = _Check(counter.foundation, pool)
        first = await counter.ledger.customer_debits()
        await check.page(first.items)
        counter.wait(timedelta(minutes=1))
        anna, axel = await counter.first_admins()
        await counter.grant(ada, "teller", anna, axel)
        await counter.log_in(ada)
        ok(await withdraw(counter, ada, bob))
        await check.page((await counter.ledger.customer_debits()).items[len(first.items) :])
    assert (check.report.checked, check.report.findings) == (2, [])


async def test_a_customer_whose_profile_was_erased_is_told_apart(counter: Counter) -> None:
    ada, bob = await counter.customer("ada"), await counter.customer("bob", "0.00")
    ok(await counter.pay(ada, bob))
    context = counter.bank.context
    keys = KeysClient(context.transport("keys"), operator_credential(context.settings.data))
    facts = {"user": ada.user}
    # That a profile only seems to be sealed under a key that is gone erases nothing.
    intrude(counter, "UPDATE users SET profile = set_byte(profile, 18, 9) WHERE id = %(user)s", facts)
    assert await faults(counter) == {
        "the device that signed: nobody sponsored it, and its user did not register with it"
    }
    await keys.destroy_customer_key(ada.user, "profile", "erasure-requested")
    counter.forget_profile_keys()
    found = await report(counter)
    assert (found.faults, found.erased) == (0, 1)


async def test_a_third_admin_of_the_operator_is_told(counter: Counter) -> None:
    await staff_of(counter)
    eve = await counter.register("eve")
    facts = {"user": eve.user}
    intrude(counter, "INSERT INTO first_admins (book, user_id, named_at) VALUES (1, %(user)s, now())", facts)
    found = await report(counter)
    assert [(f.transfer, f.fault) for f in found.findings] == [(None, "the operator named 3 admins, and 2 are enough")]
    assert eve.user in found.roots


async def test_a_device_for_which_no_staff_vouched_proves_nothing(counter: Counter) -> None:
    ada, eve = await counter.customer("ada"), await counter.customer("eve", "0.00")
    forged = slip_in(counter, ada.user, proposal=counter.ids())
    ok(await counter.pay(in_session_of(counter, ada, forged), eve, "40.00"))
    assert await faults(counter) == {"the device that signed: no two members of staff vouched for it"}
    further = slip_in(counter, ada.user, sponsor=forged)
    ok(await counter.pay(Person("ada", ada.user, further, token=ada.token), eve, "30.00"))
    assert "the device that signed: its sponsor is not proved" in await faults(counter)


async def test_a_device_for_which_staff_vouched_is_no_excuse_for_another(counter: Counter) -> None:
    tessa, max_, *_ = await staff_of(counter)
    ada, eve = await counter.customer("ada"), await counter.customer("eve", "0.00")
    lost = Device(counter.ids())
    enrolment = signed(lost.key, counter.enrolment(ada.user, lost))
    right = "device:" + sha256(enrolment["document"].encode()).hexdigest()
    vouched = await counter.propose(tessa, ada, right, enrolment={"device_name": "new phone", **enrolment})
    assert (await counter.decide(max_, vouched)).status == 200
    forged = slip_in(counter, ada.user, proposal=UUID(said(vouched)["id"]))
    ok(await counter.pay(in_session_of(counter, ada, forged), eve, "40.00"))
    assert "the device that signed: two members of staff vouched for something else" in await faults(counter)


async def test_a_teller_whom_nobody_appointed_proves_nothing(counter: Counter) -> None:
    ada, eve = await counter.customer("ada"), await counter.customer("eve", "0.00")
    give(counter, eve, "teller")
    ok(await withdraw(counter, eve, ada))
    found = await faults(counter)
    assert found == {"whoever signed is not proved to have been a teller: nobody gave them this right"}


async def test_a_manager_whom_nobody_appointed_approves_nothing(counter: Counter) -> None:
    max_ = (await staff_of(counter)).max
    ada, bob = await counter.customer("ada"), await counter.customer("bob", "0.00")
    eve = await counter.register("eve")
    held = ok(await counter.pay(ada, bob, "60.00"), 202)
    yes = signed(max_.device.key, counter.payment_decision(max_, held))
    ok(await counter.at(f"/{held['id']}/decision", yes, who=max_), 200)
    assert await faults(counter) == set()
    give(counter, eve, "manager")
    document, signature = sign(eve.device.key, counter.payment_decision(eve, held))
    facts = {"by": eve.user, "device": eve.device.id, "document": document, "signature": signature}
    intrude(counter, DECIDED, facts, "payments")
    found = await faults(counter)
    assert found == {"whoever approved is not proved to have been a manager: nobody gave them this right"}


async def test_whoever_speaks_for_a_party_of_old_books_does_so_by_the_word_of_staff(counter: Counter) -> None:
    tessa, max_, *_ = await staff_of(counter)
    ada, eve = await counter.customer("ada", "0.00"), await counter.customer("eve", "0.00")
    for person, reference in ((ada, "berka:client/1"), (eve, "berka:client/2")):
        counter.accounts[person.user] = await old_account(counter, reference)
        await counter.fund(person, "50.00")
    await counter.grant(ada, "party:berka:client/1", tessa, max_)
    ok(await counter.pay(ada, eve, "10.00"))
    found = await report(counter)
    assert (found.faults, found.by_mandate) == (0, 1)
    give(counter, eve, "party:berka:client/2")
    counter.foundation.accounts._known.clear()
    paid = ok(await counter.pay(eve, ada, "10.00"))
    found = await report(counter)
    assert {(str(f.transfer), f.fault) for f in found.findings} == {
        (paid["id"], "whoever signed may not act for the account debited"),
        (paid["id"], "that the signer speaks for its party is not proved: nobody gave them this right"),
    }
    assert found.by_mandate == 1
    # Whose account it is was written over: nobody gave Ada the right to speak for a stranger.
    statement = "UPDATE account_parties SET party = 'berka:client/3' WHERE party = 'berka:client/1'"
    intrude(counter, statement, {}, "ledger")
    assert (await report(counter)).by_mandate == 0


@pytest.mark.parametrize("way", ["exchanged", "same id", "demoted", "beside", "earlier"])
async def test_a_first_device_is_the_one_of_the_registration(counter: Counter, way: str) -> None:
    ada, eve = await counter.customer("ada"), await counter.customer("eve", "0.00")
    real = {"id": ada.device.id}
    intrude(counter, "DROP INDEX one_first_device", {})
    forged = slip_in(counter, ada.user)
    match way:
        case "exchanged":
            intrude(counter, "DELETE FROM devices WHERE id = %(id)s", real)
        case "same id":
            forged.id = ada.device.id
            intrude(counter, "DELETE FROM devices WHERE user_id = %(user)s AND id <> %(id)s", real | {"user": ada.user})
            text, signature = sign(forged.key, counter.enrolment(ada.user, forged))
            key = forged.key.public_bytes
            intrude(counter, REKEYED, real | {"key": key, "document": text, "signature": signature})
        case "demoted":
            intrude(counter, "UPDATE devices SET proposal = gen_random_uuid() WHERE id = %(id)s", real)
        case "beside":
            pass
        case "earlier":
            facts = {"id": forged.id}
            intrude(counter, "UPDATE devices SET enrolled_at = enrolled_at - interval '1 day' WHERE id = %(id)s", facts)
    ok(await counter.pay(in_session_of(counter, ada, forged), eve, "40.00"))
    found = await faults(counter)
    assert "the device that signed: nobody sponsored it, and its user did not register with it" in found
    twice = "the device that signed: nobody sponsored it, and it is not its user's only first device"
    assert (twice in found) == (way in ("beside", "earlier"))


async def test_a_proposal_with_the_signatures_of_the_wrong_people_proves_nothing(counter: Counter) -> None:
    _, _, anna, axel = await staff_of(counter)
    ada = await counter.customer("ada")
    intrude(counter, "ALTER TABLE proposals DROP CONSTRAINT four_eyes", {})
    names = ("eve", "mallory", "trudy")
    eve, mallory, trudy = [await counter.customer(name, "0.00") for name in names]

    async def found_of(**made: Any) -> set[str]:
        """What is found of cash that a teller hands out who came by a proposal that was made up."""
        teller = await counter.register(f"teller{len(counter.rows('SELECT 1 FROM proposals'))}")
        made_up(counter, teller, "teller", **made)
        paid = ok(await withdraw(counter, teller, ada))
        prefix = "whoever signed is not proved to have been a teller: "
        findings = [each for each in (await report(counter)).findings if str(each.transfer) == paid["id"]]
        assert all(each.fault.startswith(prefix) for each in findings)
        return {each.fault.removeprefix(prefix) for each in findings}

    assert await found_of(proposer=anna, approver=axel) == set(), "what is signed so is a proposal"
    no_admins = {"whoever proposed it was no admin", "whoever approved it was no admin"}
    assert await found_of(proposer=eve, approver=mallory) == no_admins
    wrong_hands = (eve.device, mallory.device)
    assert await found_of(proposer=anna, approver=axel, hands=wrong_hands) == {
        "the proposal was signed by a device of somebody else",
        "the approval was signed by a device of somebody else",
    }
    same_ids = (Device(anna.device.id), Device(axel.device.id))
    assert await found_of(proposer=anna, approver=axel, hands=same_ids) == {
        "nobody signed the proposal (invalid-signature)"
    }
    assert await found_of(proposer=anna, approver=anna) == {"proposer, approver and subject are not three people"}
    # Three who appoint each other are admins to each other, and to nobody else.
    for subject, proposer, approver in ((eve, mallory, trudy), (mallory, trudy, eve), (trudy, eve, mallory)):
        made_up(counter, subject, "admin", proposer, approver)
    assert await found_of(proposer=eve, approver=mallory) == no_admins
    # A device slipped in for an admin signs for nobody.
    forged = slip_in(counter, anna.user, proposal=counter.ids())
    assert await found_of(proposer=anna, approver=axel, hands=(forged, axel.device)) == {
        "the device of whoever proposed it is not proved"
    }


async def test_an_approved_proposal_cannot_be_turned_into_another(counter: Counter) -> None:
    _, _, anna, axel = await staff_of(counter)
    ada, eve = await counter.customer("ada"), await counter.register("eve")
    await counter.grant(eve, "auditor", anna, axel)
    facts = {"user": eve.user}
    intrude(counter, "UPDATE proposals SET name = 'teller' WHERE subject = %(user)s", facts)
    intrude(counter, "UPDATE rights SET name = 'teller' WHERE user_id = %(user)s", facts)
    intrude(counter, NEW_EPOCH, facts)
    ok(await withdraw(counter, eve, ada))
    prefix = "whoever signed is not proved to have been a teller: "
    assert await faults(counter) == {prefix + "the proposal that was signed is another one"}
    intrude(counter, "UPDATE proposals SET document = '\\xff' WHERE subject = %(user)s", facts)
    assert await faults(counter) == {prefix + "nobody signed the proposal (invalid-document)"}
