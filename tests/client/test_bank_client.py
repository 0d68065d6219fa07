"""Signed orders reach the bank though it stumbles: again with the same bytes, never twice in effect, never unsaid."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar
from uuid import UUID

import msgspec
import pytest
from fastapi import Request, Response

from latticebank.banking.payments.wire import PaymentView, SignedText
from latticebank.client import BankClient, Device, NoSession, OutcomeUnknown, Payee, RemoteProblem, Session, Signatory
from latticebank.kernel.http import Router, permit
from latticebank.kernel.transports import HttpTransport, ServiceUnavailable, Transport
from latticebank.kernel.transports.memory import MemoryTransport
from latticebank.values.account_number import account_number, format_account_number
from latticebank.values.clock import SystemClock
from latticebank.values.errors import BankError, Fault
from latticebank.values.ids import Uuid7Source
from tests.kernel.serving import context_in, served, service_of

ADA, BOB = (format_account_number(account_number(0, serial)) for serial in (1, 2))
NOW = datetime(2026, 3, 31, 8, 0, tzinfo=UTC)
ids = Uuid7Source(SystemClock())
SIGNS = Signatory("bank.example", Device.new(ids), SystemClock(), ids)
SESSION = Session(ids(), ids(), NOW, 300, ("customer",), "lbs_" + "t" * 43)


class BankBusy(BankError):
    code = "bank-busy"
    title = "Too many pay at once"
    fault: ClassVar[Fault] = Fault.UNAVAILABLE
    retry_after = 1


class Late(BankError):
    code = "deadline-exceeded"
    title = "Too late"
    fault: ClassVar[Fault] = Fault.TIMEOUT


class Frozen(BankError):
    code = "account-frozen"
    title = "Frozen"
    fault: ClassVar[Fault] = Fault.CONFLICT


def view_of(identifier: UUID, state: str) -> PaymentView:
    facts = {
        "id": identifier, "state": state, "reason": None, "reason_text": None, "kind": "payment", "batch": None,
        "debtor_account": ADA, "creditor_account": BOB, "creditor_name": "Bob", "amount": "1.00", "currency": "EUR",
        "reference": "", "device": SIGNS.device.id, "instruction_hash": "ab" * 32, "received_at": NOW, "final_at": None,
        "booking_date": None, "hold_reason": None, "approval_expires_at": None,
    }  # fmt: skip
    return msgspec.convert(facts, PaymentView)


@dataclass
class Counter:
    """A service on the paths of payments that fails as it is told to, and keeps what it received."""

    failures: list[BankError] = field(default_factory=list)
    received: list[SignedText] = field(default_factory=list)
    credentials: list[str | None] = field(default_factory=list)
    looks_until_posted: int = 0

    def router(self) -> Router:
        router = Router(prefix="/api/transactions")

        @router.post("/transfer", dependencies=[permit("payments:Read")], response_model=None)
        async def transfer(request: Request) -> Response:
            order = msgspec.json.decode(await request.body(), type=SignedText)
            self.received.append(order)
            self.credentials.append(request.headers.get("authorization"))
            if self.failures:
                raise self.failures.pop(0)
            identifier = UUID(msgspec.json.decode(order.document)["id"])
            return self._answer(identifier)

        @router.get("/{payment}", dependencies=[permit("payments:Read")], response_model=None)
        async def look(payment: str) -> Response:
            self.looks_until_posted -= 1
            return self._answer(UUID(payment))

        return router

    def _answer(self, identifier: UUID) -> Response:
        state = "received" if self.looks_until_posted > 0 else "posted"
        status = 202 if state == "received" else 201
        return Response(msgspec.json.encode(view_of(identifier, state)), status, media_type="application/json")


@pytest.fixture
def counter() -> Counter:
    return Counter()


@asynccontextmanager
async def transport_to(way: str, counter: Counter, folder: Path) -> AsyncIterator[Transport]:
    service = service_of(counter.router(), name="payments", prefixes=("/api/transactions/",))
    app = service.build(context_in(folder, service))
    if way == "memory":
        yield MemoryTransport(app)
        return
    async with served(app) as address:
        transport = HttpTransport(address)
        yield transport
        await transport.aclose()


@pytest.fixture(params=["memory", "http"])
async def way(request: pytest.FixtureRequest, counter: Counter, tmp_path: Path) -> AsyncIterator[Transport]:
    async with transport_to(request.param, counter, tmp_path / "bank") as transport:
        yield transport


async def test_an_order_is_repeated_with_the_same_bytes_until_the_bank_has_time(
    way: Transport, counter: Counter
) -> None:
    counter.failures = [Late("too late"), BankBusy("busy")]
    signed = SIGNS.payment(ADA, Payee(BOB, "Bob", "1.00", "EUR"))
    began = asyncio.get_running_loop().time()
    paid = await BankClient(way).transfer(signed)
    assert (paid.id, paid.state) == (signed.id, "posted")
    assert counter.received == [SignedText(signed.document, signed.signature)] * 3
    assert asyncio.get_running_loop().time() - began >= 1  # as long as the bank asked for


async def test_a_refusal_is_told_at_once_and_not_repeated(way: Transport, counter: Counter) -> None:
    counter.failures = [Frozen("the account is frozen")]
    with pytest.raises(RemoteProblem) as refused:
        await BankClient(way).transfer(SIGNS.payment(ADA, Payee(BOB, "Bob", "1.00", "EUR")))
    assert (refused.value.code, refused.value.status, len(counter.received)) == ("account-frozen", 409, 1)


async def test_a_bank_that_stays_busy_says_so_since_nothing_was_accepted(way: Transport, counter: Counter) -> None:
    counter.failures = [BankBusy("busy")] * 9
    with pytest.raises(RemoteProblem) as busy:
        await BankClient(way, patience=1.5).transfer(SIGNS.payment(ADA, Payee(BOB, "Bob", "1.00", "EUR")))
    assert busy.value.code == "bank-busy"
    assert 1 <= len(counter.received) < 9


async def test_after_silence_it_is_said_that_the_outcome_is_unknown(way: Transport, counter: Counter) -> None:
    counter.failures = [Late("too late"), *[BankBusy("busy")] * 9]
    signed = SIGNS.payment(ADA, Payee(BOB, "Bob", "1.00", "EUR"))
    with pytest.raises(OutcomeUnknown, match=str(signed.id)):
        await BankClient(way, patience=1).transfer(signed)


async def test_a_bank_that_is_away_leaves_the_outcome_unknown() -> None:
    transport = HttpTransport("http://127.0.0.1:1")
    with pytest.raises(OutcomeUnknown) as unknown:
        await BankClient(transport, patience=0.3).transfer(SIGNS.payment(ADA, Payee(BOB, "Bob", "1.00", "EUR")))
    assert isinstance(unknown.value.__cause__, ServiceUnavailable)
    await transport.aclose()


async def test_what_the_bank_received_is_awaited_until_it_is_settled(way: Transport, counter: Counter) -> None:
    counter.looks_until_posted = 3
    bank = BankClient(way)
    received = await bank.transfer(SIGNS.payment(ADA, Payee(BOB, "Bob", "1.00", "EUR")))
    assert received.state == "received"
    assert (await bank.settled(received.id)).state == "posted"
    counter.looks_until_posted = 1_000
    assert (await bank.settled(received.id, timeout=0.5)).state == "received"


async def test_calls_carry_the_token_of_the_session_and_show_it_to_nobody(way: Transport, counter: Counter) -> None:
    bank = BankClient(way, SESSION)
    assert SESSION.token not in repr(bank)
    assert bank.user == SESSION.user
    with pytest.raises(RemoteProblem) as unknown:  # this service knows no sessions
        await bank.transfer(SIGNS.payment(ADA, Payee(BOB, "Bob", "1.00", "EUR")))
    assert unknown.value.fault is Fault.UNAUTHENTICATED
    with pytest.raises(NoSession):
        _ = BankClient(way).user
