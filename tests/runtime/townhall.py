"""A whole bank in this process for the town to move into, on databases of its own."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from latticebank.bank import Bank, compose, open_context
from latticebank.banking.ledger.client import LedgerClient
from latticebank.banking.ledger.service.proof import Finding, prove
from latticebank.banking.ledger.wire import AccountView
from latticebank.banking.payments.service.evidence import SignatureReport, check_signatures
from latticebank.banking.payments.service.foundation import Foundation
from latticebank.kernel.credential_file import operator_credential
from latticebank.kernel.database import Database
from latticebank.kernel.settings import BUS, EVERYTHING, SERVICES, Settings
from latticebank.kernel.telemetry import Metrics
from latticebank.kernel.transports import Request, Response
from latticebank.kernel.transports.memory import MemoryTransport
from latticebank.runtime.town.acting import Actor
from latticebank.runtime.town.founding import seed, ways_to
from latticebank.runtime.town.papers import Papers, Town
from tests.conftest import Templates


class Broken(Exception):
    """The process was killed here."""


class Snapping(MemoryTransport):
    """A way to the bank that is cut after so many calls: the bank has done the last one, and nobody hears of it."""

    calls = 0

    def __init__(self, bank: Bank, after: int) -> None:
        super().__init__(bank.app)
        self._after = after

    async def send(self, request: Request) -> Response:
        self.calls += 1
        if self.calls > self._after:
            raise Broken
        response = await super().send(request)
        if self.calls >= self._after:
            raise Broken
        return response


@dataclass(frozen=True)
class Townhall:
    """A bank in demo mode, and what tests ask of it."""

    bank: Bank
    urls: dict[str, str]

    @property
    def settings(self) -> Settings:
        return self.bank.context.settings

    @property
    def papers(self) -> Papers:
        return Papers(self.settings.data)

    @property
    def books(self) -> LedgerClient:
        """The ledger as the operator sees it from outside."""
        return LedgerClient(MemoryTransport(self.bank.app), operator_credential(self.settings.data))

    async def seeded(self, transport: MemoryTransport | None = None) -> Town | None:
        """Have the town move in, as a start of the bank does."""
        return await seed(self.settings, transport or MemoryTransport(self.bank.app), lambda _: None)

    async def accounts(self) -> list[AccountView]:
        return (await self.books.accounts(limit=200)).items

    async def actor(self, name: str) -> Actor:
        """Somebody of the town, ready to act."""
        ways = await ways_to(self.settings, MemoryTransport(self.bank.app))
        return Actor(self.papers.existing_town().resident(name), ways)

    async def signatures(self) -> SignatureReport:
        """What the debits of customers are proved by."""
        return await check_signatures(Foundation.of(replace(self.bank.context, metrics=Metrics())))

    async def findings(self) -> list[Finding]:
        """What breaks the promises of the books."""
        database = Database(self.urls["ledger"], application_name="tests", pool_size=1, book=1)
        try:
            return (await prove(database, 1)).findings
        finally:
            await database.close()


@asynccontextmanager
async def open_townhall(templates: Templates, url: Callable[[str], str], data: Path) -> AsyncIterator[Townhall]:
    """Open the whole bank in demo mode, on fresh databases."""
    names = {name: templates.copy(name) for name in (*SERVICES, BUS)}
    urls = {name: url(database) for name, database in names.items()}
    try:
        async with open_context(Settings(data=data, demo=True), urls) as context:
            bank = compose(EVERYTHING, context)
            async with bank.running():
                yield Townhall(bank, urls)
    finally:
        for database in names.values():
            templates.drop(database)
