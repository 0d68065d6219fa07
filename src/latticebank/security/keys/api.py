"""The routes of keys, and the service as the composition root sees it.

Answers with secrets go to other services only. Like every answer of the bank they carry `Cache-Control: no-store`.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib.resources import files
from typing import Annotated, Any
from uuid import UUID

import msgspec
from fastapi import FastAPI, Path, Query, Request, Response

from latticebank.kernel.caller import Caller, CallerKind
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
from latticebank.security.keys.migrations import KEYS_TABLES
from latticebank.security.keys.service.holds import Holds
from latticebank.security.keys.service.keyring import Keyring, open_keyring
from latticebank.security.keys.service.tombstones import tombstones_of
from latticebank.security.keys.service.views import (
    change_view,
    customer_key,
    holds_view,
    keys_view,
    own_key,
    state_of,
)
from latticebank.security.keys.wire import (
    CustomerKeys,
    CustomerKeysWanted,
    DestructionOrder,
    HoldOrder,
    HoldReason,
    HoldsView,
    KeyHistoryPage,
    KeysView,
    KindWord,
    NewCustomer,
    OwnKeys,
    OwnKeysWanted,
    StateOrder,
)
from latticebank.values.errors import InvalidValue
from latticebank.values.ids import parse_uuid

OPEN_KIND = {"profile": "keys:OpenProfileKey", "records": "keys:OpenRecordsKey"}
"""The action of opening a customer's key of a kind; no route stands for it, since it depends on what is asked for."""
DESTROY_KIND = {"profile": "keys:DestroyProfileKey", "records": "keys:DestroyRecordsKey"}
"""The action of destroying a customer's key of a kind, as above."""
READ_KEYS_OF_OTHERS = "keys:ReadKeysOfOthers"
"""The action of reading about the keys of somebody else; no route stands for it, since it depends on who asks."""

_FIRST = (datetime(1970, 1, 1, tzinfo=UTC), UUID(int=0), 0)

# FastAPI cannot tell the schema of a body that msgspec reads.
BULK: dict[str, Any] = {
    "responses": {200: {"description": "The keys, in the order asked.", "content": {"application/json": {}}}},
    "openapi_extra": {"requestBody": {"required": True, "content": {"application/json": {}}}},
}

router = Router(prefix="/api/quantum/keys", tags=["keys"])
internal = Router(prefix="/internal/keys", tags=["keys"])

UserPath = Annotated[
    str, Path(alias="user_id", description="The id of the user.", examples=["019a0b1c-7d2e-7f3a-8b4c-5d6e7f8a9b0c"])
]


def _keyring(request: Request) -> Keyring:
    keyring: Keyring = request.app.state.keyring
    return keyring


def _holds(request: Request) -> Holds:
    holds: Holds = request.app.state.holds
    return holds


@router.get("/{user_id}/info")
async def read_keys(request: Request, user: UserPath, caller: Annotated[Caller, permit("keys:ReadKeys")]) -> KeysView:
    """Show the keys of a user: their versions, states and algorithms, never their secrets."""
    customer = _readable(request, caller, user)
    return keys_view(customer, await _keyring(request).keys_of_customer(customer))


@router.get("/{user_id}/history")
async def read_history(
    request: Request,
    user: UserPath,
    caller: Annotated[Caller, permit("keys:ReadKeys")],
    limit: PageLimit = DEFAULT_PAGE,
    cursor: PageCursor = None,
) -> KeyHistoryPage:
    """List what happened to the keys of a user, oldest first."""
    customer = _readable(request, caller, user)
    rows = await _keyring(request).history(customer, _after(cursor), limit + 1)
    more = None
    if len(rows) > limit:
        last, _, _ = rows[limit - 1]
        more = encode_cursor((last.at.isoformat(), str(last.key), last.number))
    return KeyHistoryPage([change_view(row) for row in rows[:limit]], more)


@router.post("/rotate")
async def rotate_keys(
    request: Request, key: IdempotencyKey, caller: Annotated[Caller, permit("keys:RotateOwnKeys")]
) -> KeysView:
    """Give the caller new keys: from now on they protect what is new, and the old ones open what is old."""
    keyring = _keyring(request)
    await keyring.rotate(caller.user, key, _actor(caller))
    return keys_view(caller.user, await keyring.keys_of_customer(caller.user))


@router.get("/{user_id}/hold")
async def read_holds(request: Request, user: UserPath, _: Annotated[Caller, permit("keys:ReadHolds")]) -> HoldsView:
    """Show the legal holds over a user, those that were lifted too."""
    customer = parse_uuid(user, "user_id")
    return holds_view(customer, await _holds(request).of_customer(customer))


@router.put("/{user_id}/hold")
async def place_hold(
    request: Request, user: UserPath, order: HoldOrder, caller: Annotated[Caller, permit("keys:PlaceHold")]
) -> HoldsView:
    """Place a legal hold over a user, one for each reason: while one stands, no key of the user is destroyed."""
    customer = parse_uuid(user, "user_id")
    return holds_view(customer, await _holds(request).place(customer, order.reason, _actor(caller)))


