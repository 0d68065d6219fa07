"""The log as everybody reads it, at the paths of C2SP tlog-tiles."""

from hashlib import sha256
from typing import Annotated

from fastapi import Request, Response

from latticebank.crypto.tiles import parse_level, parse_tile_path
from latticebank.kernel.caller import Caller
from latticebank.kernel.http import Router, permit
from latticebank.security.audit.api.rooms import rooms

TEXT = "text/plain; charset=utf-8"
OCTETS = "application/octet-stream"
_ENTRIES = "entries"
_REVALIDATED = "public, no-cache"
"""Never `immutable`: the address of a tile means another one once a new log is begun."""

router = Router(prefix="/api/log", tags=["log"])


@router.get("/checkpoint", response_model=None, responses={200: {"content": {TEXT: {}}}})
async def read_checkpoint(request: Request, _: Annotated[Caller, permit("audit:ReadLog")]) -> Response:
    """Show the newest checkpoint: size and root of the log, signed by both of its keys and by witnesses."""
    return Response(await rooms(request).reading.checkpoint(), headers={"Content-Type": TEXT})


@router.get("/policy", response_model=None, responses={200: {"content": {TEXT: {}}}})
async def read_policy(request: Request, _: Annotated[Caller, permit("audit:ReadLog")]) -> Response:
    """Show the keys of the log and of its witnesses, in the form that `latticebank verify` takes."""
    return Response(await rooms(request).reading.policy(), headers={"Content-Type": TEXT})


@router.get(
    "/tile/{path:path}",
    response_model=None,
    responses={200: {"content": {OCTETS: {}}}, 304: {"description": "The tile is the one that `If-None-Match` names."}},
)
async def read_tile(request: Request, _: Annotated[Caller, permit("audit:ReadLog")]) -> Response:
    """Show a tile of hashes (`0/x001/234`, `0/001.p/17`) or a bundle of entries (`entries/001`)."""
    # Not the parameter of the route, which would pass over a line feed at the end.
    level, _slash, path = request.scope["path"].removeprefix(f"{router.prefix}/tile/").partition("/")
    reading = rooms(request).reading
    if level == _ENTRIES:
        content = await reading.bundle(parse_tile_path(0, path))
    else:
        content = await reading.tile(parse_tile_path(parse_level(level), path))
    tag = f'"{sha256(content).hexdigest()}"'
    headers = {"Cache-Control": _REVALIDATED, "ETag": tag}
    if _has(request, tag):
        return Response(status_code=304, headers=headers)
    return Response(content, headers={"Content-Type": OCTETS, **headers})


def _has(request: Request, tag: str) -> bool:
    """Whether whoever asks has what bears this tag (RFC 9110, 13.1.2)."""
    named = [each.strip().removeprefix("W/") for each in ",".join(request.headers.getlist("If-None-Match")).split(",")]
    return tag in named or named == ["*"]
