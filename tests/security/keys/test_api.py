"""Keys over their routes: who may ask for what, and what is answered."""

import json
from uuid import UUID

import msgspec
import pytest

from latticebank.crypto.signatures import SigningKey
from latticebank.kernel.caller import OPERATOR, Caller
from latticebank.kernel.client import RemoteProblem
from latticebank.security.keys.service.keyring import ROTATION_PAUSE
from latticebank.security.keys.wire import CustomerKey, OwnKey, OwnKeyRequest
from tests.banking.ledger.callers import ADA, ADMIN, AUDITOR, BOB, FRAUD, IDENTITY, MANAGER, PAYMENTS, TELLER
from tests.clocks import MovingClock
from tests.security.keys.desk import ADA_ID, EMAIL_INDEX, TOKEN_SIGNING, KeysDesk, decoded, wanted

NOBODY = UUID("00000000-0000-4000-8000-00000000ffff")
ONE = "00000000-0000-4000-8000-0000000000aa"
EVERYONE = (None, OPERATOR, IDENTITY, PAYMENTS, FRAUD, ADA, BOB, TELLER, MANAGER, AUDITOR, ADMIN)

OWN = json.dumps({"purposes": [{"purpose": "token-signing", "algorithm": "ML-DSA-65"}]}).encode()
CREATE = json.dumps({"owner": str(ADA_ID)}).encode()
PROFILE = json.dumps({"wanted": [{"owner": str(ADA_ID), "kind": "profile"}]}).encode()
RECORDS = json.dumps({"wanted": [{"owner": str(ADA_ID), "kind": "records"}]}).encode()
BOTH = json.dumps({"wanted": [{"owner": str(ADA_ID), "kind": kind} for kind in ("records", "profile")]}).encode()
STATE = json.dumps({"state": "suspended", "reason": "error"}).encode()
DESTROY = json.dumps({"reason": "erasure-requested"}).encode()
HOLD = json.dumps({"reason": "court-order"}).encode()


@pytest.fixture
async def bank(desk: KeysDesk) -> KeysDesk:
    """A bank where Ada and Bob have keys."""
    await desk.of(IDENTITY).create_customer_keys(ADA_ID)
    await desk.of(IDENTITY).create_customer_keys(BOB.user)
    return desk


@pytest.mark.parametrize(
    ("method", "path", "body", "permitted"),
    [
        ("POST", "/internal/keys/own", OWN, {IDENTITY, PAYMENTS}),
        ("POST", "/internal/keys/customers", CREATE, {OPERATOR, IDENTITY}),
        ("POST", "/internal/keys/customers/open", PROFILE, {IDENTITY}),
        ("POST", "/internal/keys/customers/open", RECORDS, {IDENTITY, PAYMENTS}),
        ("POST", "/internal/keys/customers/open", BOTH, {IDENTITY}),
        ("POST", f"/internal/keys/customers/{ADA_ID}/profile/destroy", DESTROY, {OPERATOR, IDENTITY}),
        ("POST", f"/internal/keys/customers/{ADA_ID}/records/destroy", DESTROY, {OPERATOR}),
        ("POST", f"/internal/keys/{ONE}/state", STATE, {OPERATOR}),
        ("GET", f"/api/quantum/keys/{ADA_ID}/info", b"", {OPERATOR, ADA, AUDITOR, ADMIN}),
        ("GET", f"/api/quantum/keys/{ADA_ID}/history", b"", {OPERATOR, ADA, AUDITOR, ADMIN}),
        ("GET", f"/api/quantum/keys/{NOBODY}/info", b"", {OPERATOR, AUDITOR, ADMIN}),
        ("GET", f"/api/quantum/keys/{ADA_ID}/hold", b"", {OPERATOR, IDENTITY, ADMIN}),
        ("PUT", f"/api/quantum/keys/{ADA_ID}/hold", HOLD, {OPERATOR}),
        ("DELETE", f"/api/quantum/keys/{ADA_ID}/hold", b"", {OPERATOR}),
        ("POST", "/api/quantum/keys/rotate", b"", {ADA, BOB}),
    ],
)
async def test_only_who_may_gets_past_the_door(
    bank: KeysDesk, method: str, path: str, body: bytes, permitted: set[Caller]
) -> None:
    statuses = {caller: (await bank.ask(caller, method, path, body)).status for caller in EVERYONE}
    refused = {caller for caller, status in statuses.items() if status in (401, 403)}
    assert refused == set(EVERYONE) - permitted
    assert statuses[None] == 401
    assert all(status < 500 for status in statuses.values())


