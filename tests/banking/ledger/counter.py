"""A counter at which a bank of the ledger alone is asked in memory: raw, or by the typed client."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from latticebank.bank import Bank, compose, open_context
from latticebank.banking.ledger.api import SERVICE
from latticebank.banking.ledger.client import LedgerClient
from latticebank.banking.ledger.wire import AccountOpening, AccountView, PostOrder
from latticebank.kernel.caller import read_operator_token
from latticebank.kernel.settings import Settings
from latticebank.kernel.transports import MemoryTransport, Request, Response
from latticebank.values.clock import Clock
from tests.banking.ledger.samples import named


def key(name: object) -> UUID:
    """The Idempotency-Key that always belongs to this name."""
    return UUID(bytes=named(name))


class Counter:
    """Where the operator asks the ledger."""

    def __init__(self, bank: Bank, token: str) -> None:
        self.bank = bank
        self.transport = MemoryTransport(bank)
        self.credential = f"Bearer {token}"
        self.client = LedgerClient(self.transport, lambda: self.credential)

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: dict[str, str] | None = None,
        operator: bool = True,
    ) -> Response:
        """Send one request as the operator; a body that is no bytes is sent as JSON."""
        payload = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
        sent = {"Content-Type": "application/json"} if body is not None else {}
        if operator:
            sent["Authorization"] = self.credential
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
        paid = await self.client.order([pay("a", cash, anna, "100.00"), pay("b", cash, bert, "50.00")])
        assert [answer.outcome for answer in paid] == ["done", "done"]
        return anna, bert, cash

    async def balance(self, account: str) -> str:
        """What is on an account."""
        view: AccountView = await self.client.account(account)
        return view.balance


def pay(name: object, debit: str, credit: str, amount: str = "1.00", **more: Any) -> PostOrder:
    """The order of a posting."""
    return PostOrder(id=key(name), debit=debit, credit=credit, amount=amount, currency="EUR", **more)


def said(response: Response) -> dict[str, Any]:
    """The JSON of a response."""
    found = msgspec.json.decode(response.body)
    assert isinstance(found, dict)
    return found


@asynccontextmanager
async def open_counter(url: str, folder: Path, clock: Clock | None = None, **settings: Any) -> AsyncIterator[Counter]:
    """Run a bank of the ledger alone on this database."""
    async with open_context(Settings(data=folder, **settings), {"ledger": url}, clock=clock) as context:
        bank = compose(["ledger"], context, services={"ledger": SERVICE})
        async with bank.running():
            yield Counter(bank, read_operator_token(folder))
