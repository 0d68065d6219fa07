"""The routes of the ledger, and the service as the composition root sees it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from importlib.resources import files
from typing import Annotated, Any

import msgspec
from fastapi import FastAPI, Path, Query, Request, Response
from pydantic import BeforeValidator

from latticebank.banking.ledger.migrations import LEDGER_TABLES
from latticebank.banking.ledger.model.accounts import (
    AccountKind,
    CloseAccount,
    FreezeAccount,
    SetOverdraftLimit,
    UnfreezeAccount,
)
from latticebank.banking.ledger.service.ledger import AccountRow, Ledger, Period
from latticebank.banking.ledger.service.metrics import WriterMetrics
from latticebank.banking.ledger.service.openings import opening_command
from latticebank.banking.ledger.service.orders import claims_signature
from latticebank.banking.ledger.service.views import account_facts, account_view, debit_view, entry_view, transfer_view
from latticebank.banking.ledger.wire import (
    AccountKindWord,
    AccountNumbers,
    AccountOpening,
    AccountPage,
    AccountsByReference,
    AccountView,
    BalanceView,
    Basis,
    BatchAnswer,
    CustomerDebitsAfter,
    CustomerDebitsPage,
    EntryPage,
    FreezeWord,
    KnownAccounts,
    OpeningBatch,
    OpeningsAnswer,
    OrderBatch,
    OverdraftLimit,
    References,
    Restriction,
    TransferView,
)
from latticebank.kernel.caller import Caller
from latticebank.kernel.http import (
    IdempotencyKey,
    PageCursor,
    PageLimit,
    Router,
    application,
    decode_cursor,
    encode_cursor,
    permit,
    read_json,
)
from latticebank.kernel.http.paging import DEFAULT_PAGE
from latticebank.kernel.service import Context, Service
from latticebank.values.account_number import format_account_number, parse_account_number, shard_of
from latticebank.values.clock import iso_day
from latticebank.values.errors import InvalidValue
from latticebank.values.ids import parse_uuid
from latticebank.values.money import CURRENCY_DIGITS, currency_digits, format_amount, parse_amount

MAX_BATCH_BYTES = 4 * 2**20
"""The largest body of a request: a full batch of orders."""

# FastAPI cannot tell the schema of a body that msgspec reads.
BULK: dict[str, Any] = {
    "responses": {200: {"description": "An answer for each, in order.", "content": {"application/json": {}}}},
    "openapi_extra": {"requestBody": {"required": True, "content": {"application/json": {}}}},
}
_RESTRICTIONS: dict[FreezeWord, type[FreezeAccount | UnfreezeAccount]] = {
    "freeze": FreezeAccount,
    "unfreeze": UnfreezeAccount,
}

POST_SIGNED = "ledger:PostSigned"
"""The action of whoever says that an order was signed; no route stands for it, since it depends on the orders."""

router = Router(prefix="/api/ledger", tags=["ledger"])
internal = Router(prefix="/internal/ledger", tags=["ledger"])

Day = Annotated[date, BeforeValidator(iso_day)]
AsOf = Annotated[Day | None, Query(description="The last day that counts; today if left out.")]
InBasis = Annotated[Basis, Query(description="Whether booking or value dates count.")]
Since = Annotated[Day | None, Query(alias="from", description="The first day, included.")]
Until = Annotated[Day | None, Query(alias="to", description="The last day, included.")]
AccountPath = Annotated[str, Path(description="The ten digits of the account.", examples=["1000000015"])]


def _ledger(request: Request) -> Ledger:
    ledger: Ledger = request.app.state.ledger
    return ledger


@router.post("/accounts", status_code=201)
async def open_account(
    request: Request,
    opening: AccountOpening,
    key: IdempotencyKey,
    caller: Annotated[Caller, permit("ledger:OpenAccount")],
) -> AccountView:
    """Open an account; the bank gives it its number."""
    command = opening_command(key.bytes, opening, _actor(caller))
    ledger = _ledger(request)
    act = await ledger.act(command, ledger.shard_for(key, opening.shard))
    return account_view(await ledger.account(act.account))


@router.post("/accounts/batch", response_model=None, **BULK)
async def open_accounts(request: Request, caller: Annotated[Caller, permit("ledger:OpenAccount")]) -> Response:
    """Open accounts in bulk: each opening carries its own id, under which it happens at most once."""
    batch = await read_json(request, OpeningBatch)
    return _json(OpeningsAnswer(await _ledger(request).open_accounts(batch.openings, _actor(caller))))


@router.get("/accounts")
async def list_accounts(
    request: Request,
    _: Annotated[Caller, permit("ledger:ReadAccounts")],
    limit: PageLimit = DEFAULT_PAGE,
    cursor: PageCursor = None,
    kind: Annotated[AccountKindWord | None, Query(description="Only accounts of this kind.")] = None,
    currency: Annotated[str | None, Query(description="Only accounts of this currency.", examples=["EUR"])] = None,
    party: Annotated[str | None, Query(max_length=64, description="Only accounts of this owner or mandate.")] = None,
) -> AccountPage:
    """List accounts in order of their numbers."""
    if currency is not None:
        currency_digits(currency)
    rows = await _ledger(request).accounts(
        after=_last_shown(cursor),
        limit=limit + 1,
        kind=AccountKind[kind.upper()] if kind else 0,
        currency=currency or "",
        party=party or "",
    )
    return _account_page(rows, limit)


@router.post("/accounts/by-reference")
async def find_accounts(
    request: Request, wanted: References, _: Annotated[Caller, permit("ledger:ReadAccounts")]
) -> AccountsByReference:
    """Find accounts by their names in another system."""
    found = await _ledger(request).accounts_by_reference(wanted.references)
    return AccountsByReference({name: format_account_number(number) for name, number in found.items()})


@router.get("/accounts/{account}")
async def read_account(
    request: Request, account: AccountPath, _: Annotated[Caller, permit("ledger:ReadAccounts")]
) -> AccountView:
    """Show an account as it stands."""
    return account_view(await _ledger(request).account(parse_account_number(account)))


@router.get("/accounts/{account}/balance")
async def read_balance(
    request: Request,
    account: AccountPath,
    _: Annotated[Caller, permit("ledger:ReadEntries")],
    as_of: AsOf = None,
    basis: InBasis = "booking",
) -> BalanceView:
    """Show the balance at the end of a day, by booking or by value date."""
    return await _balance(request, account, as_of, basis)


@router.get("/accounts/{account}/entries")
async def list_entries(
    request: Request,
    account: AccountPath,
    _: Annotated[Caller, permit("ledger:ReadEntries")],
    since: Since = None,
    until: Until = None,
    basis: InBasis = "booking",
    limit: PageLimit = DEFAULT_PAGE,
    cursor: PageCursor = None,
) -> EntryPage:
    """List the entries of an account in the order of booking."""
    return await _entry_page(request, account, _period(since, until, basis), limit, cursor)


@router.get("/own/accounts")
async def list_own_accounts(
    request: Request,
    caller: Annotated[Caller, permit("ledger:ReadOwnAccounts")],
    limit: PageLimit = DEFAULT_PAGE,
    cursor: PageCursor = None,
) -> AccountPage:
    """List the accounts that are the caller's, or for which the caller may act, in order of their numbers."""
    rows = await _ledger(request).accounts_of(caller.parties, after=_last_shown(cursor), limit=limit + 1)
    return _account_page(rows, limit)


