"""`latticebank demo`: who lives in the demo town, acting as one of them, and having them pay."""

import asyncio
import os
import shlex
import signal
from typing import Annotated
from urllib.parse import urlsplit

import typer
import uvloop

from latticebank.cli.console import Steps, alone, err, out, this_command, write_json, write_table
from latticebank.cli.people.asking import PASSPHRASE, PASSWORD, variable_of
from latticebank.cli.people.person import Json, Person, call, hand_over
from latticebank.client import BankClient, NoSession
from latticebank.kernel.production import is_loopback
from latticebank.kernel.settings import Settings, load_settings
from latticebank.kernel.telemetry import configure_logs
from latticebank.kernel.transports import HttpTransport
from latticebank.runtime.presence import Presence, running_bank
from latticebank.runtime.town.books import DemoBankExposed
from latticebank.runtime.town.founding import ways_to
from latticebank.runtime.town.life import Wish, live
from latticebank.runtime.town.papers import Papers, Resident, Town
from latticebank.runtime.town.people import MAX_TOWNSPEOPLE
from latticebank.runtime.town.tally import Tally
from latticebank.values.errors import BankError, Fault

LINE_SECONDS = 5
"""How often a run says how it goes where no terminal shows it all the time."""
_OWN_SESSION = ("login", "logout", "register")
"""Commands that open or end a session themselves."""

demo = typer.Typer(help="The people of the demo town.", no_args_is_help=True)


class NoBankRuns(BankError):
    """No bank runs on the data folder."""

    code = "no-bank-runs"
    title = "The bank is not open"
    fault = Fault.UNAVAILABLE


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    demo.command("people")(people)
    demo.command("as", context_settings={"allow_extra_args": True, "allow_interspersed_args": False})(act_as)
    demo.command("run")(run)
    app.add_typer(demo, name="demo")


def people(as_json: Json = False) -> None:
    """List who lives in the demo town, with their passwords: nobody of them exists."""
    town = Papers(load_settings().data).existing_town()
    if as_json:
        write_json([_shown(resident) for resident in town.residents])
    else:
        _write_people(town)


def act_as(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The name or e-mail address of somebody of the town.")],
) -> None:
    """Act as somebody of the demo town: put the name before any command.

    Whoever acts is logged in first. Without a command, the variables are written that have all later commands act as this
    person.

    For example:

        latticebank demo as ada my accounts
        latticebank demo as ada transfer 1000000110 12.34 --to Grocer
        eval "$(latticebank demo as ada)"
    """
    settings = load_settings()
    presence = _running(settings)
    papers = Papers(settings.data)
    resident = papers.existing_town().resident(name)
    bank = call(presence.address, BankClient.security_info).bank
    wallet = papers.wallet(resident, bank, presence.address).absolute()
    variables = {
        "LATTICEBANK_CLIENT_WALLET": str(wallet),
        "LATTICEBANK_CLIENT_ADDRESS": presence.address,
        "LATTICEBANK_CLIENT_AS": resident.email,
        variable_of(PASSPHRASE): papers.passphrase(),
        variable_of(PASSWORD): resident.password,
    }
    if not context.args:
        for variable, value in variables.items():
            out.print(f"export {variable}={shlex.quote(value)}", markup=False, soft_wrap=True)
        return
    os.environ.update(variables)
    if context.args[0] not in _OWN_SESSION:
        person = Person(wallet, presence.address, resident.email, None)
        _come_in(resident, person)
        hand_over(person)
    root = context.find_root()
    root.command.main(args=context.args, prog_name=root.info_name)


