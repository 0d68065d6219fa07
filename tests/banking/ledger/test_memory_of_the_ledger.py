"""What a writer has forgotten or never knew, the books know: reversals, chains, and accounts that others changed."""

from collections.abc import Sequence

import pytest

from latticebank.banking.ledger.model.accounts import AccountKind
from latticebank.banking.ledger.model.decide import Command
from latticebank.banking.ledger.model.desk import Books, Desk
from latticebank.banking.ledger.model.transfers import DONE, Rejection
from latticebank.banking.ledger.service.ledger import Ledger
from latticebank.banking.ledger.store import encoding, write
from latticebank.kernel.database import Database, DatabaseUnavailable
from latticebank.kernel.events import Event
from latticebank.kernel.outbox import outbox_parameters
from latticebank.values.ids import Uuid7Source
from tests.banking.ledger.samples import ANNA, CASH, alone, opening, outcome, post, reverse
from tests.clocks import NOON, MovingClock


async def told(database: Database, clock: MovingClock, *batch: Sequence[Command]) -> list[list[int]]:
    """What a ledger that has just started answers to a batch of chains."""
    fresh = Ledger(database, 1, 1, clock, Uuid7Source(clock))
    async with fresh.running():
        answers = await fresh._writers[0].submit([tuple(chain) for chain in batch])
    return [[outcome(answer) for answer in chain] for chain in answers]


async def three_accounts(database: Database, clock: MovingClock) -> None:
    """Anna has 100, Bert 50."""
    openings = alone([opening("anna"), opening("bert"), opening("cash", AccountKind.CASH)])
    paid = alone([post("a", CASH, ANNA, 100), post("b", CASH, 1_000_000_013, 50)])
    assert await told(database, clock, *openings) == [[DONE]] * 3
    assert await told(database, clock, *paid) == [[DONE]] * 2


async def test_a_posting_is_reversed_once_whoever_is_asked(database: Database, clock: MovingClock) -> None:
    await three_accounts(database, clock)
    assert await told(database, clock, [post("p")]) == [[DONE]]

    assert await told(database, clock, [reverse("first", "p")]) == [[DONE]]
    assert await told(database, clock, [reverse("second", "p")]) == [[Rejection.ALREADY_REVERSED]]
    assert await told(database, clock, [reverse("first", "p")]) == [[DONE]]


@pytest.mark.parametrize("amount", [10, 10_000])
async def test_a_chain_of_which_one_link_names_another_is_known_when_it_comes_again(
    amount: int, database: Database, clock: MovingClock
) -> None:
    await three_accounts(database, clock)
    chain: list[Command] = [post("p", amount=amount), reverse("back", "p")]

    first = await told(database, clock, chain)

    short = Rejection.INSUFFICIENT_FUNDS
    assert first == ([[DONE, DONE]] if amount == 10 else [[short, Rejection.CHAIN_BROKEN]])
    assert await told(database, clock, chain) == first


async def test_an_account_that_changed_unseen_is_never_overwritten(database: Database, clock: MovingClock) -> None:
    await three_accounts(database, clock)
    connection = await database.connect()
    try:
        encoding.register(connection)
        head = await write.lock(connection, 1, 0)
        assert head is not None
        accounts = await write.load_accounts(connection, 1, 0, [ANNA])
        accounts[ANNA].version -= 1
        desk = Desk(Books(0, head.next_seq, head.next_serial, accounts), NOON, NOON.date())
        desk.change(accounts[ANNA]).balance += 1
        event = Event(head.writer, "/latticebank/ledger", "a.b.v1", NOON, "s", "p", "c", "x/y", b"")
        told_of = outbox_parameters(1, 0, [event])
        with pytest.raises(DatabaseUnavailable, match="in the way"):
            await write.write(
                connection, 1, 0, write.Batch(desk, head.next_seq, head.recorded_at, lambda: write.Seal(head, told_of))
            )
    finally:
        await connection.close()
