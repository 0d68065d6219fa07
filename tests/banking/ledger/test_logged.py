"""The journal is held against what the log was told: whoever rewrites the books, journal and all, is found."""

from collections.abc import Iterator
from typing import Any

import msgspec
import psycopg
import pytest

from latticebank.banking.ledger.events import BatchRecorded
from latticebank.banking.ledger.model.accounts import AccountKind
from latticebank.banking.ledger.model.logged import LoggedBatch
from latticebank.banking.ledger.service import logged as held
from latticebank.banking.ledger.service.ledger import Ledger
from latticebank.banking.ledger.service.logged import Beyond, HeldAgainstLog
from latticebank.banking.ledger.service.proof import LOGGED, MAX_FINDINGS, Proof, prove
from latticebank.kernel.configuration import event_type
from latticebank.kernel.database import Database
from latticebank.kernel.outbox import events_of
from latticebank.values.account_number import account_number
from latticebank.values.ids import Uuid7Source
from tests.banking.ledger.forger import forge
from tests.banking.ledger.samples import ANNA, BERT, CASH, alone, opening, post
from tests.clocks import MovingClock

Auditor = psycopg.Connection[Any]
PAYMENTS = 8
BATCHES = 1 + PAYMENTS
"""One opens the accounts, and each payment is a batch of its own; the first payment is record 4."""
FIRST_PAYMENT_OF_60 = (
    "UPDATE transfers SET amount = 60 WHERE seq = 4",
    "UPDATE entries SET amount = sign(amount) * 60 WHERE number = 1",
    f"UPDATE entries SET balance = balance + CASE account WHEN {CASH} THEN -50 ELSE 50 END",
    f"UPDATE accounts SET balance = balance + CASE account WHEN {CASH} THEN -50 ELSE 50 END WHERE account <> {BERT}",
)


async def pay(ledger: Ledger, payments: int = PAYMENTS) -> None:
    """Open accounts, and pay Anna 10 from the cash of the bank, again and again."""
    [writer] = ledger._writers
    await writer.submit(alone([opening("anna"), opening("bert"), opening("cash", AccountKind.CASH)]))
    for number in range(payments):
        await writer.submit(alone([post(number, CASH, ANNA, 10)]))


def log_of(auditor: Auditor, opened: range | None = None) -> list[LoggedBatch]:
    """What a log that holds what the ledger told, and nothing else, tells of its batches; all of it is opened, or some."""
    rows = auditor.execute("SELECT events FROM outbox ORDER BY id").fetchall()
    events = [event for (row,) in rows for event in events_of(row) if event.type != event_type("ledger")]
    batches = [msgspec.msgpack.decode(event.data, type=BatchRecorded) for event in events]
    places = opened or range(len(batches))
    return [
        LoggedBatch(b.first_seq, b.next_seq, place, place - number, b.shard, b.link)
        for number, (place, b) in enumerate((place, batches[place]) for place in places)
    ]


def told(proof: Proof) -> list[tuple[str, str]]:
    """What does not fit the log, and nothing else."""
    assert {finding.invariant for finding in proof.findings} <= {LOGGED.name}
    return [(finding.where, finding.what) for finding in proof.findings]


async def test_books_that_fit_the_log_are_sound_and_it_is_said_how_much_was_compared(
    ledger: Ledger, database: Database, auditor: Auditor
) -> None:
    await pay(ledger)
    proof = await prove(database, 1, logged=log_of(auditor))

    assert told(proof) == []
    assert proof.log == HeldAgainstLog(BATCHES, 0, 0, [])
    assert LOGGED.name in proof.kept
    without = await prove(database, 1)
    assert (without.log, LOGGED.name in without.kept) == (None, False)


