"""The writer under strain: too much at once, commands it cannot digest, callers who leave, an end in the middle."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from latticebank.banking.ledger.model.accounts import AccountKind, FreezeAccount, OpenAccount, Party
from latticebank.banking.ledger.model.decide import Chain
from latticebank.banking.ledger.model.posting import member_id
from latticebank.banking.ledger.service import writer as writing
from latticebank.banking.ledger.service.ledger import Ledger
from latticebank.banking.ledger.service.writer import LedgerBusy, ShardWriter
from latticebank.kernel.database import Database, DatabaseUnavailable
from latticebank.kernel.http import IdempotencyKeyReused
from latticebank.values.account_number import account_number
from latticebank.values.ids import Uuid7Source
from tests.banking.ledger.audit import broken_promises
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
)
from tests.clocks import NOON, MovingClock

Auditor = psycopg.Connection[Any]


@pytest.fixture
async def writer(database: Database, clock: MovingClock) -> AsyncIterator[ShardWriter]:
    """The writer of shard 0, running; Anna has 100, Bert 50."""
    made = ShardWriter(database, 1, 0, clock, Uuid7Source(clock))
    running = asyncio.create_task(made.run())
    await made.submit(alone([opening("anna"), opening("bert"), opening("cash", AccountKind.CASH)]))
    await made.submit(alone([post("a", CASH, ANNA, 100), post("b", CASH, BERT, 50)]))
    made_task[made] = running
    yield made
    running.cancel()
    await asyncio.wait([running])


made_task: dict[ShardWriter, asyncio.Task[None]] = {}


@contextmanager
def somebody_holds_the_shard(auditor: Auditor) -> Iterator[None]:
    """While this lasts no batch of shard 0 gets anywhere."""
    with auditor.transaction():
        auditor.execute("SELECT pg_advisory_xact_lock(1, 0)")
        yield


async def one(writer: ShardWriter, *chain: Any) -> int:
    """Submit one chain; the outcome of its last link."""
    [answers] = await writer.submit([chain])
    return outcome(answers[-1])


async def settled(*tasks: "asyncio.Task[Any]") -> list[Any]:
    """What became of each task, within a minute."""
    async with asyncio.timeout(60):
        return await asyncio.gather(*tasks, return_exceptions=True)


def begin(writer: ShardWriter, *chains: Chain) -> "list[asyncio.Task[int]]":
    """Submit each chain by a caller of its own."""
    return [asyncio.create_task(one(writer, *chain)) for chain in chains]


async def taken_up(writer: ShardWriter) -> None:
    """Wait until the writer has taken whatever was submitted into a batch."""
    await submitted()
    async with asyncio.timeout(60):
        while writer._waiting:  # noqa: ASYNC110 - nobody rings
            await asyncio.sleep(0.001)


async def submitted() -> None:
    """Let the callers that have begun submit what they have: each does so at its first step."""
    await asyncio.sleep(0)


async def test_what_arrives_while_a_batch_is_written_becomes_the_next_batch(
    writer: ShardWriter, auditor: Auditor
) -> None:
    with somebody_holds_the_shard(auditor):
        first = begin(writer, (post("first"),))
        await taken_up(writer)
        rest = begin(writer, *alone(post(n, amount=1) for n in range(20)))
        await submitted()
    assert await settled(*first, *rest) == [0] * 21

    links = auditor.execute("SELECT next_seq - first_seq FROM journal ORDER BY first_seq").fetchall()
    assert [size for (size,) in links] == [3, 2, 1, 20]


async def test_a_writer_with_too_much_to_do_says_so_and_recovers(
    writer: ShardWriter, auditor: Auditor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "MAX_WAITING", 5)
    with somebody_holds_the_shard(auditor):
        taken = begin(writer, (post("taken"),))
        await taken_up(writer)
        waiting = begin(writer, *alone(post(n, amount=1) for n in range(5)))
        await submitted()
        with pytest.raises(LedgerBusy):
            await one(writer, post("too much"))
    assert await settled(*taken, *waiting) == [0] * 6

    assert await one(writer, post("too much")) == 0
    assert broken_promises(auditor) == {}


@pytest.mark.parametrize("place", [0, 3, 6])
async def test_commands_that_cannot_be_digested_take_nobody_with_them(
    place: int, writer: ShardWriter, auditor: Auditor
) -> None:
    chains = alone(post(n, amount=1) for n in range(6))
    chains.insert(place, (post("poison", amount=-5),))
    with somebody_holds_the_shard(auditor):
        before = begin(writer, (post("before", amount=1),))
        await taken_up(writer)
        together = begin(writer, *chains)
        await submitted()

    answers = await settled(*before, *together)

    assert isinstance(answers.pop(place + 1), AssertionError)
    assert answers == [0] * 7
    assert await one(writer, post("after", amount=1)) == 0
    assert auditor.execute("SELECT balance FROM accounts WHERE account = %s", (ANNA,)).fetchall() == [(92,)]
    assert broken_promises(auditor) == {}


async def test_a_caller_who_leaves_disturbs_nobody_and_learns_the_outcome_by_asking_again(
    writer: ShardWriter, auditor: Auditor
) -> None:
    with somebody_holds_the_shard(auditor):
        taken = begin(writer, *alone(post(("taken", n), amount=1) for n in range(3)))
        await taken_up(writer)
        waiting = begin(writer, *alone(post(("waiting", n), amount=1) for n in range(3)))
        await submitted()
        taken[1].cancel()
        waiting[1].cancel()
        await asyncio.sleep(0)
    answers = await settled(*taken, *waiting)

    assert [answer for answer in answers if not isinstance(answer, asyncio.CancelledError)] == [0] * 4
    again = [await one(writer, post((word, 1), amount=1)) for word in ("taken", "waiting")]
    assert again == [0, 0]
    assert auditor.execute("SELECT balance FROM accounts WHERE account = %s", (ANNA,)).fetchall() == [(94,)]


async def test_at_the_end_everybody_is_answered(writer: ShardWriter, auditor: Auditor) -> None:
    with somebody_holds_the_shard(auditor):
        taken = begin(writer, (post("taken"),))
        await taken_up(writer)
        waiting = begin(writer, *alone(post(n, amount=1) for n in range(3)))
        await submitted()
        made_task[writer].cancel()
        answers = await settled(*taken, *waiting)

    assert [type(answer) for answer in answers] == [DatabaseUnavailable] * 4
    assert broken_promises(auditor) == {}


async def test_who_comes_after_the_end_is_answered_too(writer: ShardWriter) -> None:
    made_task[writer].cancel()
    await asyncio.wait([made_task[writer]])

    async with asyncio.timeout(60):
        with pytest.raises(DatabaseUnavailable):
            await one(writer, post("late"))


async def test_an_end_while_commands_are_sorted_out_answers_those_that_were_not_reached(
    writer: ShardWriter, auditor: Auditor, url: str
) -> None:
    with psycopg.connect(url, autocommit=True) as other, other.transaction():
        other.execute("SELECT FROM accounts WHERE account = %s FOR UPDATE", (ANNA,))
        with somebody_holds_the_shard(auditor):
            before = begin(writer, (post("before", CASH, BERT),))
            await taken_up(writer)
            together = begin(writer, (post("poison", amount=-5),), *alone(post(n, amount=1) for n in range(4)))
            await submitted()
        await asyncio.wait([*before, together[0]], timeout=60)
        assert [task.done() for task in (*before, *together)] == [True, True, False, False, False, False]
        made_task[writer].cancel()
        answers = await settled(*before, *together)

    assert [type(answer) for answer in answers] == [int, AssertionError, *[DatabaseUnavailable] * 4]


async def test_a_writer_that_remembers_few_accounts_is_right_about_all(
    writer: ShardWriter, auditor: Auditor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "MAX_REMEMBERED", 3)
    randomness = random.Random(7)
    await writer.submit(alone(opening(("more", n), overdraft_limit=50) for n in range(9)))
    numbers = [account_number(0, n) for n in range(3, 12)]
    balances = dict.fromkeys(numbers, 0)
    for n in range(60):
        debit, credit = randomness.sample(numbers, 2)
        amount = randomness.randint(1, 40)
        fits = balances[debit] + 50 >= amount
        assert (await one(writer, post(("move", n), debit, credit, amount)) == 0) == fits
        if fits:
            balances[debit] -= amount
            balances[credit] += amount

    assert (
        dict(auditor.execute("SELECT account, balance FROM accounts WHERE account > %s", (CASH,)).fetchall())
        == balances
    )
    assert broken_promises(auditor) == {}


async def test_connections_that_break_between_and_within_batches_lose_nothing(
    writer: ShardWriter, auditor: Auditor, url: str
) -> None:
    for n in range(5):
        if n % 2:
            terminate_writers(auditor)
        with somebody_holds_the_shard(auditor):
            work = begin(writer, *alone(post((n, m), amount=1) for m in range(4)))
            await asyncio.sleep(0.03)
            with psycopg.connect(url, autocommit=True) as other:
                terminate_writers(other)
        assert await settled(*work) == [0] * 4

    assert auditor.execute("SELECT balance FROM accounts WHERE account = %s", (ANNA,)).fetchall() == [(80,)]
    assert broken_promises(auditor) == {}


def terminate_writers(connection: Auditor) -> None:
    """End the database sessions of the ledger."""
    connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'test-ledger'"
    )


async def test_a_lock_that_is_not_to_be_had_is_said_and_nothing_is_half_done(
    clock: MovingClock, url: str, writer: ShardWriter, auditor: Auditor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "_ATTEMPTS", 2)
    impatient = Database(f"{url}?options=-c%20lock_timeout%3D50ms", application_name="impatient", statement_seconds=20)
    other = ShardWriter(impatient, 1, 0, clock, Uuid7Source(clock))
    running = asyncio.create_task(other.run())
    try:
        with somebody_holds_the_shard(auditor), pytest.raises(DatabaseUnavailable):
            await one(other, post("held up"))
        assert await one(other, post("held up")) == 0
        assert await one(writer, post("held up")) == 0
    finally:
        running.cancel()
        await asyncio.wait([running])
        await impatient.close()
    assert broken_promises(auditor) == {}


async def test_two_writers_taking_turns_never_trust_what_they_remember(
    database: Database, clock: MovingClock, writer: ShardWriter, auditor: Auditor
) -> None:
    other = ShardWriter(database, 1, 0, clock, Uuid7Source(clock))
    running = asyncio.create_task(other.run())
    try:
        for n in range(10):
            assert await one((writer, other)[n % 2], post(n, amount=10)) == 0
        assert await one(writer, post("one too many", amount=1)) != 0
        assert await one(other, FreezeAccount(named("f"), BERT, "court-order", ACTOR)) == 0
        assert await one(writer, post("frozen", BERT, ANNA, 1)) != 0
        assert [await one(each, post(4, amount=10)) for each in (writer, other)] == [0, 0]
    finally:
        running.cancel()
        await asyncio.wait([running])
    assert broken_promises(auditor) == {}


async def test_many_large_acts_at_once_go_into_one_batch_and_its_events(writer: ShardWriter, auditor: Auditor) -> None:
    parties = tuple(Party(f"customer/{n:055d}", 1 + n % 2) for n in range(40))
    acts = [OpenAccount(named(("large", n)), 1, "EUR", 0, f"reference/{n}", parties, ACTOR) for n in range(400)]

    answers = await writer.submit(alone(acts))

    assert [outcome(answer) for [answer] in answers] == [0] * 400
    told = auditor.execute("SELECT count(*) FROM journal").fetchall()
    assert told == [(3,)]
    assert broken_promises(auditor) == {}


class Jumping(MovingClock):
    """A clock that shows an hour more once, as one that is set does."""

    ahead = timedelta(0)

    def now(self) -> datetime:
        shown, self.ahead = super().now() + self.ahead, timedelta(0)
        return shown


async def test_a_clock_that_is_set_back_does_not_keep_a_reservation_for_ever(database: Database) -> None:
    clock = Jumping()
    ledger = Ledger(database, 1, 1, clock, Uuid7Source(MovingClock()))
    [writer] = ledger._writers
    running = asyncio.create_task(writer.run())
    try:
        await writer.submit(alone([opening("anna", overdraft_limit=100), opening("bert")]))
        assert await one(writer, reserve("r", expires_at=SOON)) == 0
        clock.ahead = timedelta(hours=1)
        assert await ledger.expire_due() == 0
        clock.set(SOON + timedelta(minutes=1))
        assert await ledger.expire_due() == 1
        assert (await ledger.account(ANNA)).account.held == 0
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_no_order_can_take_the_name_under_which_a_reservation_expires(ledger: Ledger, clock: MovingClock) -> None:
    [writer] = ledger._writers
    await writer.submit(alone([opening("anna", overdraft_limit=100), opening("bert")]))
    assert await one(writer, reserve("r", expires_at=SOON)) == 0
    due = NOON + timedelta(hours=1)
    for index in (1, int(due.timestamp()) // 60):
        assert await one(writer, post("squatter", amount=1, id=member_id(named("r"), index))) == 0

    clock.set(due)
    await asyncio.sleep(1.2)
    clock.set(due + timedelta(minutes=1))
    async with asyncio.timeout(60):
        while (await ledger.account(ANNA)).account.held:  # noqa: ASYNC110 - the job tells nobody
            await asyncio.sleep(0.05)


async def test_a_chain_whose_second_name_is_taken_is_refused_and_holds_nobody_up(
    writer: ShardWriter, auditor: Auditor
) -> None:
    assert await one(writer, reserve("r1"), reserve("r2")) == 0
    assert await one(writer, post("squatter", id=member_id(named("all"), 1))) == 0

    with pytest.raises(IdempotencyKeyReused):
        await one(writer, post_reserved("all", "r1"))
    assert await one(writer, post_reserved("all again", "r1")) == 0
    assert broken_promises(auditor) == {}


async def test_orders_that_resolve_too_many_reservations_are_refused_and_nothing_is_done(
    writer: ShardWriter, auditor: Auditor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "MAX_RESERVATIONS", 2)
    chain = tuple(reserve(f"r{n}", ANNA, CASH, 10) for n in range(3))
    await writer.submit([chain])
    with pytest.raises(writing.TooMuchAtOnce):
        await writer.submit(alone([post_reserved("p", "r0")]))
    assert broken_promises(auditor) == {}
    monkeypatch.setattr(writing, "MAX_RESERVATIONS", 3)
    assert outcome((await writer.submit(alone([post_reserved("p", "r0")])))[0][0]) == 0
