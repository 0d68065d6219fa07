"""The journal: one SHA-256 chain a shard, a link a batch, over everything the batch recorded.

    link = SHA-256(previous link || first sequence number || instant of the batch || records in order)

Whoever changes, removes or inserts a record later breaks the chain at its batch; the last link commits to the whole
history of the shard in 32 bytes. Integers are big-endian.
"""

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from struct import Struct

import msgspec

from latticebank.banking.ledger.model.accounts import AccountEvent
from latticebank.banking.ledger.model.transfers import Transfer
from latticebank.values.clock import EPOCH

GENESIS = bytes(32)
"""The link before the first batch of a shard."""


class Link(msgspec.Struct, frozen=True):
    """A link of the journal: the records of its batch, from `first_seq` up to, without, `next_seq`, and their instant."""

    first_seq: int
    next_seq: int
    recorded_at: datetime
    link: bytes


_TRANSFER = Struct(">q16shhqqq3shiih32sqq16s16s")
_HEAD = Struct(">32sqq")
_NOTHING = bytes(16)


def link(previous: bytes, first_seq: int, at: datetime, records: Sequence[bytes]) -> bytes:
    """Return the link of a batch; `at` counts in microseconds since 1970."""
    digest = sha256(_HEAD.pack(previous, first_seq, microseconds(at)))
    digest.update(b"".join(records))
    return digest.digest()


def transfer_record(transfer: Transfer) -> bytes:
    """Return the bytes of a transfer that the journal commits to."""
    t = transfer
    return _TRANSFER.pack(
        t.seq, t.id, t.kind, t.outcome, t.debit, t.credit, t.amount, t.currency.encode(),
        t.purpose, t.booking_date.toordinal(),
        t.value_date.toordinal(), t.evidence_class, t.evidence, t.debit_entry, t.credit_entry,
        t.reference or _NOTHING, t.chain or _NOTHING,
    )  # fmt: skip


def act_record(event: AccountEvent) -> bytes:
    """Return the bytes of an act on an account that the journal commits to."""
    facts = msgspec.json.encode([event.act, event.outcome, event.account, event.actor, event.details], order="sorted")
    return event.seq.to_bytes(8) + event.id + sha256(facts).digest()


def microseconds(instant: datetime) -> int:
    """Return the microseconds from 1970 to an instant, exactly."""
    delta = instant - EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
