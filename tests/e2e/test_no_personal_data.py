"""Whatever people tell the bank lies sealed or nowhere: in no table, event, log, metric or problem is it in clear."""

import asyncio
import logging
import re
import shutil
import subprocess
import tempfile
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unicodedata import normalize
from urllib.parse import quote

import psycopg
import pytest
import structlog
from argon2 import PasswordHasher

from latticebank.crypto import passwords
from latticebank.crypto.envelope import FieldKey, field_place, sealed_under
from latticebank.crypto.errors import SealBroken
from latticebank.documents.document import from_base64url
from latticebank.kernel.telemetry import configure_logs
from latticebank.runtime.binaries import binaries_of_the_wheel
from latticebank.runtime.postgres import EmbeddedPostgres
from latticebank.security.keys.wire import KindWord
from tests.conftest import Templates
from tests.e2e.busy_day import PARTS, REFUSED, SEALED, SECRETS, Traces, pass_a_day
from tests.e2e.scanner import traces
from tests.e2e.townspeople import WITH_TABLES

TAG = re.compile(r"personal: (.+); purpose: (.+); retention: (.+); key: (profile|records)")
SEALED_COLUMNS: dict[tuple[str, str, str], tuple[KindWord, str]] = {
    ("audit", "openings", "sealed"): (
        "records",
        "SELECT owner, log || '/' || first_index, sealed FROM openings WHERE owner IS NOT NULL",
    ),
    ("identity", "devices", "name"): ("profile", "SELECT user_id, id::text, name FROM devices"),
    ("identity", "proposals", "device_name"): (
        "profile",
        "SELECT subject, id::text, device_name FROM proposals WHERE device_name IS NOT NULL",
    ),
    ("identity", "users", "profile"): ("profile", "SELECT id, id::text, profile FROM users"),
    ("payments", "batch_texts", "texts"): (
        "records",
        """
        SELECT b.signer, t.batch || '/' || t.piece, t.texts FROM batch_texts t
        JOIN batches b ON (b.book, b.shard, b.id) = (t.book, t.shard, t.batch)
        """,
    ),
    ("payments", "batches", "manifest"): ("records", "SELECT signer, id::text, manifest FROM batches"),
    ("payments", "signed_documents", "document"): (
        "records",
        """
        SELECT p.signer, p.id::text, d.document FROM signed_documents d
        JOIN payments p ON (p.book, p.shard, p.id) = (d.book, d.shard, d.id)
        """,
    ),
}
"""Every personal column: the key under which it is sealed, and whose, which row, and what."""


@dataclass
class Left:
    """What is left of a day: dumps of databases and other texts by what they are, and what the day itself tells."""

    urls: dict[str, str]
    held: dict[str, bytes] = field(default_factory=dict)
    told: Traces = field(default_factory=Traces)


