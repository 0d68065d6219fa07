"""Customers of a bank that a benchmark runs against: registered over HTTP, each with a device, a session and money."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import msgspec

from benchmarks.server import Server
from latticebank.banking.ledger.client import LedgerClient
from latticebank.banking.ledger.wire import AccountOpening, OpeningOrder, PostOrder
from latticebank.client.bank_client import bank_at
from latticebank.client.device import Device, Signatory
from latticebank.kernel.credential_file import operator_credential
from latticebank.kernel.settings import BUS, DEFAULT_BANK, SERVICES
from latticebank.kernel.transports import HttpTransport
from latticebank.values.clock import SystemClock
from latticebank.values.ids import Uuid7Source

CURRENCY = "EUR"
_OPEN = re.compile(rb"The bank is open at (http://\S+)")
_AT_ONCE = 4_000
# Customers of a benchmark pay more on a day than an unverified customer may.
_LIMITS = {
    "LATTICEBANK_UNVERIFIED_PAYMENT_LIMIT": "1000000",
    "LATTICEBANK_UNVERIFIED_DAILY_LIMIT": "10000000000",
    "LATTICEBANK_LOG_LEVEL": "warning",
}


class Payer(msgspec.Struct, frozen=True):
    """A customer who pays: the seed signs, the token is that of a session, `account` has the money."""

    device: str
    algorithm: str
    seed: bytes
    token: str
    account: str

    def __repr__(self) -> str:
        return f"Payer(account={self.account!r})"


@dataclass(frozen=True)
class RunningBank:
    """A whole bank in a process of its own."""

    pid: int
    address: str
    port: int


@contextmanager
def bank_process(server: Server, data: Path) -> Iterator[RunningBank]:
    """Run every service and the gateway in one process, on databases of this server, as a cluster would."""
    names = (*SERVICES, BUS)
    for name in names:
        server.postgres.create_database(name)
    urls = {name: server.url(name) for name in names}
    environment = {
        **os.environ,
        **_LIMITS,
        "LATTICEBANK_DATA": str(data),
        "LATTICEBANK_DATABASE_URLS": msgspec.json.encode(urls).decode(),
        "LATTICEBANK_KEK_PASSPHRASE": "the key of a bank that lives for minutes",
    }
    command = [sys.executable, "-m", "latticebank", "serve", "--port", "0"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    assert process.stderr is not None
    try:
        told = next((found for line in process.stderr if (found := _OPEN.search(line))), None)
        if told is None:
            raise RuntimeError("the bank did not open")
        address = told.group(1).decode()
        yield RunningBank(process.pid, address, int(address.rpartition(":")[2]))
    finally:
        process.terminate()
        with closing(process.stderr):
            process.stderr.read()
        process.wait(timeout=60)


async def open_payers(bank: RunningBank, data: Path, count: int, algorithm: str) -> list[Payer]:
    """Return so many new customers with devices of this algorithm, and a million on the account of each."""
    transport = HttpTransport(bank.address)
    ledger = LedgerClient(transport, operator_credential(data))
    try:
        cash = (await ledger.open_account(uuid4(), AccountOpening(kind="cash", currency=CURRENCY))).account
        gate = asyncio.Semaphore(8)

        async def within(number: int) -> Payer:
            async with gate:
                return await _payer(bank.address, number, algorithm)

        payers = await asyncio.gather(*(within(number) for number in range(count)))
        deposits = [
            PostOrder(id=uuid4(), debit=cash, credit=payer.account, amount="1000000.00", currency=CURRENCY)
            for payer in payers
        ]
        answers = await ledger.order(deposits)
        assert all(answer.outcome == "done" for answer in answers)
        return list(payers)
    finally:
        await transport.aclose()


async def open_payees(bank: RunningBank, data: Path, count: int) -> list[str]:
    """Return the numbers of so many new accounts."""
    transport = HttpTransport(bank.address)
    ledger = LedgerClient(transport, operator_credential(data))
    try:
        numbers: list[str] = []
        for start in range(0, count, _AT_ONCE):
            openings = [
                OpeningOrder(id=uuid4(), kind="checking", currency=CURRENCY)
                for _ in range(min(_AT_ONCE, count - start))
            ]
            numbers += [answer.account or "" for answer in await ledger.open_accounts(openings)]
        return numbers
    finally:
        await transport.aclose()


async def _payer(address: str, number: int, algorithm: str) -> Payer:
    clock = SystemClock()
    ids = Uuid7Source(clock)
    device = Device.new(ids, algorithm)
    user, password = ids(), f"a long password {uuid4()}"
    email = f"{user}@benchmark.example"
    async with bank_at(address) as client:
        await client.register(
            user=user,
            email=email,
            password=password,
            full_name=f"Payer {number}",
            phone="+15550100",
            device_name="benchmark",
            enrolment=Signatory(DEFAULT_BANK, device, clock, ids).enrolment(user),
        )
        session = await client.login(email, password)
        [account] = await client.accounts()
    return Payer(str(device.id), algorithm, device.key.seed, session.token, account.account)
