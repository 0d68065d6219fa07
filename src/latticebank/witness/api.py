"""The witness over HTTP: the two calls of C2SP tlog-witness, and nothing else. Refusals are sentences in plain text."""

import asyncio
from collections.abc import Mapping
from functools import partial

import structlog
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from latticebank.crypto.errors import InvalidSignature, MalformedNote, NotSigned
from latticebank.values.errors import BankError, Fault, InvalidValue
from latticebank.witness.cosigning import Witness
from latticebank.witness.model import (
    MAX_BODY,
    Forked,
    Inconsistent,
    MalformedSubmission,
    NotLatest,
    UnknownLog,
)

BODY_SECONDS = 10.0
_log = structlog.get_logger()
_TEXT = {"content-type": "text/plain; charset=utf-8"}
_SIZE = {"content-type": "text/x.tlog.size"}
_STATUS: Mapping[type[BankError], int] = {
    MalformedSubmission: 400,
    MalformedNote: 400,
    NotSigned: 403,
    InvalidSignature: 403,
    UnknownLog: 404,
    NotLatest: 409,
    Inconsistent: 422,
}


class TooLarge(InvalidValue):
    """A body beyond what a submission can have."""

    code = "too-large"
    title = "The request is too large"
    fault = Fault.TOO_LARGE


def witness_app(witness: Witness) -> Starlette:
    """Return the application of a witness."""
    routes = [
        Route("/add-checkpoint", partial(add_checkpoint, witness), methods=["POST"]),
        Route("/{origin_hash}/checkpoint", partial(read_checkpoint, witness), methods=["GET"]),
    ]
    return Starlette(routes=routes, exception_handlers={BankError: refuse})


async def add_checkpoint(witness: Witness, request: Request) -> Response:
    """Answer with the cosignature of a checkpoint."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = await _body(request)
    except TimeoutError:
        return PlainTextResponse("the request did not come in time\n", 408)
    except ClientDisconnect:
        return PlainTextResponse("the request did not come whole\n", 400)
    return Response(await run_in_threadpool(witness.add_checkpoint, body), headers=_TEXT)


async def read_checkpoint(witness: Witness, request: Request) -> Response:
    """Answer with the latest checkpoint of a log."""
    origin_hash: str = request.path_params["origin_hash"]
    return Response(await run_in_threadpool(witness.checkpoint, origin_hash), headers=_TEXT)


async def refuse(_: Request, error: Exception) -> Response:
    """Answer with what is wrong; with the size alone where the protocol wants that."""
    if isinstance(error, NotLatest):
        return Response(f"{error.size}\n", 409, headers=_SIZE)
    if isinstance(error, TooLarge):
        return PlainTextResponse(f"{error}\n", 413)
    status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), None)
    if status is None:
        _log.error("nothing is cosigned", why=str(error))
        return PlainTextResponse("the witness cannot reach its record\n", 503)
    if isinstance(error, Forked):
        _log.error("a log has signed two histories; the proof is kept", why=str(error))
    return PlainTextResponse(f"{error}\n", status)


async def _body(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY:
            raise TooLarge(f"a submission has at most {MAX_BODY} bytes")
    return body
