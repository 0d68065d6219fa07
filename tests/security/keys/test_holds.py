"""While a legal hold stands over a customer, none of the customer's keys is destroyed, whoever asks."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import pytest

from latticebank.kernel.caller import OPERATOR
from latticebank.kernel.client import RemoteProblem
from latticebank.kernel.outbox import events_of
from latticebank.security.keys.events import HoldChanged
from latticebank.security.keys.model import KeyState
from latticebank.security.keys.service.keyring import Keyring
from latticebank.security.keys.service.tombstones import tombstones_of
from tests.banking.ledger.callers import ADMIN, IDENTITY
from tests.clocks import MovingClock
from tests.security.keys.desk import ADA_ID, BOB_ID, KeysDesk, opened, wanted

NOBODY = UUID(int=77)
DESTROY = f"/internal/keys/customers/{ADA_ID}/profile/destroy"


@pytest.fixture
async def bank(desk: KeysDesk) -> KeysDesk:
    """A bank where Ada and Bob have keys."""
    for customer in (ADA_ID, BOB_ID):
        await desk.of(IDENTITY).create_customer_keys(customer)
    return desk


async def refused(asked: Any) -> tuple[int, str]:
    """Status and code of the refusal."""
    with pytest.raises(RemoteProblem) as problem:
        await asked
    return problem.value.status, problem.value.code


async def test_a_hold_keeps_every_key_of_its_customer_and_of_nobody_else(bank: KeysDesk) -> None:
    operator = bank.of(OPERATOR)
    assert (await operator.place_hold(ADA_ID, "court-order")).held
    for kind in ("profile", "records"):
        destruction = operator.destroy_customer_key(ADA_ID, kind, "erasure-requested")
        assert await refused(destruction) == (409, "legal-hold")
    for key in (await operator.info(ADA_ID)).keys:
        assert await refused(operator.change_state(key.id, "destroyed", "no-longer-needed")) == (409, "legal-hold")
        await operator.change_state(key.id, "suspended", "error")
    assert await tombstones_of(bank.bank.context.settings).graves() == {}
    await operator.destroy_customer_key(BOB_ID, "profile", "erasure-requested")

    assert not (await operator.lift_hold(ADA_ID)).held
    await operator.destroy_customer_key(ADA_ID, "profile", "erasure-requested")
    states = {key.kind: key.state for key in (await operator.info(ADA_ID)).keys}
    assert states == {"profile": "destroyed", "records": "suspended"}


async def test_the_keys_are_free_when_the_last_hold_is_lifted(bank: KeysDesk, clock: MovingClock) -> None:
    operator = bank.of(OPERATOR)
    for reason in ("court-order", "tax-audit", "court-order"):
        await operator.place_hold(ADA_ID, reason)
        clock.advance(timedelta(hours=1))
    lifted = await operator.lift_hold(ADA_ID, "court-order")
    assert [(each.reason, each.lifted_at is None) for each in lifted.holds] == [
        ("court-order", False),
        ("tax-audit", True),
    ]
    assert lifted.held
    assert await refused(operator.destroy_customer_key(ADA_ID, "records", "retention-ended")) == (409, "legal-hold")
    assert not (await operator.lift_hold(ADA_ID, "tax-audit")).held
    assert await operator.lift_hold(ADA_ID) == await bank.of(ADMIN).holds(ADA_ID)
    await operator.place_hold(ADA_ID, "court-order")
    again = (await operator.holds(ADA_ID)).holds
    assert [(each.reason, each.placed_by, each.lifted_by) for each in again] == [
        ("court-order", "Operator:break-glass", "Operator:break-glass"),
        ("tax-audit", "Operator:break-glass", "Operator:break-glass"),
        ("court-order", "Operator:break-glass", None),
    ]


async def test_nobody_is_held_who_has_no_key_left(bank: KeysDesk) -> None:
    operator = bank.of(OPERATOR)
    for asked in (operator.place_hold(NOBODY, "dispute"), operator.lift_hold(NOBODY), operator.holds(NOBODY)):
        assert await refused(asked) == (404, "key-not-found")
    await operator.destroy_customer_key(ADA_ID, "profile", "erasure-requested")
    assert (await operator.place_hold(ADA_ID, "dispute")).held
    # What is destroyed already is no reason to refuse.
    await operator.destroy_customer_key(ADA_ID, "profile", "erasure-requested")
    await operator.lift_hold(ADA_ID)
    await operator.destroy_customer_key(ADA_ID, "records", "retention-ended")
    assert await refused(operator.place_hold(ADA_ID, "dispute")) == (404, "key-not-found")


async def test_only_the_reasons_of_the_list_are_taken(bank: KeysDesk) -> None:
    path = f"/api/quantum/keys/{ADA_ID}/hold"
    for body in (b'{"reason": "ada asked nicely"}', b"{}", b'{"reason": "dispute", "note": "Ada"}'):
        assert (await bank.ask(OPERATOR, "PUT", path, body)).status in (400, 422)
    assert (await bank.ask(OPERATOR, "DELETE", f"{path}?reason=whim")).status in (400, 422)
    assert (await bank.of(OPERATOR).holds(ADA_ID)).holds == []


async def test_events_tell_of_every_hold(bank: KeysDesk, intruder: psycopg.Connection[Any]) -> None:
    operator = bank.of(OPERATOR)
    for _ in range(2):
        await operator.place_hold(ADA_ID, "investigation")
    for _ in range(2):
        await operator.lift_hold(ADA_ID)
    rows = intruder.execute("SELECT events FROM outbox ORDER BY id").fetchall()
    told = [event for (batch,) in rows for event in events_of(batch) if ".hold-" in event.type]
    assert [event.type for event in told] == ["latticebank.keys.hold-placed.v1", "latticebank.keys.hold-lifted.v1"]
    for event in told:
        said = msgspec.json.decode(event.data, type=HoldChanged)
        assert said == HoldChanged(f"customer:{ADA_ID}", "investigation", "Operator:break-glass")


DESTROYED = """
    WITH gone AS (UPDATE keys SET state = 6, changes = changes + 1, wrapped = NULL
                  WHERE owner = 'customer:{ada}' AND purpose = 'profile' RETURNING book, id, changes)
    INSERT INTO key_history SELECT book, id, changes, 2, 6, 'Operator:break-glass', '{reason}', now() FROM gone
