"""What the ledger tells: each batch with its link of the journal; acts on accounts, reversals and imports by themselves.

The payments in a batch have entries of their own, from payments. The link commits to every record of the batch, so
whoever rewrites the books later no longer fits the log.
"""

from collections.abc import Iterator

from msgspec import msgpack

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
from latticebank.kernel.events import Event
from latticebank.security.audit.model.entries import Entry, record_of
from latticebank.security.audit.model.gaps import Span
from latticebank.security.audit.subscriptions.facts import common
from latticebank.security.audit.subscriptions.payments import uuid_text
from latticebank.values.account_number import format_account_number
from latticebank.values.money import CURRENCY_DIGITS, format_amount

_USER = "user:"

_batch = msgpack.Decoder(BatchRecorded)


def recorded(event: Event, bank: str) -> list[Entry]:
    """Return an entry for a batch, one for each act and reversal in it, and one for all that it imported."""
    batch, shared = _batch.decode(event.data), common(event, bank)
    told = [*_batches(batch), *_acts(batch.acts), *_reversals(batch.transfers), *_imports(batch)]
    return [
        Entry(None, None, record_of(shared | facts | {"event": f"{event.id}#{number}", "shard": str(batch.shard)}))
        for number, facts in enumerate(told)
    ]


READINGS = {BATCH_RECORDED: recorded}


def span_of(event: Event) -> Span | None:
    """Return which records of the ledger an event is the first to tell of; None if it is not."""
    if event.type != BATCH_RECORDED:
        return None
    batch = _batch.decode(event.data)
    return Span(batch.shard, batch.first_seq, batch.next_seq) if _begins(batch) else None


def _begins(batch: BatchRecorded) -> bool:
    """Whether this is the first event of a batch: long ones are told in several."""
    firsts = [each.seq for each in batch.transfers[:1]] + [each.seq for each in batch.acts[:1]]
    return batch.first_seq in firsts


def _batches(batch: BatchRecorded) -> Iterator[dict[str, str | None]]:
    if _begins(batch):
        yield {
            "first_seq": str(batch.first_seq),
            "kind": "ledger.batch",
            "link": batch.link.hex(),
            "next_seq": str(batch.next_seq),
        }


def _acts(acts: list[ActRecorded]) -> Iterator[dict[str, str | None]]:
    for act in acts:
        if act.outcome != DONE:
            continue
        reason, parties = act.details.get("reason"), act.details.get("parties")
        users = [
            party[0] for party in (parties if isinstance(parties, list) else []) if str(party[0]).startswith(_USER)
        ]
        yield {
            "account": format_account_number(act.account),
            "act": uuid_text(act.id),
            "actor": act.actor,
            "kind": f"account.{ACT_WORDS[act.act]}",
            "parties": " ".join(users) or None,
            "reason": reason if isinstance(reason, str) else None,
        }


def _reversals(transfers: list[TransferRecorded]) -> Iterator[dict[str, str | None]]:
    for transfer in transfers:
        if transfer.kind == REVERSE_KIND and transfer.outcome == DONE:
            yield {
                "amount": format_amount(transfer.amount, CURRENCY_DIGITS[transfer.currency]),
                "creditor_account": format_account_number(transfer.credit),
                "currency": transfer.currency,
                "debtor_account": format_account_number(transfer.debit),
                "evidence": transfer.evidence.hex() or None,
                "kind": "transfer.reversed",
                "reverses": None if transfer.reference is None else uuid_text(transfer.reference),
                "transfer": uuid_text(transfer.id),
            }


def _imports(batch: BatchRecorded) -> Iterator[dict[str, str | None]]:
    """Yield one entry for the transfers that were taken over from other books: a link commits to each of them."""
    imported = [each.seq for each in batch.transfers if each.evidence_class == IMPORT_CLASS and each.outcome == DONE]
    if imported:
        yield {
            "count": str(len(imported)),
            "first_seq": str(imported[0]),
            "kind": "transfers.imported",
            "last_seq": str(imported[-1]),
        }