@router.delete("/{user_id}/hold")
async def lift_hold(
    request: Request,
    user: UserPath,
    caller: Annotated[Caller, permit("keys:LiftHold")],
    reason: Annotated[HoldReason | None, Query(description="Only the hold of this reason.")] = None,
) -> HoldsView:
    """Lift the legal hold of a reason over a user, or all that stand; they stay as history."""
    customer = parse_uuid(user, "user_id")
    return holds_view(customer, await _holds(request).lift(customer, reason, _actor(caller)))


@internal.post("/own", response_model=None, **BULK)
async def hold_own_keys(request: Request, caller: Annotated[Caller, permit("keys:HoldOwnKeys")]) -> Response:
    """Give a service its own keys, made at the first request for them."""
    wanted = await read_json(request, OwnKeysWanted)
    held = await _keyring(request).own_keys(caller.id, wanted.purposes)
    return _json(OwnKeys([own_key(key, secret) for key, secret in held]))


@internal.post("/customers", status_code=204, response_model=None, openapi_extra=BULK["openapi_extra"])
async def create_customer_keys(
    request: Request, caller: Annotated[Caller, permit("keys:CreateCustomerKeys")]
) -> Response:
    """Make a profile key and a records key for a customer, unless they were made before."""
    wanted = await read_json(request, NewCustomer)
    await _keyring(request).create_customer_keys(wanted.owner, _actor(caller))
    return Response(status_code=204)


@internal.post("/customers/open", response_model=None, **BULK)
async def open_customer_keys(request: Request, caller: Annotated[Caller, permit("keys:OpenCustomerKeys")]) -> Response:
    """Open customers' keys of the kinds that the calling service may open; what is not there is left out."""
    wanted = (await read_json(request, CustomerKeysWanted)).wanted
    for kind in {each.kind for each in wanted}:
        _decide(request, caller, OPEN_KIND[kind])
    opened = await _keyring(request).open_customer_keys(wanted)
    return _json(CustomerKeys([customer_key(*each) for each in opened]))


@internal.post("/customers/{owner}/{kind}/destroy", status_code=204, response_model=None)
async def destroy_customer_key(
    request: Request,
    owner: Annotated[str, Path(description="The id of the customer.")],
    kind: Annotated[KindWord, Path(description="Which of the customer's keys.")],
    order: DestructionOrder,
    caller: Annotated[Caller, permit("keys:DestroyCustomerKey")],
) -> Response:
    """Destroy a customer's key in all its versions, for ever: whatever only it opens is erased with it.

    Refused while a legal hold stands over the customer.
    """
    _decide(request, caller, DESTROY_KIND[kind])
    customer = parse_uuid(owner, "owner")
    await _keyring(request).destroy_customer_key(customer, kind, order.reason, _actor(caller))
    return Response(status_code=204)


@internal.post("/{key}/state", status_code=204, response_model=None)
async def change_state(
    request: Request,
    key: Annotated[str, Path(description="The id of the key.")],
    order: StateOrder,
    caller: Annotated[Caller, permit("keys:ChangeKeyState")],
) -> Response:
    """Bring a key into another state of NIST SP 800-57."""
    await _keyring(request).change_state(parse_uuid(key, "key"), state_of(order.state), order.reason, _actor(caller))
    return Response(status_code=204)


def _readable(request: Request, caller: Caller, user: str) -> UUID:
    """Return the user whose keys the caller may read about: the caller's own, or anybody's for who has the right."""
    customer = parse_uuid(user, "user_id")
    if caller.kind is not CallerKind.USER or caller.user != customer:
        _decide(request, caller, READ_KEYS_OF_OTHERS)
    return customer


def _decide(request: Request, caller: Caller, action: str) -> None:
    state = request.app.state
    state.context.policy.decide(caller, action, state.resource)


def _after(cursor: str | None) -> tuple[datetime, UUID, int]:
    """Return the position that a cursor of the history stands for, before the first entry without one."""
    if cursor is None:
        return _FIRST
    at, key, number = decode_cursor(cursor, tuple[str, str, int])
    try:
        instant = datetime.fromisoformat(at)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None or not 0 <= number < 2**31:
        raise InvalidValue("this is not a cursor of this list", field="cursor")
    return instant, parse_uuid(key, "cursor"), number


def _actor(caller: Caller) -> str:
    return f"{caller.kind.value}:{caller.id}"


def _json(answer: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(answer), media_type="application/json")


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    context: Context = app.state.context
    settings, database = context.settings, context.database("keys")
    app.state.keyring = await open_keyring(settings, database, context.clock, context.ids)
    app.state.holds = Holds(database, settings.book, tombstones_of(settings), context.clock, context.ids)
    yield


def build(context: Context) -> FastAPI:
    """Return the application of keys."""
    return application(SERVICE, context, _lifespan, [router, internal])


SERVICE = Service(
    name="keys",
    port=8006,
    prefixes=("/api/quantum/", "/internal/keys/"),
    migrations=KEYS_TABLES,
    policies=(files("latticebank.security.keys") / "policies.cedar").read_text("utf-8"),
    build=build,
    further_actions=(*OPEN_KIND.values(), *DESTROY_KIND.values(), READ_KEYS_OF_OTHERS),
)
