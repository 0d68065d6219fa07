"""The log as everybody reads it, at the paths of C2SP tlog-tiles."""

from typing import Annotated

from fastapi import Request, Response

from latticebank.crypto.tiles import parse_level, parse_tile_path
from latticebank.kernel.caller import Caller
from latticebank.kernel.http import Router, permit
from latticebank.security.audit.api.rooms import rooms

TEXT = "text/plain; charset=utf-8"
OCTETS = "application/octet-stream"
_ENTRIES = "entries"
_FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable"}

router = Router(prefix="/api/log", tags=["log"])


@router.get("/checkpoint", response_model=None, responses={200: {"content": {TEXT: {}}}})
async def read_checkpoint(request: Request, _: Annotated[Caller, permit("audit:ReadLog")]) -> Response:
    """Show the newest checkpoint: size and root of the log, signed by both of its keys and by witnesses."""
    return Response(await rooms(request).reading.checkpoint(), headers={"Content-Type": TEXT})


@router.get("/policy", response_model=None, responses={200: {"content": {TEXT: {}}}})
async def read_policy(request: Request, _: Annotated[Caller, permit("audit:ReadLog")]) -> Response:
    """Show the keys of the log and of its witnesses, in the form that `latticebank verify` takes."""
    return Response(await rooms(request).reading.policy(), headers={"Content-Type": TEXT})


@router.get("/tile/{path:path}", response_model=None, responses={200: {"content": {OCTETS: {}}}})
async def read_tile(request: Request, _: Annotated[Caller, permit("audit:ReadLog")]) -> Response:
    """Show a tile of hashes (`0/x001/234`, `0/001.p/17`) or a bundle of entries (`entries/001`)."""
    # Not the parameter of the route, which would pass over a line feed at the end.
    level, _slash, path = request.scope["path"].removeprefix(f"{router.prefix}/tile/").partition("/")
    reading = rooms(request).reading
    if level == _ENTRIES:
        content = await reading.bundle(parse_tile_path(0, path))
    else:
        content = await reading.tile(parse_tile_path(parse_level(level), path))
    return Response(content, headers={"Content-Type": OCTETS, **_FOR_EVER})
