"""What the database itself keeps to, whoever writes to it with the bank's own rights."""

from itertools import product
from typing import Any
from uuid import UUID

import psycopg
import pytest

from latticebank.security.keys.model import TRANSITIONS, KeyState
from latticebank.security.keys.service.keyring import Keyring
from tests.security.keys.desk import ADA_ID, opened, wanted

Intruder = psycopg.Connection[Any]

ONE = UUID(int=1)
INSERT = """
    INSERT INTO keys (book, id, owner, purpose, version, algorithm, state, changes, parent, wrapped, public_key, created_at)
    VALUES (1, %s, 'service:identity', 'token-signing', 1, 'ML-DSA-65', %s, 1, %s, %s, '', now())
"""
TELL = "INSERT INTO key_history VALUES (1, %s, %s, %s, %s, 'Operator:break-glass', 'error', now())"
UPDATE = """
    UPDATE keys SET state = %s, changes = changes + 1, wrapped = CASE WHEN %s = 6 THEN NULL ELSE wrapped END
"""


def plant(intruder: Intruder, state: KeyState) -> None:
    """Have one key in a state, as if it had come there: the guards are down for the moment."""
    with intruder.transaction():
        intruder.execute("SET LOCAL session_replication_role = replica")
        intruder.execute("TRUNCATE keys, key_history")
        intruder.execute(INSERT, (ONE, state, ONE, None if state is KeyState.DESTROYED else bytes(80)))
        intruder.execute(TELL, (ONE, 1, None, KeyState.ACTIVE))


def test_the_database_knows_the_same_transitions_as_the_model(intruder: Intruder) -> None:
    for present, next_ in product(KeyState, KeyState):
        if present is next_:
            continue
        plant(intruder, present)

        def change(present: KeyState = present, next_: KeyState = next_) -> None:
            with intruder.transaction():
                intruder.execute(UPDATE, (next_, next_))
                intruder.execute(TELL, (ONE, 2, present, next_))

        if next_ in TRANSITIONS[present]:
            change()
            assert intruder.execute("SELECT state FROM keys").fetchall() == [(next_,)]
        else:
            with pytest.raises(psycopg.errors.CheckViolation, match=f"in state {present:d} never comes"):
                change()


def test_no_state_changes_without_a_word_in_the_history(intruder: Intruder) -> None:
    plant(intruder, KeyState.ACTIVE)
    with pytest.raises(psycopg.errors.CheckViolation, match="does not tell"):
        intruder.execute(UPDATE, (KeyState.DEACTIVATED, KeyState.DEACTIVATED))
    with pytest.raises(psycopg.errors.CheckViolation, match="counts one"):
        intruder.execute("UPDATE keys SET state = 4")

    def tell_otherwise() -> None:
        with intruder.transaction():
            intruder.execute(UPDATE, (KeyState.DEACTIVATED, KeyState.DEACTIVATED))
            intruder.execute(TELL, (ONE, 2, KeyState.ACTIVE, KeyState.SUSPENDED))

    with pytest.raises(psycopg.errors.CheckViolation, match="does not tell"):
        tell_otherwise()
    with pytest.raises(psycopg.errors.CheckViolation, match="does not tell"):
        intruder.execute(INSERT.replace("identity", "payments"), (UUID(int=2), KeyState.DEACTIVATED, ONE, bytes(80)))


def test_a_history_of_forbidden_changes_cannot_be_written(intruder: Intruder) -> None:
    plant(intruder, KeyState.DESTROYED)
    for told in ((2, KeyState.DESTROYED, KeyState.ACTIVE), (2, None, KeyState.ACTIVE), (2, KeyState.ACTIVE, 9)):
        with pytest.raises(psycopg.errors.CheckViolation):
            intruder.execute(TELL, (ONE, *told))
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        intruder.execute(TELL, (UUID(int=2), 1, None, KeyState.ACTIVE))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE key_history SET reason = 'rotation'",
        "UPDATE key_history SET at = now()",
        "DELETE FROM key_history",
        "TRUNCATE key_history",
        "DELETE FROM keys",
        "TRUNCATE keys CASCADE",
    ],
)
def test_the_history_is_append_only_and_no_key_disappears(intruder: Intruder, statement: str) -> None:
    plant(intruder, KeyState.ACTIVE)
    with pytest.raises(psycopg.DatabaseError, match=r"append-only|its row stays"):
        intruder.execute(statement)
    assert intruder.execute("SELECT count(*) FROM keys, key_history").fetchone() == (1,)


@pytest.mark.parametrize(
    "change",
    [
        "owner = 'service:payments'",
        "purpose = 'other'",
        "version = 2",
        "algorithm = 'ML-DSA-87'",
        "parent = gen_random_uuid()",
        "public_key = 'x'",
        "id = gen_random_uuid()",
        "created_at = now() - interval '1 day'",
        "book = 2",
    ],
)
def test_what_a_key_is_never_changes(intruder: Intruder, change: str) -> None:
    plant(intruder, KeyState.ACTIVE)
    with pytest.raises(psycopg.errors.CheckViolation, match="what a key is never changes"):
        intruder.execute(f"UPDATE keys SET {change}")


def test_a_destroyed_key_has_no_secret_and_every_other_has_one(intruder: Intruder) -> None:
    plant(intruder, KeyState.ACTIVE)
    with pytest.raises(psycopg.errors.CheckViolation, match="a_destroyed_key_is_gone"):
        intruder.execute("UPDATE keys SET wrapped = NULL")
    with pytest.raises(psycopg.errors.CheckViolation, match="a_destroyed_key_is_gone"):
        intruder.execute("UPDATE keys SET state = 6, changes = 2")
    plant(intruder, KeyState.DESTROYED)
    with pytest.raises(psycopg.errors.CheckViolation, match="a_destroyed_key_is_gone"):
        intruder.execute("UPDATE keys SET wrapped = %s", (bytes(80),))


async def test_one_version_of_a_key_is_active(keyring: Keyring, intruder: Intruder) -> None:
    await keyring.create_customer_keys(ADA_ID, "Service:identity")
    with pytest.raises(psycopg.errors.UniqueViolation, match="one_active_version"):
        intruder.execute(
            """
            INSERT INTO keys SELECT book, gen_random_uuid(), owner, purpose, 2, algorithm, state, changes, parent, wrapped,
                                    public_key, created_at FROM keys WHERE purpose = 'profile'
            """
        )
    assert len(await opened(keyring, wanted(ADA_ID))) == 1


def test_personal_data_has_no_column(intruder: Intruder) -> None:
    rows = intruder.execute(
        """
        SELECT table_name, column_name FROM information_schema.columns
        WHERE table_name IN ('keys', 'key_history', 'legal_holds') ORDER BY 1, ordinal_position
        """
    ).fetchall()
    assert {f"{table}.{column}" for table, column in rows} == {
        *(f"keys.{name}" for name in ("book", "id", "owner", "purpose", "version", "algorithm", "state", "changes",
                                      "parent", "wrapped", "public_key", "created_at")),
        *(f"key_history.{name}" for name in ("book", "key", "number", "from_state", "to_state", "actor", "reason", "at")),
        *(f"legal_holds.{name}" for name in ("book", "id", "owner", "reason", "placed_at", "placed_by", "lifted_at",
                                             "lifted_by")),
    }  # fmt: skip
