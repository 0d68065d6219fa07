"""The proof of the books finds nothing in sound books, and names the place wherever somebody laid hands on them."""

import asyncio
from typing import Any
from uuid import UUID

import psycopg
import pytest

from latticebank.banking.ledger.model.accounts import (
    AccountKind,
    FreezeAccount,
    Party,
    PartyRole,
    SetOverdraftLimit,
    UnfreezeAccount,
)
from latticebank.banking.ledger.model.decide import Chain
from latticebank.banking.ledger.model.transfers import DONE, EvidenceClass, Purpose
from latticebank.banking.ledger.service.ledger import Ledger
from latticebank.banking.ledger.service.proof import Finding, prove
from latticebank.kernel.database import Database
from latticebank.values.account_number import account_number, format_account_number
from tests.banking.ledger.samples import (
    ACTOR,
    ANNA,
    BERT,
    CASH,
    SOON,
    alone,
    named,
    opening,
    outcome,
    post,
    post_reserved,
    reserve,
    reverse,
    void,
)

PARTIES = (Party("customer/1", PartyRole.OWNER), Party("customer/2", PartyRole.MANDATE))
Auditor = psycopg.Connection[Any]


async def history(ledger: Ledger) -> None:
    """Everything that can happen, in a few batches."""
    [writer] = ledger._writers
    batches: list[list[Chain]] = [
        alone(
            [
                opening("anna", overdraft_limit=20, reference="berka/1", parties=PARTIES),
                opening("bert"),
                opening("cash", AccountKind.CASH),
            ]
        ),
        alone([post("a", CASH, ANNA, 100), post("b", CASH, BERT, 50), post("c", ANNA, BERT, 10)]),
        [(reserve("r1"), reserve("r2", amount=5)), (reserve("part"),), (reserve("gone"),), (void("v0", "never came"),)],
        alone([post_reserved("chain", "r1"), post_reserved("some", "part", amount=3), void("v", "gone")]),
        alone([reverse("back", "c"), post("too much", amount=10_000), reserve("open", expires_at=SOON)]),
        alone([FreezeAccount(named("f"), ANNA, "error", ACTOR), UnfreezeAccount(named("u"), ANNA, "error", ACTOR)]),
        alone([SetOverdraftLimit(named("l"), ANNA, 30, ACTOR), SetOverdraftLimit(named("m"), BERT, 5, ACTOR)]),
        [(post("x", amount=1), post("y", amount=10_000))],
    ]
    outcomes = [[outcome(answer) for chain in await writer.submit(batch) for answer in chain] for batch in batches]
    assert [sum(1 for each in batch if each) for batch in outcomes] == [0, 0, 0, 0, 1, 0, 0, 2]


async def findings(database: Database) -> list[Finding]:
    """What the proof finds."""
    return (await prove(database, 1)).findings


async def test_sound_books_are_proved_sound(ledger: Ledger, database: Database) -> None:
    await history(ledger)

    proof = await prove(database, 1)

    assert proof.findings == []
    assert proof.sound
    assert (proof.accounts, proof.entries) == (3, 14)
    assert "journal" in proof.kept


async def test_books_that_took_history_over_are_sound_and_history_against_another_account_is_found(
    ledger: Ledger, database: Database, auditor: Auditor
) -> None:
    await history(ledger)
    [writer] = ledger._writers
    past = account_number(0, 3)
    await writer.submit(alone([opening("past", AccountKind.MIGRATION)]))
    row = {"purpose": Purpose.IMPORT, "evidence_class": EvidenceClass.IMPORT}
    [[answer]] = await writer.submit(alone([post("row", ANNA, past, 1, **row)]))
    assert outcome(answer) == DONE
    assert (await prove(database, 1)).sound

    with auditor.transaction():
        auditor.execute("SET LOCAL session_replication_role = replica")
        auditor.execute("UPDATE accounts SET kind = 14 WHERE account = %s", (past,))
    found = [(finding.invariant, finding.where) for finding in await findings(database)]
    assert ("signed-debits", f"transfer {_uuid('row')}") in found


async def test_an_empty_book_is_sound(database: Database) -> None:
    assert (await prove(database, 1)).sound


async def test_books_are_proved_while_they_are_written(ledger: Ledger, database: Database) -> None:
    await history(ledger)
    [writer] = ledger._writers
    writing = [asyncio.create_task(writer.submit([(post(n, CASH, ANNA, 1),)])) for n in range(300)]

    for _ in range(3):
        assert (await prove(database, 1)).sound
    await asyncio.gather(*writing)
    assert (await prove(database, 1)).sound


