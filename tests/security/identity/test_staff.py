"""Rights under four eyes: proposer, approver and subject are three people, each in a role that it takes."""

import asyncio
from datetime import timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import pytest

from latticebank.crypto.signatures import SigningKey
from latticebank.documents.decision import PAYMENT_DECISION
from latticebank.kernel.transports import Response
from tests.security.identity.people import Branch, Device, Person, said, signed, told

PROPOSALS = "/api/staff/proposals"


class House:
    """Two admins, two managers, a teller, and Ada, a customer."""

    def __init__(self, branch: Branch) -> None:
        self.branch = branch
        self.anna: Person
        self.axel: Person

    async def open(self) -> "House":
        branch = self.branch
        self.anna, self.axel = await branch.first_admins()
        names = ("mona", "max", "tess", "ada")
        self.mona, self.max, self.tess, self.ada = await asyncio.gather(*map(branch.register, names))
        for person, role in ((self.mona, "manager"), (self.max, "manager"), (self.tess, "teller")):
            await branch.grant(person, role, self.anna, self.axel)
        return self


@pytest.fixture
async def house(branch: Branch) -> House:
    return await House(branch).open()


async def roles(branch: Branch, person: Person) -> list[str]:
    """The roles of a person, as the person sees them."""
    found = said(await branch.ask("GET", f"/api/users/{person.user}/profile", who=person))["roles"]
    assert isinstance(found, list)
    return found


async def test_the_operator_names_two_admins_and_no_more(branch: Branch) -> None:
    anna, axel, ada = [await branch.register(name) for name in ("anna", "axel", "ada")]

    async def name(user: UUID, who: Any = "operator") -> Response:
        return await branch.ask("POST", "/api/staff/bootstrap", {"user": str(user), "role": "admin"}, who=who)

    assert (await name(anna.user, None)).status == 401
    assert told(await name(anna.user, ada)) == (403, "forbidden")
    assert told(await name(branch.ids())) == (404, "user-unknown")
    assert said(await name(anna.user)) == {"user": str(anna.user), "roles": ["customer", "admin"]}
    assert told(await name(ada.user, anna)) == (403, "forbidden")
    assert sorted([answer.status for answer in await asyncio.gather(name(axel.user), name(ada.user))]) == [200, 409]
    assert (await name(anna.user)).status == 200
    assert len(branch.rows("SELECT user_id FROM rights WHERE name = 'admin'")) == 2
    wrong = await branch.ask("POST", "/api/staff/bootstrap", {"user": str(ada.user), "role": "teller"}, who="operator")
    assert told(wrong) == (400, "invalid-value")


async def test_one_admin_proposes_a_role_another_approves_and_a_third_person_has_it(branch: Branch) -> None:
    anna, axel = await branch.first_admins()
    tess = await branch.register("tess")
    proposal = await branch.propose(anna, tess, "teller")
    assert (proposal.status, said(proposal)["state"]) == (201, "open")
    assert await roles(branch, tess) == ["customer"]
    decided = await branch.decide(axel, proposal)
    assert (decided.status, said(decided)["state"], said(decided)["decided_by"]) == (200, "approved", str(axel.user))
    assert await roles(branch, tess) == ["customer", "teller"]
    [happening] = [h for name, h in branch.events() if name == "rights-changed" and h.user == tess.user]
    assert (happening.right, happening.action, happening.by) == ("teller", "grant", axel.user)
    assert happening.proposal == UUID(said(proposal)["id"])
    named = [h.user for name, h in branch.events() if name == "rights-changed" and h.proposal is None]
    assert named == [anna.user, axel.user]

    await branch.decide(axel, await branch.propose(anna, tess, "teller", "withdraw"))
    assert await roles(branch, tess) == ["customer"]


async def test_nobody_gets_a_right_by_fewer_than_four_eyes(house: House) -> None:
    branch = house.branch
    four_eyes, forbidden = (403, "four-eyes"), (403, "forbidden")
    for proposer, subject, right, expected in (
        (house.anna, house.anna, "manager", four_eyes),
        (house.mona, house.ada, "teller", four_eyes),
        (house.tess, house.ada, "admin", four_eyes),
        (house.anna, house.ada, "verified", four_eyes),
        (house.mona, house.mona, "verified", four_eyes),
        (house.ada, house.tess, "verified", forbidden),
    ):
        assert told(await branch.propose(proposer, subject, right)) == expected

    role = await branch.propose(house.anna, house.ada, "auditor")
    for approver, expected in (
        (house.anna, four_eyes),
        (house.mona, four_eyes),
        (house.tess, forbidden),
        (house.ada, forbidden),
    ):
        assert told(await branch.decide(approver, role)) == expected
    verified = await branch.propose(house.mona, house.ada, "verified")
    for approver, expected in ((house.mona, four_eyes), (house.anna, four_eyes), (house.tess, forbidden)):
        assert told(await branch.decide(approver, verified)) == expected
    about_a_manager = await branch.propose(house.tess, house.mona, "verified")
    assert told(await branch.decide(house.mona, about_a_manager)) == four_eyes
    assert branch.rows("SELECT count(*) FROM rights WHERE user_id = %s", house.ada.user) == [(0,)]
    assert branch.rows(
        "SELECT count(*) FROM proposals WHERE state <> 1 AND name <> ALL(%s)", ["manager", "teller"]
    ) == [(0,)]
    await branch.decide(house.max, verified)
    assert said(await branch.ask("GET", f"/api/users/{house.ada.user}/profile", who=house.ada))["verified"] is True


