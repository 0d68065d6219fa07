"""The tree of keys: made once, the same after a restart, opened, rotated, suspended and destroyed; intruders found."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import pytest

from latticebank.crypto.envelope import FieldKey
from latticebank.crypto.errors import UnknownAlgorithm
from latticebank.crypto.sealing import SealingKey, seal
from latticebank.crypto.signatures import SigningKey
from latticebank.kernel.database import Database
from latticebank.kernel.outbox import events_of
from latticebank.kernel.settings import Settings
from latticebank.security.keys.events import KEY_CREATED, KEY_STATE_CHANGED
from latticebank.security.keys.model import (
    KeyDamaged,
    KeyNotFound,
    KeyOfOtherAlgorithm,
    KeyState,
    KeySuspended,
    TransitionRefused,
    info_of,
    place_of,
)
from latticebank.security.keys.service.kek import KekRefused
from latticebank.security.keys.service.keyring import ROTATION_PAUSE, Keyring, RotatedJustNow, open_keyring
from latticebank.security.keys.wire import OwnKeyRequest
from latticebank.values.ids import Uuid7Source
from tests.clocks import MovingClock
from tests.security.keys.desk import ADA_ID, BOB_ID, EMAIL_INDEX, SEALING, TOKEN_SIGNING, opened, wanted

Intruder = psycopg.Connection[Any]
ACTOR = "Service:identity"


@pytest.fixture
async def customers(keyring: Keyring) -> Keyring:
    """A keyring with the keys of two customers."""
    await keyring.create_customer_keys(ADA_ID, ACTOR)
    await keyring.create_customer_keys(BOB_ID, ACTOR)
    return keyring


async def reopened(settings: Settings, database: Database, clock: MovingClock) -> Keyring:
    """The keyring of a process that starts now."""
    return await open_keyring(settings, database, clock, Uuid7Source(clock))


async def test_a_service_has_its_keys_for_ever(
    keyring: Keyring, settings: Settings, database: Database, clock: MovingClock
) -> None:
    requests = [TOKEN_SIGNING, EMAIL_INDEX, SEALING]
    first = await keyring.own_keys("identity", requests)

    assert [(key.purpose, key.version, key.state) for key, _ in first] == [
        (request.purpose, 1, KeyState.ACTIVE) for request in requests
    ]
    signing, index, sealing = (secret for _, secret in first)
    assert SigningKey.from_seed("ML-DSA-65", signing.value).public_bytes == signing.public
    assert SealingKey.from_seed(SEALING.algorithm, sealing.value).public_bytes == sealing.public
    assert (len(index.value), index.public) == (32, b"")
    again = await (await reopened(settings, database, clock)).own_keys("identity", requests)
    assert again == first
    others = await keyring.own_keys("payments", requests)
    assert {secret.value for _, secret in others}.isdisjoint({secret.value for _, secret in first})


async def test_services_that_start_at_once_get_one_key(keyring: Keyring) -> None:
    held = await asyncio.gather(*(keyring.own_keys("identity", [TOKEN_SIGNING]) for _ in range(4)))
    assert len({key.id for [(key, _)] in held}) == 1


async def test_a_key_of_another_algorithm_is_refused_and_an_unknown_one_not_made(keyring: Keyring) -> None:
    await keyring.own_keys("identity", [TOKEN_SIGNING])
    with pytest.raises(KeyOfOtherAlgorithm):
        await keyring.own_keys("identity", [OwnKeyRequest("token-signing", "ML-DSA-87")])
    with pytest.raises(UnknownAlgorithm):
        await keyring.own_keys("identity", [OwnKeyRequest("other", "HMAC-MD5")])
    assert len(await keyring.own_keys("identity", [TOKEN_SIGNING])) == 1


async def test_a_deactivated_key_is_replaced_and_still_given_out_behind_the_new_one(keyring: Keyring) -> None:
    [(old, secret)] = await keyring.own_keys("identity", [TOKEN_SIGNING])
    await keyring.change_state(old.id, KeyState.DEACTIVATED, "rotation", ACTOR)
    held = await keyring.own_keys("identity", [TOKEN_SIGNING])
    assert [(key.version, key.state) for key, _ in held] == [(2, KeyState.ACTIVE), (1, KeyState.DEACTIVATED)]
    assert held[1][1] == secret
    assert held[0][1] != secret
    await keyring.change_state(old.id, KeyState.COMPROMISED, "compromise-known", ACTOR)
    assert [key.version for key, _ in await keyring.own_keys("identity", [TOKEN_SIGNING])] == [2]


async def test_a_suspended_key_is_neither_given_out_nor_replaced(keyring: Keyring) -> None:
    [(key, secret)] = await keyring.own_keys("identity", [TOKEN_SIGNING])
    await keyring.change_state(key.id, KeyState.SUSPENDED, "compromise-suspected", ACTOR)
    with pytest.raises(KeySuspended):
        await keyring.own_keys("identity", [TOKEN_SIGNING])
    await keyring.change_state(key.id, KeyState.ACTIVE, "suspicion-cleared", ACTOR)
    [(_, again)] = await keyring.own_keys("identity", [TOKEN_SIGNING])
    assert again == secret


async def test_a_customer_has_two_keys_made_once(customers: Keyring, clock: MovingClock) -> None:
    requests = [wanted(ADA_ID), wanted(ADA_ID, "records"), wanted(BOB_ID), wanted(BOB_ID, "records")]
    first = await opened(customers, *requests)
    assert len(set(first)) == 4
    assert {len(secret) for secret in first} == {32}
    await asyncio.gather(*(customers.create_customer_keys(ADA_ID, ACTOR) for _ in range(3)))
    assert await opened(customers, *requests) == first
    assert [key.version for key in await customers.keys_of_customer(ADA_ID)] == [1, 1]


async def test_customers_keys_open_after_a_restart(
    customers: Keyring, settings: Settings, database: Database, clock: MovingClock
) -> None:
    before = await opened(customers, wanted(ADA_ID), wanted(BOB_ID, "records"))
    assert await opened(await reopened(settings, database, clock), wanted(ADA_ID), wanted(BOB_ID, "records")) == before


async def test_what_is_not_there_is_left_out_and_the_order_kept(customers: Keyring) -> None:
    nobody = UUID(int=7)
    found = await customers.open_customer_keys(
        [wanted(BOB_ID), wanted(nobody), wanted(ADA_ID, version=2), wanted(ADA_ID, version=1), wanted(BOB_ID)]
    )
    assert [(request.owner, request.version) for request, _, _ in found] == [
        (BOB_ID, None),
        (ADA_ID, 1),
        (BOB_ID, None),
    ]
    with pytest.raises(KeyNotFound):
        await customers.keys_of_customer(nobody)


async def test_rotation_gives_new_keys_and_keeps_the_old_to_open_with(customers: Keyring, clock: MovingClock) -> None:
    [old] = await opened(customers, wanted(ADA_ID))
    await customers.rotate(ADA_ID, UUID(int=1), ACTOR)
    [[_, active, new], [_, first, same]] = await customers.open_customer_keys(
        [wanted(ADA_ID), wanted(ADA_ID, version=1)]
    )
    assert (active.version, active.state) == (2, KeyState.ACTIVE)
    assert (first.version, first.state) == (1, KeyState.DEACTIVATED)
    assert same.value == old != new.value
    assert [key.version for key in await customers.keys_of_customer(ADA_ID)] == [2, 1, 2, 1]
    assert len(await customers.keys_of_customer(BOB_ID)) == 2


async def test_the_same_command_rotates_once_and_another_only_after_a_while(
    customers: Keyring, clock: MovingClock
) -> None:
    await asyncio.gather(*(customers.rotate(ADA_ID, UUID(int=1), ACTOR) for _ in range(3)))
    assert len(await customers.keys_of_customer(ADA_ID)) == 4
    with pytest.raises(RotatedJustNow):
        await customers.rotate(ADA_ID, UUID(int=2), ACTOR)
    clock.advance(ROTATION_PAUSE)
    await customers.rotate(ADA_ID, UUID(int=2), ACTOR)
    await customers.rotate(ADA_ID, UUID(int=1), ACTOR)
    assert len(await customers.keys_of_customer(ADA_ID)) == 6
    with pytest.raises(KeyNotFound):
        await customers.rotate(UUID(int=7), UUID(int=1), ACTOR)


async def test_a_destroyed_profile_key_is_gone_for_ever_and_the_records_key_stays(
    customers: Keyring, intruder: Intruder, clock: MovingClock
) -> None:
    await customers.rotate(ADA_ID, UUID(int=1), ACTOR)
    [records] = await opened(customers, wanted(ADA_ID, "records"))
    for _ in range(2):
        await customers.destroy_customer_key(ADA_ID, "profile", "erasure-requested", "Operator:break-glass")
    both = [wanted(ADA_ID), wanted(ADA_ID, version=1), wanted(ADA_ID, version=2)]
    assert await opened(customers, *both, wanted(ADA_ID, "records")) == [records]
    rows = intruder.execute("SELECT wrapped FROM keys WHERE purpose = 'profile' AND owner LIKE %s", (f"%{ADA_ID}",))
    assert rows.fetchall() == [(None,), (None,)]

    await customers.create_customer_keys(ADA_ID, ACTOR)
    clock.advance(timedelta(days=1))
    await customers.rotate(ADA_ID, UUID(int=2), ACTOR)
    assert await opened(customers, wanted(ADA_ID)) == []
    assert len(await opened(customers, wanted(BOB_ID))) == 1
    page = await customers.history(ADA_ID, (clock.now() - timedelta(days=3), UUID(int=0), 0), 100)
    profile = Counter(change.to_state for change, kind, _ in page if kind == "profile")
    assert profile == {KeyState.ACTIVE: 2, KeyState.DEACTIVATED: 1, KeyState.DESTROYED: 2}
    with pytest.raises(KeyNotFound):
        await customers.destroy_customer_key(UUID(int=7), "profile", "erasure-requested", ACTOR)


async def test_refused_changes_change_nothing(customers: Keyring) -> None:
    [[_, key, _]] = await customers.open_customer_keys([wanted(ADA_ID)])
    await customers.change_state(key.id, KeyState.COMPROMISED, "compromise-known", ACTOR)
    for state in (KeyState.ACTIVE, KeyState.SUSPENDED, KeyState.DEACTIVATED, KeyState.PRE_ACTIVATION):
        with pytest.raises(TransitionRefused):
            await customers.change_state(key.id, state, "error", ACTOR)
    await customers.change_state(key.id, KeyState.COMPROMISED, "error", ACTOR)
    [found] = [each for each in await customers.keys_of_customer(ADA_ID) if each.id == key.id]
    assert (found.state, found.changes) == (KeyState.COMPROMISED, 2)
    assert await opened(customers, wanted(ADA_ID)) == []
    assert len(await opened(customers, wanted(ADA_ID, version=1))) == 1
    with pytest.raises(KeyNotFound):
        await customers.change_state(UUID(int=7), KeyState.ACTIVE, "error", ACTOR)


async def test_the_keys_that_wrap_customers_keys_are_not_destroyed_over_them(
    customers: Keyring, intruder: Intruder
) -> None:
    rows = intruder.execute("SELECT id FROM keys WHERE owner = 'service:keys'").fetchall()
    assert len(rows) == 2
    for (identifier,) in rows:
        with pytest.raises(TransitionRefused):
            await customers.change_state(identifier, KeyState.DESTROYED, "error", ACTOR)
        await customers.change_state(identifier, KeyState.DEACTIVATED, "rotation", ACTOR)
    before = await opened(customers, wanted(ADA_ID))
    await customers.create_customer_keys(UUID(int=7), ACTOR)
    assert len({*before, *await opened(customers, wanted(ADA_ID), wanted(UUID(int=7)))}) == 2
    count = intruder.execute("SELECT count(*) FROM keys WHERE owner = 'service:keys'").fetchone()
    assert count == (4,)


async def test_wrapped_keys_that_were_changed_or_swapped_do_not_open(
    customers: Keyring, intruder: Intruder, settings: Settings, database: Database, clock: MovingClock
) -> None:
    def wrapped(purpose: str, owner: UUID = ADA_ID) -> bytes:
        row = intruder.execute(
            "SELECT wrapped FROM keys WHERE purpose = %s AND owner = %s", (purpose, f"customer:{owner}")
        ).fetchone()
        assert row is not None
        return bytes(row[0])

    def put(value: bytes) -> None:
        intruder.execute(
            "UPDATE keys SET wrapped = %s WHERE purpose = 'profile' AND owner = %s", (value, f"customer:{ADA_ID}")
        )

    whole = wrapped("profile")
    flipped = [whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :] for place in (0, 5, 19, 25, 60, 900, -1)]
    for value in (*flipped, whole[:-1], wrapped("records"), wrapped("profile", BOB_ID), bytes(100)):
        put(value)
        for keyring in (customers, await reopened(settings, database, clock)):
            with pytest.raises(KeyDamaged):
                await opened(keyring, wanted(ADA_ID))
            with pytest.raises(KeyDamaged):
                await opened(keyring, wanted(BOB_ID), wanted(ADA_ID))
    put(whole)
    assert len(await opened(customers, wanted(ADA_ID))) == 1


async def test_a_customer_key_that_an_intruder_sealed_to_the_service_does_not_open(
    customers: Keyring, intruder: Intruder
) -> None:
    [[_, key, _]] = await customers.open_customer_keys([wanted(ADA_ID)])
    [(public,)] = intruder.execute("SELECT public_key FROM keys WHERE id = %s", (key.parent,)).fetchall()
    assert key.wrapped is not None
    known = b"\x07" * 32
    box = seal(SEALING.algorithm, bytes(public), known, info_of(key))
    for planted in (
        box,
        key.wrapped[:32] + box,
        FieldKey(UUID(bytes=key.wrapped[2:18]), 1, known).seal(box, place_of(1, key)),
    ):
        intruder.execute("UPDATE keys SET wrapped = %s WHERE id = %s", (planted, key.id))
        with pytest.raises(KeyDamaged):
            await opened(customers, wanted(ADA_ID))


async def test_a_service_key_that_was_changed_or_swapped_does_not_open(keyring: Keyring, intruder: Intruder) -> None:
    other = OwnKeyRequest("blind-index/phone", "HMAC-SHA256")
    [[key, _], [second, _]] = await keyring.own_keys("identity", [EMAIL_INDEX, other])
    for value in (second.wrapped, bytes(80)):
        intruder.execute("UPDATE keys SET wrapped = %s WHERE id = %s", (value, key.id))
        with pytest.raises(KeyDamaged):
            await keyring.own_keys("identity", [EMAIL_INDEX])


async def test_a_public_key_that_is_not_that_of_the_secret_is_found(keyring: Keyring, intruder: Intruder) -> None:
    [[key, _]] = await keyring.own_keys("identity", [TOKEN_SIGNING])
    planted = SigningKey.generate("ML-DSA-65").public_bytes
    with intruder.transaction():
        intruder.execute("SET LOCAL session_replication_role = replica")
        intruder.execute("UPDATE keys SET public_key = %s WHERE id = %s", (planted, key.id))
    with pytest.raises(KeyDamaged):
        await keyring.own_keys("identity", [TOKEN_SIGNING])


async def test_rows_relabelled_behind_the_guards_do_not_open(customers: Keyring, intruder: Intruder) -> None:
    [[_, key, _]] = await customers.open_customer_keys([wanted(ADA_ID)])
    for change in (f"owner = 'customer:{UUID(int=9)}'", "version = 9", "algorithm = 'ChaCha20-Poly1305'"):
        with intruder.transaction():
            intruder.execute("SET LOCAL session_replication_role = replica")
            intruder.execute(f"UPDATE keys SET {change} WHERE id = %s", (key.id,))
        with pytest.raises(KeyDamaged):
            await opened(customers, wanted(ADA_ID), wanted(UUID(int=9)))
        with intruder.transaction():
            intruder.execute("SET LOCAL session_replication_role = replica")
            undo = (key.owner, key.version, key.algorithm, key.id)
            intruder.execute("UPDATE keys SET owner = %s, version = %s, algorithm = %s WHERE id = %s", undo)
    assert len(await opened(customers, wanted(ADA_ID))) == 1


async def test_books_do_not_see_each_others_keys(
    customers: Keyring, settings: Settings, database: Database, clock: MovingClock, intruder: Intruder
) -> None:
    other = await reopened(settings.model_copy(update={"book": 2}), database, clock)
    with pytest.raises(KeyNotFound):
        await other.keys_of_customer(ADA_ID)
    await other.create_customer_keys(ADA_ID, ACTOR)
    assert await opened(other, wanted(ADA_ID)) != await opened(customers, wanted(ADA_ID))


async def test_keys_of_another_kek_keep_the_service_closed(
    customers: Keyring, settings: Settings, database: Database, clock: MovingClock
) -> None:
    elsewhere = settings.model_copy(update={"data": settings.data / "other"})
    with pytest.raises(KekRefused, match="is missing"):
        await reopened(elsewhere, database, clock)


async def test_every_change_is_told_once_with_ids_and_states_only(customers: Keyring, intruder: Intruder) -> None:
    await customers.rotate(ADA_ID, UUID(int=1), ACTOR)
    await customers.destroy_customer_key(BOB_ID, "profile", "erasure-requested", ACTOR)
    rows = intruder.execute("SELECT events FROM outbox ORDER BY id").fetchall()
    events = [event for (row,) in rows for event in events_of(bytes(row))]
    kinds = Counter(event.type for event in events)
    assert kinds == {KEY_CREATED: 2 + 4 + 2, KEY_STATE_CHANGED: 2 + 1}
    count = intruder.execute("SELECT count(*) FROM key_history").fetchone()
    assert count == (len(events),)
    told = [msgspec.json.decode(event.data) for event in events]
    assert {frozenset(each) for each in told} == {
        frozenset({"key", "owner", "purpose", "version", "algorithm", "state", "actor"}),
        frozenset({"key", "owner", "purpose", "version", "from_state", "to_state", "reason", "actor"}),
    }
    destroyed = [each for each in told if each.get("to_state") == "destroyed"]
    assert [(each["owner"], each["reason"]) for each in destroyed] == [(f"customer:{BOB_ID}", "erasure-requested")]
    of_customers = {each["actor"] for each in told if each["owner"].startswith("customer:")}
    assert of_customers == {ACTOR}


async def test_the_history_names_actor_reason_and_time(customers: Keyring, clock: MovingClock) -> None:
    [[_, key, _]] = await customers.open_customer_keys([wanted(ADA_ID)])
    clock.advance(timedelta(hours=2))
    await customers.change_state(key.id, KeyState.SUSPENDED, "compromise-suspected", "Operator:break-glass")
    rows = await customers.history(ADA_ID, (key.created_at - timedelta(days=1), UUID(int=0), 0), 100)
    assert len(rows) == 3
    last, kind, version = rows[-1]
    assert (kind, version, last.number, last.from_state, last.to_state) == (
        "profile", 1, 2, KeyState.ACTIVE, KeyState.SUSPENDED,
    )  # fmt: skip
    assert (last.actor, last.reason, last.at) == ("Operator:break-glass", "compromise-suspected", clock.now())
    with pytest.raises(KeySuspended):
        await customers.rotate(ADA_ID, UUID(int=1), ACTOR)
    assert replace(last, number=1) != last
