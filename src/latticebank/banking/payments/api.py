"""The routes of payments, and the service as the composition root sees it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from importlib.resources import files
from typing import Annotated, Any
from uuid import UUID

import msgspec
from fastapi import FastAPI, Path, Query, Request, Response

from latticebank.banking.payments.migrations import PAYMENTS_TABLES
from latticebank.banking.payments.model.refusals import PaymentRefused
from latticebank.banking.payments.service.foundation import Foundation
from latticebank.banking.payments.service.payments import Payments, is_refused
from latticebank.banking.payments.wire import (
    InstructionView,
    PaymentPage,
    PaymentView,
    ReceiptPending,
    SignedBatch,
    SignedDecision,
    SignedText,
)
from latticebank.kernel.caller import Caller, CallerKind
from latticebank.kernel.http import (
    PageCursor,
    PageLimit,
    Router,
    application,
    decode_cursor,
    encode_cursor,
    permit,
    read_json,
)
from latticebank.kernel.http.idempotency import HEADER as IDEMPOTENCY_KEY
from latticebank.kernel.http.paging import DEFAULT_PAGE
from latticebank.kernel.policy import Forbidden
from latticebank.kernel.service import Context, Service
from latticebank.security.audit.client import AuditClient
from latticebank.values.account_number import parse_account_number
from latticebank.values.errors import InvalidValue
from latticebank.values.ids import parse_uuid

MAX_BODY_BYTES = 16 * 2**20
"""The largest body of a request: a full batch."""
MAX_SINGLE_BYTES = 32 * 2**10
"""The largest body of a request with one signed document."""
READ_ANY = "payments:ReadAnyPayment"
"""The action of whoever may see the payments of others; no route stands for it, since customers share the route."""
READ_ANY_INSTRUCTION = "payments:ReadAnyInstruction"
"""The same for what others signed."""
READ_ANY_RECEIPT = "payments:ReadAnyReceipt"
"""The same for receipts of what others signed."""
RECEIPT_LATER_SECONDS = 1

# FastAPI cannot tell the schema of a body that msgspec reads.
SIGNED: dict[str, Any] = {"openapi_extra": {"requestBody": {"required": True, "content": {"application/json": {}}}}}

router = Router(prefix="/api/transactions", tags=["payments"])
_encode = msgspec.json.Encoder().encode

PaymentPath = Annotated[str, Path(alias="id", description="The id that the instruction carries.")]
OfAccount = Annotated[str | None, Query(description="Only payments from this account.", examples=["1000000015"])]


def _payments(request: Request) -> Payments:
    payments: Payments = request.app.state.payments
    return payments


@router.post("/transfer", status_code=201, response_model=None, responses={201: {"model": PaymentView}}, **SIGNED)
async def transfer(request: Request, caller: Annotated[Caller, permit("payments:Pay")]) -> Response:
    """Pay by a signed instruction: 201 if it is posted, 202 if it waits for approval or the bank is still at it."""
    signed = await _signed(request)
    return _answer(await _payments(request).transfer(caller, signed, _key(request)))


@router.post("/batch", response_model=None, **SIGNED)
async def pay_batch(request: Request, caller: Annotated[Caller, permit("payments:Pay")]) -> Response:
    """Make many payments under one signature: the answers stand in the order of the manifest."""
    signed = await read_json(request, SignedBatch)
    view = await _payments(request).batch(caller, signed, _key(request))
    return Response(_encode(view), media_type="application/json")


@router.post("/cash", status_code=201, response_model=None, responses={201: {"model": PaymentView}}, **SIGNED)
async def order_cash(request: Request, caller: Annotated[Caller, permit("payments:OrderCash")]) -> Response:
    """Take in or hand out cash by a teller's signed order."""
    signed = await _signed(request)
    return _answer(await _payments(request).order_cash(caller, signed, _key(request)))


@router.get("/history")
async def list_history(
    request: Request,
    caller: Annotated[Caller, permit("payments:ReadOwnPayments")],
    account: OfAccount = None,
    limit: PageLimit = DEFAULT_PAGE,
    cursor: PageCursor = None,
) -> PaymentPage:
    """List what the caller signed, newest first."""
    debtor = 0 if account is None else parse_account_number(account)
    views = await _payments(request).history(caller, debtor=debtor, before=_position(cursor), limit=limit + 1)
    return _page(views, limit, lambda view: view.received_at)


@router.get("/approvals")
async def list_approvals(
    request: Request,
    caller: Annotated[Caller, permit("payments:ReadApprovals")],
    limit: PageLimit = DEFAULT_PAGE,
    cursor: PageCursor = None,
) -> PaymentPage:
    """List the payments that wait for a manager, those that expire first in front."""
    views = await _payments(request).held(caller, after=_position(cursor), limit=limit + 1)
    return _page(views, limit, lambda view: view.approval_expires_at or view.received_at)


