"""The front of the bank: a page for people, the OpenAPI document, and what each problem means."""

import base64
import re
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

import msgspec
from fastapi import Path, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel

from latticebank import __version__
from latticebank.kernel.http.permission import permit
from latticebank.kernel.http.problems import HttpError
from latticebank.kernel.http.routes import Router, RouteRow
from latticebank.kernel.problem import STATUS_OF_FAULT
from latticebank.values.errors import BankError, Fault

_USUAL_ADDRESS = "http://localhost:8000"
_HOST = re.compile(r"[A-Za-z0-9.:\[\]-]{1,120}")
_ADVICE = {
    Fault.INVALID: "Correct the field that the problem names, and send the request again.",
    Fault.UNAUTHENTICATED: "Send a current credential in the Authorization header.",
    Fault.FORBIDDEN: "Ask for the right, or leave it to a caller who has it.",
    Fault.NOT_FOUND: "Check the identifier: there is no such thing, or it is not yours.",
    Fault.CONFLICT: "Read the present state, then decide again.",
    Fault.REFUSED: "A rule of the bank stands against it; repeating it changes nothing.",
    Fault.TOO_LARGE: "Send less at once.",
    Fault.TOO_MANY: "Wait for the time in Retry-After.",
    Fault.TIMEOUT: "Ask again with the same Idempotency-Key: the outcome is kept.",
    Fault.UNAVAILABLE: "Try again after the time in Retry-After; nothing that was accepted is lost.",
    Fault.INTERNAL: "Tell the bank the instance of the problem.",
}


class ProblemExplained(BaseModel):
    """What a code of problem documents means."""

    code: str
    title: str
    status: int
    advice: str


class UnknownProblem(BankError):
    """No problem has this code."""

    code = "unknown-problem"
    title = "There is no such problem"
    fault = Fault.NOT_FOUND


def front_router(document: Callable[[], dict[str, Any]], rows: Callable[[], list[RouteRow]]) -> Router:
    """Return the routes of the front, given the OpenAPI document and the table of all routes."""
    router = Router(tags=["interface"])

    @router.get(
        "/", summary="What this bank is", response_class=HTMLResponse, dependencies=[permit("bank:ReadFrontPage")]
    )
    async def read_front_page(request: Request) -> Response:
        host = request.headers.get("host", "")
        return front_page(rows(), f"{request.url.scheme}://{host}" if _HOST.fullmatch(host) else _USUAL_ADDRESS)

    @router.get(
        "/openapi.json",
        summary="The interface, as OpenAPI 3.1",
        response_class=JSONResponse,
        dependencies=[permit("bank:ReadInterface")],
    )
    async def read_interface() -> Response:
        return Response(msgspec.json.encode(document()), media_type="application/json")

    @router.get("/problems/{code}", summary="What a problem means", dependencies=[permit("bank:ReadInterface")])
    async def read_problem(
        code: str = Path(max_length=80, description="What follows /problems/ in the type of a problem document."),
    ) -> ProblemExplained:
        for error in _all_errors(BankError):
            if code in (error.codes or (error.code,)):
                status = error.status if issubclass(error, HttpError) else STATUS_OF_FAULT[error.fault]
                return ProblemExplained(code=code, title=error.title, status=status, advice=_ADVICE[error.fault])
        raise UnknownProblem("no problem of this bank has this code", field="code")

    return router


def front_page(rows: Iterable[RouteRow], address: str) -> Response:
    """Return the page as a response whose policy lets in nothing but the page's own style.

    `address` is the base URL by which the reader came.
    """
    template = (files("latticebank.kernel.http") / "front_page.html").read_text("utf-8")
    style = template.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    html = Template(template).substitute(
        version=escape(__version__), address=escape(address), rows="\n".join(_table_rows(rows))
    )
    return HTMLResponse(html, headers={"Content-Security-Policy": policy})


def _table_rows(rows: Iterable[RouteRow]) -> Iterator[str]:
    for row in rows:
        yield (
            f'<tr><td><span class="method {escape(row.method.lower())}">{escape(row.method)}</span></td>'
            f"<td><code>{escape(row.path)}</code></td><td><code>{escape(row.action)}</code></td>"
            f"<td>{escape(row.summary)}</td></tr>"
        )


def _all_errors(kind: type[BankError]) -> Iterator[type[BankError]]:
    for error in kind.__subclasses__():
        if error is not HttpError and not {"code", "codes"}.isdisjoint(vars(error)):
            yield error
        yield from _all_errors(error)