async def test_a_role_that_was_taken_no_longer_counts_whatever_the_token_says(house: House) -> None:
    branch = house.branch
    proposal = await branch.propose(house.tess, house.ada, "verified")
    order = signed(house.mona.device.key, branch.decision(house.mona, said(proposal)))
    old_token = f"Bearer {await branch.bearer(house.mona)}"
    await branch.decide(house.axel, await branch.propose(house.anna, house.mona, "manager", "withdraw"))
    headers = {"Content-Type": "application/json", "Authorization": old_token}
    path = f"{PROPOSALS}/{said(proposal)['id']}/decision"
    assert told(await branch.send("identity", "POST", path, order, headers)) == (403, "four-eyes")
    assert told(await branch.ask("POST", path, order, who=house.mona)) == (403, "forbidden")


async def test_a_proposal_lapses_after_a_day(house: House) -> None:
    branch = house.branch
    proposal = await branch.propose(house.tess, house.ada, "verified")
    branch.clock.advance(timedelta(hours=24))
    await branch.log_in(house.mona)
    assert told(await branch.decide(house.mona, proposal)) == (409, "proposal-expired")
    assert said(await branch.ask("GET", f"{PROPOSALS}?open=true", who=house.mona))["items"] == []
    [lapsed] = [p for p in await listed(branch, house.mona) if p["id"] == said(proposal)["id"]]
    assert lapsed["state"] == "expired"


