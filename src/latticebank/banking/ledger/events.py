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

DONE = 0
"""The outcome of what took effect."""
REVERSE_KIND = 6
"""The kind of a transfer that moves the money of another one back."""
IMPORT_CLASS = 2
"""The class of evidence of what was taken over from other books."""
ACT_WORDS = {1: "opened", 2: "frozen", 3: "unfrozen", 4: "closed", 5: "limit-changed"}
"""What the numbers of acts on accounts mean."""


class TransferRecorded(Struct, frozen=True, array_like=True):
    """One record: identifiers are 16 bytes, amounts and balances minor units, `outcome` 0 means done.

    `reference` is the reservation or the reversed transfer, `chain` the first command of its chain.
    """

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
    """One act on an account; `outcome` 0 means done.

    `actor` is the caller who asked for it. `details` has the `reason` of a restriction, the `overdraft_limit` in minor
    units, or what the account was opened as.
    """

    seq: int
    id: bytes
    act: int
    outcome: int
    account: int
    actor: str
    details: dict[str, object]


class BatchRecorded(Struct, frozen=True):
    """What a batch recorded: transfers and acts on accounts share one row of sequence numbers.

    `link` is the journal's link of the whole batch, 32 bytes: it commits to all that the shard recorded up to here.
    """

    book: int
    shard: int
    first_seq: int
    next_seq: int
    transfers: list[TransferRecorded]
    acts: list[ActRecorded]
    link: bytes
