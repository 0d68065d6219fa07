"""Devices: the first comes with its customer, later ones by an active one, and a revoked one never comes back."""

import asyncio
from datetime import timedelta
from hashlib import sha256

import pytest

from latticebank.crypto.signatures import SigningKey
from latticebank.documents.document import base64url, from_base64url
from latticebank.documents.enrolment import DeviceEnrolment
from latticebank.security.identity.events import Happening
from latticebank.security.identity.model.devices import signed as read_signed
from tests.security.identity.people import Branch, Device, Person, said, signed, told


async def listed(branch: Branch, person: Person) -> list[tuple[str, str]]:
    """The devices of a person with their states."""
    items = said(await branch.ask("GET", "/api/devices/", who=person))["items"]
    return [(item["device"], item["state"]) for item in items]


async def test_a_later_device_joins_an_active_one_and_cools_off(branch: Branch) -> None:
    ada = await branch.register("ada")
    phone = Device(branch.ids())
    answer = await branch.enrol(ada, phone)
    assert (answer.status, said(answer)["state"]) == (201, "cooling")
    assert (said(answer)["name"], said(answer)["active_from"]) == ("kitchen tablet", "2026-03-03T12:00:00Z")
    branch.clock.advance(timedelta(hours=23, minutes=59))
    await branch.log_in(ada)
    assert await listed(branch, ada) == [(str(ada.device.id), "active"), (str(phone.id), "cooling")]
    branch.clock.advance(timedelta(minutes=1))
    assert await listed(branch, ada) == [(str(ada.device.id), "active"), (str(phone.id), "active")]
    assert (await branch.enrol(ada, Device(branch.ids()), sponsor=phone)).status == 201


async def test_the_same_enrolment_again_changes_nothing(branch: Branch) -> None:
    ada = await branch.register("ada")
    order = branch.joining(ada, Device(branch.ids()), ada.device)
    ask = [branch.ask("POST", "/api/devices/enrol", order, who=ada) for _ in range(3)]
    answers = await asyncio.gather(*ask)
    branch.clock.advance(timedelta(minutes=4))
    await branch.bearer(ada)
    branch.clock.advance(timedelta(minutes=4))
    answers.append(await branch.ask("POST", "/api/devices/enrol", order, who=ada))
    assert [answer.status for answer in answers] == [201] * 4
    assert len({answer.body for answer in answers}) == 1
    assert len(await listed(branch, ada)) == 2
    [told_of] = [h for name, h in branch.events() if name == "device-enrolled" and h.device != ada.device.id]
    assert (told_of.document, told_of.sponsor) == (sha256(order["document"].encode()).hexdigest(), ada.device.id)
    assert told_of.enrolled_at is not None
    assert told_of.active_from == told_of.enrolled_at + timedelta(hours=24)


async def test_a_device_does_not_join_one_that_is_cooling_revoked_unknown_or_anothers(branch: Branch) -> None:
    ada, bob = await branch.register("ada"), await branch.register("bob")
    cooling, tablet, revoked = (Device(branch.ids()) for _ in range(3))
    await branch.enrol(ada, cooling)
    await branch.enrol(ada, revoked)
    await branch.ask("POST", f"/api/devices/{revoked.id}/revoke", who=ada)
    for sponsor, expected in (
        (cooling, (403, "device-cooling")),
        (revoked, (403, "device-revoked")),
        (bob.device, (404, "unknown-device")),
        (Device(branch.ids()), (404, "unknown-device")),
        (Device(ada.device.id, SigningKey.generate()), (403, "invalid-signature")),
    ):
        assert told(await branch.enrol(ada, tablet, sponsor)) == expected
    assert len(await listed(branch, ada)) == 3


