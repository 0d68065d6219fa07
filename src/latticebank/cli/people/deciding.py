"""`latticebank approvals`, `approve`, `reject` and `cash`: what a bank's managers and tellers do with money."""

from typing import Annotated, Literal
from uuid import UUID

import typer

from latticebank.banking.payments.wire import PaymentPage, PaymentView
from latticebank.cli.console import err
from latticebank.cli.people.paying import DEFAULT_SHOWN, DEFAULT_WAIT, Limit, PaymentId, Wait
from latticebank.cli.people.payments_shown import outcome, signed_text, tell_page, tell_payment
from latticebank.cli.people.person import Json, Person, acting
from latticebank.client import BankClient, read_instruction
from latticebank.values.errors import InvalidValue

cash = typer.Typer(help="Take in and hand out cash, as a teller.", no_args_is_help=True)

CustomersAccount = Annotated[str, typer.Argument(help="The ten digits of the customer's account.")]
CashAmount = Annotated[str, typer.Argument(help='How much, like "12.34", in the currency of the account.')]
Till = Annotated[
    str | None,
    typer.Option(metavar="ACCOUNT", help="The bank's cash account.", show_default="the only one of the currency"),
]
Reference = Annotated[str, typer.Option(metavar="TEXT", help="What it is for; no card numbers.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (approvals, approve, reject):
        app.command()(command)
    for command in (deposit, withdraw):
        cash.command()(command)
    app.add_typer(cash, name="cash")


@acting
def approvals(person: Person, limit: Limit = DEFAULT_SHOWN, as_json: Json = False) -> None:
    """List the payments that wait for a manager."""

    async def read(bank: BankClient) -> PaymentPage:
        return await bank.approvals(limit=limit)

    tell_page(person.ask(read), as_json=as_json)


@acting
def approve(person: Person, identifier: PaymentId, as_json: Json = False) -> None:
    """As a manager: let a payment that waits go on, by the signature of this device.

    What the payer's signed text says is shown; if the bank says anything else of the payment, nothing is approved.

    For example:

        latticebank approvals
        latticebank approve 01a1f81c-b23d-707f-b2f2-b4b085409b1f
    """
    _decide(person, identifier, "approve", as_json=as_json)


@acting
def reject(person: Person, identifier: PaymentId, as_json: Json = False) -> None:
    """As a manager: refuse a payment that waits; its money is given back."""
    _decide(person, identifier, "reject", as_json=as_json)


@acting
def deposit(
    person: Person,
    account: CustomersAccount,
    amount: CashAmount,
    till: Till = None,
    reference: Reference = "",
    wait: Wait = DEFAULT_WAIT,
    as_json: Json = False,
) -> None:
    """Take cash in, to a customer's account.

    For example:

        latticebank cash deposit 1000000056 50.00 --reference Savings
    """
    _book_cash(person, "deposit", account, amount, till, reference, wait, as_json=as_json)


@acting
def withdraw(
    person: Person,
    account: CustomersAccount,
    amount: CashAmount,
    till: Till = None,
    reference: Reference = "",
    wait: Wait = DEFAULT_WAIT,
    as_json: Json = False,
) -> None:
    """Hand cash out, from a customer's account."""
    _book_cash(person, "withdrawal", account, amount, till, reference, wait, as_json=as_json)


def _decide(person: Person, identifier: UUID, decision: Literal["approve", "reject"], *, as_json: bool) -> None:
    signs = person.signs

    async def do(bank: BankClient) -> PaymentView:
        held = await bank.payment(identifier)
        if not as_json:
            err.print(outcome(held), markup=False, soft_wrap=True)
        signed_hash = held.instruction_hash
        if decision == "approve":
            # A rejection gives the money back, whatever the bank says of the payment; an approval names what was read.
            instructed = read_instruction(await bank.instruction(identifier), held)
            signed_hash = instructed.hash
            if not as_json:
                err.print(signed_text(instructed), markup=False, soft_wrap=True)
        return await bank.decide(identifier, signs.payment_decision(identifier, signed_hash, decision))

    # That a payment is rejected is no failure where this was asked for.
    tell_payment(person.ask(do), as_json=as_json, expected="rejected" if decision == "reject" else "posted")


def _book_cash(
    person: Person,
    direction: Literal["deposit", "withdrawal"],
    account: str,
    amount: str,
    till: str | None,
    reference: str,
    wait: float,
    *,
    as_json: bool,
) -> None:
    signs = person.signs

    async def do(bank: BankClient) -> PaymentView:
        currency = (await bank.account(account)).currency
        order = signs.cash(direction, account, till or await _only_till(bank, currency), amount, currency, reference)
        if not as_json:
            err.print(f"cash order {order.id}", markup=False)
        booked = await bank.cash(order)
        return await bank.settled(booked.id, wait) if booked.state == "received" else booked

    tell_payment(person.ask(do), as_json=as_json)


async def _only_till(bank: BankClient, currency: str) -> str:
    tills = [each.account for each in await bank.tills(currency)]
    if len(tills) == 1:
        return tills[0]
    raise InvalidValue(
        f"choose one of {len(tills)} cash accounts in {currency}" if tills else f"the bank has no cash in {currency}",
        field="--till",
        hint=", ".join(tills) or None,
    )
