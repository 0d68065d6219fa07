"""The bank behaves the same in one process and as five, each a service of its own: from the door to the books."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from latticebank.banking.ledger.service.proof import prove
from latticebank.banking.ledger.wire import AccountOpening
from latticebank.client import BankClient, Device, Payee, Signatory
from latticebank.kernel.authentication import TOKEN_ISSUER
from latticebank.kernel.credential_file import read_operator_token, read_service_token, service_credential
from latticebank.kernel.database import Database
from latticebank.kernel.settings import EVERYTHING, GATEWAY, SERVICES
from latticebank.kernel.transports import HttpTransport, Request, Response
from latticebank.kernel.transports.memory import MemoryTransport
from latticebank.runtime.postgres import EmbeddedPostgres
from latticebank.security.identity.client import IdentityClient
from tests.conftest import Templates
from tests.e2e.townspeople import LIMITS, NAME, WITH_TABLES, Village, open_bank, refusal
from tests.ports import kept_port

OPEN = re.compile(r"The bank is open at (http://\S+)")
INTERNAL = (
    "/internal/identity/standing",
    "/internal/identity/exchange",
    "/internal/keys/customers/open",
    "/internal/ledger/customer-debits",
)
PASSPHRASE = "nine barges under the willow"


@dataclass(frozen=True)
class Apart:
    """A bank of which each service is a process; the addresses by service."""

    folder: Path
    urls: dict[str, str]
    addresses: dict[str, str]


@dataclass(frozen=True)
class Met:
    """A bank, in whatever way it runs: its people, how identity is reached from inside, and where the books lie."""

    village: Village
    identity: IdentityClient
    folder: Path
    urls: dict[str, str]

    async def ask(self, path: str, body: object = None, **headers: str) -> Response:
        """Ask the door as whoever these header fields say."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        payload = b"" if body is None else msgspec.json.encode(body)
        fields = named if body is None else {**named, "Content-Type": "application/json"}
        return await self.village.way.send(Request("GET" if body is None else "POST", path, fields, payload))


def serve(bank: Apart, name: str, log: Path) -> "subprocess.Popen[bytes]":
    """Start `latticebank serve` for one service."""
    wanted = {} if name == GATEWAY else {name: bank.urls[name]}
    settings = {
        "data": str(bank.folder),
        "bank": NAME,
        "kek_passphrase": PASSPHRASE,
        "database_urls": json.dumps({**wanted, "bus": bank.urls["bus"]}),
        "peers": json.dumps({peer: bank.addresses[peer] for peer in SERVICES if peer != name}),
    }
    told = {f"LATTICEBANK_{setting.upper()}": value for setting, value in (settings | LIMITS).items()}
    port = bank.addresses[name].rpartition(":")[2]
    with log.open("w") as out:
        command = [sys.executable, "-m", "latticebank", "serve", name, "--port", port]
        return subprocess.Popen(command, env=os.environ | told, stderr=out)


@pytest.fixture(scope="module")
def addresses() -> Iterator[dict[str, str]]:
    """Where each service listens: they must know of each other before the first of them opens."""
    with ExitStack() as kept:
        yield {name: f"http://127.0.0.1:{kept.enter_context(kept_port())}" for name in EVERYTHING}


@pytest.fixture(scope="module")
def apart(
    postgres: EmbeddedPostgres,
    templates: Templates,
    tmp_path_factory: pytest.TempPathFactory,
    addresses: dict[str, str],
) -> Iterator[Apart]:
    """Processes that are one bank: each service has its own."""
    names = {tables: templates.copy(tables) for tables in WITH_TABLES}
    folder = tmp_path_factory.mktemp("apart")
    bank = Apart(folder / "bank", {tables: postgres.url(name) for tables, name in names.items()}, addresses)
    read_operator_token(bank.folder)
    logs = {name: folder / f"{name}.log" for name in EVERYTHING}
    running = {name: serve(bank, name, logs[name]) for name in EVERYTHING}
    try:
        deadline = time.monotonic() + 120
        while not all(OPEN.search(log.read_text()) for log in logs.values()):
            ended = {name: logs[name].read_text() for name, each in running.items() if each.poll() is not None}
            assert not ended, ended
            assert time.monotonic() < deadline, "the bank did not open"
            time.sleep(0.1)
        yield bank
        for each in running.values():
            each.send_signal(signal.SIGTERM)
        assert {name: each.wait(timeout=60) for name, each in running.items()} == dict.fromkeys(running, 0)
    finally:
        for each in running.values():
            each.kill()
            each.wait()
        for name in names.values():
            templates.drop(name)


