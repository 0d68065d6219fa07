"""Nothing secret leaves by a side door: not into the database, the logs, the events or the files of the bank."""

import base64
import json
from collections.abc import Iterator
from io import StringIO
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from latticebank.kernel.settings import Settings
from latticebank.security.keys.service.kek import open_kek
from tests.banking.ledger.callers import ADA, AUDITOR, IDENTITY, PAYMENTS
from tests.clocks import MovingClock
from tests.security.keys.desk import ADA_ID, BOB_ID, EMAIL_INDEX, TOKEN_SIGNING, decoded, open_keys, wanted

PASSPHRASE = "eight maids a-milking"


def forms(secret: bytes) -> Iterator[bytes]:
    """The ways in which a secret could be written down."""
    yield secret
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(secret).rstrip(b"=")
    yield repr(secret)[2:-1].encode()
    yield json.dumps(list(secret)).encode()


def dump(intruder: psycopg.Connection[Any]) -> bytes:
    """Every column of every row of every table, bytes as they are and in text form."""
    tables = intruder.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1").fetchall()
    found: list[bytes] = []
    for (table,) in tables:
        for row in intruder.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(table))):
            found += [bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode() for value in row]
    assert {"keys", "key_history", "outbox"} <= {table for (table,) in tables}
    return b"\0".join(found)


async def test_a_dump_the_logs_and_the_files_hold_no_secret(
    url: str,
    settings: Settings,
    clock: MovingClock,
    intruder: psycopg.Connection[Any],
    capfd: pytest.CaptureFixture[str],
    logs: StringIO,
) -> None:
    sealed = settings.model_copy(update={"demo": False, "kek_passphrase": SecretStr(PASSPHRASE)})
    async with open_keys(sealed, url, clock) as desk:
        own = await desk.of(IDENTITY).own_keys([TOKEN_SIGNING, EMAIL_INDEX])
        for customer in (ADA_ID, BOB_ID):
            await desk.of(IDENTITY).create_customer_keys(customer)
        await desk.of(ADA).rotate(UUID(int=1))
        opened = await desk.of(IDENTITY).customer_keys(
            [wanted(ADA_ID), wanted(ADA_ID, "profile", 1), wanted(ADA_ID, "records"), wanted(BOB_ID)]
        )
        shown = [
            (await desk.ask(caller, "GET", f"/api/quantum/keys/{ADA_ID}/{what}")).body
            for caller in (ADA, AUDITOR)
            for what in ("info", "history")
        ]
        intruder.execute("UPDATE keys SET wrapped = wrapped || 'x' WHERE purpose = 'records'")
        broken = await desk.ask(
            PAYMENTS, "POST", "/internal/keys/customers/open",
            json.dumps({"wanted": [{"owner": str(ADA_ID), "kind": "records"}]}).encode(),
        )  # fmt: skip
        assert broken.status == 500
    kek = open_kek(sealed, None)
    secrets = [decoded(text) for text in (*(key.secret for key in own), *(key.secret for key in opened))]
    secrets += [kek.secret, PASSPHRASE.encode()]
    assert len(set(secrets)) == len(secrets) == 8

    said = capfd.readouterr()
    files = b"\0".join(path.read_bytes() for path in sealed.data.rglob("*") if path.is_file())
    places = {
        "database": dump(intruder),
        "logs": (said.out + said.err + logs.getvalue()).encode(),
        "files": files,
        "answers": b"\0".join([*shown, broken.body]),
    }
    # What is not secret is found, so what is secret would be.
    assert decoded(own[0].public) in places["database"]
    assert b"/internal/keys/customers/open" in places["logs"]
    assert str(ADA_ID).encode() in places["answers"]
    found = [
        name for name, content in places.items() for secret in secrets for form in forms(secret) if form in content
    ]
    assert found == []
