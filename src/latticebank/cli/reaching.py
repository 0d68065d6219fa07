"""How a command reaches the bank: over HTTP where it runs, in this process where it does not."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

import uvloop

from latticebank.bank import SERVICES
from latticebank.banking.ledger.client import LedgerClient
from latticebank.cli.console import Steps, alone
from latticebank.kernel.credential_file import operator_credential
from latticebank.kernel.settings import Settings, load_settings
from latticebank.kernel.telemetry import configure_logs
from latticebank.kernel.transports import HttpTransport, Transport
from latticebank.runtime.premises import CLUSTER, open_premises
from latticebank.runtime.presence import running_bank
from latticebank.runtime.server import running_bank as run_bank
from latticebank.security.keys.service.kek import DEMO_FILE
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
    if not create:
        refuse_nothing_here(settings)
    steps = Steps()
    with steps.shown(), open_premises(settings, [SERVICES[name] for name in names], steps) as premises:
        async with run_bank(settings, names, premises) as bank:
            steps.done()
            yield bank.context.transport(names[0])


@contextmanager
def bank_databases(
    settings: Settings, services: Sequence[str], steps: Steps, *, create: bool = False
) -> Iterator[dict[str, str]]:
    """Yield the URLs of the databases of these services: of the bank that runs here, or of one opened for a while.

    Raises:
        NoBankHere: there is no bank in the data folder, and `create` does not ask for one.

    """
    presence = running_bank(settings.data)
    if presence is not None and set(services) <= set(presence.database_urls):
        yield presence.database_urls
        return
    if not create:
        refuse_nothing_here(settings)
    with open_premises(settings, [SERVICES[name] for name in services], steps) as premises:
        yield premises.database_urls


def settings_here() -> Settings:
    """Return the settings, as those of a demo bank where the data folder is one: its key of keys has no passphrase."""
    settings = load_settings()
    keyless = settings.mode == "development" and settings.kek_passphrase is None
    return settings.model_copy(update={"demo": True}) if keyless and (settings.data / DEMO_FILE).exists() else settings


def refuse_nothing_here(settings: Settings) -> None:
    """Raise `NoBankHere` where the data folder has no cluster and the settings name no database."""
    if not settings.database_urls and not (settings.data / CLUSTER).exists():
        raise NoBankHere(
            f"there is no bank in {settings.data.absolute()}",
            hint="make one with `latticebank up`, or name its folder in LATTICEBANK_DATA",
        )
