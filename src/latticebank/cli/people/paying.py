"""`latticebank my`, `transfer`, `batch`, `history`, `payment`, `receipt` and `cancel`: a customer's money."""

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, get_args
from uuid import UUID

import msgspec
import typer

from latticebank.banking.ledger.wire import AccountView, Basis, EntryPage
from latticebank.banking.payments.wire import BatchView, PaymentPage, PaymentView
from latticebank.cli.console import err, write_json, write_table
from latticebank.cli.people.payments_shown import show_payment, tell_batch, tell_page, tell_payment
from latticebank.cli.people.person import Json, Person, acting
from latticebank.client import BankClient, Payee
from latticebank.client.payment_file import read_payment_file
from latticebank.client.private_file import CannotUseFile
from latticebank.values.errors import InvalidValue

my = typer.Typer(help="Your own accounts.", no_args_is_help=True)

Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="The most to show.")]
Wait = Annotated[
    float, typer.Option(min=0, max=600, help="Seconds to wait for the outcome of what the bank has received.")
]
PaymentId = Annotated[UUID, typer.Argument(metavar="ID", help="The id of the payment.")]
FromAccount = Annotated[
    str | None,
    typer.Option("--from", metavar="ACCOUNT", help="The account that pays.", show_default="your only open one"),
]
DEFAULT_SHOWN = 50
DEFAULT_WAIT = 30.0


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    my.command("accounts")(own_accounts)
    my.command("entries")(own_entries)
    app.add_typer(my, name="my")
    for command in (transfer, batch, history, payment, receipt, cancel):
        app.command()(command)


@acting
def own_accounts(person: Person, as_json: Json = False) -> None:
    """List your accounts, and those for which you may act, with what is on them."""
    accounts = person.ask(BankClient.accounts)
    if as_json:
        write_json(accounts)
        return
    columns = [("account", "left"), ("kind", "left"), ("status", "left"), ("balance", "right"), ("held", "right"),
               ("available", "right"), ("", "left")]  # fmt: skip
    write_table(
        columns,
        (
            [each.account, each.kind, each.status, each.balance, each.held, each.available, each.currency]
            for each in accounts
        ),
    )


@acting
def own_entries(
    person: Person,
    account: Annotated[str, typer.Argument(help="The ten digits of one of your accounts.")],
    since: Annotated[datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], metavar="YYYY-MM-DD")] = None,
    until: Annotated[datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], metavar="YYYY-MM-DD")] = None,
    basis: Annotated[str, typer.Option(help="Whether booking or value dates count: booking or value.")] = "booking",
    limit: Limit = DEFAULT_SHOWN,
    as_json: Json = False,
) -> None:
    """List the entries of one of your accounts in the order of booking, with the balance after each."""
    if basis not in get_args(Basis):
        raise typer.BadParameter("say booking or value", param_hint="--basis")
    word: Basis = msgspec.convert(basis, Basis)

    async def read(bank: BankClient) -> EntryPage:
        return await bank.entries(
            account,
            since=since.date() if since else None,
            until=until.date() if until else None,
            basis=word,
            limit=limit,
        )

    page = person.ask(read)
    if as_json:
        write_json(page.items)
        return
    columns = [("no.", "right"), ("booked", "left"), ("value", "left"), (f"amount {page.currency}", "right"),
               ("balance", "right"), ("with", "left"), ("purpose", "left"), ("transfer", "left")]  # fmt: skip
    write_table(
        columns,
        (
            [str(each.number), each.booking_date.isoformat(), each.value_date.isoformat(), each.amount, each.balance,
             each.counterparty, each.purpose, str(each.transfer)]
            for each in page.items
        ),
    )  # fmt: skip
    if page.next_cursor is not None:
        err.print("There are more; choose a later day with --from, or a higher --limit.", markup=False)


