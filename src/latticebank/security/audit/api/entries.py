"""The sealed side of the log: for auditors, for the operator, and for the service that makes receipts."""

from typing import Annotated, Any

import msgspec
from fastapi import Query, Request, Response

from latticebank.kernel.caller import Caller
from latticebank.kernel.http import Router, permit, read_json
from latticebank.security.audit.api.rooms import rooms
from latticebank.security.audit.wire import MAX_ENTRIES_OPENED, LogStatus, OpenedPage, ProofsWanted

router = Router(prefix="/api/audit", tags=["audit"])
internal = Router(prefix="/internal/audit", tags=["audit"])

# FastAPI cannot tell the schema of a body that msgspec reads.
_READ_BY_MSGSPEC: dict[str, Any] = {
    "response_model": None,
    "responses": {200: {"description": "The answer.", "content": {"application/json": {}}}},
    "openapi_extra": {"requestBody": {"required": True, "content": {"application/json": {}}}},
}


@router.get("/status")
async def read_status(request: Request, _: Annotated[Caller, permit("audit:ReadStatus")]) -> LogStatus:
    """Show how the log stands: sizes, witnesses, gaps, and why it stands still if it does."""
    return await rooms(request).status.read()


@router.get("/entries")
async def open_entries(
    request: Request,
    caller: Annotated[Caller, permit("audit:OpenEntries")],
    first: Annotated[int, Query(ge=0, lt=2**63, description="The index of the first entry.")] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_ENTRIES_OPENED, description="The most entries to open.")] = 100,
) -> OpenedPage:
    """Open entries of the log from an index on. The log itself tells of it."""
    return await rooms(request).openings.entries(caller.user, caller.session, first, limit)


@internal.post("/proofs", **_READ_BY_MSGSPEC)
async def prove_entries(request: Request, _: Annotated[Caller, permit("audit:ProveEntries")]) -> Response:
    """Open all entries about some things of an owner, each with its inclusion proof, for a receipt."""
    wanted = await read_json(request, ProofsWanted)
    proofs = await rooms(request).proving.proofs(wanted.owner, wanted.things)
    return Response(msgspec.json.encode(proofs), media_type="application/json")
