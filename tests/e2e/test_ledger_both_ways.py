"""The ledger behaves the same in one process with its caller and as a service of its own."""

import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import date
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from msgspec.structs import replace

from latticebank.bank import compose, open_context
from latticebank.banking.ledger.client import LedgerClient
from latticebank.banking.ledger.wire import AccountOpening, PostOrder, ReserveOrder, VoidOrder
from latticebank.kernel.client import RemoteProblem
from latticebank.kernel.credential_file import operator_credential
from latticebank.kernel.settings import Settings
from latticebank.kernel.transports import HttpTransport

OPEN = re.compile(rb"The bank is open at (http://\S+)")
Urls = Callable[[str], str]


@contextmanager
def served_apart(data: Path, urls: dict[str, str]) -> Iterator[str]:
    """Run `latticebank serve ledger` in a process of its own, on given databases; yield its address."""
    environment = {**os.environ, "LATTICEBANK_DATA": str(data), "LATTICEBANK_DATABASE_URLS": json.dumps(urls)}
    command = [sys.executable, "-m", "latticebank", "serve", "ledger", "--port", "0"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    assert process.stderr is not None
    try:
        told = next((found for line in process.stderr if (found := OPEN.search(line))), None)
        assert told is not None, "the ledger did not open"
        yield told.group(1).decode()
    finally:
        process.terminate()
        with closing(process.stderr):
            process.stderr.read()
        assert process.wait(timeout=60) == 0


@asynccontextmanager
async def client_of(way: str, data: Path, urls: dict[str, str]) -> AsyncIterator[LedgerClient]:
    credential = operator_credential(data)
    if way == "apart":
        with served_apart(data, urls) as address:
            transport = HttpTransport(address)
            try:
                yield LedgerClient(transport, credential)
            finally:
                await transport.aclose()
        return
    async with open_context(Settings(data=data), urls) as context:
        bank = compose(["ledger"], context)
        async with bank.running():
            yield LedgerClient(bank.context.transport("ledger"), credential)


async def opened(ledger: LedgerClient, kind: str, **more: str) -> str:
    opening = AccountOpening(kind=kind, currency="EUR", **more)  # type: ignore[arg-type]
    return (await ledger.open_account(uuid4(), opening)).account


def post(debit: str, credit: str, amount: str, identifier: UUID | None = None) -> PostOrder:
    return PostOrder(id=identifier or uuid4(), debit=debit, credit=credit, amount=amount, currency="EUR")


@pytest.mark.parametrize("way", ["together", "apart"])
async def test_money_moves_once_is_held_released_and_found_again(way: str, tmp_path: Path, database_url: Urls) -> None:
    urls = {"ledger": database_url("ledger"), "bus": database_url("bus")}
    async with client_of(way, tmp_path / "bank", urls) as ledger:
        cash = await opened(ledger, "cash")
        ada = await opened(ledger, "checking", reference="crm/ada")
        deposit = post(cash, ada, "100.00")
        first = await ledger.order([deposit])
        assert (first[0].outcome, first[0].credit_balance) == ("done", "100.00")
        assert await ledger.order([deposit]) == first

        # Of a customer's money the operator may move history alone, which goes to an account of migration.
        past = await opened(ledger, "migration")
        facts = {"debit": ada, "credit": past, "currency": "EUR", "purpose": "import"}
        hold = ReserveOrder(id=uuid4(), amount="80.00", **facts)  # type: ignore[arg-type]
        answers = await ledger.order([hold, PostOrder(id=uuid4(), amount="30.00", **facts)])  # type: ignore[arg-type]
        assert [answer.outcome for answer in answers] == ["done", "insufficient-funds"]
        assert (await ledger.account(ada)).available == "20.00"
        [voided] = await ledger.order([VoidOrder(id=uuid4(), reservation=hold.id)])
        assert voided.outcome == "done"
        assert (await ledger.account(ada)).available == "100.00"

        assert await ledger.accounts_by_reference(["crm/ada", "crm/bob"]) == {"crm/ada": ada}
        page = await ledger.entries(ada)
        assert [(entry.number, entry.amount, entry.counterparty) for entry in page.items] == [(1, "100.00", cash)]
        assert (await ledger.balance(ada, as_of=date(1990, 1, 1))).balance == "0.00"
        assert (await ledger.transfer(deposit.id)).outcome == "done"


@pytest.mark.parametrize("way", ["together", "apart"])
async def test_the_operator_takes_no_money_from_a_customer(way: str, tmp_path: Path, database_url: Urls) -> None:
    urls = {"ledger": database_url("ledger"), "bus": database_url("bus")}
    async with client_of(way, tmp_path / "bank", urls) as ledger:
        cash = await opened(ledger, "cash")
        ada = await opened(ledger, "checking")
        await ledger.order([post(cash, ada, "1.00")])
        [answer] = await ledger.order([post(ada, cash, "1.00")])
        assert answer.outcome == "evidence-not-signed"
        signed = replace(post(ada, cash, "1.00"), evidence="00" * 32, evidence_class="payment")
        with pytest.raises(RemoteProblem) as forbidden:
            await ledger.order([signed])
        assert (forbidden.value.code, forbidden.value.status) == ("forbidden", 403)
        assert (await ledger.account(ada)).balance == "1.00"


@pytest.mark.parametrize("way", ["together", "apart"])
async def test_a_refusal_comes_back_as_the_same_problem(way: str, tmp_path: Path, database_url: Urls) -> None:
    urls = {"ledger": database_url("ledger"), "bus": database_url("bus")}
    async with client_of(way, tmp_path / "bank", urls) as ledger:
        cash = await opened(ledger, "cash")
        ada = await opened(ledger, "checking")
        await ledger.order([post(cash, ada, "1.00")])
        with pytest.raises(RemoteProblem) as refused:
            await ledger.restrict(uuid4(), ada, "close", "customer-request")
        assert (refused.value.code, refused.value.status) == ("balance-not-zero", 409)

        key = uuid4()
        await ledger.restrict(key, ada, "freeze", "fraud-suspected")
        assert (await ledger.restrict(key, ada, "freeze", "fraud-suspected")).status == "frozen"
        with pytest.raises(RemoteProblem) as reused:
            await ledger.restrict(key, ada, "freeze", "sanctions")
        assert (reused.value.code, reused.value.status) == ("idempotency-key-reused", 422)
        with pytest.raises(RemoteProblem) as malformed:
            await ledger.order([post(cash, ada, "1.0")])
        assert (malformed.value.status, malformed.value.field) == (400, "/orders/0/amount")
