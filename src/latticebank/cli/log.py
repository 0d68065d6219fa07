"""`latticebank log`: the public log of the bank, copied and looked after."""

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import typer
import uvloop

from latticebank.cli.console import Steps, alone, err, out, this_command, write_json
from latticebank.cli.people.person import Json, Person, acting
from latticebank.cli.reaching import way_to
from latticebank.client import BankClient
from latticebank.client.log_mirror import LogMirror, Mirrored, ServedLog
from latticebank.kernel.credential_file import operator_credential
from latticebank.kernel.settings import load_settings
from latticebank.kernel.telemetry import configure_logs
from latticebank.kernel.transports import HttpTransport
from latticebank.security.audit.client import AuditClient
from latticebank.security.audit.wire import LogStatus, OpenedEntry, OpenedPage
from latticebank.values.clock import SystemClock
from latticebank.values.errors import InvalidValue

_PAGE = 1_000

T = TypeVar("T")

BankUrl = Annotated[
    str | None,
    typer.Option(
        "--bank-url",
        "--url",
        envvar="LATTICEBANK_CLIENT_ADDRESS",
        help="The address of the bank.",
        show_default="the bank that runs here, else http://localhost:8000",
    ),
]

log = typer.Typer(help="The public log of everything that the bank did.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    log.command("download")(download)
    log.command("policy")(policy)
    log.command("status")(status)
    log.command("open")(open_entries)
    log.command("begin-anew")(anew)
    app.add_typer(log, name="log")


def download(
    folder: Annotated[Path, typer.Argument(help="Where the log is, or goes to; nothing else may be there.")],
    bank_url: BankUrl = None,
    as_json: Json = False,
) -> None:
    """Copy the log into a folder, or bring a copy up to date. What is there is not fetched again.

    It proves nothing by itself: `latticebank verify` does. A log that does not go on from the one in the folder is refused.

    For example:

        latticebank log policy > bank.policy
        latticebank log download mirror
        latticebank verify mirror --policy bank.policy
    """
    steps = Steps()

    def told(done: int, of: int) -> None:
        steps(f"Fetching the log: {done:,} of {of:,} files")

    async def bring(served: ServedLog) -> Mirrored:
        return await LogMirror(served, folder, told).download()

    with steps.shown():
        mirrored = _ask(bank_url, bring)
        steps.done()
    if as_json:
        write_json(mirrored)
        return
    out.print(
        f"{folder} has {mirrored.size:,} entries of {mirrored.origin}, {mirrored.fetched:,} files of them new.",
        markup=False,
        soft_wrap=True,
    )
    out.print(f"Check them: {this_command()} verify {folder} --policy FILE", markup=False, soft_wrap=True)


def policy(bank_url: BankUrl = None) -> None:
    """Write the keys of the log as the bank names them: a policy for `latticebank verify`."""
    text = _ask(bank_url, ServedLog.policy)
    sys.stdout.write(text)
    err.print(
        "These keys are the bank's own word. Whoever keeps them trusts it this once: compare them with what others were "
        "given, and name witnesses of your own.",
        markup=False,
        soft_wrap=True,
    )


def status(as_json: Json = False) -> None:
    """Show how the log stands: its size, what is published, who witnesses it, and what is wrong if anything is.

    Ends with 1 where the log stands still, does not take in what it is told, or was not told everything once.
    """
    settings = load_settings()
    configure_logs(level="warning")

    async def read() -> LogStatus:
        async with way_to(settings, ["audit", "keys", "identity", "ledger"]) as way:
            return await AuditClient(way, operator_credential(settings.data)).status()

    with alone():
        found = uvloop.run(read())
    if as_json:
        write_json(found)
    else:
        _tell_status(found)
    if found.refusal is not None or found.gaps or found.overlaps or found.stuck:
        raise typer.Exit(1)


@acting
def open_entries(
    person: Person,
    first: Annotated[int, typer.Option(min=0, help="The index of the first entry.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="The most entries to open.")] = 100,
    file: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Write what is opened into this file, for --openings of `verify` and `ledger check`."
        ),
    ] = None,
) -> None:
    r"""As an auditor: open entries of the log. The log itself tells of it.

    A line for each entry: its index, its salt and its record, in JSON.

    For example:

        latticebank log open --first 120 --limit 30 --out openings.jsonl
        latticebank verify mirror --policy bank.policy \
            --openings openings.jsonl
    """

    async def read(bank: BankClient) -> list[OpenedEntry]:
        found: list[OpenedEntry] = []
        place: int | None = first
        while place is not None and len(found) < limit:
            query: dict[str, str | int] = {"first": place, "limit": min(_PAGE, limit - len(found))}
            page = await bank.call("GET", "/api/audit/entries", OpenedPage, query=query)
            found, place = found + page.items, page.next_index
        return found

    entries = person.ask(read)
    opened = [entry for entry in entries if entry.record]
    if len(opened) < len(entries):
        err.print(f"{len(entries) - len(opened)} entries cannot be opened any more: their keys were destroyed.")
    lines = b"".join(msgspec.json.encode(entry) + b"\n" for entry in opened)
    if file is None:
        sys.stdout.write(lines.decode())
        return
    try:
        file.write_bytes(lines)
    except OSError as error:
        raise InvalidValue(f"{file} cannot be written: {error.strerror}", field="--out") from error


def anew(
    sure: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    though_sound: Annotated[
        bool, typer.Option("--though-sound", help="Even if the present log fits all that is remembered of it.")
    ] = False,
) -> None:
    """Begin a new log, where the present one can never again fit what was published of it.

    The new log has an origin of its own, and its first entry names the last word of the old one. Receipts of the old log
    verify as before; whoever follows the log has to be told.
    """
    from latticebank.cli.opening import bank_databases, settings_here
    from latticebank.kernel.database import Database
    from latticebank.kernel.kept_apart import KeptApart
    from latticebank.security.audit.service.beginning import begin_anew
    from latticebank.security.audit.service.foundation import PUBLISHED

    settings = settings_here()
    configure_logs(level="warning")
    if not sure:
        typer.confirm(
            "The present log ends for good, and everybody who follows it will see that. Begin a new one?", abort=True
        )

    async def within(url: str) -> str:
        database = Database(url, application_name="latticebank-log-command", book=settings.book)
        try:
            kept = KeptApart(settings.kept_folders, PUBLISHED)
            now = SystemClock().now()
            begun = await begin_anew(database, settings.book, settings.bank, kept, now, though_sound=though_sound)
            return begun.origin
        finally:
            await database.close()

    steps = Steps()
    with alone(), steps.shown(), bank_databases(settings, ["audit"], steps) as urls:
        steps.done()
        origin = uvloop.run(within(urls["audit"]))
    out.print(f"The log is now {origin}. Its keys: {this_command()} log policy", markup=False, soft_wrap=True)


def _tell_status(found: LogStatus) -> None:
    out.print(f"{found.origin}: {found.size:,} entries, {found.published_size:,} of them published", markup=False)
    for witness in found.witnesses:
        trouble = "" if witness.trouble is None else f"; at the last try: {witness.trouble}"
        out.print(f"  witness {witness.name}: cosigned {witness.size:,}{trouble}", markup=False, soft_wrap=True)
    if not found.witnesses:
        out.print("  nobody witnesses it")
    for gap in found.gaps:
        err.print(
            f"The ledger did not tell of its records {gap.first_seq} to {gap.next_seq - 1} of shard {gap.shard}.",
            markup=False,
            soft_wrap=True,
        )
    for overlap in found.overlaps:
        err.print(
            f"The ledger told of its records {overlap.first_seq} to {overlap.next_seq - 1} of shard {overlap.shard} more "
            "than once: it was set back.",
            markup=False,
            soft_wrap=True,
        )
    for stuck in found.stuck:
        err.print(f"The log takes in nothing of {stuck.topic}: {stuck.reason}", markup=False, soft_wrap=True)
    if found.refusal is not None:
        err.print(f"The log stands still: {found.refusal}", markup=False, soft_wrap=True)


def _ask(bank_url: str | None, do: Callable[[ServedLog], Awaitable[T]]) -> T:
    """Return what `do` returns, given the log as the bank serves it; anyone may read the log, so nobody presents anything."""
    configure_logs(level="warning")
    address = Person(None, bank_url, None, None).address

    async def within() -> T:
        transport = HttpTransport(address)
        try:
            return await do(ServedLog(transport))
        finally:
            await transport.aclose()

    with alone():
        return uvloop.run(within())