"""


async def test_the_database_itself_keeps_held_keys(bank: KeysDesk, intruder: psycopg.Connection[Any]) -> None:
    await bank.of(OPERATOR).place_hold(ADA_ID, "court-order")
    with pytest.raises(psycopg.errors.CheckViolation, match="a legal hold stands"):
        intruder.execute(DESTROYED.format(ada=ADA_ID, reason="erasure-requested").encode())
    for statement in (
        "DELETE FROM legal_holds",
        "TRUNCATE legal_holds",
        "UPDATE legal_holds SET reason = 'error'",
        "UPDATE legal_holds SET owner = replace(owner, '1', '2'), lifted_at = placed_at, lifted_by = 'Operator:x'",
        "UPDATE legal_holds SET lifted_at = placed_at",
    ):
        with pytest.raises(psycopg.DatabaseError):
            intruder.execute(statement.encode())
    intruder.execute(DESTROYED.format(ada=ADA_ID, reason="destroyed-before").encode())
    assert intruder.execute("SELECT count(*) FROM keys WHERE state = 6").fetchone() == (1,)


async def test_keys_rotate_and_open_under_a_hold(keyring: Keyring, bank: KeysDesk) -> None:
    await bank.of(OPERATOR).place_hold(ADA_ID, "dispute")
    await keyring.rotate(ADA_ID, UUID(int=1), "User:ada")
    states = [key.state for key in await keyring.keys_of_customer(ADA_ID)]
    assert sorted(states) == [KeyState.ACTIVE, KeyState.ACTIVE, KeyState.DEACTIVATED, KeyState.DEACTIVATED]
    assert len(await opened(keyring, wanted(ADA_ID), wanted(ADA_ID, version=1))) == 2
