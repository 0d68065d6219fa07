"""Where a bank's databases are: at the URLs it was given, or in the embedded PostgreSQL of its data folder."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from latticebank.kernel.credential_file import SERVICES_FOLDER, TOKEN_FILE
from latticebank.kernel.migrations import BUS_TABLES, migrate
from latticebank.kernel.service import Service
from latticebank.kernel.settings import BUS, Settings
from latticebank.runtime.data_folder import EMBEDDED, make_folder
from latticebank.runtime.errors import ForeignDataFolder, UnwritableDataFolder
from latticebank.runtime.postgres import EmbeddedPostgres
from latticebank.values.errors import BankError, Fault


class NoEmbeddedDatabase(BankError):
    """A production bank was given no database for a service."""

    code = "no-embedded-database"
    title = "A production bank does not use the embedded database"
    fault = Fault.INVALID


@dataclass(frozen=True)
class Premises:
    """The URLs of the databases by service, and the embedded server if some of them are in it."""

    database_urls: dict[str, str]
    server: EmbeddedPostgres | None


@contextmanager
def open_premises(
    settings: Settings, services: Iterable[Service], progress: Callable[[str], None]
) -> Iterator[Premises]:
    """Have every database running and up to date until the block ends; `progress` is told of each slow step.

    Raises:
        BankError: of `runtime.errors` or `kernel.migrations`, if the server cannot start or a database is newer.

    """
    chains = {service.name: service.migrations for service in services if service.migrations is not None}
    if chains:  # a gateway by itself keeps nothing
        chains[BUS] = BUS_TABLES
    given = {name: url.get_secret_value() for name, url in settings.database_urls.items() if name in chains}
    missing = [name for name in chains if name not in given]
    if missing and settings.mode == "production":
        raise NoEmbeddedDatabase(f"no URL for the database of {', '.join(missing)}", field="database_urls")
    with ExitStack() as closing:
        server = None
        urls = dict(given)
        if missing:
            _refuse_foreign(settings.data)
            progress("Starting PostgreSQL")
            server = closing.enter_context(
                EmbeddedPostgres(settings.data / EMBEDDED, progress=progress, archive=settings.archive)
            )
            for name in missing:
                server.create_database(name)
                urls[name] = server.url(name)
        for name, chain in chains.items():
            progress(f"Bringing the tables of the {name} up to date")
            migrate(urls[name], chain)
        yield Premises(urls, server)


def _refuse_foreign(data: Path) -> None:
    """Refuse a folder of somebody else's files, before anything is put beside them."""
    try:
        make_folder(data)
        found = {each.name for each in data.iterdir()}
        credentials = any((data / SERVICES_FOLDER).glob("*.token"))  # copied here before the first start
    except OSError as problem:
        raise UnwritableDataFolder(
            f"{data.absolute()} cannot be used: {problem.strerror}", hint="choose another folder with --data"
        ) from problem
    if found and not credentials and not found & {EMBEDDED, TOKEN_FILE}:
        raise ForeignDataFolder(
            f"{data.absolute()} holds {min(found)!r} and no bank",
            hint="give the bank a folder of its own with --data or LATTICEBANK_DATA",
        )
