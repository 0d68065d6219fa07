"""A process with a writer of its own that fires random commands at a shard which others write too.

Run as a module with a plan on standard input: a JSON object of `url`, `seed`, `rounds`, `accounts`, `names` and
`patience` (seconds that a statement may take). Every answer goes to standard output as a line `name outcome`, written as
soon as it is known. What it asks under a name depends on the name alone, so any process may repeat what another asked;
it may be killed at any moment.
"""

import asyncio
import json
import random
import sys
from collections.abc import Iterator
from datetime import timedelta
from hashlib import sha256
from typing import Any

from latticebank.banking.ledger.model.accounts import AccountCommand, FreezeAccount, UnfreezeAccount
from latticebank.banking.ledger.model.decide import Chain
from latticebank.banking.ledger.model.transfers import (
    DONE,
    EvidenceClass,
    Post,
    PostReserved,
    Purpose,
    Rejection,
    Reserve,
    Reverse,
    TransferCommand,
    Void,
)
from latticebank.banking.ledger.service.writer import LedgerBusy, ShardWriter
from latticebank.kernel.database import Database, DatabaseUnavailable
from latticebank.values.clock import EPOCH, SystemClock
from latticebank.values.ids import Uuid7Source

EVIDENCE = sha256(b"evidence").digest()
FAR = EPOCH + timedelta(days=60_000)


def identifier(name: str) -> bytes:
    """The identifier of a name."""
    return sha256(name.encode()).digest()[:16]


def chain_of(name: str, accounts: list[int]) -> Chain:
    """The commands that a name stands for, in every process the same."""
    dice = random.Random(name)
    kind = dice.choice(["post", "post", "post", "chain", "reserve", "reserve", "resolve", "resolve", "reverse", "act"])
    if kind == "chain":
        count = dice.randint(2, 4)
        hold = dice.random() < 0.5
        return tuple(_movement(f"{name}/{n}", dice, accounts, hold=hold) for n in range(count))
    return (_single(kind, name, dice, accounts),)


def _single(kind: str, name: str, dice: random.Random, accounts: list[int]) -> TransferCommand | AccountCommand:
    other = identifier(f"{dice.randint(0, int(name))}{dice.choice(['', '', '/0'])}")
    if kind == "resolve":
        if dice.random() < 0.3:
            return Void(identifier(name), other)
        amount = dice.choice([None, dice.randint(1, 30)])
        return PostReserved(identifier(name), other, amount, None if amount is None else "EUR")
    if kind == "reverse":
        return Reverse(identifier(name), other, EvidenceClass.CASH, EVIDENCE)
    if kind == "act":
        facts = (identifier(name), dice.choice(accounts[1:]), "error", "test")
        return FreezeAccount(*facts) if dice.random() < 0.25 else UnfreezeAccount(*facts)
    return _movement(name, dice, accounts, hold=kind == "reserve")


def _movement(name: str, dice: random.Random, accounts: list[int], *, hold: bool) -> TransferCommand:
    debit, credit = dice.sample(accounts, 2)
    facts = (
        identifier(name),
        debit,
        credit,
        dice.randint(1, 150),
        "EUR",
        Purpose.TRANSFER,
        EvidenceClass.PAYMENT,
        EVIDENCE,
    )
    return Reserve(*facts, FAR if dice.random() < 0.5 else None) if hold else Post(*facts)


def told(answers: list[Any]) -> str:
    """The outcomes of a chain in one word."""
    outcomes = [int(answer) if isinstance(answer, Rejection) else answer.outcome for answer in answers]
    return ",".join("done" if outcome == DONE else Rejection(outcome).word for outcome in outcomes)


def rounds_of(seed: int, rounds: int, names: int) -> Iterator[list[str]]:
    """Yield the names of each round of a plan: what is asked for at once."""
    dice = random.Random(seed)
    for _ in range(rounds):
        yield [str(dice.randint(0, names - 1)) for _ in range(dice.choice([1, 1, 3, 10, 60]))]


async def fire(plan: dict[str, Any]) -> None:
    """Do the rounds of a plan."""
    clock = SystemClock()
    database = Database(plan["url"], application_name="fault-writer", pool_size=1, statement_seconds=plan["patience"])
    writer = ShardWriter(database, 1, 0, clock, Uuid7Source(clock))
    running = asyncio.create_task(writer.run())
    try:
        for names in rounds_of(plan["seed"], plan["rounds"], plan["names"]):
            await asyncio.gather(*(_ask(writer, name, plan["accounts"]) for name in names))
    finally:
        running.cancel()
        await asyncio.wait([running])
        await database.close()


async def _ask(writer: ShardWriter, name: str, accounts: list[int]) -> None:
    while True:
        try:
            [answers] = await writer.submit([chain_of(name, accounts)])
        except (DatabaseUnavailable, LedgerBusy):
            await asyncio.sleep(0.01)  # whoever gets no answer asks again under the same name
            continue
        sys.stdout.write(f"{name} {told(answers)}\n")
        sys.stdout.flush()
        return


if __name__ == "__main__":
    asyncio.run(fire(json.loads(sys.stdin.read())))
