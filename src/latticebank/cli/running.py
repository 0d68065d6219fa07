"""`latticebank up`, `serve` and `routes`: running the bank, and what it answers."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
import uvloop

from latticebank.bank import SERVICES, Bank, compose, open_context
from latticebank.banking.ledger.client import LedgerClient
from latticebank.cli.console import Steps, err, out, this_command, write_json, write_table
from latticebank.cli.reaching import operator_credential
from latticebank.kernel.http import RouteRow
from latticebank.kernel.production import is_loopback
from latticebank.kernel.settings import BUS, Settings, load_settings
from latticebank.kernel.telemetry import configure_logs
from latticebank.runtime.demo import refuse_exposed_demo, seed
from latticebank.runtime.premises import open_premises
from latticebank.runtime.server import listening
from latticebank.runtime.server import serve as serve_bank

Host = Annotated[str | None, typer.Option(help="The address to listen at.", show_default="127.0.0.1")]
Port = Annotated[int | None, typer.Option(help="The port to listen at; 0 takes a free one.", show_default="8000")]
Data = Annotated[Path | None, typer.Option(help="The bank's data folder.", show_default=".latticebank")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(up)
    app.command()(serve)
    app.command()(routes)


def up(
    host: Host = None,
    port: Port = None,
    data: Data = None,
    demo: Annotated[bool, typer.Option(help="Fill empty books with a demo bank.")] = True,
) -> None:
    """Run the whole bank here: database, services and demo books, in one process. Ctrl-C stops it."""
    given = _given(host=host, port=port, data=data)
    settings = load_settings(**given, **({"demo": True} if demo else {}))
    quiet = (
        settings if "log_level" in settings.model_fields_set else settings.model_copy(update={"log_level": "warning"})
    )
    _run(quiet, settings.services)


def serve(
    services: Annotated[list[str] | None, typer.Argument(help="The services to run; all if none is named.")] = None,
    host: Host = None,
    port: Port = None,
    data: Data = None,
) -> None:
    """Run some of the services, or all, without demo books: what a production bank starts."""
    settings = load_settings(**_given(host=host, port=port, data=data))
    names = services or settings.services
    if len(names) == 1 and names[0] in SERVICES and port is None and "port" not in settings.model_fields_set:
        settings = load_settings(**_given(host=host, port=SERVICES[names[0]].port, data=data))
    _run(settings, names)


def routes(
    check: Annotated[bool, typer.Option("--check", help="Only say whether every route has a policy.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Show every route with the policy action that it needs; fails where one has none."""
    rows = uvloop.run(_route_rows())
    if as_json:
        write_json(rows)
    elif check:
        out.print(f"{len(rows)} routes, each with a policy")
    else:
        columns = [("method", "left"), ("path", "left"), ("policy action", "left"), ("what it does", "left")]
        write_table(columns, ([row.method, row.path, row.action, row.summary] for row in rows))


async def _route_rows() -> list[RouteRow]:
    """Compose the whole bank without starting it: composing refuses a route that has no policy."""
    nowhere = dict.fromkeys((*SERVICES, BUS), "postgresql://nobody@127.0.0.1/nowhere")
    with TemporaryDirectory() as folder:
        async with open_context(Settings(data=Path(folder)), nowhere) as context:
            return compose(SERVICES, context).route_table()


def _run(settings: Settings, names: Sequence[str]) -> None:
    configure_logs(level=settings.log_level)
    steps = Steps(lines=True)
    exposed = settings.mode == "production" or not is_loopback(settings.host)

    demo = False

    async def prepare(bank: Bank) -> None:
        nonlocal demo
        ledger = LedgerClient(bank.context.transport("ledger"), operator_credential(settings))
        await refuse_exposed_demo(ledger, exposed=exposed)
        if settings.demo:
            steps("Filling the books of the demo bank")
            demo = await seed(ledger)

    def opened(address: str) -> None:
        steps.done()
        _tell_open(settings, names, address, demo=demo)

    here = [SERVICES[name] for name in names if name in SERVICES]
    with (
        steps.shown(),
        listening(settings.host, settings.port) as listener,
        open_premises(settings, here, steps) as premises,
    ):
        steps("Opening the bank")
        uvloop.run(serve_bank(settings, names, premises, listener, prepare=prepare, opened=opened))
        steps("Closing the bank")
    steps.done()
    err.print("The bank is closed.")


def _tell_open(settings: Settings, names: Sequence[str], address: str, *, demo: bool) -> None:
    command = this_command()
    lines = [
        "",
        f"[bold green]The bank is open[/] at [bold]{address}[/]   ({', '.join(names)})",
        "",
        f"  data folder        {settings.data.absolute()}",
        "  operator's token   in operator.token there; only its owner can read it",
        f"  demo books         {'yes: nine accounts in EUR' if demo else 'no'}",
        "",
        "Next, in another terminal in this folder:",
        "",
        f"  {command} accounts                      [dim]who has what[/]",
        f"  {command} entries ACCOUNT               [dim]how it came about[/]",
        f"  {command} balance ACCOUNT --as-of DAY   [dim]what it was on any day[/]",
        f"  {command} ledger check                  [dim]prove that the books are sound[/]",
        f"  {command} import MAPPING FILE           [dim]take over a bank's books from CSV[/]",
        "",
        "Ctrl-C closes the bank.",
    ]
    for line in lines:
        err.print(line, soft_wrap=True)


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