POSTING = "id = '{c}'"
TAMPERINGS = [
    ("amount of a transfer", f"UPDATE transfers SET amount = amount + 1 WHERE {POSTING}", "transfer {c}"),
    ("amount of an entry", "UPDATE entries SET amount = amount - 1 WHERE account = {anna} AND number = 2", "{anna}/2"),
    ("balance after", "UPDATE entries SET balance = balance + 1 WHERE account = {anna} AND number = 2", "{anna}/2"),
    ("balance", "UPDATE accounts SET balance = balance + 1 WHERE account = {anna}", "account {anna}"),
    ("hold", "UPDATE accounts SET held = held + 1 WHERE account = {anna}", "account {anna}"),
    ("count of entries", "UPDATE accounts SET entries = entries + 1 WHERE account = {anna}", "account {anna}"),
    ("status", "UPDATE accounts SET status = 2 WHERE account = {anna}", "account {anna}"),
    ("overdraft limit", "UPDATE accounts SET overdraft_limit = 10^9 WHERE account = {anna}", "account {anna}"),
    ("kind", "UPDATE accounts SET kind = 2 WHERE account = {anna}", "account {anna}"),
    ("currency", "UPDATE accounts SET currency = 'USD' WHERE account = {anna}", "account {anna}"),
    ("entry deleted", "DELETE FROM entries WHERE account = {anna} AND number = 2", "transfer {c}"),
    ("last entry deleted", "DELETE FROM entries WHERE account = {anna} AND number = 6", "account {anna}"),
    (
        "entry inserted",
        "INSERT INTO entries SELECT book, shard, account, 99, transfer, 1, 1, booking_date, value_date FROM entries LIMIT 1",
        "/99",
    ),
    ("booking date", f"UPDATE transfers SET booking_date = booking_date - 1 WHERE {POSTING}", "transfer {c}"),
    ("value date", "UPDATE entries SET value_date = value_date - 1 WHERE account = {anna} AND number = 2", "transfer {c}"),
    ("evidence", f"UPDATE transfers SET evidence = sha256('x') WHERE {POSTING}", "shard 0"),
    ("class of evidence", f"UPDATE transfers SET evidence_class = 6 WHERE {POSTING}", "shard 0"),
    ("signature made a word", f"UPDATE transfers SET evidence_class = 1 WHERE {POSTING}", "transfer {c}"),
    ("signature made a rule", f"UPDATE transfers SET evidence_class = 3 WHERE {POSTING}", "transfer {c}"),
    ("signature made an import", f"UPDATE transfers SET evidence_class = 2 WHERE {POSTING}", "transfer {c}"),
    ("unknown class of evidence", f"UPDATE transfers SET evidence_class = 7 WHERE {POSTING}", "transfer {c}"),
    ("evidence removed", f"UPDATE transfers SET evidence = '' WHERE {POSTING}", "transfer {c}"),
    ("reservation by a word", "UPDATE transfers SET evidence_class = 1 WHERE id = '{open}'", "transfer {open}"),
    ("reversal by a word", "UPDATE transfers SET evidence_class = 1 WHERE kind = 6", "transfer {back}"),
    ("evidence of a posted reservation", "UPDATE transfers SET evidence = sha256('x') WHERE kind = 3", "reservation {part}"),
    ("purpose", f"UPDATE transfers SET purpose = 3 WHERE {POSTING}", "shard 0"),
    ("outcome of a refusal", "UPDATE transfers SET outcome = 3 WHERE outcome = 6", "shard 0"),
    ("instant", f"UPDATE transfers SET recorded_at = recorded_at - interval '1 day' WHERE {POSTING}", "shard 0"),
    ("act", "UPDATE account_acts SET actor = 'nobody' WHERE act = 2", "shard 0"),
    ("act deleted", "DELETE FROM account_acts WHERE act = 3", "shard 0"),
    ("refusal deleted", "DELETE FROM transfers WHERE outcome = 6", "shard 0"),
    ("journal link", "UPDATE journal SET link = sha256('x') WHERE first_seq = 4", "shard 0, records 4"),
    ("journal link deleted", "DELETE FROM journal WHERE first_seq = 4", "shard 0"),
    ("last journal link deleted", "DELETE FROM journal WHERE first_seq = (SELECT max(first_seq) FROM journal)", "head"),
    ("head link", "UPDATE shard_heads SET journal_link = sha256('x')", "head"),
    ("head number", "UPDATE shard_heads SET next_seq = next_seq + 1", "head"),
    ("reservation released", "UPDATE reservations SET state = 3, resolved_by = id WHERE state = 1", "reservation {open}"),
    ("reservation reopened", "UPDATE reservations SET state = 1, resolved_by = NULL WHERE id = '{gone}'", "account {anna}"),
    ("reservation deleted", "DELETE FROM reservations WHERE state = 1", "account {anna}"),
    ("reservation to another", "UPDATE reservations SET credit = {cash} WHERE state = 1", "reservation {open}"),
    ("reservation's amount", "UPDATE reservations SET amount = 1 WHERE id = '{gone}'", "reservation {gone}"),
    (
        "account invented",
        "INSERT INTO accounts VALUES (1, 0, 1000047115, 0, 0, 0, 0, 0, '0001-01-01', 1, 1, 'EUR')",
        "account 1000047115",
    ),
    ("hold lifted unseen", "DELETE FROM reservations; UPDATE accounts SET held = 0", "reservation {open}"),
    ("resolved reservation deleted", "DELETE FROM reservations WHERE id = '{gone}'", "reservation {gone}"),
    ("reservation's evidence", "UPDATE reservations SET evidence = sha256('x') WHERE state = 1", "reservation {open}"),
    ("head deleted", "DELETE FROM shard_heads", "shard 0"),
    ("serial of the head", "UPDATE shard_heads SET next_serial = 0", "shard 0"),
    ("records of a shard without head", "UPDATE account_acts SET shard = 7 WHERE act = 2", "shard 7"),
    ("owner", "UPDATE account_parties SET party = 'customer/9' WHERE party = 'customer/1'", "account {anna}"),
    ("owner removed", "DELETE FROM account_parties WHERE party = 'customer/1'", "account {anna}"),
    ("mandate made owner", "UPDATE account_parties SET role = 1", "account {anna}"),
    ("owner added", "INSERT INTO account_parties VALUES (1, 0, {bert}, 'customer/9', 1)", "account {bert}"),
    ("reference", "UPDATE account_references SET account = {bert}", "account {anna}"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "statement", "place"), TAMPERINGS, ids=[name for name, _, _ in TAMPERINGS])
