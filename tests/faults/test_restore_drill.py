"""The drill: a bank under load loses its database, and comes back from a backup and the archive with all it promised."""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import httpx
import pytest

from latticebank.banking.ledger.wire import AccountOpening, PostOrder
from latticebank.banking.payments.wire import PaymentView
from latticebank.client import SignedDocument
from latticebank.kernel.client import RemoteProblem
from latticebank.kernel.transports import HttpTransport
from latticebank.runtime import processes
from latticebank.runtime.postgres import EmbeddedPostgres
from latticebank.values.errors import BankError
from tests.e2e.townspeople import LIMITS, NAME, WITH_TABLES, ShiftedClock, Townsperson, Village, open_village
from tests.faults.promises import findings_in_the_books, promises_broken_by_payments, rows

OPEN = re.compile(r"The bank is open at (http://\S+)")
PASSPHRASE = "a drill under the bridge"
PAYERS = ("ada", "ben", "cleo")
CLERKS_OF_EACH = 2
BEFORE_THE_BACKUP, AFTER_THE_BACKUP = 20, 30
"""So many payments are acknowledged before the backup begins, and after it is complete."""
PAUSE = 0.1
"""Seconds between two payments of a clerk: enough that some are always under way, and not so many that all take long."""
POSTED = 3


@dataclass
class Promised:
    """What the bank has told people of as done, and what they asked and had no answer to."""

    payments: dict[UUID, tuple[str, SignedDocument, PaymentView]] = field(default_factory=dict)
    orders: set[UUID] = field(default_factory=set)
    asked: set[UUID] = field(default_factory=set)


