"""Two hundred payments at once while connections are cut and a bank is killed: none is lost, doubled or half done."""

import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from uuid import UUID

import psycopg

from latticebank.banking.payments.wire import PaymentView
from latticebank.client import BankClient, Payee, Signatory, SignedDocument
from latticebank.kernel.transports import HttpTransport
from latticebank.values.clock import SystemClock
from latticebank.values.errors import BankError
from latticebank.values.ids import Uuid7Source
from tests.e2e.townspeople import LIMITS, NAME, ShiftedClock, Townsperson, Village, open_village
from tests.faults.conftest import Bank
from tests.faults.promises import findings_in_the_books, promises_broken_by_payments, rows

PAYMENTS = 200
CUTS = 15
CLERKS = 20
"""So many pay at once, half of them at each of two banks."""
PAYERS = ("ada", "ben", "cleo", "dora")
OPEN = re.compile(r"The bank is open at (http://\S+)")
Signed = tuple[str, SignedDocument]


def signed_payments(bank: Bank) -> list[Signed]:
    """So many payments of 1.01 and up, each to the next of those who pay; some of them have to wait for a manager."""
    clock = SystemClock()
    ids = Uuid7Source(clock)
    accounts = [bank.people[name].account for name in PAYERS]
    payments = []
    for number in range(PAYMENTS):
        place = number % len(PAYERS)
        signs = Signatory(NAME, bank.people[PAYERS[place]].signs.device, clock, ids)
        amount = f"{1 + number // 100}.{number % 100:02}" if number % 20 else "50.00"
        payee = Payee(accounts[(place + 1) % len(PAYERS)], "A payee", amount, "EUR")
        payments.append((PAYERS[place], signs.payment(accounts[place], payee)))
    return payments


async def payers_at(village: Village, bank: Bank) -> dict[str, Townsperson]:
    """Those who pay, each in a session at this bank."""
    people = [village.met_before(bank.people[name]) for name in PAYERS]
    await asyncio.gather(*(person.bank.login(person.email, person.password) for person in people))
    return {person.name: person for person in people}