async def test_a_payment_changed_with_its_entries_its_balances_and_the_whole_journal_is_found_by_the_log_alone(
    ledger: Ledger, database: Database, auditor: Auditor
) -> None:
    await pay(ledger)
    log = log_of(auditor)
    await forge(database, *FIRST_PAYMENT_OF_60)

    assert (await prove(database, 1)).sound
    differences = told(await prove(database, 1, logged=log))
    assert [where for where, _ in differences] == [
        f"entry {number}, shard 0, records {number + 3} to {number + 3}" for number in range(1, BATCHES)
    ]
    assert all(what.endswith(f", the log {log[n].link.hex()}") for n, (_, what) in enumerate(differences, start=1))


async def test_the_last_entry_alone_finds_what_was_rewritten_long_before_it(
    ledger: Ledger, database: Database, auditor: Auditor
) -> None:
    await pay(ledger)
    last = log_of(auditor, range(PAYMENTS, BATCHES))
    sound = await prove(database, 1, logged=last)
    await forge(database, *FIRST_PAYMENT_OF_60)

    assert (told(sound), sound.log) == ([], HeldAgainstLog(1, 0, PAYMENTS, []))
    [(where, _)] = told(await prove(database, 1, logged=last))
    assert where.startswith(f"entry {PAYMENTS}, shard 0")


async def test_a_journal_that_was_cut_short_lacks_what_the_log_tells(
    ledger: Ledger, database: Database, auditor: Auditor
) -> None:
    await pay(ledger)
    log = log_of(auditor)
    last = f"{3 + PAYMENTS}"
    await forge(
        database,
        f"DELETE FROM transfers WHERE seq = {last}",
        f"DELETE FROM entries WHERE number = {PAYMENTS}",
        f"DELETE FROM journal WHERE first_seq = {last}",
        f"UPDATE shard_heads SET next_seq = {last}, recorded_at = (SELECT max(recorded_at) FROM journal)",
        f"UPDATE accounts SET entries = entries - 1, balance = balance - sign(balance) * 10 WHERE account <> {BERT}",
    )

    assert (await prove(database, 1)).sound
    missing = (f"entry {PAYMENTS}, shard 0, records {last} to {last}", "the journal has no batch that begins there")
    assert told(await prove(database, 1, logged=log)) == [missing]


async def test_batches_that_were_put_together_or_cut_otherwise_are_found(
    ledger: Ledger, database: Database, auditor: Auditor
) -> None:
    await pay(ledger)
    log = log_of(auditor)
    await forge(
        database,
        "DELETE FROM journal WHERE first_seq = 5",
        "UPDATE journal SET next_seq = 6 WHERE first_seq = 4",
        "UPDATE transfers SET recorded_at = (SELECT recorded_at FROM journal WHERE first_seq = 4) WHERE seq = 5",
    )

    assert (await prove(database, 1)).sound
    assert told(await prove(database, 1, logged=log))[:2] == [
        ("entry 1, shard 0, records 4 to 4", "in the journal this batch goes to record 5"),
        ("entry 2, shard 0, records 5 to 5", "the journal has no batch that begins there"),
    ]


async def test_batches_that_the_log_was_not_told_of_are_found_between_those_that_it_was(
    ledger: Ledger, database: Database, auditor: Auditor
) -> None:
    await pay(ledger)
    untold = [3, 4]  # taken out of the outbox, so that the entry after them has the place of the first
    log = [
        entry._replace(place=number)
        for number, entry in enumerate(each for each in log_of(auditor) if each.place not in untold)
    ]

    assert told(await prove(database, 1, logged=log)) == [
        ("shard 0, records 6 to 7", "the journal has 2 batches here that the log has not, between its entries 2 and 3")
    ]


