"""`latticebank ledger check`: proves that the books keep their promises, and names what breaks them."""

from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime
from typing import Generic, TypeVar

from msgspec import Struct

from latticebank.banking.ledger.model.accounts import AccountEvent
from latticebank.banking.ledger.model.journal import GENESIS, Link, act_record, link, transfer_record
from latticebank.banking.ledger.model.logged import LoggedBatch
from latticebank.banking.ledger.model.transfers import Transfer
from latticebank.banking.ledger.service.logged import HeldAgainstLog, hold_against_log
from latticebank.banking.ledger.store.proof import INVARIANTS, Invariant, ShardEnd, Snapshot, snapshot
from latticebank.kernel.database import Database

MAX_FINDINGS = 20
"""The most places that are named of one broken invariant."""
JOURNAL = Invariant("journal", "the journal commits to every record in order, without gaps, up to the shard's head", "")
LOGGED = Invariant(
    "logged", "the journal has each batch that the log tells of, with its range and link, and no other between them", ""
)

Record = TypeVar("Record", Transfer, AccountEvent)


class Finding(Struct, frozen=True):
    """One place that breaks an invariant."""

    invariant: str
    where: str
    what: str


class Proof(Struct, frozen=True, omit_defaults=True):
    """What was proved: the invariants that hold, and the places that break the others; `log` if it was held against the log."""

    accounts: int
    entries: int
    transfers: int
    kept: list[str]
    findings: list[Finding]
    log: HeldAgainstLog | None = None

    @property
    def sound(self) -> bool:
        """Whether every invariant holds."""
        return not self.findings


async def prove(
    database: Database,
    book: int,
    told: Callable[[Invariant], None] = lambda _: None,
    logged: Iterable[LoggedBatch] | None = None,
) -> Proof:
    """Return the proof of a book as it stands now; `told` hears of each invariant before it is looked at.

    `logged` are the batches of which opened entries of the log tell, in its order; their errors come out as they are.
    """
    findings: list[Finding] = []
    looked_at = [*((LOGGED,) if logged is not None else ()), *INVARIANTS, JOURNAL]
    log: HeldAgainstLog | None = None
    async with snapshot(database, book) as books:
        if logged is not None:  # first, for openings that are none end the check
            told(LOGGED)
            log, differences = await hold_against_log(books, logged, MAX_FINDINGS)
            findings += [Finding(LOGGED.name, *difference) for difference in differences]
        accounts, entries, transfers = await books.sizes()
        for invariant in INVARIANTS:
            told(invariant)
            findings += [Finding(invariant.name, *place) for place in await books.breaches(invariant, MAX_FINDINGS)]
        told(JOURNAL)
        broken = [finding for end in await books.shard_ends() for finding in await _journal_findings(books, end)]
        findings += broken[:MAX_FINDINGS]
    names = {finding.invariant for finding in findings}
    kept = [invariant.name for invariant in looked_at if invariant.name not in names]
    return Proof(accounts, entries, transfers, kept, findings, log)


async def _journal_findings(books: Snapshot, end: ShardEnd) -> list[Finding]:
    """Recompute the chain of a shard link by link from the records; stop at the first that does not fit."""
    transfers = _Ahead(books.transfers(end.shard))
    acts = _Ahead(books.acts(end.shard))
    previous, next_seq, last = GENESIS, 1, None
    async for stored in books.links(end.shard):
        where = f"shard {end.shard}, records {stored.first_seq} to {stored.next_seq - 1}"
        if stored.first_seq != next_seq:
            return [Finding(JOURNAL.name, where, f"the journal goes on at {stored.first_seq}, not at {next_seq}")]
        told, finding = await _records_of(transfers, acts, stored, where)
        if finding is not None:
            return [finding]
        if link(previous, stored.first_seq, stored.recorded_at, told) != stored.link:
            return [Finding(JOURNAL.name, where, "a record was changed, or the link was: they do not fit")]
        previous, next_seq, last = stored.link, stored.next_seq, stored.recorded_at
    return await _end_findings(transfers, acts, end, (previous, next_seq, last))


async def _records_of(
    transfers: "_Ahead[Transfer]", acts: "_Ahead[AccountEvent]", batch: Link, where: str
) -> tuple[list[bytes], Finding | None]:
    """Return the bytes of a batch's records, transfers first as the writer hashed them."""
    of_transfers, of_acts = [], []
    for seq in range(batch.first_seq, batch.next_seq):
        transfer, act = await transfers.at(seq), await acts.at(seq)
        if transfer is None and act is None:
            return [], Finding(JOURNAL.name, where, f"record {seq} is missing")
        if transfer is not None and act is not None:
            return [], Finding(JOURNAL.name, where, f"there are two records {seq}")
        if (transfer or act or (None,))[0] != batch.recorded_at:
            return [], Finding(JOURNAL.name, where, f"record {seq} has another instant than its batch")
        if transfer is not None:
            of_transfers.append(transfer_record(transfer[1]))
        elif act is not None:
            of_acts.append(act_record(act[1]))
    return of_transfers + of_acts, None


async def _end_findings(
    transfers: "_Ahead[Transfer]",
    acts: "_Ahead[AccountEvent]",
    end: ShardEnd,
    reached: tuple[bytes, int, datetime | None],
) -> list[Finding]:
    where = f"shard {end.shard}, head"
    if (end.link, end.next_seq) != reached[:2] or reached[2] not in (None, end.recorded_at):
        return [Finding(JOURNAL.name, where, f"the head ends before {end.next_seq}, the journal before {reached[1]}")]
    for records in (transfers, acts):
        if (beyond := await records.first()) is not None:
            return [Finding(JOURNAL.name, where, f"record {beyond} is not in the journal")]
    return []


class _Ahead(Generic[Record]):
    """A stream of records in order of their numbers, of which one may look at the next."""

    def __init__(self, stream: AsyncIterator[tuple[datetime, Record]]) -> None:
        self._stream: AsyncIterator[tuple[datetime, Record]] = stream
        self._next: tuple[datetime, Record] | None = None

    async def first(self) -> int | None:
        """Return the number of the next record, None at the end."""
        if self._next is None:
            self._next = await anext(self._stream, None)
        return None if self._next is None else self._next[1].seq

    async def at(self, seq: int) -> tuple[datetime, Record] | None:
        """Return and pass the record of this number; None where the next has another."""
        if await self.first() != seq:
            return None
        record, self._next = self._next, None
        return record
