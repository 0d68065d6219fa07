"""The events that the ledger publishes.

One event tells of up to `MAX_TRANSFERS_TOLD` transfers and `MAX_ACTS_TOLD` acts of one batch, in order; gaps in
`first_seq` show what is missing. Its data is MessagePack: `BatchRecorded`. The partition key is the shard, the causation
id the batch's first number.
"""

from datetime import date

from msgspec import Struct

SOURCE = "/latticebank/ledger"
BATCH_RECORDED = "latticebank.ledger.batch-recorded.v1"
MAX_TRANSFERS_TOLD = 2_000
MAX_ACTS_TOLD = 200
"""An act is up to 3 kB: an opening names up to 40 parties."""


class TransferRecorded(Struct, frozen=True, array_like=True):
    """One record: identifiers are 16 bytes, amounts and balances minor units, `outcome` 0 means done."""

    seq: int
    id: bytes
    kind: int
    outcome: int
    debit: int
    credit: int
    amount: int
    currency: str
    purpose: int
    booking_date: date
    value_date: date
    evidence_class: int
    evidence: bytes
    debit_entry: int
    credit_entry: int
    debit_balance: int
    credit_balance: int
    reference: bytes | None = None
    chain: bytes | None = None


class ActRecorded(Struct, frozen=True, array_like=True):
    """One act on an account; `outcome` 0 means done."""

    seq: int
    id: bytes
    act: int
    outcome: int
    account: int
    actor: str
    details: dict[str, object]


class BatchRecorded(Struct, frozen=True):
    """What a batch recorded: transfers and acts on accounts share one row of sequence numbers."""

    book: int
    shard: int
    first_seq: int
    next_seq: int
    transfers: list[TransferRecorded]
    acts: list[ActRecorded]
