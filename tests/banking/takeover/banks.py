"""A bank with only a ledger, composed in this process, as the importer meets it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from latticebank.bank import compose, open_context
from latticebank.banking.ledger.client import LedgerClient
from latticebank.banking.ledger.wire import EntryView
from latticebank.kernel.credential_file import operator_credential
from latticebank.kernel.settings import Settings
from latticebank.kernel.transports import HttpTransport
from tests.kernel.serving import served


@asynccontextmanager
async def ledger_of(
    database_url: str, folder: Path, *, shards: int = 1, over_http: bool = False
) -> AsyncIterator[LedgerClient]:
    """Run a ledger on a database and give its client, as the operator."""
    settings = Settings(data=folder, shards=shards, services=("ledger",))
    async with open_context(settings, {"ledger": database_url}) as context:
        bank = compose(["ledger"], context)
        async with bank.running(), AsyncExitStack() as served_here:
            way = bank.context.transport("ledger")
            if over_http:
                way = HttpTransport(await served_here.enter_async_context(served(bank)))
                served_here.push_async_callback(way.aclose)
            yield LedgerClient(way, operator_credential(folder), timeout=60)


async def entries_of(client: LedgerClient, account: str) -> list[EntryView]:
    """All entries of an account."""
    entries: list[EntryView] = []
    page = await client.entries(account)
    entries += page.items
    while page.next_cursor:
        page = await client.entries(account, cursor=page.next_cursor)
        entries += page.items
    return entries