@asynccontextmanager
async def met_apart(bank: Apart) -> AsyncIterator[Met]:
    door, inside = HttpTransport(bank.addresses[GATEWAY]), HttpTransport(bank.addresses["identity"])
    try:
        identity = IdentityClient(inside, service_credential(bank.folder, GATEWAY))
        yield Met(Village(door, bank.folder), identity, bank.folder, bank.urls)
    finally:
        await door.aclose()
        await inside.aclose()


@asynccontextmanager
async def met_together(folder: Path, urls: dict[str, str]) -> AsyncIterator[Met]:
    async with open_bank(folder, urls) as bank:
        context = bank.context
        identity = IdentityClient(context.transport("identity"), context.credential(GATEWAY, TOKEN_ISSUER))
        yield Met(Village(MemoryTransport(bank.app), folder), identity, folder, urls)


@pytest.fixture(params=["together", "apart"])
async def met(
    request: pytest.FixtureRequest, postgres: EmbeddedPostgres, templates: Templates, tmp_path: Path
) -> AsyncIterator[Met]:
    """The bank in one process, and in five."""
    if request.param == "apart":
        async with met_apart(request.getfixturevalue("apart")) as bank:
            await bank.village.is_open()
            yield bank
        return
    names = {tables: templates.copy(tables) for tables in WITH_TABLES}
    urls = {tables: postgres.url(name) for tables, name in names.items()}
    async with met_together(tmp_path / "bank", urls) as bank:
        await bank.village.is_open()
        yield bank
    for name in names.values():
        templates.drop(name)


async def test_from_the_registration_to_the_log_out(met: Met) -> None:
    village = met.village
    staff = await village.staff()
    ada, bob = await village.customers("ada", "bob")
    deposit = staff.teller.signs.cash("deposit", ada.account, staff.till, "49.00", "EUR")
    for _ in range(3):
        await staff.teller.bank.cash(staff.teller.signs.cash("deposit", ada.account, staff.till, "40.00", "EUR"))
    paid_in = await staff.teller.bank.cash(deposit)
    assert (paid_in.state, paid_in.kind, paid_in.amount) == ("posted", "cash", "49.00")

    payment = ada.pays(bob.account, "12.34", "rent for March", "Bob Builder")
    # Whoever asks while the bank is at it may hear that it has received the payment.
    first = await asyncio.gather(*(ada.bank.transfer(payment) for _ in range(5)))
    answers = [await ada.bank.settled(each.id) for each in first]
    assert [(each.state, each.amount) for each in answers] == [("posted", "12.34")] * 5
    assert await ada.bank.transfer(payment) == answers[0] == answers[4]
    too_much = ada.pays(bob.account, "1000.01")
    for _ in range(2):
        assert await refusal(ada.bank.transfer(too_much)) == (409, "over-payment-limit")

    wanted = [(bob.account, "1.00"), ("1000009998", "2.00"), (bob.account, "3.00")]
    batch = ada.signs.batch(ada.account, [Payee(account, "Bob", amount, "EUR") for account, amount in wanted])
    done = await ada.bank.batch(batch)
    assert (done.state, [each.state for each in done.answers]) == ("completed", ["posted", "rejected", "posted"])
    assert await ada.bank.batch(batch) == done

    held = await ada.bank.transfer(ada.pays(bob.account, "60.00"))
    assert (held.state, held.hold_reason) == ("awaiting_approval", "over-threshold")
    (own,) = await ada.bank.accounts()
    assert (own.balance, own.held) == ("152.66", "60.00")
    assert [each.id for each in (await staff.manager.bank.approvals()).items] == [held.id]
    decision = staff.manager.signs.payment_decision(held.id, held.instruction_hash, "approve")
    assert (await staff.manager.bank.decide(held.id, decision)).state == "posted"
    (own,) = await ada.bank.accounts()
    assert (own.balance, own.held) == ("92.66", "0.00")
    (bobs,) = await bob.bank.accounts()
    assert bobs.balance == "76.34"
    assert len((await ada.bank.history()).items) == 6

    session = ada.bank.session
    await ada.bank.logout()
    gone = BankClient(village.way, session)
    assert await refusal(gone.transfer(ada.pays(bob.account, "1.00"))) == (401, "session-ended")
    assert await findings(met) == []