def dump(url: str) -> bytes:
    """Everything that a database holds, as pg_dump writes it."""
    program = binaries_of_the_wheel().installation / "bin" / "pg_dump"
    done = subprocess.run([program, f"--dbname={url}"], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def left(postgres: EmbeddedPostgres, templates: Templates) -> Iterator[Left]:
    """What a busy day leaves behind."""
    names = {tables: templates.copy(tables) for tables in WITH_TABLES}
    left = Left({tables: postgres.url(name) for tables, name in names.items()})
    folder = Path(tempfile.mkdtemp(prefix="latticebank-e2e-"))
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        with pytest.MonkeyPatch.context() as patch, (folder / "log").open("w+", encoding="utf-8") as log:
            patch.setattr(passwords, "_HASHER", PasswordHasher(time_cost=1, memory_cost=1_024, parallelism=1))
            configure_logs(log, level="debug", pretty=False)
            left.told = asyncio.run(pass_a_day(folder / "bank", left.urls))
        left.held = {name: dump(url) for name, url in left.urls.items()}
        left.held["log"] = (folder / "log").read_bytes()
        left.held["log of the database"] = (postgres.folder / "server.log").read_bytes()
        left.held["metrics"] = left.told.metrics
        left.held["problems"] = left.told.problems
        yield left
    finally:
        structlog.reset_defaults()
        root.handlers[:] = handlers
        root.setLevel(level)
        shutil.rmtree(folder, ignore_errors=True)
        for name in names.values():
            templates.drop(name)


@pytest.mark.parametrize("where", [*WITH_TABLES, "log", "log of the database", "metrics", "problems"])
def test_nothing_that_people_told_the_bank_lies_open(left: Left, where: str) -> None:
    held = left.held[where]
    assert len(held) > 1_000
    assert traces([*SEALED, *PARTS, *REFUSED, *SECRETS, *sorted(left.told.tokens)], held) == []


def test_the_day_left_something_everywhere(left: Left) -> None:
    assert {
        "invalid-value", "password-refused", "login-refused", "too-many-attempts", "insufficient-funds",
        "credit-account-unknown", "invalid-signature", "card-number-in-text", "invalid-document", "over-payment-limit",
        "not-your-device", "password-wrong",
    } <= left.told.codes  # fmt: skip
    assert b"CHECK" in left.held["payments"]
    for words in (b"payments-settled", b"locked-out", b"profile-read", b"password-changed", b"device-revoked"):
        assert words in left.held["bus"]
    for service in ("identity", "ledger", "payments"):
        assert _rows(left.urls[service], "SELECT 1 FROM outbox")
    assert b"refuse" in left.held["log of the database"]
    assert b"could not be accepted" in left.held["log"]
    assert left.told.tokens


def test_every_personal_column_is_tagged_and_no_other(left: Left) -> None:
    tagged: dict[tuple[str, str, str], str] = {}
    for service, url in left.urls.items():
        for table, column, kind, comment in _rows(
            url,
            "SELECT c.relname, a.attname, format_type(a.atttypid, NULL), col_description(c.oid, a.attnum)"
            " FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
            " WHERE col_description(c.oid, a.attnum) LIKE 'personal:%'",
        ):
            assert kind == "bytea", (service, table, column)
            told = TAG.fullmatch(comment)
            assert told is not None, comment
            tagged[(service, table, column)] = told.group(4)
    assert tagged == {where: key for where, (key, _) in SEALED_COLUMNS.items()}


def test_every_personal_value_opens_with_the_key_of_whom_it_is_about_where_it_lies_and_nowhere_else(left: Left) -> None:
    keys = {(key.owner, key.kind): key for key in left.told.keys}
    opened = []
    for (service, table, column), (kind, query) in SEALED_COLUMNS.items():
        known = [row for row in _rows(left.urls[service], query) if (row[0], kind) in keys]
        assert known, (table, column)
        for owner, row, value in known:
            mine = keys[(owner, kind)]
            assert sealed_under(value) == (mine.key_id, mine.version)
            key = FieldKey(mine.key_id, mine.version, from_base64url(mine.secret, "secret"))
            opened.append(key.open(value, field_place(table, column, row)))
            with pytest.raises(SealBroken):
                key.open(value, field_place(table, column, f"{row}0"))
            other = next(each for each in keys.values() if each.kind == kind and each.owner != owner)
            stranger = FieldKey(mine.key_id, mine.version, from_base64url(other.secret, "secret"))
            with pytest.raises(SealBroken):
                stranger.open(value, field_place(table, column, row))
    # What was looked for is what lies there: the search was for the right words.
    assert {text for text, _ in traces(SEALED, b"\n".join(opened))} == set(SEALED)


@pytest.mark.parametrize("text", [SEALED[0], SEALED[4], SEALED[6], SEALED[14], SEALED[18]])
def test_the_search_finds_what_is_planted_in_any_form(text: str) -> None:
    assert traces([text], b"nothing of this kind") == []
    raw = text.encode()
    forms: dict[str, list[bytes]] = {
        "text": [raw, text.upper().encode(), text.lower().encode(), normalize("NFD", text).encode(), b"\\x" + raw.hex().encode()],
        "hex": [raw.hex().encode(), raw.hex().upper().encode(), text.encode("utf-16-le").hex().encode()],
        "utf-16-le": [text.encode("utf-16-le"), b"\\x" + text.lower().encode("utf-16-le").hex().encode()],
        "utf-16-be": [text.encode("utf-16-be")],
        "base64": [coder(b"=" * before + raw + b"!") for coder in (b64encode, urlsafe_b64encode) for before in range(3)],
        "url": [quote(text).encode()],
        "json": [text.encode("ascii", "backslashreplace").replace(b"\\x", b"\\u00")],
    }  # fmt: skip
    for form, planted in forms.items():
        for needle in planted:
            assert (text, form) in traces([text], b"before " + needle + b" after"), (form, needle)


def test_the_search_finds_what_is_planted_in_a_database(
    left: Left, postgres: EmbeddedPostgres, templates: Templates
) -> None:
    name = templates.copy("kernel-only")
    with psycopg.connect(postgres.url(name), autocommit=True) as connection:
        connection.execute("CREATE SCHEMA elsewhere CREATE TABLE elsewhere.notes (said text, raw bytea, more jsonb)")
        assert traces(SEALED, dump(postgres.url(name))) == []
        connection.execute(
            "INSERT INTO elsewhere.notes VALUES (%s, %s, jsonb_build_object('phone', %s::text))",
            (SEALED[0].upper(), b"\0\1" + SEALED[4].encode("utf-16-le"), SEALED[6]),
        )
    found = traces(SEALED, dump(postgres.url(name)))
    templates.drop(name)
    assert {(SEALED[0], "text"), (SEALED[4], "utf-16-le"), (SEALED[6], "text")} <= set(found)


def _rows(url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(query.encode()).fetchall()