class ArchivedBank:
    """`latticebank serve` with an archive, in a process of its own; and the commands of its operator."""

    def __init__(self, place: Path, data: str) -> None:
        self.place = place
        self.data = place / data
        self.archive = place / "archive"
        settings = {
            "data": str(self.data),
            "archive": str(self.archive),
            "kek_passphrase": PASSPHRASE,
            "bank": NAME,
            "log_level": "warning",
        }
        self._environment = {f"LATTICEBANK_{name.upper()}": value for name, value in (settings | LIMITS).items()}
        self._log = place / f"{data}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start to serve."""
        with self._log.open("w") as log:
            command = [sys.executable, "-m", "latticebank", "serve", "--port", "0"]
            self.process = subprocess.Popen(command, env=os.environ | self._environment, stderr=log)

    async def address(self) -> str:
        """Where it listens, once it does."""
        assert self.process is not None
        async with asyncio.timeout(120):
            while (found := OPEN.search(self._log.read_text())) is None:
                assert self.process.poll() is None, self._log.read_text()
                await asyncio.sleep(0.05)
        return found.group(1)

    def command(self, *words: str, status: int = 0) -> str:
        """What a command of the operator writes: its output, or what it says when it fails."""
        done = subprocess.run(
            [sys.executable, "-m", "latticebank", *words],
            env=os.environ | self._environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stderr if status else done.stdout

    def of_its_own(self) -> list[processes.Process]:
        """Every process that lives for this bank."""
        identity = json.loads((self.data / "postgres" / "latticebank.json").read_text())["identity"]
        marks = (str(self.data), f"{self.archive}/", f"latticebank-{identity}")
        found = [each for each in processes.every() if each.alive and any(mark in each.command for mark in marks)]
        guardians = [guardian for each in found if (guardian := processes.find(each.parent)) and _guards(guardian)]
        return [*found, *guardians]

    def end(self, how: signal.Signals) -> None:
        """Signal it, and wait until it has ended."""
        if self.process is not None:
            if self.process.poll() is None:
                self.process.send_signal(how)
            self.process.wait(timeout=60)
            self.process = None


def _guards(process: processes.Process) -> bool:
    return "guardian.py" in process.command


@contextmanager
def archived_bank() -> Iterator[ArchivedBank]:
    """A bank in a place of its own, which is gone afterwards."""
    place = Path(tempfile.mkdtemp(prefix="latticebank-drill-")).resolve()
    place.chmod(0o711)
    bank = ArchivedBank(place, "bank")
    try:
        yield bank
    finally:
        bank.end(signal.SIGTERM)
        shutil.rmtree(place)


async def account_of_the_bank(village: Village, kind: Literal["cash", "fees"]) -> str:
    """A new account that is no customer's."""
    return (await village.ledger.open_account(village.ids(), AccountOpening(kind=kind, currency="EUR"))).account


async def pay_on(promised: Promised, person: Townsperson, payee: str, stop: asyncio.Event) -> None:
    """Pay one payment after another until the bank is gone."""
    number = 0
    while not stop.is_set():
        number += 1
        payment = person.pays(payee, f"{1 + number // 100}.{number % 100:02}")
        promised.asked.add(payment.id)
        try:
            answer = await person.bank.transfer(payment)
        except BankError:
            if stop.is_set():
                return
            raise
        assert answer.state in ("posted", "received"), answer
        promised.payments[payment.id] = (person.name, payment, answer)
        await asyncio.sleep(PAUSE)


async def order_on(promised: Promised, village: Village, till: str, account: str, stop: asyncio.Event) -> None:
    """Order transfers of the bank's own, one after another, until the bank is gone."""
    while not stop.is_set():
        order = PostOrder(id=village.ids(), debit=till, credit=account, amount="0.01", currency="EUR")
        promised.asked.add(order.id)
        try:
            [answer] = await village.ledger.order([order])
        except BankError:
            if stop.is_set():
                return
            raise
        assert answer.outcome == "done", answer
        promised.orders.add(order.id)
        await asyncio.sleep(PAUSE)


@dataclass
class Lost:
    """A bank whose database is gone, with what it had promised and two payments with a moment between them."""

    bank: ArchivedBank
    promised: Promised
    people: dict[str, Townsperson]
    before: UUID
    between: datetime
    after: UUID
    backup: Path


async def lose_a_bank(bank: ArchivedBank) -> Lost:
    """Run a bank under load, back it up meanwhile, kill everything at once and delete its database."""
    bank.start()
    way = HttpTransport(await bank.address())
    try:
        return await _lose(bank, Village(way, bank.data))
    finally:
        await way.aclose()


async def _lose(bank: ArchivedBank, village: Village) -> Lost:
    await village.is_open()
    till = await account_of_the_bank(village, "cash")
    people = dict(zip(PAYERS, await village.customers(*PAYERS), strict=True))
    for person in people.values():
        await village.fund(person, till, "5000.00")
    (bank.place / "passphrase").write_text(PASSPHRASE)
    to_file = (str(bank.place / "keys.backup"), "--passphrase-file", str(bank.place / "passphrase"))
    await asyncio.to_thread(bank.command, "keys", "backup", *to_file)
    backups = bank.place / "backups"
    promised, stop = Promised(), asyncio.Event()
    async with asyncio.TaskGroup() as load:
        for place, person in enumerate(people.values()):
            payee = people[PAYERS[(place + 1) % len(PAYERS)]].account
            for _ in range(CLERKS_OF_EACH):
                load.create_task(pay_on(promised, person, payee, stop))
        load.create_task(order_on(promised, village, till, people["ada"].account, stop))
        await _acknowledged(promised, BEFORE_THE_BACKUP)
        told = json.loads(await asyncio.to_thread(bank.command, "backup", str(backups), "--json"))
        so_far = len(promised.payments)
        before, between, after = await two_payments(promised, people)
        await _acknowledged(promised, so_far + AFTER_THE_BACKUP)
        stop.set()
        processes.send((each.pid for each in bank.of_its_own()), signal.SIGKILL)
    bank.end(signal.SIGKILL)
    assert processes.wait_until_gone(bank.of_its_own(), 60) == []
    shutil.rmtree(bank.data / "postgres")
    return Lost(bank, promised, people, before, between, after, backups / told["backup"]["name"])


async def _acknowledged(promised: Promised, number: int) -> None:
    async with asyncio.timeout(60):
        while len(promised.payments) < number:  # noqa: ASYNC110 - nobody rings
            await asyncio.sleep(0.01)


async def two_payments(promised: Promised, people: dict[str, Townsperson]) -> tuple[UUID, datetime, UUID]:
    """Two payments, one after the other, and a moment when the first was acknowledged and the second not asked for."""
    made = []
    between = datetime.now(UTC)
    for _ in range(2):
        payment = people["ada"].pays(people["ben"].account, "7.77")
        answer = await people["ada"].bank.transfer(payment)
        while answer.state == "received":  # the bank takes its time
            await asyncio.sleep(0.1)
            answer = await people["ada"].bank.payment(payment.id)
        promised.payments[payment.id] = ("ada", payment, answer)
        made.append(payment.id)
        if len(made) == 1:
            await asyncio.sleep(0.02)
            between = datetime.now(UTC)
            await asyncio.sleep(0.02)
    return made[0], between, made[1]


@pytest.fixture(scope="module")
def lost() -> Iterator[Lost]:
    """The bank that was lost, for all the ways of bringing it back."""
    with archived_bank() as bank:
        yield asyncio.run(lose_a_bank(bank))


def restored(lost: Lost, data: str, *more: str) -> tuple[ArchivedBank, dict[str, Any]]:
    """The bank whose databases were brought back into another data folder; and what the command told."""
    bank = ArchivedBank(lost.bank.place, data)
    told = bank.command("restore", str(lost.backup.parent), "--data", str(bank.data), *more, "--json")
    return bank, json.loads(told)


@asynccontextmanager
async def at_work(bank: ArchivedBank, server: EmbeddedPostgres) -> AsyncIterator[Village]:
    """The restored bank, open again, after what was half-way is done."""
    urls = {name: server.url(name) for name in WITH_TABLES}
    clock = ShiftedClock(timedelta(seconds=16))
    async with open_village(bank.data, urls, clock, kek_passphrase=PASSPHRASE) as (_, village):
        async with asyncio.timeout(60):
            while rows(urls["payments"], "SELECT 1 FROM unsettled UNION ALL SELECT 1 FROM outbox"):
                clock.offset += timedelta(seconds=4)
                await asyncio.sleep(0.1)
        yield village


async def test_a_bank_that_lost_its_database_keeps_every_promise(
    lost: Lost, record_property: Callable[[str, object], None]
) -> None:
    began = time.monotonic()
    bank, report = restored(lost, "restored")
    bank.command(
        "keys", "restore", str(bank.place / "keys.backup"), "--passphrase-file", str(bank.place / "passphrase")
    )
    until_whole = time.monotonic() - began
    found = json.loads(bank.command("ledger", "check", "--signatures", "--json"))
    until_proved = time.monotonic() - began
    assert found["signatures"]["findings"] == []
    assert found["books"]["findings"] == []
    with EmbeddedPostgres(bank.data / "postgres", archive=bank.archive) as server:
        urls = {name: server.url(name) for name in WITH_TABLES}
        known = {row[0] for row in rows(urls["payments"], "SELECT id FROM payments")}
        posted = {row[0] for row in rows(urls["payments"], f"SELECT id FROM payments WHERE state = {POSTED}")}
        booked = {row[0] for row in rows(urls["ledger"], "SELECT id FROM transfers WHERE outcome = 0")}
        told = {payment for payment, (_, _, answer) in lost.promised.payments.items() if answer.state == "posted"}
        missing = {*(set(lost.promised.payments) - known), *(told - posted), *(lost.promised.orders - booked)}
        assert missing == set()
        assert posted <= booked
        async with at_work(bank, server) as village:
            payers = {name: village.met_before(person) for name, person in lost.people.items()}
            await asyncio.gather(*(each.bank.login(each.email, each.password) for each in payers.values()))
            for who, payment, answer in lost.promised.payments.values():
                now = await payers[who].bank.transfer(payment)
                assert now.state == "posted"
                assert answer == now or answer.state == "received"
            later = payers["ada"].pays(payers["ben"].account, "1.00")
            assert (await payers["ada"].bank.transfer(later)).state == "posted"
        assert promises_broken_by_payments(urls) == {}
        assert await findings_in_the_books(urls) == []
    measured = {
        "acknowledged_payments": len(lost.promised.payments),
        "acknowledged_orders": len(lost.promised.orders),
        "lost": len(missing),
        "seconds_to_recover_the_databases": round(report["seconds"], 2),
        "seconds_with_keys": round(until_whole, 2),
        "seconds_until_proved": round(until_proved, 2),
    }
    for name, value in measured.items():
        record_property(name, value)
    sys.stdout.write(f"\nThe drill: {', '.join(f'{name} {value}' for name, value in measured.items())}\n")


def test_a_bank_can_be_taken_back_to_a_moment_between_two_payments(lost: Lost) -> None:
    bank, told = restored(lost, "earlier", "--to", lost.between.isoformat())
    assert told["left_out"] > 0
    assert datetime.fromisoformat(told["last_commit"]) <= lost.between
    with EmbeddedPostgres(bank.data / "postgres") as server:
        states: dict[UUID, int] = dict(rows(server.url("payments"), "SELECT id, state FROM payments"))
        booked = {row[0] for row in rows(server.url("ledger"), "SELECT id FROM transfers WHERE outcome = 0")}
        assert asyncio.run(findings_in_the_books({"ledger": server.url("ledger")})) == []
    assert states[lost.before] == POSTED
    assert lost.before in booked
    assert lost.after not in states
    assert lost.after not in booked


def test_a_damaged_backup_is_refused_by_name(lost: Lost) -> None:
    damaged = lost.bank.place / "damaged" / lost.backup.name
    shutil.copytree(lost.backup, damaged)
    path = damaged / "cluster" / "global" / "pg_filenode.map"
    content = bytearray(path.read_bytes())
    content[17] ^= 1
    path.write_bytes(content)
    bank = ArchivedBank(lost.bank.place, "from-damaged")
    said = bank.command("restore", str(damaged.parent), "--data", str(bank.data), status=1)
    assert "global/pg_filenode.map" in said
    assert "backup-broken" in said
    assert not (bank.data / "postgres").exists()


async def _health_with_archive(state: str, outside: httpx.AsyncClient) -> str:
    """The health of the bank as soon as its archive is in this state."""
    async with asyncio.timeout(60):
        while True:
            health = (await outside.get("/health")).json()
            if health["components"]["bank"]["archive"] == state:
                return str(health["status"])
            await asyncio.sleep(0.1)


async def test_a_bank_whose_archive_fails_answers_nobody_until_it_has_caught_up() -> None:
    with archived_bank() as bank:
        bank.start()
        address = await bank.address()
        async with httpx.AsyncClient(base_url=address) as outside:
            way = HttpTransport(address)
            try:
                await _fail_the_archive(bank, Village(way, bank.data), outside)
            finally:
                await way.aclose()


async def _fail_the_archive(bank: ArchivedBank, village: Village, outside: httpx.AsyncClient) -> None:
    await village.is_open()
    till, fees = await account_of_the_bank(village, "cash"), await account_of_the_bank(village, "fees")
    log, away = bank.archive / "wal", bank.place / "away"
    log.rename(away)
    receivers = [each for each in bank.of_its_own() if "pg_receivewal" in each.command]
    processes.send((each.pid for each in receivers), signal.SIGKILL)
    order = PostOrder(id=village.ids(), debit=till, credit=fees, amount="5.00", currency="EUR")
    assert await _health_with_archive("down", outside) == "down"
    with pytest.raises(RemoteProblem) as refused:
        await village.ledger.order([order])
    assert (refused.value.status, refused.value.code) == (503, "archive-unavailable")
    away.rename(log)
    assert await _health_with_archive("ok", outside) == "ok"
    [answer] = await village.ledger.order([order])
    assert answer.outcome == "done"