async def test_a_service_gets_its_own_keys_and_no_other_services(desk: KeysDesk) -> None:
    [signing, index] = await desk.of(IDENTITY).own_keys([TOKEN_SIGNING, EMAIL_INDEX])
    assert (signing.version, signing.state, index.public) == (1, "active", "")
    assert SigningKey.from_seed("ML-DSA-65", decoded(signing.secret)).public_bytes == decoded(signing.public)
    assert await desk.of(IDENTITY).own_keys([TOKEN_SIGNING, EMAIL_INDEX]) == [signing, index]
    [other] = await desk.of(PAYMENTS).own_keys([TOKEN_SIGNING])
    assert (other.id, other.secret) != (signing.id, signing.secret)


async def test_customers_keys_are_opened_in_bulk(bank: KeysDesk) -> None:
    everyone = [UUID(int=number) for number in range(1, 21)]
    for customer in everyone:
        await bank.of(IDENTITY).create_customer_keys(customer)
    requests = [wanted(customer, "records") for customer in (*everyone, NOBODY)]
    found = await bank.of(PAYMENTS).customer_keys(requests)
    assert [key.owner for key in found] == everyone
    assert len({decoded(key.secret) for key in found}) == len(everyone)
    assert {(key.kind, key.version, key.state) for key in found} == {("records", 1, "active")}
    assert await bank.of(PAYMENTS).customer_keys([]) == []


async def test_payments_never_opens_a_profile(bank: KeysDesk) -> None:
    with pytest.raises(RemoteProblem) as refused:
        await bank.of(PAYMENTS).customer_keys([wanted(ADA_ID, "records"), wanted(ADA_ID, "profile")])
    assert (refused.value.code, refused.value.status) == ("forbidden", 403)


async def test_a_customer_rotates_and_reads_about_the_own_keys(bank: KeysDesk, clock: MovingClock) -> None:
    before = await bank.of(ADA).info(ADA_ID)
    assert [(key.kind, key.version, key.state) for key in before.keys] == [
        ("profile", 1, "active"),
        ("records", 1, "active"),
    ]
    rotated = await bank.of(ADA).rotate(UUID(int=1))
    assert await bank.of(ADA).rotate(UUID(int=1)) == rotated == await bank.of(AUDITOR).info(ADA_ID)
    assert [(key.kind, key.version, key.state) for key in rotated.keys] == [
        ("profile", 2, "active"),
        ("profile", 1, "deactivated"),
        ("records", 2, "active"),
        ("records", 1, "deactivated"),
    ]
    with pytest.raises(RemoteProblem) as refused:
        await bank.of(ADA).rotate(UUID(int=2))
    assert (refused.value.code, refused.value.status) == ("keys-rotated-just-now", 409)
    clock.advance(ROTATION_PAUSE)
    assert len((await bank.of(ADA).rotate(UUID(int=2))).keys) == 6
    old, new = await bank.of(PAYMENTS).customer_keys([wanted(ADA_ID, "records", 1), wanted(ADA_ID, "records")])
    assert (old.state, new.state, new.version) == ("deactivated", "active", 3)


async def test_the_history_comes_in_pages_and_names_everything_once(bank: KeysDesk) -> None:
    await bank.of(ADA).rotate(UUID(int=1))
    whole = (await bank.of(ADA).history(ADA_ID)).items
    assert [(each.from_state, each.to_state, each.reason) for each in whole].count(
        ("active", "deactivated", "rotation")
    ) == 2
    assert len(whole) == 6
    assert {each.actor for each in whole} == {"Service:identity", f"User:{ADA_ID}"}
    pages, cursor = [], None
    while True:
        page = await bank.of(AUDITOR).history(ADA_ID, cursor=cursor, limit=4)
        pages.append(page.items)
        if (cursor := page.next_cursor) is None:
            break
    assert [each for page in pages for each in page] == whole
    assert [len(page) for page in pages] == [4, 2]


async def test_the_operator_changes_states_and_destroys(bank: KeysDesk) -> None:
    [profile, records] = (await bank.of(ADA).info(ADA_ID)).keys
    await bank.of(OPERATOR).change_state(records.id, "suspended", "compromise-suspected")
    assert await bank.of(PAYMENTS).customer_keys([wanted(ADA_ID, "records")]) == []
    [kept] = await bank.of(PAYMENTS).customer_keys([wanted(ADA_ID, "records", 1)])
    assert kept.state == "suspended"
    await bank.of(OPERATOR).destroy_customer_key(ADA_ID, "profile", "erasure-requested")
    assert await bank.of(IDENTITY).customer_keys([wanted(ADA_ID), wanted(ADA_ID, "profile", 1)]) == []
    with pytest.raises(RemoteProblem) as refused:
        await bank.of(OPERATOR).change_state(profile.id, "active", "error")
    assert (refused.value.code, refused.value.status, refused.value.field) == ("key-transition-refused", 409, "state")