async def sound(bank: Bank, payments: list[Signed]) -> None:
    """Check that every payment was made or held, exactly once, and that no money was made or lost on the way."""
    assert promises_broken_by_payments(bank.urls) == {}
    assert await findings_in_the_books(bank.urls) == []
    stored = rows(bank.urls["payments"], "SELECT id, state FROM payments")
    assert {row[0] for row in stored} == {payment.id for _, payment in payments}
    assert Counter(row[1] for row in stored) == {3: PAYMENTS * 19 // 20, 2: PAYMENTS // 20}


async def settled(bank: Bank, clock: ShiftedClock) -> None:
    """Let the claims on what was left half-way run out, and wait until it is done and told of."""
    async with asyncio.timeout(60):
        while rows(bank.urls["payments"], "SELECT 1 FROM unsettled UNION ALL SELECT 1 FROM outbox"):
            clock.offset += timedelta(seconds=4)
            await asyncio.sleep(0.25)


async def test_database_connections_cut_at_any_moment_lose_and_double_no_payment(bank: Bank) -> None:
    payments = signed_payments(bank)
    clock = ShiftedClock()
    async with open_village(bank.folder, bank.urls, clock) as (_, village):
        payers = await payers_at(village, bank)
        async with cut_connections(bank) as cuts:
            first = await asyncio.gather(*(payers[who].bank.transfer(payment) for who, payment in payments))
            while len(cuts) < CUTS:
                again = await asyncio.gather(*(payers[who].bank.transfer(payment) for who, payment in payments))
                assert_kept(first, again)
        await settled(bank, clock)
        second = [await payers[who].bank.transfer(payment) for who, payment in payments]
        third = [await payers[who].bank.transfer(payment) for who, payment in payments]
    assert second == third
    assert_kept(first, second)
    await sound(bank, payments)


def assert_kept(first: list[PaymentView], second: list[PaymentView]) -> None:
    """Check that whatever was told of a payment as decided is still told."""
    for early, late in zip(first, second, strict=True):
        if early.state != "received":
            assert early == late


@asynccontextmanager
async def cut_connections(bank: Bank) -> AsyncIterator[list[int]]:
    """Cut connections of all services to their databases at random moments; yields how many each time."""
    cuts: list[int] = []
    names = list(bank.databases.values())

    async def cut() -> None:
        async with await psycopg.AsyncConnection.connect(bank.urls["bus"], autocommit=True) as connection:
            while True:
                await asyncio.sleep(random.uniform(0.01, 0.08))
                found = await connection.execute(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                    " WHERE datname = ANY(%s) AND application_name LIKE 'latticebank-%%' AND random() < 0.2",
                    (names,),
                )
                row = await found.fetchone()
                if row and row[0]:
                    cuts.append(row[0])

    cutting = asyncio.create_task(cut())
    try:
        yield cuts
    finally:
        cutting.cancel()
        await asyncio.wait([cutting])


class ServedBank:
    """`latticebank serve` with all services in a process of its own, on databases that other banks use too."""

    def __init__(self, bank: Bank, name: str) -> None:
        settings = {"data": str(bank.folder), "database_urls": json.dumps(bank.urls), "demo": "true", "bank": NAME}
        told = {f"LATTICEBANK_{name.upper()}": value for name, value in (settings | LIMITS).items()}
        self._log = bank.folder.parent / f"{name}.log"
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "latticebank", "serve", "--port", "0"], env=os.environ | told, stderr=log
            )

    async def address(self) -> str:
        """Where it listens, once it does."""
        async with asyncio.timeout(120):
            while (found := OPEN.search(self._log.read_text())) is None:
                assert self.process.poll() is None, self._log.read_text()
                await asyncio.sleep(0.05)
        return found.group(1)

    def end(self, how: signal.Signals) -> int:
        """Signal it; how it ended."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(timeout=60)


@contextmanager
def two_banks(bank: Bank) -> Iterator[list[ServedBank]]:
    """Two processes that run the same bank at once."""
    banks = [ServedBank(bank, "victim"), ServedBank(bank, "survivor")]
    try:
        yield banks
    finally:
        for each in banks:
            each.end(signal.SIGKILL)


async def test_of_two_banks_on_the_same_books_one_is_killed_under_load_and_the_other_goes_on(bank: Bank) -> None:
    payments = signed_payments(bank)
    with two_banks(bank) as (victim, survivor):
        ways = [HttpTransport(await each.address()) for each in (victim, survivor)]
        village = Village(ways[1], bank.folder)
        await village.is_open()
        payers = await payers_at(village, bank)
        answered: dict[UUID, PaymentView] = {}
        broken_off: list[UUID] = []

        async def pay(place: int) -> None:
            """Pay one payment after another at one of the banks, and go over to the other when this one is gone."""
            for who, payment in payments[place::CLERKS]:
                session = payers[who].bank.session
                if place % 2 and not broken_off:
                    with suppress(BankError):
                        answered[payment.id] = await BankClient(ways[0], session, patience=0.1).transfer(payment)
                        continue
                    broken_off.append(payment.id)
                answered[payment.id] = await BankClient(ways[1], session).transfer(payment)
                if len(answered) >= PAYMENTS // 4 and victim.process.poll() is None:
                    victim.process.kill()

        await asyncio.gather(*map(pay, range(CLERKS)))
        assert len(answered) == PAYMENTS
        assert broken_off
        for way in ways:
            await way.aclose()
        assert survivor.end(signal.SIGTERM) == 0
    clock = ShiftedClock(timedelta(seconds=16))
    async with open_village(bank.folder, bank.urls, clock) as (_, village):
        await settled(bank, clock)
        payers = await payers_at(village, bank)
        second = [await payers[who].bank.transfer(payment) for who, payment in payments]
    assert_kept([answered[view.id] for view in second], second)
    await sound(bank, payments)