@router.get("/{id}")
async def read_payment(
    request: Request, identifier: PaymentPath, caller: Annotated[Caller, permit("payments:ReadPayment")]
) -> PaymentView:
    """Show a payment: a customer's own, to staff any."""
    any_one = _reads_any(request, caller, READ_ANY)
    return await _payments(request).payment(parse_uuid(identifier, "id"), caller, any_one=any_one)


@router.get("/{id}/instruction")
async def read_instruction(
    request: Request, identifier: PaymentPath, caller: Annotated[Caller, permit("payments:ReadInstruction")]
) -> InstructionView:
    """Show what was signed for a payment, and its signature: to whoever signed it, to managers and to auditors."""
    any_one = _reads_any(request, caller, READ_ANY_INSTRUCTION)
    return await _payments(request).instruction(parse_uuid(identifier, "id"), caller, any_one=any_one)


@router.get("/{id}/receipt", response_model=None)
async def read_receipt(
    request: Request, identifier: PaymentPath, caller: Annotated[Caller, permit("payments:ReadReceipt")]
) -> Response:
    """Give whoever may see what was signed the receipt of a posted payment: 202 until the bank's log shows it."""
    any_one = _reads_any(request, caller, READ_ANY_RECEIPT)
    answer = await _payments(request).receipt(parse_uuid(identifier, "id"), caller, any_one=any_one)
    if isinstance(answer, ReceiptPending):
        later = {"Retry-After": str(RECEIPT_LATER_SECONDS)}
        return Response(_encode(answer), 202, headers=later, media_type="application/json")
    return Response(_encode(answer), media_type="application/json")


@router.post("/{id}/cancel")
async def cancel_payment(
    request: Request, identifier: PaymentPath, caller: Annotated[Caller, permit("payments:CancelPayment")]
) -> PaymentView:
    """Cancel a payment of one's own while it waits for approval."""
    return await _payments(request).cancel(caller, parse_uuid(identifier, "id"))


@router.post("/{id}/decision")
async def decide_payment(
    request: Request,
    identifier: PaymentPath,
    signed: SignedDecision,
    caller: Annotated[Caller, permit("payments:DecidePayment")],
) -> PaymentView:
    """Approve or reject a payment that waits, by a manager's signed decision."""
    return await _payments(request).decide(caller, parse_uuid(identifier, "id"), signed)


async def _signed(request: Request) -> SignedText:
    """Return the body of a request that carries one document; the key in the header, if any, is the document's id."""
    if len(await request.body()) > MAX_SINGLE_BYTES:
        raise InvalidValue(f"a signed document comes in at most {MAX_SINGLE_BYTES} bytes", field="body")
    return await read_json(request, SignedText)


def _key(request: Request) -> UUID | None:
    """Return the Idempotency-Key, which a signed document makes needless: its id is one."""
    key = request.headers.get(IDEMPOTENCY_KEY)
    return None if key is None else parse_uuid(key, IDEMPOTENCY_KEY)


def _answer(view: PaymentView) -> Response:
    """Return the answer to an order: what was refused is a problem, the same at each repetition."""
    if view.reason is not None and is_refused(view):
        raise PaymentRefused(view.reason)
    return Response(_encode(view), 202 if view.final_at is None else 201, media_type="application/json")


def _reads_any(request: Request, caller: Caller, action: str) -> bool:
    state = request.app.state
    try:
        state.context.policy.decide(caller, action, state.resource)
    except Forbidden:
        if caller.kind is not CallerKind.USER:
            raise
        return False
    return True


def _position(cursor: str | None) -> tuple[datetime, UUID] | None:
    if cursor is None:
        return None
    time, identifier = decode_cursor(cursor, tuple[str, str])
    try:
        position = datetime.fromisoformat(time)
    except ValueError:
        position = None
    if position is None or position.tzinfo is None:
        raise InvalidValue("this is not a cursor of this list", field="cursor")
    return position, parse_uuid(identifier, "cursor")


def _page(views: list[PaymentView], limit: int, time_of: Callable[[PaymentView], datetime]) -> PaymentPage:
    """Return a page of at most `limit` of these payments; one more shows that there are more."""
    more = None
    if len(views) > limit:
        last = views[limit - 1]
        more = encode_cursor((time_of(last).isoformat(), str(last.id)))
    return PaymentPage(views[:limit], more)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    context: Context = app.state.context
    audit = AuditClient(context.transport("audit"), context.credential("payments", "audit"))
    payments = Payments(Foundation.of(context), audit)
    app.state.payments = payments
    async with payments.running():
        yield


def build(context: Context) -> FastAPI:
    """Return the application of payments."""
    return application(SERVICE, context, _lifespan, [router], max_body_bytes=MAX_BODY_BYTES)


SERVICE = Service(
    name="payments",
    port=8003,
    prefixes=("/api/transactions/",),
    migrations=PAYMENTS_TABLES,
    policies=(files("latticebank.banking.payments") / "policies.cedar").read_text("utf-8"),
    build=build,
    further_actions=(READ_ANY, READ_ANY_INSTRUCTION, READ_ANY_RECEIPT),
)