async def listed(branch: Branch, reader: Person, limit: int = 2) -> list[dict[str, Any]]:
    """All proposals, page by page."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = said(await branch.ask("GET", f"{PROPOSALS}?limit={limit}{cursor}", who=reader))
        found += page["items"]
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


async def test_staff_see_all_proposals_page_by_page_and_customers_none(house: House) -> None:
    branch = house.branch
    everything = await listed(branch, house.tess, limit=200)
    assert [proposal["right"] for proposal in everything] == ["teller", "manager", "manager"]
    assert await listed(branch, house.tess, limit=1) == everything
    assert told(await branch.ask("GET", PROPOSALS, who=house.ada)) == (403, "forbidden")
    assert (await branch.ask("GET", PROPOSALS)).status == 401


async def test_the_same_proposal_or_decision_again_changes_nothing_and_another_is_refused(house: House) -> None:
    branch = house.branch
    document = branch.proposal(house.tess, house.ada, "verified")
    order = signed(house.tess.device.key, document)
    first, again = [await branch.ask("POST", PROPOSALS, order, who=house.tess) for _ in range(2)]
    assert (first.status, first.body) == (again.status, again.body) == (201, first.body)
    other = signed(house.tess.device.key, branch.proposal(house.tess, house.mona, "verified", id=document.id))
    assert told(await branch.ask("POST", PROPOSALS, other, who=house.tess)) == (409, "proposal-id-reused")

    path = f"{PROPOSALS}/{document.id}/decision"
    decision = signed(house.mona.device.key, branch.decision(house.mona, said(first)))
    answers = await asyncio.gather(*(branch.ask("POST", path, decision, who=house.mona) for _ in range(3)))
    assert {(answer.status, answer.body) for answer in answers} == {(200, answers[0].body)}
    assert told(await branch.decide(house.max, first)) == (409, "already-decided")
    assert told(await branch.decide(house.mona, first, "reject")) == (409, "already-decided")
    assert [name for name, h in branch.events() if h.user == house.ada.user].count("rights-changed") == 1


async def test_a_rejected_proposal_gives_nothing(house: House) -> None:
    branch = house.branch
    proposal = await branch.propose(house.tess, house.ada, "verified")
    assert said(await branch.decide(house.mona, proposal, "reject"))["state"] == "rejected"
    assert branch.rows("SELECT count(*) FROM rights WHERE user_id = %s", house.ada.user) == [(0,)]
    assert told(await branch.decide(house.max, proposal)) == (409, "already-decided")


async def test_what_staff_sign_must_be_theirs_for_this_bank_and_about_this(house: House) -> None:
    branch = house.branch

    async def propose(key: SigningKey, document: Any) -> tuple[int, str]:
        return told(await branch.ask("POST", PROPOSALS, signed(key, document), who=house.tess))

    tess = house.tess.device
    right = branch.proposal(house.tess, house.ada, "verified")
    assert await propose(house.mona.device.key, right) == (403, "invalid-signature")
    assert await propose(house.mona.device.key, branch.proposal(house.mona, house.ada, "verified")) == (
        (404, "unknown-device")
    )
    assert await propose(tess.key, branch.proposal(house.tess, house.ada, "verified", bank="demo.test")) == (
        (422, "other-bank")
    )
    assert await propose(tess.key, branch.proposal(house.tess, house.ada, "owner")) == (400, "invalid-value")
    nobody = branch.proposal(house.tess, branch.person("nobody"), "verified")
    assert await propose(tess.key, nobody) == (404, "user-unknown")
    assert branch.rows("SELECT count(*) FROM proposals WHERE name = 'verified'") == [(0,)]

    proposal = await branch.propose(house.tess, house.ada, "verified")
    other = await branch.propose(house.tess, house.max, "verified")
    for changed, expected in (
        ({"subject_hash": sha256(b"else").hexdigest()}, (422, "other-proposal")),
        ({"subject": said(other)["id"]}, (422, "other-proposal")),
        ({"bank": "demo.test"}, (422, "other-bank")),
        ({"type": PAYMENT_DECISION}, (400, "invalid-value")),
        ({"device": str(house.max.device.id)}, (404, "unknown-device")),
    ):
        assert told(await branch.decide(house.mona, proposal, **changed)) == expected
    nowhere = signed(house.mona.device.key, branch.decision(house.mona, said(proposal)))
    assert told(await branch.ask("POST", f"{PROPOSALS}/{branch.ids()}/decision", nowhere, who=house.mona)) == (
        (404, "proposal-unknown")
    )
    await branch.ask("POST", f"/api/devices/{house.mona.device.id}/revoke", who=house.mona)
    assert told(await branch.decide(house.mona, proposal)) == (403, "device-revoked")
    assert branch.rows("SELECT count(*) FROM rights WHERE name = 'verified'") == [(0,)]


async def test_a_party_of_old_books_is_one_user(house: House) -> None:
    branch = house.branch
    await branch.grant(house.ada, "party:berka/576", house.tess, house.mona)
    rival = await branch.propose(house.tess, house.max, "party:berka/576")
    assert told(await branch.decide(house.mona, rival)) == (409, "party-taken")
    assert told(await branch.propose(house.tess, house.max, f"party:user:{house.ada.user}")) == (400, "invalid-value")
    [standing] = await branch.payments.standing(
        [(house.ada.session or UUID(int=0), house.ada.user, house.ada.device.id)]
    )
    assert standing.parties == [f"user:{house.ada.user}", "berka/576"]


async def test_staff_vouch_for_a_device_of_a_customer_who_has_none_left(house: House) -> None:
    branch, ada = house.branch, house.ada
    await branch.ask("POST", f"/api/devices/{ada.device.id}/revoke", {"reason": "stolen"}, who=ada)
    new = Device(branch.ids())
    enrolment = signed(new.key, branch.enrolment(ada.user, new))
    right = "device:" + sha256(enrolment["document"].encode()).hexdigest()
    brought: dict[str, Any] = {"enrolment": {"device_name": "new phone of ada", **enrolment}}

    assert told(await branch.propose(house.tess, ada, right)) == (400, "invalid-value")
    assert told(await branch.propose(house.tess, ada, "verified", **brought)) == (400, "invalid-value")
    assert told(await branch.propose(house.tess, house.max, right, **brought)) == (400, "invalid-value")
    assert told(await branch.propose(house.tess, ada, "device:" + "0" * 64, **brought)) == (400, "invalid-value")
    forged: dict[str, Any] = {
        "enrolment": {
            **brought["enrolment"],
            "signature": signed(SigningKey.generate(), branch.enrolment(ada.user, new))["signature"],
        }
    }
    assert told(await branch.propose(house.tess, ada, right, **forged)) == (403, "invalid-signature")

    proposal = await branch.propose(house.tess, ada, right, **brought)
    assert (proposal.status, said(proposal)["enrolment"]) == (201, enrolment["document"])
    assert (await branch.decide(house.mona, proposal)).status == 200
    items = said(await branch.ask("GET", "/api/devices/", who=ada))["items"]
    assert [(item["name"], item["state"]) for item in items] == [
        ("ada's laptop", "revoked"),
        ("new phone of ada", "cooling"),
    ]
    [record] = await branch.payments.devices([new.id])
    assert (record.sponsor, record.proposal) == (None, UUID(said(proposal)["id"]))
    [told_of] = [h for name, h in branch.events() if name == "device-enrolled" and h.device == new.id]
    assert (told_of.user, told_of.proposal, told_of.sponsor) == (ada.user, record.proposal, None)
    assert told_of.document == right.removeprefix("device:")


async def test_admins_and_auditors_read_profiles_and_it_is_told_and_others_do_not(house: House) -> None:
    branch, path = house.branch, f"/api/users/{house.ada.user}/profile"
    await branch.grant(house.max, "auditor", house.anna, house.axel)
    for reader, expected in (
        (house.anna, 200),
        (house.max, 200),
        (house.ada, 200),
        (house.tess, 403),
        (house.mona, 403),
    ):
        assert (await branch.ask("GET", path, who=reader)).status == expected
    assert (await branch.ask("GET", path)).status == 401
    assert (await branch.ask("GET", path, who="operator")).status == 403
    read = [(h.user, h.by) for name, h in branch.events() if name == "profile-read"]
    assert read == [(house.ada.user, house.anna.user), (house.ada.user, house.max.user)]
