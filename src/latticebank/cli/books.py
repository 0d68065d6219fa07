"""`latticebank accounts`, `entries` and `balance`: what is in the books."""

from datetime import datetime
from typing import Annotated, get_args

import typer

from latticebank.banking.ledger.client import LedgerClient
from latticebank.banking.ledger.wire import AccountKindWord, AccountView, Basis, EntryView
from latticebank.cli.console import err, out, write_json, write_table
from latticebank.cli.reaching import with_ledger
from latticebank.values.errors import BankError, Fault, InvalidValue

DEFAULT_SHOWN = 50

AccountArgument = Annotated[str, typer.Argument(help="The ten digits of the account, or its reference.")]
Json = Annotated[bool, typer.Option("--json", help="Write JSON.")]
BasisOption = Annotated[str, typer.Option(help="Whether booking or value dates count: booking or value.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="The most to show.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(accounts)
    app.command()(entries)
    app.command()(balance)


def accounts(
    kind: Annotated[
        str | None, typer.Option(help=f"Only of this kind: {', '.join(get_args(AccountKindWord))}.")
    ] = None,
    currency: Annotated[str | None, typer.Option(help="Only of this currency.")] = None,
    party: Annotated[str | None, typer.Option(help="Only of this owner or mandate.")] = None,
    limit: Limit = DEFAULT_SHOWN,
    as_json: Json = False,
) -> None:
    """List accounts with what is on them."""

    async def read(client: LedgerClient) -> list[AccountView]:
        found: list[AccountView] = []
        cursor = None
        while len(found) <= limit:
            page = await client.accounts(cursor=cursor, kind=kind, currency=currency, party=party)
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                break
        return found

    found = with_ledger(read)
    if as_json:
        write_json(found[:limit])
        return
    columns = [("account", "left"), ("kind", "left"), ("status", "left"), ("balance", "right"), ("held", "right"),
               ("available", "right"), ("", "left"), ("entries", "right"), ("reference", "left")]  # fmt: skip
    write_table(columns, (_account_cells(account) for account in found[:limit]))
    _tell_more(len(found), limit)


def entries(
    account: AccountArgument,
    since: Annotated[datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], metavar="YYYY-MM-DD")] = None,
    until: Annotated[datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], metavar="YYYY-MM-DD")] = None,
    basis: BasisOption = "booking",
    limit: Limit = DEFAULT_SHOWN,
    as_json: Json = False,
) -> None:
    """List the entries of an account in the order of booking, with the balance after each.

    For example:

        latticebank entries 1000000056 --from 2026-11-01 --to 2026-11-30
        latticebank entries 1000000056 --basis value --json
    """

    async def read(client: LedgerClient) -> tuple[str, list[EntryView]]:
        number = await _number(client, account)
        found: list[EntryView] = []
        cursor, currency = None, ""
        while len(found) <= limit:
            page = await client.entries(
                number,
                since=since.date() if since else None,
                until=until.date() if until else None,
                basis=_basis(basis),
                cursor=cursor,
            )
            found += page.items
            cursor, currency = page.next_cursor, page.currency
            if cursor is None:
                break
        return currency, found

    currency, found = with_ledger(read)
    if as_json:
        write_json(found[:limit])
        return
    columns = [("no.", "right"), ("booked", "left"), ("value", "left"), (f"amount {currency}", "right"),
               ("balance", "right"), ("with", "left"), ("purpose", "left"), ("transfer", "left")]  # fmt: skip
    write_table(columns, (_entry_cells(entry) for entry in found[:limit]))
    _tell_more(len(found), limit)


def balance(
    account: AccountArgument,
    as_of: Annotated[
        datetime | None,
        typer.Option("--as-of", formats=["%Y-%m-%d"], metavar="YYYY-MM-DD", help="The last day that counts."),
    ] = None,
    basis: BasisOption = "booking",
    as_json: Json = False,
) -> None:
    """Show the balance of an account at the end of a day, today if none is given."""

    async def read(client: LedgerClient) -> None:
        number = await _number(client, account)
        view = await client.balance(number, as_of=as_of.date() if as_of else None, basis=_basis(basis))
        if as_json:
            write_json(view)
        else:
            out.print(f"{view.balance} {view.currency}   ({view.account}, {view.basis} dates up to {view.as_of})")

    with_ledger(read)


async def _number(client: LedgerClient, account: str) -> str:
    """Return the account number that was given, or that of the account with the reference that was given."""
    if account.isdigit() and len(account) == len("1000000015"):
        return account
    try:
        found = await client.accounts_by_reference([account])
    except BankError as error:
        if error.fault is not Fault.INVALID:
            raise
        found = {}
    if account not in found:
        raise InvalidValue(
            f"no account has the reference {account!r}", field="ACCOUNT", hint="see `latticebank accounts`"
        )
    return found[account]


def _basis(word: str) -> Basis:
    if word not in get_args(Basis):
        raise typer.BadParameter("say booking or value", param_hint="--basis")
    return "value" if word == "value" else "booking"


def _account_cells(account: AccountView) -> list[str | None]:
    return [account.account, account.kind, account.status, account.balance, account.held, account.available,
            account.currency, str(account.entries), account.reference]  # fmt: skip


def _entry_cells(entry: EntryView) -> list[str | None]:
    return [str(entry.number), entry.booking_date.isoformat(), entry.value_date.isoformat(), entry.amount,
            entry.balance, entry.counterparty, entry.purpose, str(entry.transfer)]  # fmt: skip


def _tell_more(found: int, limit: int) -> None:
    if found > limit:
        err.print(f"There are more; --limit {limit * 2} shows them.", markup=False)
