"""A bank that does not run, opened by a command for a while."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

from latticebank.bank import SERVICES
from latticebank.cli.console import Steps
from latticebank.cli.reaching import refuse_nothing_here
from latticebank.kernel.settings import Settings, load_settings
from latticebank.kernel.transports import Transport
from latticebank.runtime.premises import open_premises
from latticebank.runtime.presence import running_bank
from latticebank.runtime.server import running_bank as run_bank
from latticebank.security.keys.service.kek import DEMO_FILE


@asynccontextmanager
async def opened_for_a_while(
    settings: Settings, names: Sequence[str], *, create: bool = False
) -> AsyncIterator[Transport]:
    """Open these services of the bank in the data folder, and a way to the first of them.

    Raises:
        NoBankHere: there is no bank in the data folder, and `create` does not ask for one.

    """
    if not create:
        refuse_nothing_here(settings)
    settings, steps = _as_demo(settings), Steps()
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
    """Return the settings, as those of a demo bank where the data folder is one."""
    return _as_demo(load_settings())


def _as_demo(settings: Settings) -> Settings:
    """Return the settings, as those of a demo bank where its folder is one: its key of keys has no passphrase."""
    keyless = settings.mode == "development" and settings.kek_passphrase is None
    return settings.model_copy(update={"demo": True}) if keyless and (settings.data / DEMO_FILE).exists() else settings