async def test_a_device_that_is_revoked_pays_nothing_more_from_that_moment(met: Met) -> None:
    village = met.village
    eve, ken = await village.customers("eve", "ken")
    till = await village.ledger.open_account(village.ids(), AccountOpening(kind="cash", currency="EUR"))
    await village.fund(eve, till.account, "100.00")
    paid = eve.pays(ken.account, "10.00")
    first = await eve.bank.transfer(paid)
    other = BankClient(village.way)
    await other.login(eve.email, eve.password)
    await other.revoke_device(eve.signs.device.id, "stolen")
    assert await refusal(eve.bank.transfer(eve.pays(ken.account, "10.00"))) == (403, "device-revoked")
    batch = eve.signs.batch(eve.account, [Payee(ken.account, "Ken", "1.00", "EUR")])
    assert await refusal(eve.bank.batch(batch)) == (403, "device-revoked")
    assert await eve.bank.transfer(paid) == first
    tablet = Signatory(NAME, Device.new(village.ids), village.clock, village.ids)
    unknown = tablet.payment(eve.account, Payee(ken.account, "Ken", "1.00", "EUR"))
    assert await refusal(eve.bank.transfer(unknown)) == (403, "unknown-device")
    (own,) = await eve.bank.accounts()
    assert own.balance == "90.00"


async def test_nobody_comes_in_by_what_the_bank_says_to_itself(met: Met) -> None:
    (mia,) = await met.village.customers("mia")
    assert mia.bank.session is not None
    token = mia.bank.session.token
    internal = (await met.identity.exchange(token, "payments")).token
    assert internal.count(".") == 2
    history = "/api/transactions/history"
    assert (await met.ask(history, authorization=f"Bearer {token}")).status == 200
    outside = [internal, read_service_token(met.folder, "payments"), read_service_token(met.folder, GATEWAY)]
    for credential in (*outside, (await met.identity.service_token("payments")).token):
        refused = await met.ask(history, authorization=f"Bearer {credential}")
        assert (refused.status, code(refused)) == (401, "credential-refused")
    forged = {"x_latticebank_caller": f"user:{mia.user}", "X_Latticebank_Roles": "customer,manager"}
    assert (await met.ask(history, **forged)).status == 401
    approvals = "/api/transactions/approvals"
    refused = await met.ask(approvals, authorization=f"Bearer {token}", **forged)
    assert (refused.status, code(refused)) == (403, "forbidden")
    order: dict[str, object] = {}
    operator = f"Bearer {read_operator_token(met.folder)}"
    for path in INTERNAL:
        for authorization in (operator, f"Bearer {token}", f"Bearer {internal}"):
            answer = await met.ask(path, order, authorization=authorization)
            assert answer.status in (401, 404), (path, answer.status)
        assert (await met.ask(path)).status == 404
        assert (await met.ask(path.replace("/internal", "//internal"))).status == 404
        assert (await met.ask(path.replace("/internal", "/api/../internal"))).status == 404
        assert (await met.ask(path.replace("/internal", "/%69nternal"))).status == 404


def code(response: Response) -> str:
    """The code of a problem."""
    return str(msgspec.json.decode(response.body)["type"]).rpartition("/")[2]


async def findings(met: Met) -> list[object]:
    """What the proof of the ledger finds in the books."""
    database = Database(met.urls["ledger"], application_name="auditor", pool_size=1)
    try:
        return list((await prove(database, 1)).findings)
    finally:
        await database.close()