@acting
def transfer(
    person: Person,
    account: Annotated[str, typer.Argument(help="The ten digits of the account to pay.")],
    amount: Annotated[str, typer.Argument(help='How much, like "12.34", in the currency of your account.')],
    to: Annotated[str, typer.Option("--to", metavar="NAME", help="Who gets it.")],
    reference: Annotated[str, typer.Option(metavar="TEXT", help="What it is for; no card numbers.")] = "",
    debtor: FromAccount = None,
    wait: Wait = DEFAULT_WAIT,
    as_json: Json = False,
) -> None:
    """Pay somebody, by the signature of this device.

    A payment that waits for approval, or that the bank is still working on, is told as such, and is no failure.

    For example:

        latticebank transfer 1000000110 12.34 --to Grocer --reference Lunch
    """
    signs = person.signs

    async def pay(bank: BankClient) -> PaymentView:
        own = debtor_account(await bank.accounts(), debtor)
        signed = signs.payment(own.account, Payee(account, to, amount, own.currency, reference))
        if not as_json:
            err.print(f"payment {signed.id}", markup=False)
        paid = await bank.transfer(signed)
        return await bank.settled(paid.id, wait) if paid.state == "received" else paid

    tell_payment(person.ask(pay), as_json=as_json)


@acting
def batch(
    person: Person,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.csv",
            help="CSV in UTF-8; the columns account, name, amount, and perhaps reference and currency.",
        ),
    ],
    debtor: FromAccount = None,
    wait: Wait = DEFAULT_WAIT,
    as_json: Json = False,
) -> None:
    """Pay up to 8,000 payees by one signature. Each payment has its own answer; fails if any was rejected.

    For example:

        latticebank batch salaries.csv

    where the file begins like this:

        account,name,amount,reference
        1000000110,Grocer,12.34,Lunch
    """
    signs = person.signs
    payments = read_payment_file(file)

    async def pay(bank: BankClient) -> BatchView:
        own = debtor_account(await bank.accounts(), debtor)
        with payments.told_by_line():
            signed = signs.batch(own.account, payments.in_currency(own.currency))
        if not as_json:
            err.print(f"batch {signed.manifest.id}", markup=False)
        answer = await bank.batch(signed)
        return await bank.settled_batch(signed, wait) if answer.state == "received" else answer

    tell_batch(person.ask(pay), payments, as_json=as_json)


@acting
def history(
    person: Person,
    account: Annotated[str | None, typer.Option(help="Only payments from this account.")] = None,
    limit: Limit = DEFAULT_SHOWN,
    as_json: Json = False,
) -> None:
    """List your payments, the newest first."""

    async def read(bank: BankClient) -> PaymentPage:
        return await bank.history(account, limit=limit)

    tell_page(person.ask(read), as_json=as_json)


@acting
def payment(person: Person, identifier: PaymentId, as_json: Json = False) -> None:
    """Show a payment as it stands."""
    show_payment(person.ask(lambda bank: bank.payment(identifier)), as_json=as_json)


@acting
def receipt(
    person: Person,
    identifier: PaymentId,
    to: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="The file to write.", show_default="standard output"),
    ] = None,
    wait: Wait = DEFAULT_WAIT,
) -> None:
    """Get what proves a posted payment to anybody, also against the bank: `latticebank verify` checks it.

    It tells all of the payment, so whoever you give it to knows what you know of it. While the bank carries a payment out,
    or its log is published, the command waits; while a manager has to approve it, it says so and ends.

    For example:

        latticebank receipt 01a1f894-d6d0-72fb-ae1c-209610acd168 --out paid.json
        latticebank log policy > bank.policy
        latticebank verify paid.json --policy bank.policy
    """

    def told(waits: str) -> None:
        err.print(f"{waits[:1].upper()}{waits[1:]} ...", markup=False, soft_wrap=True)

    served = person.ask(lambda bank: bank.receipt(identifier, wait, told))
    if to is None:
        sys.stdout.write(served.decode())
        return
    try:
        to.write_bytes(served)
    except OSError as error:
        raise CannotUseFile(to, error) from error
    err.print(f"The receipt of payment {identifier} is in {to}.", markup=False, soft_wrap=True)


@acting
def cancel(person: Person, identifier: PaymentId, as_json: Json = False) -> None:
    """Take back a payment that waits for approval."""
    tell_payment(person.ask(lambda bank: bank.cancel(identifier)), as_json=as_json)


def debtor_account(accounts: list[AccountView], chosen: str | None) -> AccountView:
    """Return the account that pays: the one that was chosen, or the only open one.

    Raises:
        InvalidValue: it is none of these, or there are several.

    """
    if chosen is not None:
        fitting = [each for each in accounts if each.account == chosen]
    else:
        fitting = [each for each in accounts if each.status == "open"]
    if len(fitting) == 1:
        return fitting[0]
    detail = "this is none of your accounts" if chosen else f"choose one of your {len(fitting)} open accounts"
    raise InvalidValue(detail, field="--from", hint=", ".join(each.account for each in accounts) or None)
