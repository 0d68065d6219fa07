"""The one writer of a ledger shard: takes whatever has arrived as a batch, decides it, writes it, answers.

While one batch is written the next one gathers, so that the load itself sets the size of the batches. Everything that
changes the books goes this way, a freeze as well as a payment; so nothing can race a posting. Where so much has gathered
that the next batch is full already, it is decided ahead, on what the books will be if the batch under way is written.

Any number of processes may have a writer for the same shard: the lock of the shard makes them take turns, and the
shard's head tells each whether another wrote since, in which case it forgets the balances it remembers.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from prometheus_client import CollectorRegistry

from latticebank.banking.ledger.model.accounts import Account
from latticebank.banking.ledger.model.decide import Answer, Chain, decide
from latticebank.banking.ledger.model.desk import Books, Desk
from latticebank.banking.ledger.model.journal import GENESIS, act_record, link, transfer_record
from latticebank.banking.ledger.model.transfers import DONE
from latticebank.banking.ledger.service.messages import batch_events
from latticebank.banking.ledger.service.metrics import WriterMetrics
from latticebank.banking.ledger.service.needs import Needs, needs_of
from latticebank.banking.ledger.store import encoding, recall, write
from latticebank.kernel.database import Database, DatabaseUnavailable, unavailability
from latticebank.kernel.http import IdempotencyKeyReused
from latticebank.kernel.outbox import outbox_parameters
from latticebank.values.clock import EPOCH, Clock
from latticebank.values.errors import BankError, Fault
from latticebank.values.ids import Uuid7Source

MAX_BATCH = 8_192
"""The most commands that one batch, and so one submission, holds."""
MAX_WAITING = 65_536
"""The most commands that may wait for a writer."""
MAX_RESERVATIONS = 16_384
"""The most reservations that one batch resolves, counted with those of the chains that its orders name."""
MAX_REMEMBERED = 250_000
"""The most accounts whose balances a writer remembers."""
AHEAD_FROM = 2_048
"""So many commands that wait are decided while the batch before them is still being written."""
_ATTEMPTS = 6
_WARY_BATCHES = 100
_TICK = timedelta(microseconds=1)

_log = logging.getLogger(__name__)


class LedgerBusy(BankError):
    """More commands wait for the writer than it takes on."""

    code = "ledger-busy"
    title = "The ledger has more to do than it can take on"
    fault = Fault.UNAVAILABLE


class TooMuchAtOnce(BankError):
    """The orders of one submission touch more than one transaction takes on; nothing was done."""

    code = "too-much-at-once"
    title = "This is too much for one batch"
    fault = Fault.TOO_LARGE


@dataclass(slots=True)
class _Submission:
    chains: Sequence[Chain]
    size: int
    answers: "asyncio.Future[list[list[Answer]]]"


@dataclass(frozen=True, slots=True)
class _Ahead:
    """A batch decided on what was not written yet: good only while the writer's memory is of the same `age`."""

    age: int
    first_seq: int
    now: datetime
    desk: Desk
    answers: list[list[Answer]]


