"""The routes by which services ask identity: for tokens, and for what counts at this instant."""

from typing import Annotated, Any

import msgspec
from fastapi import Request, Response

from latticebank.kernel.caller import Caller
from latticebank.kernel.http import Router, permit, read_json
from latticebank.security.identity.api.rooms import rooms
from latticebank.security.identity.wire import (
    DeviceRecords,
    DevicesWanted,
    ExchangeOrder,
    StandingAnswer,
    StandingChecks,
    TokenKeys,
    TokenOrder,
    UsersWanted,
)

# FastAPI cannot tell the schema of a body that msgspec reads.
READ_BY_MSGSPEC: dict[str, Any] = {
    "response_model": None,
    "responses": {200: {"description": "The answer.", "content": {"application/json": {}}}},
    "openapi_extra": {"requestBody": {"required": True, "content": {"application/json": {}}}},
}

router = Router(prefix="/internal/identity", tags=["identity"])


@router.post("/tokens", **READ_BY_MSGSPEC)
async def issue_service_token(
    request: Request, caller: Annotated[Caller, permit("identity:IssueServiceToken")]
) -> Response:
    """Give a service a token with which it speaks in its own name to another."""
    order = await read_json(request, TokenOrder)
    return _json(await rooms(request).tokens.for_service(caller.id, order.audience))


@router.post("/exchange", **READ_BY_MSGSPEC)
async def exchange_session(request: Request, _: Annotated[Caller, permit("identity:ExchangeSession")]) -> Response:
    """Give a token of its user for the token of a session, and keep the session awake."""
    order = await read_json(request, ExchangeOrder)
    return _json(await rooms(request).tokens.exchange(order.token, order.audience))


@router.get("/keys", response_model=None, responses=READ_BY_MSGSPEC["responses"])
async def read_token_keys(request: Request, _: Annotated[Caller, permit("identity:ReadTokenKeys")]) -> Response:
    """Show the public keys of tokens."""
    return _json(TokenKeys(rooms(request).tokens.keys()))


@router.post("/standing", **READ_BY_MSGSPEC)
async def read_standing(request: Request, _: Annotated[Caller, permit("identity:ReadStanding")]) -> Response:
    """Tell whether sessions, users and devices count at this instant, in bulk; nothing is changed by it."""
    wanted = await read_json(request, StandingChecks)
    return _json(StandingAnswer(await rooms(request).tokens.standings(wanted.checks)))


@router.post("/devices", **READ_BY_MSGSPEC)
async def read_device_records(request: Request, _: Annotated[Caller, permit("identity:ReadDeviceRecords")]) -> Response:
    """Show devices with the evidence of their enrolment, in bulk; one that does not exist is left out."""
    wanted = await read_json(request, DevicesWanted)
    return _json(DeviceRecords(await rooms(request).devices.records(wanted.devices)))


@router.post("/evidence", **READ_BY_MSGSPEC)
async def read_evidence(request: Request, _: Annotated[Caller, permit("identity:ReadEvidence")]) -> Response:
    """Show what proves the rights and devices of users, in bulk, and whom the operator named an admin."""
    wanted = await read_json(request, UsersWanted)
    return _json(await rooms(request).evidence.of_users(wanted.users))


def _json(answer: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(answer), media_type="application/json")