async def test_an_enrolment_that_is_not_right_is_refused(branch: Branch) -> None:
    ada, bob = await branch.register("ada"), await branch.register("bob")
    tablet = Device(branch.ids())
    right = branch.joining(ada, tablet, ada.device)

    def with_enrolment(enrolment: DeviceEnrolment, key: SigningKey = tablet.key) -> dict[str, str]:
        vouched = signed(ada.device.key, enrolment)["signature"]
        return right | signed(key, enrolment) | {"sponsor_signature": vouched}

    good = branch.enrolment(ada.user, tablet, ada.device)
    reused = branch.enrolment(ada.user, Device(ada.device.id), ada.device)
    same_key = branch.enrolment(ada.user, Device(branch.ids(), bob.device.key), ada.device)
    for order, expected in (
        (with_enrolment(branch.enrolment(ada.user, tablet)), (400, "invalid-value")),
        (with_enrolment(branch.enrolment(bob.user, tablet, ada.device)), (400, "invalid-value")),
        (with_enrolment(branch.enrolment(ada.user, tablet, ada.device, bank="demo.test")), (422, "other-bank")),
        (with_enrolment(good, ada.device.key), (403, "invalid-signature")),
        (with_enrolment(same_key, bob.device.key), (409, "key-already-enrolled")),
        (with_enrolment(reused, tablet.key), (403, "invalid-signature")),
        (right | {"sponsor_signature": right["signature"]}, (403, "invalid-signature")),
        (right | {"device_name": "line\nbreak"}, (400, "invalid-value")),
    ):
        assert told(await branch.ask("POST", "/api/devices/enrol", order, who=ada)) == expected
    other = Device(ada.device.id)
    assert told(await branch.enrol(ada, other)) == (409, "device-id-reused")
    branch.clock.advance(timedelta(minutes=4))
    await branch.bearer(ada)
    branch.clock.advance(timedelta(minutes=2))
    assert told(await branch.ask("POST", "/api/devices/enrol", right, who=ada)) == (422, "document-expired")
    assert len(await listed(branch, ada)) == 1


async def test_a_revoked_device_is_revoked_at_once_and_for_ever(branch: Branch) -> None:
    ada, bob = await branch.register("ada"), await branch.register("bob")
    path = f"/api/devices/{ada.device.id}/revoke"
    assert told(await branch.ask("POST", path, who=bob)) == (404, "unknown-device")
    assert told(await branch.ask("POST", f"/api/devices/{branch.ids()}/revoke", who=ada)) == (404, "unknown-device")
    first = await branch.ask("POST", path, {"reason": "stolen"}, who=ada)
    branch.clock.advance(seconds=60)
    again = await branch.ask("POST", path, who=ada)
    assert first.status == again.status == 200
    assert said(first)["revoked_at"] == said(again)["revoked_at"] == "2026-03-02T12:00:00Z"
    [told_of] = [happening for name, happening in branch.events() if name == "device-revoked"]
    revoked_at = branch.clock.now() - timedelta(seconds=60)
    assert told_of == Happening(ada.user, device=ada.device.id, revoked_at=revoked_at, reason="stolen")
    assert branch.rows("SELECT revoke_reason FROM devices WHERE id = %s", ada.device.id) == [("stolen",)]
    assert told(await branch.ask("POST", path, {"reason": "because my name is Ada"}, who=ada))[0] == 400


async def test_a_user_has_a_bounded_number_of_devices(branch: Branch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latticebank.security.identity.service.devices.MAX_DEVICES", 3)
    ada = await branch.register("ada")
    devices = [Device(branch.ids()) for _ in range(6)]
    answers = await asyncio.gather(*(branch.enrol(ada, device) for device in devices))
    assert sorted(answer.status for answer in answers) == [201] * 2 + [409] * 4
    assert len(await listed(branch, ada)) == 3


async def test_payments_gets_the_evidence_of_an_enrolment_and_can_check_it(branch: Branch) -> None:
    ada = await branch.register("ada")
    phone = Device(branch.ids())
    await branch.enrol(ada, phone)
    first, second = await branch.payments.devices([ada.device.id, branch.ids(), phone.id])
    assert (first.device, first.user, first.state, first.sponsor) == (ada.device.id, ada.user, "active", None)
    assert (second.device, second.state, second.sponsor) == (phone.id, "cooling", ada.device.id)
    for record, own, sponsor in ((first, ada.device, None), (second, phone, ada.device)):
        assert from_base64url(record.public_key, "") == own.key.public_bytes
        evidence = read_signed(DeviceEnrolment, record.document, record.signature)
        evidence.require_signed_by(Device(own.id, own.key).key_to_verify())
        assert (evidence.document.device, evidence.document.user) == (str(own.id), str(ada.user))
        if sponsor is not None:
            vouched = read_signed(DeviceEnrolment, record.document, record.sponsor_signature or "")
            vouched.require_signed_by(sponsor.key_to_verify())
    assert base64url(phone.key.seed) not in first.document + second.document