@router.get("/own/accounts/{account}/balance")
async def read_own_balance(
    request: Request,
    account: AccountPath,
    caller: Annotated[Caller, permit("ledger:ReadOwnAccounts")],
    as_of: AsOf = None,
    basis: InBasis = "booking",
) -> BalanceView:
    """Show the balance of an account of the caller at the end of a day; another's account is not found."""
    await _ledger(request).require_account_of(caller.parties, parse_account_number(account))
    return await _balance(request, account, as_of, basis)


@router.get("/own/accounts/{account}/entries")
async def list_own_entries(
    request: Request,
    account: AccountPath,
    caller: Annotated[Caller, permit("ledger:ReadOwnAccounts")],
    since: Since = None,
    until: Until = None,
    basis: InBasis = "booking",
    limit: PageLimit = DEFAULT_PAGE,
    cursor: PageCursor = None,
) -> EntryPage:
    """List the entries of an account of the caller in the order of booking; another's account is not found."""
    period = _period(since, until, basis)
    await _ledger(request).require_account_of(caller.parties, parse_account_number(account))
    return await _entry_page(request, account, period, limit, cursor)


@router.post("/accounts/{account}/overdraft-limit")
async def set_overdraft_limit(
    request: Request,
    account: AccountPath,
    limit: OverdraftLimit,
    key: IdempotencyKey,
    caller: Annotated[Caller, permit("ledger:SetOverdraftLimit")],
) -> AccountView:
    """Let an account go below zero by at most this."""
    number = parse_account_number(account)
    row = await _ledger(request).account(number)
    minor = parse_amount(limit.overdraft_limit, CURRENCY_DIGITS[row.account.currency], "/overdraft_limit")
    return await _act(request, SetOverdraftLimit(key.bytes, number, minor, _actor(caller)))


@router.post("/accounts/{account}/close")
async def close_account(
    request: Request,
    account: AccountPath,
    restriction: Restriction,
    key: IdempotencyKey,
    caller: Annotated[Caller, permit("ledger:CloseAccount")],
) -> AccountView:
    """Close an account for ever: only when nothing is on it and nothing reserved."""
    number = parse_account_number(account)
    return await _act(request, CloseAccount(key.bytes, number, restriction.reason, _actor(caller)))


@router.post("/accounts/{account}/{act}")
async def restrict_account(
    request: Request,
    account: AccountPath,
    act: Annotated[FreezeWord, Path(description="What is done to the account.")],
    restriction: Restriction,
    key: IdempotencyKey,
    caller: Annotated[Caller, permit("ledger:RestrictAccount")],
) -> AccountView:
    """Freeze an account, or unfreeze it."""
    command = _RESTRICTIONS[act](key.bytes, parse_account_number(account), restriction.reason, _actor(caller))
    return await _act(request, command)


