"""`latticebank up`, `serve` and `routes`: running the bank, and what it answers."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
import uvloop

from latticebank.bank import SERVICES, Bank, compose, open_context
from latticebank.banking.ledger.client import LedgerClient
from latticebank.cli.console import Steps, err, out, this_command, write_json, write_table
from latticebank.kernel.credential_file import operator_credential
from latticebank.kernel.http import RouteRow
from latticebank.kernel.production import is_loopback
from latticebank.kernel.settings import BUS, EVERYTHING, Settings, load_settings
from latticebank.kernel.telemetry import configure_logs
from latticebank.kernel.transports.memory import MemoryTransport
from latticebank.runtime.premises import open_premises
from latticebank.runtime.server import listening
from latticebank.runtime.server import serve as serve_bank
from latticebank.runtime.town.books import refuse_exposed_demo
from latticebank.runtime.town.founding import seed
from latticebank.runtime.town.papers import Resident, Town
from latticebank.runtime.town.people import EVERYONE as TOWNSPEOPLE

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
    demo: Annotated[bool, typer.Option(help="Have a demo town move into empty books.")] = True,
) -> None:
    """Run the whole bank here: database, services and a demo town, in one process. Ctrl-C stops it.

    For example:

        latticebank up
        latticebank up --port 8080 --data my-bank
        latticebank up --no-demo
    """
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
    """Run some of the services, or all, without a demo town: what a production bank starts.

    For example:

        LATTICEBANK_MODE=production latticebank serve
        latticebank serve ledger payments --host 10.0.0.2
    """
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

    town: Town | None = None

    async def prepare(bank: Bank) -> None:
        nonlocal town
        if "ledger" in bank.names:
            ledger = LedgerClient(bank.context.transport("ledger"), operator_credential(settings.data))
            await refuse_exposed_demo(ledger, exposed=exposed)
        if settings.demo and set(names) >= set(EVERYTHING):
            steps("Looking for the demo town")
            town = await seed(settings, MemoryTransport(bank.app), steps)

    def opened(address: str) -> None:
        steps.done()
        _tell_open(settings, names, address, town)

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


def _tell_open(settings: Settings, names: Sequence[str], address: str, town: Town | None) -> None:
    command = this_command()
    lines = [
        "",
        f"[bold green]The bank is open[/] at [bold]{address}[/]   ({', '.join(names)})",
        "",
        f"  data folder        {settings.data.absolute()}",
        "  operator's token   in operator.token there; only its owner can read it",
        f"  demo town          {_town_in_words(town)}",
    ]
    if town is not None:
        lines += ["", *(_login_line(town.resident(each.name)) for each in TOWNSPEOPLE if town.has(each.name))]
    lines += ["", "Next, in another terminal in this folder:", ""]
    if settings.data.absolute() != Settings.model_fields["data"].default.absolute():
        lines.append(f"  export LATTICEBANK_DATA={shlex.quote(str(settings.data.absolute()))}")
    lines += [*_next(command, town), "", "Ctrl-C closes the bank."]
    for line in lines:
        err.print(line, soft_wrap=True)


def _login_line(resident: Resident) -> str:
    return f"    {resident.email:<32}{resident.password:<22}{resident.role:<10}{resident.account}"


def _town_in_words(town: Town | None) -> str:
    return "no" if town is None else f"{len(town.residents)} people who do not exist, and their passwords"


def _next(command: str, town: Town | None) -> list[str]:
    """Return the commands to try next, with what they are for."""
    tries = [("accounts", "who has what"), ("ledger check", "prove that the books are sound")]
    if town is None:
        tries.append(("import MAPPING FILE", "take over a bank's books from CSV"))
    elif not town.has("ada"):
        tries.insert(0, ("demo run --rate 5 --imported 20", "have owners of imported accounts pay, until Ctrl-C"))
    else:
        tries = [
            ("demo as ada my accounts", "what Ada sees, without typing her password"),
            (f"demo as ada transfer {town.resident('grocer').account} 12.34 --to Grocer", "pay, signed by her device"),
            ("demo as ada history", "her payments"),
            ("demo as marek approvals", "what waits for the manager"),
            ("demo run --rate 5", "have the town pay, until Ctrl-C"),
            *tries,
            ("register", "become a customer yourself; then login"),
        ]
    width = max(len(what) for what, _ in tries) + 3
    return [f"  {command} {what:<{width}}[dim]{why}[/]" for what, why in tries]


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
