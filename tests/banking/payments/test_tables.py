"""What the database itself keeps of the promises of payments, whoever writes to it; and what nobody can read there."""

import re

import psycopg
import pytest

from tests.banking.payments.counter import Counter, ok

PERSONAL = re.compile(r"personal: [^;]+; purpose: [^;]+; retention: [^;]+; key: records")


async def settled(counter: Counter) -> None:
    """A bank with a posted, a rejected and a held payment, and a batch."""
    ada, bob = await counter.customer("ada"), await counter.customer("bob", "0.00")
    ok(await counter.pay(ada, bob, "10.00"))
    await counter.pay(ada, bob, "1000.01")
    ok(await counter.pay(ada, bob, "60.00"), 202)
    sent, _ = counter.batch(ada, [(counter.account(bob), "1.00")])
    ok(await counter.at("/batch", sent, who=ada), 200)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE payments SET state = 5 WHERE state = 3",
        "UPDATE payments SET reason = 'x' WHERE state = 4",
        "UPDATE payments SET amount = amount + 1 WHERE state = 2",
        "UPDATE payments SET creditor = creditor + 1 WHERE state = 7",
        "UPDATE payments SET hash = sha256('x') WHERE state = 2",
        "UPDATE payments SET state = 3, final_at = now() WHERE state = 2",
        "UPDATE payments SET state = 4, final_at = now() WHERE state = 2",
        "UPDATE payments SET state = 9 WHERE state = 2",
        "DELETE FROM payments",
        "TRUNCATE payments",
        "UPDATE signed_documents SET signature = document",
        "DELETE FROM signed_documents",
        "UPDATE batches SET hash = sha256('x')",
        "UPDATE batches SET state = 1, final_at = NULL",
        "DELETE FROM batches",
        "UPDATE batch_texts SET texts = 'x'",
        "UPDATE limit_uses SET used = bound + 1",
        "UPDATE limit_uses SET used = -1",
        "INSERT INTO decisions (book, shard, payment, choice, decided_at) VALUES (1, 0, gen_random_uuid(), 1, now())",
    ],
)
async def test_the_database_refuses_what_cannot_be(counter: Counter, statement: str) -> None:
    await settled(counter)
    before = counter.everything()
    with pytest.raises(psycopg.Error):
        counter.edit("payments", statement, {})
    assert counter.everything() == before


async def test_personal_columns_are_tagged_and_sealed(counter: Counter) -> None:
    await settled(counter)
    tagged = counter.payments_rows(
        "SELECT c.relname, a.attname, col_description(a.attrelid, a.attnum) FROM pg_attribute a"
        " JOIN pg_class c ON c.oid = a.attrelid WHERE c.relkind = 'r'"
        " AND col_description(a.attrelid, a.attnum) LIKE 'personal:%%' ORDER BY 1, 2"
    )
    assert [(table, column) for table, column, _ in tagged] == [
        ("batch_texts", "texts"),
        ("batches", "manifest"),
        ("signed_documents", "document"),
    ]
    assert all(PERSONAL.fullmatch(said) for _, _, said in tagged)
    with psycopg.connect(counter.urls["payments"]) as connection, connection.cursor() as cursor:
        for (table,) in counter.payments_rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
            with cursor.copy(f"COPY {table} TO STDOUT (FORMAT binary)".encode()) as copy:
                dumped = b"".join(bytes(part) for part in copy)
            for secret in (b"Builder", b"rent for", b"wages", b"creditor_name", b"Lovelace", b"example.org"):
                assert secret not in dumped, (table, secret)