def run(
    rate: Annotated[float, typer.Option(min=0.01, max=2_000, help="Orders a second, on average.")] = 5.0,
    number: Annotated[
        int, typer.Option("--people", min=2, max=MAX_TOWNSPEOPLE, help="How many pay; who is missing moves in.")
    ] = 20,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="For how long.", show_default="until Ctrl-C")] = None,
    imported: Annotated[
        int,
        typer.Option(
            min=0,
            max=MAX_TOWNSPEOPLE,
            help="Have so many owners of imported accounts become customers, and pay among each other.",
        ),
    ] = 0,
    as_json: Json = False,
) -> None:
    """Have the people of the demo town pay, each by the signature of their own device, until Ctrl-C.

    They pay merchants and each other; salaries come as signed batches; now and then somebody wants more than there is, or
    so much that the manager must look at it.

    For example:

        latticebank demo run --rate 20 --seconds 60
    """
    settings = load_settings()
    presence = _running(settings)
    if settings.mode == "production" or not is_loopback(str(urlsplit(presence.address).hostname)):
        raise DemoBankExposed("a demo town lives in a bank on a loopback address, in development only")
    configure_logs(level="warning")
    wish = Wish(rate, number, seconds, imported)
    with alone():
        tally = uvloop.run(_live(settings, presence, wish))
    if as_json:
        write_json(tally.summary())
    else:
        _tell(tally)


def _write_people(town: Town) -> None:
    """Write a table of the people of the town, with what opens the bank to them."""
    columns = [("name", "left"), ("who", "left"), ("role", "left"), ("e-mail", "left"), ("password", "left"),
               ("account", "left")]  # fmt: skip
    write_table(
        columns,
        ([each.name, each.full_name, each.role, each.email, each.password, each.account] for each in town.residents),
    )


async def _live(settings: Settings, presence: Presence, wish: Wish) -> Tally:
    """Have the town live until a signal stops it; before the first payment that ends the command at once."""
    stop, paying, told = asyncio.Event(), False, 0.0
    steps = Steps(lines=True)
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def interrupt() -> None:
        if paying:
            stop.set()
        else:
            task.cancel()

    def tell(tally: Tally) -> None:
        nonlocal paying, told
        paying = True
        if err.is_terminal or tally.seconds >= told + LINE_SECONDS:
            told = tally.seconds
            steps(tally.line())

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    transport = HttpTransport(presence.address)
    try:
        with steps.shown():
            ways = await ways_to(settings, transport)
            return await live(Papers(settings.data), ways, wish, stop, progress=steps, tell=tell)
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        await transport.aclose()


def _come_in(resident: Resident, person: Person) -> None:
    """See to it that a session is open."""
    try:
        person.ask(BankClient.devices)
    except NoSession:
        customer, proof = person.customer, person.signs.login_proof()
        session = call(customer.address, lambda bank: bank.login(resident.email, resident.password, proof))
        person.wallet.keep_session(customer, session)


def _running(settings: Settings) -> Presence:
    presence = running_bank(settings.data)
    if presence is None:
        raise NoBankRuns(
            f"no bank runs on {settings.data.absolute()}", hint="open it with `latticebank up`, in another terminal"
        )
    return presence


def _shown(resident: Resident) -> dict[str, str]:
    return {
        "name": resident.name,
        "full_name": resident.full_name,
        "role": resident.role,
        "email": resident.email,
        "password": resident.password,
        "user": str(resident.user),
        "account": resident.account,
        "party": resident.party,
    }


def _tell(tally: Tally) -> None:
    """Write the outcome of a run."""
    rows = [
        ("paid", tally.paid),
        ("of them after approval", tally.approved),
        ("held for the manager", tally.held),
        ("not approved", tally.rejected),
        ("signed batches of salaries", tally.batches),
        ("deposits at the teller's", tally.deposits),
        *((f"refused: {code}", count) for code, count in tally.refused.most_common()),
        *((f"failed: {code}", count) for code, count in tally.failed.most_common()),
    ]
    write_table([("outcome", "left"), ("count", "right")], [(name, f"{count:,}") for name, count in rows])
    out.print(
        f"{tally.orders:,} orders in {tally.seconds:.1f} s: {tally.rate:.1f} a second, half of them answered within "
        f"{tally.p50_milliseconds:.0f} ms",
        markup=False,
    )
    if tally.given_up:
        err.print(
            f"The rate of {tally.wished:g} a second could not be kept: {tally.given_up:,} orders were given up.",
            markup=False,
        )
    err.print(f"Next: {this_command()} ledger check", markup=False, soft_wrap=True)