async def test_whoever_lays_hands_on_the_books_is_found_and_the_place_is_named(
    what: str, statement: str, place: str, ledger: Ledger, database: Database, auditor: Auditor
) -> None:
    await history(ledger)
    names = {name: str(_uuid(name)) for name in ("c", "open", "gone", "back", "part")}
    numbers = {name: format_account_number(n) for name, n in (("anna", ANNA), ("bert", BERT), ("cash", CASH))}

    with auditor.transaction():
        auditor.execute("SET LOCAL session_replication_role = replica")  # an intruder does not mind our triggers
        changed = auditor.execute(statement.format(**names, **numbers)).rowcount
    assert changed > 0

    found = await findings(database)
    assert any(place.format(**names, **numbers) in finding.where for finding in found), (what, found)


def _uuid(name: str) -> Any:

    return UUID(bytes=named(name))


@pytest.mark.parametrize("table", ["transfers", "entries", "journal", "account_acts"])
@pytest.mark.parametrize("verb", ["UPDATE {} SET book = 2", "DELETE FROM {}", "TRUNCATE {}"])
async def test_the_database_itself_refuses_to_change_what_was_recorded(
    table: str, verb: str, ledger: Ledger, auditor: Auditor
) -> None:
    await history(ledger)

    with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
        auditor.execute(verb.format(table))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE accounts SET balance = -1000, held = 0 WHERE account = {}",
        "UPDATE accounts SET held = -1 WHERE account = {}",
        "UPDATE accounts SET status = 3 WHERE account = {}",
        "UPDATE accounts SET overdraft_limit = -1 WHERE account = {}",
    ],
)
async def test_the_database_itself_refuses_an_overdraft_beyond_the_limit(
    statement: str, ledger: Ledger, auditor: Auditor
) -> None:
    await history(ledger)

    with pytest.raises(psycopg.errors.CheckViolation):
        auditor.execute(statement.format(ANNA))
