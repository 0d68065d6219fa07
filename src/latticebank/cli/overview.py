"""Every command by its name: its heading, its sentence in the overview, and the module that has it.

A module is imported when one of its commands is used: what a command does not need, nobody waits for.
"""

from importlib import import_module
from typing import Any, NamedTuple

import typer
from rich.markup import escape
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

RUN = "Run a bank"
BANK = "Be a customer"
SERVE = "Work at the bank"
KEEP = "Look after the bank"
PROVE = "Prove things"


class Entry(NamedTuple):
    """A command in the overview."""

    name: str
    sentence: str
    module: str
    """Below `latticebank.cli`. Its `register` adds the command to an application."""


COMMANDS: dict[str, tuple[Entry, ...]] = {
    RUN: (
        Entry("up", "Run the whole bank here, with a demo town, until Ctrl-C.", "running"),
        Entry("demo", "Act as somebody of the demo town, or have all of them pay.", "demo"),
        Entry("serve", "Run some services, or all, without a demo town, as in production.", "running"),
    ),
    BANK: (
        Entry("register", "Become a customer: a key on this device, and an account.", "people.entering"),
        Entry("login", "Open a session.", "people.entering"),
        Entry("logout", "End it.", "people.entering"),
        Entry("whoami", "Show who you are to the bank, and which device signs.", "people.entering"),
        Entry("my", "Your accounts and their entries.", "people.paying"),
        Entry("transfer", "Pay somebody, by the signature of this device.", "people.paying"),
        Entry("batch", "Pay up to 8,000 payees of a CSV file by one signature.", "people.paying"),
        Entry("history", "List your payments.", "people.paying"),
        Entry("payment", "Show one of them as it stands.", "people.paying"),
        Entry("cancel", "Take back a payment that waits for approval.", "people.paying"),
        Entry("receipt", "Get what proves a payment to anybody.", "people.paying"),
        Entry("device", "The devices that sign for you.", "people.devices"),
        Entry("password", "Change your password.", "people.entering"),
        Entry("erase-profile", "Leave, and have the bank erase what you told it of yourself.", "people.entering"),
    ),
    SERVE: (
        Entry("approvals", "List the payments that wait for a manager.", "people.deciding"),
        Entry("approve", "As a manager, let one go on.", "people.deciding"),
        Entry("reject", "As a manager, refuse one.", "people.deciding"),
        Entry("cash", "As a teller, take in and hand out cash.", "people.deciding"),
        Entry("staff", "Grant and withdraw rights, by four eyes.", "people.staff"),
    ),
    KEEP: (
        Entry("accounts", "List accounts with what is on them.", "books"),
        Entry("entries", "List the entries of an account.", "books"),
        Entry("balance", "Show the balance of an account, today or at the end of a day.", "books"),
        Entry("import", "Take over a bank's books from CSV.", "takeover"),
        Entry("keys", "The tree of keys: list, back up, hold, erase.", "keys"),
        Entry("log", "The public log: read, copy, open, see how it stands.", "log"),
        Entry("backup", "Copy all databases at one instant, and verify the copy.", "backup"),
        Entry("restore", "Bring them back, to the last moment or to an earlier one.", "backup"),
        Entry("routes", "List every route with the policy action that it needs.", "running"),
    ),
    PROVE: (
        Entry("verify", "Check receipts, checkpoints and copies of the log, offline.", "verify"),
        Entry("ledger", "Prove the books, and every signature behind a debit.", "proof"),
        Entry("witness", "Watch over the log of a bank, and cosign it.", "witness"),
    ),
}


class Overview(TyperGroup):
    """All commands, known by name and sentence; each is loaded when it is used."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self._modules = {entry.name: entry.module for entries in COMMANDS.values() for entry in entries}
        for panel, entries in COMMANDS.items():
            for entry in entries:
                self.add_command(TyperCommand(entry.name, help=entry.sentence, rich_help_panel=panel))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return the command that is meant, loaded."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command if command is None or name is None else loaded(self._modules[name], name), rest


def loaded(module: str, name: str) -> TyperCommand | TyperGroup:
    """Return a command of a module, importing it."""
    app = typer.Typer(rich_markup_mode="rich", callback=_nothing)
    import_module(f"latticebank.cli.{module}").register(app)
    command = get_group(app).commands[name]
    assert isinstance(command, TyperCommand | TyperGroup)
    _let_flow(command)
    return command


def _let_flow(command: Any) -> None:
    """Have the terminal break the lines of what a command says of itself; examples, which are indented, keep theirs."""
    command.help = "\n\n".join(
        f"[cyan]{escape(paragraph)}[/]" if paragraph.startswith(" ") else paragraph.replace("\n", " ")
        for paragraph in (command.help or "").split("\n\n")
    )
    for each in command.commands.values() if isinstance(command, TyperGroup) else ():
        _let_flow(each)


def _nothing() -> None: ...
