"""What the ledger tells others: every batch once with its link of the journal, and every act and transfer in it."""

from typing import Any

import msgspec
import psycopg

from latticebank.banking.ledger.events import (
    ACT_WORDS,
    BATCH_RECORDED,
    DONE,
    IMPORT_CLASS,
    REVERSE_KIND,
    ActRecorded,
    BatchRecorded,
    TransferRecorded,
)
from latticebank.banking.ledger.model import transfers
from latticebank.banking.ledger.model.accounts import AccountAct
from latticebank.banking.ledger.wire import AccountOpening, PostOrder, ReverseOrder
from latticebank.kernel.caller import OPERATOR
from latticebank.kernel.configuration import event_type
from latticebank.kernel.outbox import events_of
from latticebank.values.account_number import format_account_number
from tests.banking.ledger.callers import IDENTITY
from tests.banking.ledger.counter import Counter, key, pay
from tests.banking.ledger.samples import EVIDENCE

Auditor = psycopg.Connection[Any]


def told(auditor: Auditor) -> list[BatchRecorded]:
    """The batches that the ledger published, in the order of their records."""
    rows = auditor.execute("SELECT events FROM outbox ORDER BY id").fetchall()
    events = [event for (row,) in rows for event in events_of(row) if event.type != event_type("ledger")]
    assert {event.type for event in events} == {BATCH_RECORDED}
    batches = [msgspec.msgpack.decode(event.data, type=BatchRecorded) for event in events]
    return sorted(batches, key=lambda batch: batch.first_seq)


def acts(auditor: Auditor) -> list[ActRecorded]:
    return [act for batch in told(auditor) for act in batch.acts]


def moved(auditor: Auditor) -> list[TransferRecorded]:
    return [transfer for batch in told(auditor) for transfer in batch.transfers]


async def test_each_batch_is_told_with_the_link_that_the_journal_has_of_it(counter: Counter, auditor: Auditor) -> None:
    anna, bert, _ = await counter.customers()
    for number in range(3):
        await counter.payments.order([pay(number, anna, bert)])
    journal = auditor.execute("SELECT shard, first_seq, next_seq, link FROM journal ORDER BY first_seq").fetchall()
    assert [(batch.shard, batch.first_seq, batch.next_seq, batch.link) for batch in told(auditor)] == journal
    assert len(journal) > 3


async def test_every_act_on_an_account_is_told_with_who_asked_for_it_and_why(
    counter: Counter, auditor: Auditor
) -> None:
    opening = msgspec.convert({"kind": "checking", "currency": "EUR", "owners": ["user:anna"]}, AccountOpening)
    anna = (await counter.client_of(IDENTITY).open_account(key("a"), opening)).account
    await counter.client.restrict(key("f"), anna, "freeze", "fraud-suspected")
    await counter.client.restrict(key("u"), anna, "unfreeze", "error")
    await counter.client.set_overdraft_limit(key("o"), anna, "20.00")
    await counter.client.restrict(key("c"), anna, "close", "customer-request")
    operator = f"{OPERATOR.kind.value}:{OPERATOR.id}"
    recorded = acts(auditor)
    assert {(act.outcome, format_account_number(act.account)) for act in recorded} == {(DONE, anna)}
    assert [(ACT_WORDS[act.act], act.actor) for act in recorded] == [
        ("opened", f"{IDENTITY.kind.value}:{IDENTITY.id}"),
        ("frozen", operator),
        ("unfrozen", operator),
        ("limit-changed", operator),
        ("closed", operator),
    ]
    opened, *later = [act.details for act in recorded]
    assert opened["parties"] == [["user:anna", 1]]
    assert later == [
        {"reason": "fraud-suspected"},
        {"reason": "error"},
        {"overdraft_limit": 2000},
        {"reason": "customer-request"},
    ]


async def test_imports_and_reversals_are_told_as_what_they_are(counter: Counter, auditor: Auditor) -> None:
    anna, bert, _ = await counter.customers()
    past = await counter.open("past", "migration")
    facts = {"amount": "7.00", "currency": "EUR", "evidence": EVIDENCE.hex()}
    row = PostOrder(id=key("row"), debit=past, credit=anna, purpose="import", **facts)  # type: ignore[arg-type]
    signed: dict[str, Any] = {"evidence": EVIDENCE.hex(), "evidence_class": "payment"}
    back = ReverseOrder(id=key("back"), transfer=key("rent"), **signed)
    assert [answer.outcome for answer in await counter.client.order([row])] == ["done"]
    assert [answer.outcome for answer in await counter.payments.order([pay("rent", anna, bert), back])] == ["done"] * 2
    imported = [each.id for each in moved(auditor) if each.evidence_class == IMPORT_CLASS]
    assert imported == [key("row").bytes]
    [reversal] = [each for each in moved(auditor) if each.kind == REVERSE_KIND]
    assert (reversal.id, reversal.reference, reversal.outcome) == (key("back").bytes, key("rent").bytes, DONE)
    assert (format_account_number(reversal.debit), format_account_number(reversal.credit)) == (bert, anna)


def test_the_numbers_of_events_are_those_of_the_ledger() -> None:
    assert transfers.DONE == DONE
    assert (transfers.Kind.REVERSE, transfers.EvidenceClass.IMPORT) == (REVERSE_KIND, IMPORT_CLASS)
    words = {AccountAct.OVERDRAFT_SET: "limit-changed"}
    assert {act: words.get(act, act.word) for act in AccountAct} == ACT_WORDS