@pytest.mark.parametrize(
    ("caller", "method", "path", "body", "status", "field"),
    [
        (IDENTITY, "POST", "/internal/keys/own", b'{"purposes":[]}', 400, "/purposes"),
        (IDENTITY, "POST", "/internal/keys/own", OWN.replace(b"token", b"Token"), 400, "/purposes/0/purpose"),
        (IDENTITY, "POST", "/internal/keys/own", OWN.replace(b"ML-DSA-65", b"ML-DSA-66"), 400, "algorithm"),
        (IDENTITY, "POST", "/internal/keys/own", OWN.replace(b"ML-DSA-65", b"Ed25519"), 422, "algorithm"),
        (IDENTITY, "POST", "/internal/keys/own", b"{", 400, "body"),
        (IDENTITY, "POST", "/internal/keys/customers", b'{"owner":"ada"}', 400, "/owner"),
        (IDENTITY, "POST", "/internal/keys/customers/open", PROFILE.replace(b"profile", b"card"), 400, "/wanted/0/kind"),
        (IDENTITY, "POST", "/internal/keys/customers/open", b'{"wanted":[]}', 400, "/wanted"),
        (OPERATOR, "POST", f"/internal/keys/customers/{NOBODY}/profile/destroy", DESTROY, 404, None),
        (OPERATOR, "POST", "/internal/keys/customers/x/profile/destroy", DESTROY, 400, "owner"),
        (OPERATOR, "POST", f"/internal/keys/{ONE}/state", STATE, 404, "key"),
        (OPERATOR, "POST", "/internal/keys/x/state", STATE, 400, "key"),
        (OPERATOR, "POST", f"/internal/keys/{ONE}/state", STATE.replace(b"error", b"whim"), 400, "/reason"),
        (AUDITOR, "GET", "/api/quantum/keys/x/info", b"", 400, "user_id"),
        (AUDITOR, "GET", f"/api/quantum/keys/{NOBODY}/info", b"", 404, "user_id"),
        (AUDITOR, "GET", f"/api/quantum/keys/{NOBODY}/history?cursor=abc", b"", 400, "cursor"),
        (AUDITOR, "GET", f"/api/quantum/keys/{NOBODY}/history?cursor=WyJ4IiwieSIsMV0", b"", 400, "cursor"),
        (ADA, "POST", "/api/quantum/keys/rotate", b"", 400, "Idempotency-Key"),
    ],
)  # fmt: skip
async def test_bad_input_is_named(
    bank: KeysDesk, caller: Caller, method: str, path: str, body: bytes, status: int, field: str | None
) -> None:
    response = await bank.ask(caller, method, path, body)
    said = msgspec.json.decode(response.body)
    named = said.get("field") or (said.get("errors") or [{}])[0].get("field")
    assert (response.status, named) == (status, field), said


async def test_too_many_keys_at_once_are_refused(bank: KeysDesk) -> None:
    many = json.dumps({"wanted": [{"owner": str(ADA_ID), "kind": "records"}] * 1001}).encode()
    response = await bank.ask(PAYMENTS, "POST", "/internal/keys/customers/open", many)
    assert response.status == 400
    full = json.dumps({"wanted": [{"owner": str(ADA_ID), "kind": "records"}] * 1000}).encode()
    assert (await bank.ask(PAYMENTS, "POST", "/internal/keys/customers/open", full)).status == 200


async def test_no_answer_with_a_secret_is_stored_on_its_way(bank: KeysDesk) -> None:
    for path, body in (("own", OWN), ("customers/open", PROFILE)):
        response = await bank.ask(IDENTITY, "POST", f"/internal/keys/{path}", body)
        assert (response.status, response.headers["cache-control"]) == (200, "no-store")


async def test_keys_are_not_shown_by_what_holds_them(bank: KeysDesk) -> None:
    [own] = await bank.of(IDENTITY).own_keys([OwnKeyRequest("other", "HMAC-SHA256")])
    [opened] = await bank.of(IDENTITY).customer_keys([wanted(ADA_ID)])
    assert isinstance(own, OwnKey)
    assert isinstance(opened, CustomerKey)
    assert own.secret not in f"{own} {own!r} {[own]}"
    assert opened.secret not in f"{opened} {opened!r} {[opened]}"
