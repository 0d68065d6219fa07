"""What the database itself refuses, whoever asks."""

from datetime import timedelta

import psycopg
import pytest

from tests.security.identity.people import Branch

FORBIDDEN = [
    "UPDATE devices SET user_id = gen_random_uuid()",
    "UPDATE devices SET public_key = sha512('x')",
    "UPDATE devices SET active_from = active_from - interval '1 day'",
    "UPDATE devices SET document = 'x'",
    "UPDATE devices SET sponsor = id, sponsor_signature = 'x'",
    "DELETE FROM devices",
    "TRUNCATE devices",
    "UPDATE proposals SET name = 'admin'",
    "UPDATE proposals SET state = 1, decided_by = NULL, decided_at = NULL, decision = NULL, decision_signature = NULL",
    "UPDATE proposals SET decided_by = proposer WHERE state = 1",
    "DELETE FROM proposals",
    "TRUNCATE proposals",
    "UPDATE first_admins SET named_at = now()",
    "DELETE FROM first_admins",
    "TRUNCATE first_admins",
    "INSERT INTO rights SELECT book, user_id, 'owner', now(), NULL FROM rights LIMIT 1",
    "UPDATE users SET email_index = (SELECT min(email_index) FROM users)",
    "UPDATE sessions SET ends_at = started_at",
    "UPDATE users SET epoch = 0",
]


async def test_evidence_cannot_be_changed_even_by_who_writes_to_the_tables(branch: Branch) -> None:
    anna, axel = await branch.first_admins()
    ada = await branch.register("ada")
    await branch.grant(ada, "teller", anna, axel)
    await branch.propose(anna, ada, "auditor")
    before = branch.rows("SELECT d::text FROM devices d UNION ALL SELECT p::text FROM proposals p ORDER BY 1")
    for statement in FORBIDDEN:
        with pytest.raises(psycopg.Error):
            branch.write(statement)
    assert branch.rows("SELECT d::text FROM devices d UNION ALL SELECT p::text FROM proposals p ORDER BY 1") == before


async def test_a_revoked_device_stays_revoked(branch: Branch) -> None:
    ada = await branch.register("ada")
    branch.write("UPDATE devices SET revoked_at = %s, revoke_reason = 'lost'", branch.clock.now() + timedelta(hours=1))
    for statement in (
        "UPDATE devices SET revoked_at = NULL, revoke_reason = NULL",
        "UPDATE devices SET revoked_at = now()",
    ):
        with pytest.raises(psycopg.Error):
            branch.write(statement)
    assert branch.rows("SELECT revoke_reason FROM devices WHERE id = %s", ada.device.id) == [("lost",)]
