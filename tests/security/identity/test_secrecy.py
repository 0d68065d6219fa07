"""Nothing personal lies open: not in the tables, not in events, not in what the bank says of itself."""

import asyncio
import logging
import re
from collections.abc import Iterator
from io import StringIO

import psycopg
import pytest
import structlog
from psycopg import sql

from latticebank.crypto.envelope import sealed_under
from latticebank.crypto.errors import SealBroken
from latticebank.kernel.telemetry import configure_logs
from latticebank.security.identity.service.profile_keys import ProfileErased, ProfileKeys
from latticebank.security.keys.client import KeysClient
from tests.security.identity.people import Branch, Device, said, told

TAG = re.compile(r"personal: .+; purpose: .+; retention: .+; key: (profile|records)")


def tables(connection: psycopg.Connection[tuple[object, ...]]) -> list[str]:
    found = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    return [str(row[0]) for row in found]


def dump(url: str) -> str:
    """Everything that a database holds, bytes as text and in hexadecimal."""
    with psycopg.connect(url) as connection:
        rows = [
            str(row)
            for table in tables(connection)
            for row in connection.execute(sql.SQL("SELECT t, t::text FROM {} t").format(sql.Identifier(table)))
        ]
    return "\n".join(rows)


async def test_personal_columns_are_tagged_and_sealed(branch: Branch) -> None:
    ada = await branch.register("ada")
    await branch.enrol(ada, Device(branch.ids()))
    tagged = branch.rows(
        """
        SELECT c.relname, a.attname, format_type(a.atttypid, NULL), col_description(c.oid, a.attnum)
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = 'public'::regnamespace AND starts_with(col_description(c.oid, a.attnum), 'personal:')
        ORDER BY 1, 2
        """
    )
    assert [(table, column) for table, column, _, _ in tagged] == [
        ("devices", "name"),
        ("proposals", "device_name"),
        ("users", "profile"),
    ]
    for table, column, kind, comment in tagged:
        assert TAG.fullmatch(comment), comment
        assert kind == "bytea"
        values = branch.rows(f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL")
        assert all(sealed_under(value)[1] == 1 for (value,) in values)


@pytest.fixture
def logs() -> Iterator[StringIO]:
    """All that the bank logs, from its start; afterwards logs go where they went before."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    lines = StringIO()
    configure_logs(lines, level="debug")
    yield lines
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


async def test_neither_tables_nor_events_nor_logs_hold_a_name_an_address_or_a_secret(
    logs: StringIO, branch: Branch
) -> None:
    grace = await branch.register("grace")
    await branch.enrol(grace, Device(branch.ids()))
    await branch.try_log_in(grace.email, "quite the wrong password")
    await branch.ask("POST", "/api/users/register", branch.registration(branch.person("grace")))
    await branch.ask("POST", "/api/users/register", branch.registration(grace, full_name="Grace Mallory"))
    await branch.ask("GET", f"/api/users/{grace.user}/profile", who=grace)
    personal = ["grace", "Grace", "Lovelace", "Mallory", "4915112345678", "kitchen tablet", "example.org"]
    secrets = [grace.password, "quite the wrong password", grace.token, grace.device.key.seed.hex()]
    seen = {name: dump(url) for name, url in branch.urls.items()}
    seen |= {"logs": logs.getvalue(), "metrics": branch.bank.context.metrics.render().decode()}
    assert all(seen.values())
    for where, held in seen.items():
        for text in (*personal, *secrets):
            assert (where, text, text in held) == (where, text, False)
            assert (where, text, text.encode().hex() in held) == (where, text, False)


async def test_errors_do_not_repeat_what_was_typed(branch: Branch) -> None:
    ada = branch.person("ada")
    for changed in ({"email": "ada at home"}, {"password": "qwertyuiop123"}, {"phone": "0151 99"}, {"full_name": 7}):
        answer = await branch.ask("POST", "/api/users/register", branch.registration(ada, **changed))
        assert answer.status in (400, 422)
        assert str(next(iter(changed.values()))) not in said(answer)["detail"]


async def test_a_sealed_value_moved_to_another_row_does_not_open(branch: Branch) -> None:
    ada, bob = await branch.register("ada"), await branch.register("bob")
    [(profile,)] = branch.rows("SELECT profile FROM users WHERE id = %s", ada.user)
    branch.write("UPDATE users SET profile = %s WHERE id = %s", profile, bob.user)
    assert (await branch.ask("GET", f"/api/users/{bob.user}/profile", who=bob)).status >= 500
    assert (await branch.ask("GET", f"/api/users/{ada.user}/profile", who=ada)).status == 200


async def test_an_erased_profile_is_gone_within_a_minute_and_the_devices_stay_as_evidence(branch: Branch) -> None:
    ada = await branch.register("ada")
    path = f"/internal/keys/customers/{ada.user}/profile/destroy"
    operator = {"Content-Type": "application/json"}
    operator["Authorization"] = await branch.operator()
    gone = await branch.send("keys", "POST", path, {"reason": "erasure-requested"}, operator)
    assert gone.status == 204, gone.body
    branch.forget_profile_keys()
    assert told(await branch.ask("GET", f"/api/users/{ada.user}/profile", who=ada)) == (404, "profile-erased")
    [record] = await branch.payments.devices([ada.device.id])
    assert record.user == ada.user


async def test_profile_keys_are_remembered_for_a_minute_and_not_all_of_them(
    branch: Branch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("latticebank.security.identity.service.profile_keys.REMEMBERED", 2)
    context = branch.bank.context
    seconds = 0.0
    client = KeysClient(context.transport("keys"), context.credential("identity", "keys"))
    keys = ProfileKeys(client, lambda: seconds)
    owners = [branch.ids() for _ in range(3)]
    await asyncio.gather(*(client.create_customer_keys(owner) for owner in owners))
    first = await keys.key(owners[0])
    assert await keys.key(owners[0]) is first
    await keys.key(owners[1])
    await keys.key(owners[2])
    again = await keys.key(owners[0])
    assert again is not first
    assert again.secret == first.secret
    seconds = 60.0
    assert await keys.key(owners[0]) is not again
    sealed = await keys.seal(owners[0], b"Ada", "users", "profile", owners[0])
    with pytest.raises(SealBroken):
        await keys.open(owners[1], sealed, "users", "profile", owners[0])
    with pytest.raises(ProfileErased):
        await keys.key(branch.ids())
