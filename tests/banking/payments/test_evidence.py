"""The check of signatures: whatever an intruder edits in a database, the debit is named."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from latticebank.banking.payments.service.evidence import SignatureReport, check_signatures
from tests.banking.payments.counter import Counter, ok
from tests.security.identity.people import Device, Person, signed


async def report(counter: Counter) -> SignatureReport:
    """What the check says now, by a bank that remembers nothing."""
    for remembered in (counter.foundation.devices, counter.foundation.accounts):
        remembered._known.clear()
    return await check_signatures(counter.foundation)


@contextmanager
def without_guards(counter: Counter, database: str) -> Iterator[None]:
    """Let the intruder write past the triggers, as the owner of the tables can."""
    tables = [
        name
        for (name,) in counter.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", database=database)
    ]
    for table in tables:
        counter.write(f"ALTER TABLE {table} DISABLE TRIGGER USER", database=database)
    yield
    for table in tables:
        counter.write(f"ALTER TABLE {table} ENABLE TRIGGER USER", database=database)


async def paid(counter: Counter) -> tuple[Person, Person]:
    """A bank in which Ada has paid once by herself and three times by a batch."""
    ada, bob = await counter.customer("ada"), await counter.customer("bob", "0.00")
    ok(await counter.pay(ada, bob, "10.00"))
    sent, _ = counter.batch(ada, [(counter.account(bob), f"{n}.00") for n in (1, 2, 3)])
    ok(await counter.at("/batch", sent, who=ada), 200)
    return ada, bob


async def test_an_honest_bank_is_proved_by_every_class(counter: Counter) -> None:
    tessa, max_, _ = await counter.teller()
    ada, bob = await paid(counter)
    cash = signed(tessa.device.key, counter.cash_order(tessa, counter.account(ada), "withdrawal", "5.00"))
    ok(await counter.at("/cash", cash, who=tessa))
    held = ok(await counter.pay(ada, bob, "60.00"), 202)
    yes = signed(max_.device.key, counter.payment_decision(max_, held))
    ok(await counter.at(f"/{held['id']}/decision", yes, who=max_), 200)
    found = await report(counter)
    assert found.sound, found.findings
    assert (found.checked, dict(found.by_class)) == (6, {"payment": 2, "batch": 3, "cash": 1})
    assert counter.payments_rows("SELECT count(*) FROM decisions") == [(1,)]
    # An approval that an intruder made up, or whose manager is another, is no approval.
    with without_guards(counter, "payments"):
        counter.write("UPDATE decisions SET decided_by = %s", tessa.user, database="payments")
    assert {f.fault for f in (await report(counter)).findings} == {
        "its approval was signed by a device of somebody else",
        "whoever approved is not proved to have been a manager: nobody gave them this right",
    }
    with without_guards(counter, "payments"):
        counter.write("DELETE FROM decisions", database="payments")
    assert {f.fault for f in (await report(counter)).findings} == {"nobody approved it"}


LEAF = "the leaf of what was signed is not that of the posting"
HASH = "the hash of what was signed is not that of the posting"
CLASS = "the posting names another class of evidence"
NOTHING = "no payment is stored for it"
SIGNED = "WHERE evidence_class IN (4, 5)"


@pytest.mark.parametrize(
    ("database", "statement", "single", "batched"),
    [
        (
            "ledger",
            f"UPDATE transfers SET amount = amount + 1 {SIGNED}",
            *["the amount is not the one that was signed"] * 2,
        ),
        (
            "ledger",
            f"UPDATE transfers SET credit = debit - 1 {SIGNED}",
            *["the account credited is not the one that was signed"] * 2,
        ),
        ("ledger", f"UPDATE transfers SET evidence = sha256('x') {SIGNED}", HASH, LEAF),
        ("ledger", f"UPDATE transfers SET evidence_class = 9 - evidence_class {SIGNED}", CLASS, CLASS),
        ("ledger", f"UPDATE transfers SET id = gen_random_uuid() {SIGNED}", NOTHING, NOTHING),
        (
            "payments",
            "UPDATE payments SET amount = amount + 1",
            *["the amount was changed where the payment is stored"] * 2,
        ),
        (
            "payments",
            "UPDATE payments SET creditor = creditor + 1",
            *["the account credited was changed where the payment is stored"] * 2,
        ),
        ("payments", "UPDATE payments SET hash = sha256('x')", HASH, LEAF),
        (
            "payments",
            "UPDATE payments SET signer = %(bob)s",
            "what was signed was changed where it is stored",
            "its batch was changed where it is stored",
        ),
        (
            "payments",
            "UPDATE payments SET device = %(bobs)s",
            "it was signed by another device",
            "its batch is not what was signed (invalid-signature)",
        ),
        (
            "payments",
            "UPDATE payments SET received_at = received_at + interval '1 hour'",
            *["it was not received in the time for which it was signed"] * 2,
        ),
        ("payments", "DELETE FROM payments", NOTHING, NOTHING),
    ],
)
async def test_what_is_edited_is_named(
    counter: Counter, database: str, statement: str, single: str, batched: str
) -> None:
    _, bob = await paid(counter)
    assert (await report(counter)).sound
    with without_guards(counter, database):
        counter.edit(database, statement, {"bob": bob.user, "bobs": bob.device.id})
    found = await report(counter)
    by_transfer: dict[object, set[str]] = {}
    for finding in found.findings:
        by_transfer.setdefault(finding.transfer, set()).add(finding.fault)
    assert len(by_transfer) == 4
    assert sum(single in faults for faults in by_transfer.values()) == (4 if single == batched else 1)
    assert sum(batched in faults for faults in by_transfer.values()) == (4 if single == batched else 3)


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE signed_documents SET document = set_byte(document, 60, 1 + get_byte(document, 60) %% 255)", 1),
        ("UPDATE signed_documents SET signature = set_byte(signature, 9, (get_byte(signature, 9) + 1) %% 256)", 1),
        ("DELETE FROM signed_documents", 1),
        ("UPDATE batch_texts SET texts = set_byte(texts, 60, (get_byte(texts, 60) + 1) %% 256)", 3),
        ("UPDATE batches SET manifest = set_byte(manifest, 60, (get_byte(manifest, 60) + 1) %% 256)", 3),
        ("UPDATE batches SET signature = set_byte(signature, 9, (get_byte(signature, 9) + 1) %% 256)", 3),
        ("DELETE FROM batches", 3),
    ],
)
async def test_what_was_signed_cannot_be_changed_unseen(counter: Counter, statement: str, named: int) -> None:
    await paid(counter)
    with without_guards(counter, "payments"):
        counter.edit("payments", statement, {})
    found = await report(counter)
    assert len({finding.transfer for finding in found.findings}) == named


async def test_a_device_that_an_intruder_slips_in_proves_nothing(counter: Counter) -> None:
    ada, _ = await paid(counter)
    intruder = Device(counter.ids())
    with without_guards(counter, "identity"):
        counter.edit(
            "identity",
            "UPDATE devices SET public_key = %(key)s WHERE id = %(device)s",
            {"key": intruder.key.public_bytes, "device": ada.device.id},
        )
    found = await report(counter)
    assert len({finding.transfer for finding in found.findings}) == 4
    assert any("its enrolment is" in finding.fault for finding in found.findings)


async def test_a_debit_that_nobody_signed_is_named(counter: Counter) -> None:
    await paid(counter)
    with without_guards(counter, "ledger"):
        counter.edit(
            "ledger",
            "INSERT INTO transfers SELECT book, shard, seq + 1000, gen_random_uuid(), kind, outcome, debit, credit, amount,"
            " currency, purpose, booking_date, value_date, recorded_at, evidence_class, evidence, debit_entry, credit_entry,"
            " reference, chain FROM transfers WHERE evidence_class = 4",
            {},
        )
        counter.edit("ledger", "UPDATE shard_heads SET next_seq = next_seq + 1000", {})
    found = await report(counter)
    assert [finding.fault for finding in found.findings] == ["no payment is stored for it"]