@router.post("/transfers", response_model=None, **BULK)
async def order_transfers(request: Request, caller: Annotated[Caller, permit("ledger:PostTransfers")]) -> Response:
    """Post, reserve, void and reverse in bulk: each order carries its own id, under which it happens at most once."""
    batch = await read_json(request, OrderBatch)
    if any(map(claims_signature, batch.orders)):
        state = request.app.state
        state.context.policy.decide(caller, POST_SIGNED, state.resource)
    answers = await _ledger(request).order(batch.orders)
    return _json(BatchAnswer(answers))


@router.get("/transfers/{id}")
async def read_transfer(
    request: Request,
    identifier: Annotated[str, Path(alias="id", description="The id that the order carried.")],
    _: Annotated[Caller, permit("ledger:ReadTransfers")],
) -> TransferView:
    """Show the ledger's record of one order: what was done, or why it was refused."""
    return transfer_view(await _ledger(request).transfer(parse_uuid(identifier, "id")))


@internal.post("/accounts", response_model=None, **BULK)
async def tell_accounts(request: Request, _: Annotated[Caller, permit("ledger:ReadAccounts")]) -> Response:
    """Tell other services what is fixed of accounts, and their status; one that does not exist is left out."""
    wanted = await read_json(request, AccountNumbers)
    numbers = [parse_account_number(text, f"/accounts/{place}") for place, text in enumerate(wanted.accounts)]
    rows = await _ledger(request).accounts_numbered(numbers)
    return _json(KnownAccounts([account_facts(row) for row in rows]))


@internal.post("/customer-debits", response_model=None, **BULK)
async def list_customer_debits(request: Request, _: Annotated[Caller, permit("ledger:ReadEvidence")]) -> Response:
    """List the transfers that took money from customers, with the evidence by which they did, in order of recording."""
    wanted = await read_json(request, CustomerDebitsAfter)
    rows = await _ledger(request).customer_debits(wanted.after or (0, 0), wanted.limit + 1)
    page = rows[: wanted.limit]
    more = (page[-1].shard, page[-1].transfer.seq) if len(rows) > len(page) else None
    return _json(CustomerDebitsPage([debit_view(row) for row in page], more))


def _last_shown(cursor: str | None) -> int:
    return decode_cursor(cursor, tuple[int])[0] if cursor else 0


def _account_page(rows: list[AccountRow], limit: int) -> AccountPage:
    """Return a page of at most `limit` of these accounts; one more shows that there are more."""
    more = encode_cursor((rows[limit - 1].account.number,)) if len(rows) > limit else None
    return AccountPage([account_view(row) for row in rows[:limit]], more)


async def _balance(request: Request, account: str, as_of: date | None, basis: Basis) -> BalanceView:
    day = as_of or request.app.state.context.clock.now().date()
    row, balance = await _ledger(request).balance(parse_account_number(account), day, basis)
    currency = row.account.currency
    return BalanceView(account, currency, day, basis, format_amount(balance, CURRENCY_DIGITS[currency]))


def _period(since: date | None, until: date | None, basis: Basis) -> Period:
    period = Period(since or date.min, until or date.max, basis == "value")
    if period.since > period.until:
        raise InvalidValue("the first day is after the last", field="from")
    return period


async def _entry_page(request: Request, account: str, period: Period, limit: int, cursor: str | None) -> EntryPage:
    number, after = parse_account_number(account), _last_shown(cursor)
    currency, rows = await _ledger(request).entries(number, period, after=after, limit=limit + 1)
    more = encode_cursor((rows[limit - 1].number,)) if len(rows) > limit else None
    return EntryPage(account, currency, [entry_view(row, currency) for row in rows[:limit]], more)


async def _act(
    request: Request, command: "FreezeAccount | UnfreezeAccount | CloseAccount | SetOverdraftLimit"
) -> AccountView:
    ledger = _ledger(request)
    await ledger.act(command, shard_of(command.account))
    return account_view(await ledger.account(command.account))


def _json(answer: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(answer), media_type="application/json")


def _actor(caller: Caller) -> str:
    return f"{caller.kind.value}:{caller.id}"


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    context: Context = app.state.context
    settings = context.settings
    metrics = WriterMetrics(context.metrics.registry)
    ledger = Ledger(context.database("ledger"), settings.book, settings.shards, context.clock, context.ids, metrics)
    app.state.ledger = ledger
    async with ledger.running():
        yield


def build(context: Context) -> FastAPI:
    """Return the application of the ledger."""
    return application(SERVICE, context, _lifespan, [router, internal], max_body_bytes=MAX_BATCH_BYTES)


SERVICE = Service(
    name="ledger",
    port=8002,
    prefixes=("/api/ledger/", "/internal/ledger/"),
    migrations=LEDGER_TABLES,
    policies=(files("latticebank.banking.ledger") / "policies.cedar").read_text("utf-8"),
    build=build,
    further_actions=(POST_SIGNED,),
)