class ShardWriter:
    """Writes one shard. `run` must be running for `submit` to be answered."""

    def __init__(
        self,
        database: Database,
        book: int,
        shard: int,
        clock: Clock,
        ids: Uuid7Source,
        metrics: WriterMetrics | None = None,
    ) -> None:
        self._database = database
        self._book = book
        self._shard = shard
        self._clock = clock
        self._ids = ids
        self._me = ids()
        self._waiting: deque[_Submission] = deque()
        self._waiting_size = 0
        self._due = asyncio.Event()
        self._writing: asyncio.Task[None] | None = None
        self._sent = False
        self._connection: write.Connection | None = None
        # What the books are once the batch under way is written; forgotten as soon as that is not sure.
        self._accounts: dict[int, Account] = {}
        self._next_seq = 0
        self._next_serial = 0
        self._last_instant = EPOCH
        self._age = 0
        self._wary = 0
        self._over = False
        metrics = metrics or WriterMetrics(CollectorRegistry())
        label = str(shard)
        self._batch_size = metrics.batch_size.labels(label)
        self._batch_seconds = metrics.batch_seconds.labels(label)
        self._retries = metrics.retries.labels(label)
        self._done = metrics.commands.labels(label, "done")
        self._refused = metrics.commands.labels(label, "refused")
        metrics.waiting.labels(label).set_function(lambda: self._waiting_size)

    async def submit(self, chains: Sequence[Chain]) -> list[list[Answer]]:
        """Return the answer to each command of each chain once they are durable; at most `MAX_BATCH` commands.

        Raises:
            LedgerBusy: too much is waiting already; nothing was done.
            DatabaseUnavailable: the database is down; ask again with the same identifiers to learn the outcome.

        """
        size = sum(map(len, chains))
        if self._over:
            raise DatabaseUnavailable("the ledger is shutting down")
        if size > MAX_BATCH:
            raise AssertionError(f"a submission holds at most {MAX_BATCH} commands")
        if self._waiting_size + size > MAX_WAITING:
            raise LedgerBusy(f"more than {MAX_WAITING} commands are waiting", hint="try again in a moment")
        submission = _Submission(chains, size, asyncio.get_running_loop().create_future())
        self._waiting.append(submission)
        self._waiting_size += size
        self._ring()
        return await submission.answers

    async def run(self) -> None:
        """Write batches until cancelled; whoever still waits then is told that the ledger is not available."""
        try:
            while True:
                await self._due.wait()
                submissions = self._take()
                ahead = self._decide_ahead(submissions) if self._busy else None
                if self._writing is not None:
                    await self._writing
                self._sent = False
                self._writing = asyncio.create_task(self._serve(submissions, ahead))
                self._writing.add_done_callback(lambda _: self._ring())
                # What rang while the last batch ended would have the next one decided on books that are not yet known.
                self._due.clear()
                self._ring()
        finally:
            self._over = True
            if self._writing is not None:
                self._writing.cancel()
                await asyncio.wait([self._writing])
            for submission in self._waiting:
                _fail(submission, DatabaseUnavailable("the ledger is shutting down"))
            self._waiting.clear()
            await self._disconnect()

    @property
    def _busy(self) -> bool:
        return self._writing is not None and not self._writing.done()

    def _ring(self) -> None:
        """Say that a batch is due: something waits, and no batch is under way, or it is sent and so much waits."""
        if self._waiting and (not self._busy or (self._sent and self._waiting_size >= AHEAD_FROM)):
            self._due.set()

    def _take(self) -> list[_Submission]:
        """Take whatever has arrived, as far as it fits one batch."""
        taken: list[_Submission] = []
        size = 0
        while self._waiting and size + self._waiting[0].size <= MAX_BATCH:
            submission = self._waiting.popleft()
            size += submission.size
            if not submission.answers.cancelled():
                taken.append(submission)
        self._waiting_size = sum(submission.size for submission in self._waiting)
        return taken

    async def _serve(self, submissions: list[_Submission], ahead: _Ahead | None = None) -> None:
        """Answer submissions; one that the writer cannot digest must not take the others with it."""
        if not submissions:
            return
        try:
            answers = await self._decide_and_write([chain for s in submissions for chain in s.chains], ahead)
        except asyncio.CancelledError:
            for submission in submissions:
                _fail(submission, DatabaseUnavailable("the ledger is shutting down; the outcome is not known"))
            raise
        except DatabaseUnavailable as error:
            for submission in submissions:
                _fail(submission, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is answered, and the writer goes on
            if len(submissions) > 1:
                await self._serve_halves(submissions)
                return
            if not isinstance(error, BankError):
                _log.exception("a submission of %d commands could not be written", submissions[0].size)
            _fail(submissions[0], error)
        else:
            start = iter(answers)
            for submission in submissions:
                if not submission.answers.done():
                    submission.answers.set_result(list(islice(start, len(submission.chains))))
                else:
                    deque(islice(start, len(submission.chains)), maxlen=0)

    async def _serve_halves(self, submissions: list[_Submission]) -> None:
        """Find what cannot be digested by halving, so that it costs its neighbours little."""
        middle = len(submissions) // 2
        try:
            await self._serve(submissions[:middle])
            await self._serve(submissions[middle:])
        finally:
            for submission in submissions:  # the end may come before the second half does
                _fail(submission, DatabaseUnavailable("the ledger is shutting down"))

    async def _decide_and_write(self, chains: Sequence[Chain], ahead: _Ahead | None) -> list[list[Answer]]:
        """Try until the batch is written: others may be quicker, connections may break."""
        needs = needs_of(chains)
        failure: Exception | None = None
        self._batch_size.observe(sum(map(len, chains)))
        for attempt in range(_ATTEMPTS):
            if attempt:
                self._retries.inc()
            try:
                with unavailability(), self._batch_seconds.time():
                    return await self._attempt(chains, needs, ahead, wary=attempt > 0 or self._wary > 0)
            except write.AlreadyRecorded as error:
                # Some identifier is recorded already. Whoever repeats commands is likely to repeat more of them, and
                # looking first is cheaper than writing a batch twice.
                self._wary = _WARY_BATCHES
                self._forget()
                failure = error
            except DatabaseUnavailable as error:
                failure = error
                self._forget()
                await self._disconnect()
                await asyncio.sleep(0.05 * attempt)
            except BaseException:
                self._forget()
                await self._disconnect()
                raise
        if isinstance(failure, write.AlreadyRecorded):  # not the command's own identifier, but one derived from it
            raise IdempotencyKeyReused from failure
        raise failure or AssertionError("at least one attempt was made")

    async def _attempt(
        self, chains: Sequence[Chain], needs: Needs, ahead: _Ahead | None, *, wary: bool
    ) -> list[list[Answer]]:
        connection = await self._connected()
        head = await write.lock(connection, self._book, self._shard)
        if head is None:
            head = write.Head(1, 0, GENESIS, EPOCH, self._me)
            await write.found(connection, self._book, self._shard, head)
        if head.writer != self._me or head.next_seq != self._next_seq:
            self._forget()
        if ahead is None or (ahead.age, ahead.first_seq) != (self._age, head.next_seq):
            books = await self._gather(connection, head, needs, wary=wary)
            now = max(self._clock.now(), head.recorded_at + _TICK)
            answers, desk = decide(books, chains, now)
        else:
            answers, desk, now = ahead.answers, ahead.desk, ahead.now
        self._remember(desk, now)
        if desk.next_seq == head.next_seq:
            await write.give_up(connection)
        else:
            await write.write(connection, self._book, self._shard, self._batch(desk, head, now))
            self._count(desk)
            self._database.published.ring()
        self._wary = max(0, self._wary - 1)
        return answers

    def _decide_ahead(self, submissions: list[_Submission]) -> _Ahead | None:
        """Decide a batch while the one before it is being written; None where more must be known than is remembered."""
        chains = [chain for submission in submissions for chain in submission.chains]
        needs = needs_of(chains)
        looks_further = needs.acts or needs.reservations or needs.transfers
        if self._wary or looks_further or not needs.accounts <= self._accounts.keys():
            return None
        now = max(self._clock.now(), self._last_instant + _TICK)
        books = Books(self._shard, self._next_seq, self._next_serial, self._accounts)
        try:
            answers, desk = decide(books, chains, now)
        except Exception:  # noqa: BLE001 - it comes again when the batch is served, and is answered there
            return None
        return _Ahead(self._age, self._next_seq, now, desk, answers)

    async def _gather(self, connection: write.Connection, head: write.Head, needs: Needs, *, wary: bool) -> Books:
        """Load everything that the batch names and the writer does not remember."""
        at = (connection, self._book, self._shard)
        recorded = await recall.recorded(*at, needs.ids) if wary else {}
        acts = await recall.acts(*at, needs.ids) if wary and needs.acts else {}
        reservations = await recall.reservations(*at, needs.reservations) if needs.reservations else {}
        if len(reservations) > MAX_RESERVATIONS:
            raise TooMuchAtOnce(
                f"these orders resolve more than {MAX_RESERVATIONS} reservations at once", hint="send them in parts"
            )
        named = [*needs.transfers, *(i for i in needs.reservations if i not in reservations)]
        if named:
            recorded |= await recall.recorded(*at, named)
            if not wary and not recorded.keys().isdisjoint(needs.ids):
                # A chain is known by all of its links: to know but one of them would make a repetition look new.
                recorded |= await recall.recorded(*at, needs.ids)
        reversed_ones = await recall.reversed_ones(*at, needs.transfers) if needs.transfers else frozenset[bytes]()
        references = await recall.references(*at, needs.references) if needs.references else {}
        wanted = set(needs.accounts)
        for reservation in reservations.values():
            wanted |= {reservation.debit, reservation.credit}
        for identifier in needs.transfers:
            if identifier in recorded:
                wanted |= {recorded[identifier].debit, recorded[identifier].credit}
        missing = wanted.difference(self._accounts)
        if missing:
            self._accounts |= await write.load_accounts(*at, missing)
        return Books(
            self._shard, head.next_seq, head.next_serial, self._accounts, recorded, acts, reservations, reversed_ones,
            references,
        )  # fmt: skip

    def _batch(self, desk: Desk, head: write.Head, now: datetime) -> write.Batch:
        def seal() -> write.Seal:
            records = [transfer_record(transfer) for transfer in desk.transfers]
            records += [act_record(event) for event in desk.events]
            journal_link = link(head.journal_link, head.next_seq, now, records)
            after = write.Head(desk.next_seq, desk.next_serial, journal_link, now, self._me)
            events = batch_events(self._ids, self._book, self._shard, head.next_seq, desk, now, journal_link)
            return write.Seal(after, outbox_parameters(self._book, self._shard, events))

        return write.Batch(desk, head.next_seq, now, seal, self._offer_to_decide_ahead)

    def _remember(self, desk: Desk, now: datetime) -> None:
        """Keep what the books will be once this batch is written."""
        self._accounts.update(desk.changed)
        self._next_seq, self._next_serial, self._last_instant = desk.next_seq, desk.next_serial, now
        if len(self._accounts) > MAX_REMEMBERED:
            self._accounts = dict(islice(self._accounts.items(), len(self._accounts) // 2, None))

    def _offer_to_decide_ahead(self) -> None:
        """Let the next batch be decided now that the database is busy with this one, and not before it is."""
        self._sent = True
        self._ring()

    def _forget(self) -> None:
        """Trust nothing that is remembered, nor what was decided upon it."""
        self._accounts.clear()
        self._age += 1

    def _count(self, desk: Desk) -> None:
        refused = sum(t.outcome != DONE for t in desk.transfers) + sum(e.outcome != DONE for e in desk.events)
        self._refused.inc(refused)
        self._done.inc(len(desk.transfers) + len(desk.events) - refused)

    async def _connected(self) -> write.Connection:
        if self._connection is None or self._connection.closed:
            self._connection = await self._database.connect()
            encoding.register(self._connection)
        return self._connection

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


def _fail(submission: _Submission, error: Exception) -> None:
    if not submission.answers.done():
        submission.answers.set_exception(error)
