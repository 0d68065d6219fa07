"""How a command reaches the bank: over HTTP where it runs, in this process where it does not."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import uvloop

from latticebank.banking.ledger.client import LedgerClient
from latticebank.cli.console import alone
from latticebank.kernel.credential_file import operator_credential
from latticebank.kernel.settings import Settings, load_settings
from latticebank.kernel.telemetry import configure_logs
from latticebank.kernel.transports import HttpTransport, Transport
from latticebank.runtime.data_folder import EMBEDDED
from latticebank.runtime.presence import running_bank
from latticebank.values.errors import BankError, Fault

T = TypeVar("T")


class NoBankHere(BankError):
    """There is no bank in the data folder."""

    code = "no-bank-here"
    title = "There is no bank here"
    fault = Fault.NOT_FOUND


def with_ledger(do: Callable[[LedgerClient], Awaitable[T]], *, create: bool = False) -> T:
    """Return what `do` returns, given a client of the ledger that calls as the operator.

    Raises:
        NoBankHere: there is no bank in the data folder, and `create` does not ask for one.

    """
    settings = load_settings()
    configure_logs(level="warning")

    async def within() -> T:
        async with ledger_client(settings, create=create) as ledger:
            return await do(ledger)

    with alone():
        return uvloop.run(within())


@asynccontextmanager
async def ledger_client(settings: Settings, *, create: bool = False) -> AsyncIterator[LedgerClient]:
    """Open a client of the ledger: of the bank that runs on the data folder, or of one opened here for a while."""
    async with way_to(settings, ["ledger"], create=create) as way:
        yield LedgerClient(way, operator_credential(settings.data))


@asynccontextmanager
async def way_to(settings: Settings, names: Sequence[str], *, create: bool = False) -> AsyncIterator[Transport]:
    """Open a way to the first of these services: of the bank that runs here, or of one of these opened for a while.

    Raises:
        NoBankHere: there is no bank in the data folder, and `create` does not ask for one.

    """
    presence = running_bank(settings.data)
    if presence is not None:
        transport = HttpTransport(presence.address)
        try:
            yield transport
        finally:
            await transport.aclose()
        return
    # Whoever asks a bank that runs does not wait until all of its services are loaded here as well.
    from latticebank.cli.opening import opened_for_a_while

    async with opened_for_a_while(settings, names, create=create) as way:
        yield way


def refuse_nothing_here(settings: Settings) -> None:
    """Raise `NoBankHere` where the data folder has no cluster and the settings name no database."""
    if not settings.database_urls and not (settings.data / EMBEDDED).exists():
        raise NoBankHere(
            f"there is no bank in {settings.data.absolute()}",
            hint="make one with `latticebank up`, or name its folder in LATTICEBANK_DATA",
        )