@pytest.mark.parametrize(
    ("opened", "not_opened", "beyond"),
    [
        (range(3), 0, Beyond(0, 6, 6, 12)),
        (range(3, 6), 3, Beyond(0, 3, 9, 12)),
        (range(0, 9, 2), 4, None),
        (range(1, 9, 3), 5, Beyond(0, 1, 11, 12)),
    ],
    ids=str,
)
async def test_of_what_was_not_opened_it_is_said_what_was_not_shown_and_nobody_is_accused(
    opened: range, not_opened: int, beyond: Beyond | None, ledger: Ledger, database: Database, auditor: Auditor
) -> None:
    await pay(ledger)
    proof = await prove(database, 1, logged=log_of(auditor, opened))

    assert told(proof) == []
    assert proof.log == HeldAgainstLog(len(opened), 0, not_opened, [] if beyond is None else [beyond])


async def test_entries_that_came_into_the_log_out_of_their_order_are_compared_all_the_same(
    ledger: Ledger, database: Database, auditor: Auditor
) -> None:
    await pay(ledger)
    turned = [entry._replace(place=number) for number, entry in enumerate(reversed(log_of(auditor)))]

    assert told(await prove(database, 1, logged=turned)) == []


async def test_what_is_told_twice_or_comes_later_than_anything_does_is_named(
    ledger: Ledger, database: Database, auditor: Auditor, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pay(ledger)
    log = log_of(auditor)
    twice = [*log, log[-1]._replace(place=BATCHES)]
    again = (
        f"entry {BATCHES}, shard 0, records 11 to 11",
        f"entry {PAYMENTS} already told of these records, or of later ones",
    )
    assert told(await prove(database, 1, logged=twice)) == [again]

    monkeypatch.setattr(held, "EARLY", 2)
    late = [*log[1:], log[0]]
    assert (await prove(database, 1, logged=late)).log == HeldAgainstLog(BATCHES, 1, 1, [])


async def test_a_batch_of_a_shard_that_there_is_not_is_named(
    ledger: Ledger, database: Database, auditor: Auditor
) -> None:
    await pay(ledger)
    log = log_of(auditor)

    elsewhere = [*log, log[-1]._replace(place=BATCHES, shard=7)]
    assert told(await prove(database, 1, logged=elsewhere)) == [(f"entry {BATCHES}", "the ledger has no shard 7")]


async def test_each_shard_is_compared_with_what_the_log_tells_of_it(
    database: Database, clock: MovingClock, auditor: Auditor
) -> None:
    ledger = Ledger(database, 1, 3, clock, Uuid7Source(clock))
    async with ledger.running():
        for turn in range(3):
            for shard, writer in enumerate(ledger._writers):
                await writer.submit(alone([opening((turn, shard, name)) for name in "ab"]))
    log = log_of(auditor)
    assert {entry.shard for entry in log} == {0, 1, 2}
    assert (await prove(database, 1, logged=log)).log == HeldAgainstLog(9, 0, 0, [])

    account = account_number(1, 0)
    await forge(database, f"UPDATE account_acts SET actor = 'nobody' WHERE account = {account}")
    assert {where.partition(", ")[2][:7] for where, _ in told(await prove(database, 1, logged=log))} == {"shard 1"}


async def test_of_very_many_differences_the_first_are_named_and_all_are_counted(
    ledger: Ledger, database: Database, auditor: Auditor
) -> None:
    await pay(ledger, MAX_FINDINGS + 5)
    log = log_of(auditor)
    await forge(database, "UPDATE transfers SET purpose = 3 WHERE seq = 4")

    proof = await prove(database, 1, logged=log)
    assert len(told(proof)) == MAX_FINDINGS
    assert proof.log is not None
    assert proof.log.differences == MAX_FINDINGS + 5


async def test_openings_that_are_none_end_the_check_with_what_is_wrong_with_them(
    ledger: Ledger, database: Database, auditor: Auditor
) -> None:
    await pay(ledger)
    log = log_of(auditor)

    def broken() -> Iterator[LoggedBatch]:
        yield from log[:4]
        raise ValueError("line 5")

    with pytest.raises(ValueError, match="line 5"):
        await prove(database, 1, logged=broken())
    assert told(await prove(database, 1, logged=log)) == []
