"""A counter at which a bank of the ledger alone is asked in memory: raw, or by the typed client."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from latticebank.bank import Bank, compose, open_context
from latticebank.banking.ledger.api import SERVICE
from latticebank.banking.ledger.client import LedgerClient
from latticebank.banking.ledger.wire import AccountOpening, AccountView, PostOrder
from latticebank.kernel.caller import ANONYMOUS, OPERATOR, Caller
from latticebank.kernel.settings import Settings
from latticebank.kernel.transports import Request, Response
from latticebank.kernel.transports.memory import MemoryTransport
from latticebank.values.clock import Clock
from tests.banking.ledger.callers import PAYMENTS, Callers
from tests.banking.ledger.samples import EVIDENCE, named


def key(name: object) -> UUID:
    """The Idempotency-Key that always belongs to this name."""
    return UUID(bytes=named(name))


class Counter:
    """Where the operator and others ask the ledger: the operator at its door, services and users within the bank."""

    def __init__(self, bank: Bank, callers: Callers) -> None:
        self.bank = bank
        self.callers = callers
        self.transport = MemoryTransport(bank)
        self.client = LedgerClient(self.transport, callers.credential(OPERATOR))
        self.payments = self.client_of(PAYMENTS)

    def client_of(self, caller: Caller) -> LedgerClient:
        """The client of somebody else than the operator."""
        return LedgerClient(self.bank.context.transport("ledger"), self.callers.credential(caller))

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: dict[str, str] | None = None,
        caller: Caller = OPERATOR,
    ) -> Response:
        """Send one request as the operator, or as another; a body that is no bytes is sent as JSON."""
        payload = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
        sent = {"Content-Type": "application/json"} if body is not None else {}
        if caller is not ANONYMOUS:
            sent["Authorization"] = self.callers.header(caller)
        return await self.transport.send(Request(method, f"/api/ledger{path}", sent | (headers or {}), payload))

    async def act(self, path: str, body: object, name: object) -> Response:
        """Send an unsafe request under an Idempotency-Key."""
        return await self.ask("POST", path, body, headers={"Idempotency-Key": str(key(name))})

    async def open(self, name: object, kind: str = "checking", **more: Any) -> str:
        """Open an account; its number."""
        opening = msgspec.convert({"kind": kind, "currency": "EUR", **more}, AccountOpening)
        return (await self.client.open_account(key(("open", name)), opening)).account

    async def customers(self) -> tuple[str, str, str]:
        """Open Anna's account with 100.00, Bert's with 50.00, and the cash of the bank."""
        anna, bert, cash = await self.open("anna"), await self.open("bert"), await self.open("cash", "cash")
        paid = await self.payments.order([pay("a", cash, anna, "100.00"), pay("b", cash, bert, "50.00")])
        assert [answer.outcome for answer in paid] == ["done", "done"]
        return anna, bert, cash

    async def balance(self, account: str) -> str:
        """What is on an account."""
        view: AccountView = await self.client.account(account)
        return view.balance


def pay(name: object, debit: str, credit: str, amount: str = "1.00", **more: Any) -> PostOrder:
    """The order of a posting that a customer signed."""
    signed = {"evidence": EVIDENCE.hex(), "evidence_class": "payment"}
    facts = {"debit": debit, "credit": credit, "amount": amount, "currency": "EUR"}
    return PostOrder(id=key(name), **(facts | signed | more))


def said(response: Response) -> dict[str, Any]:
    """The JSON of a response."""
    found = msgspec.json.decode(response.body)
    assert isinstance(found, dict)
    return found


@asynccontextmanager
async def open_counter(url: str, folder: Path, clock: Clock | None = None, **settings: Any) -> AsyncIterator[Counter]:
    """Run a bank of the ledger alone on this database."""
    async with open_context(Settings(data=folder, **settings), {"ledger": url}, clock=clock) as context:
        callers = Callers()
        bank = compose(["ledger"], replace(context, authenticator=callers), services={"ledger": SERVICE})
        async with bank.running():
            yield Counter(bank, callers)
