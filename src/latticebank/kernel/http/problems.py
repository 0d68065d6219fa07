"""The one place where an error becomes what a caller reads: a problem document (RFC 9457)."""

import http
import json
from collections.abc import Sequence
from typing import Any

import msgspec
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from latticebank.kernel.problem import MEDIA_TYPE, STATUS_OF_FAULT, TYPE_PREFIX, FieldError, Problem
from latticebank.kernel.telemetry import correlation_id
from latticebank.values.errors import BankError, Fault, InvalidValue

RETRY_AFTER_SECONDS = 1
_MAX_ERRORS = 20
_MAX_TEXT = 300
_MAX_FIELD = 120


class HttpError(BankError):
    """An error of the protocol itself, with a status of its own (RFC 9110, 15)."""

    status: int
    fault = Fault.INVALID


class UnreadableBody(InvalidValue):
    """The body is not JSON that this bank reads."""

    code = "unreadable-body"
    title = "The body of this request cannot be read"

    def __init__(self, detail: str = "this body cannot be read") -> None:
        super().__init__(detail, field="body", hint="send well-formed JSON in UTF-8")


class NoSuchPath(BankError):
    """No route has this path."""

    code = "no-such-path"
    title = "There is nothing at this path"
    fault = Fault.NOT_FOUND

    def __init__(self) -> None:
        super().__init__("there is nothing at this path", hint="see /openapi.json for what there is")


class MethodNotAllowed(HttpError):
    """Routes have this path, none of them with this method (RFC 9110, 15.5.6)."""

    code = "method-not-allowed"
    title = "This path does not know this method"
    status = 405

    def __init__(self) -> None:
        super().__init__("this path does not know this method", hint="the Allow header lists those it knows")


class NotAccepted(HttpError):
    """The framework refuses a request, for a reason that has no type of its own here."""

    code = "not-accepted"
    title = "This request was not accepted"
    status = 400

    def __init__(self, status: int) -> None:
        super().__init__(f"this request was not accepted ({status} {http.HTTPStatus(status).phrase})")
        self.status = status


class Defect(BankError):
    """Anything that the bank did not foresee. Nothing is said of it outside of the log."""

    code = "internal-error"
    title = "The bank failed to do this"
    fault = Fault.INTERNAL

    def __init__(self) -> None:
        super().__init__(
            "an error of the bank stopped this request", hint="retry; if it fails again, tell the bank the instance"
        )


def problem_of(error: Exception) -> Problem:
    """Return the problem document of an error; one that is not meant for callers says nothing of itself."""
    if isinstance(error, RequestValidationError):
        problem = _of_validation(error.errors())
    else:
        known = _known(error)
        status = known.status if isinstance(known, HttpError) else STATUS_OF_FAULT[known.fault]
        problem = Problem(
            TYPE_PREFIX + known.code, known.title, status, known.detail, field=known.field, hint=known.hint
        )
    problem.instance = correlation_id.get()
    return problem


def problem_response(error: Exception) -> Response:
    """Return the response that tells a caller of an error."""
    problem = problem_of(error)
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    if problem.status == 401:
        challenge = 'Bearer realm="latticebank"'
        refused = problem.code != "unauthenticated"
        headers["WWW-Authenticate"] = challenge + (', error="invalid_token"' if refused else "")
    if problem.status in (429, 503):
        seconds = getattr(error, "retry_after", None) or RETRY_AFTER_SECONDS
        headers["Retry-After"] = str(seconds)
    return Response(msgspec.json.encode(problem), problem.status, headers, MEDIA_TYPE)


def _known(error: Exception) -> BankError:
    """Return the error of the bank that stands for this one."""
    if isinstance(error, BankError):
        return error
    if not isinstance(error, HTTPException):
        return Defect()
    if isinstance(error.__cause__, BankError):
        return error.__cause__  # FastAPI turns whatever the reading of a body raises into an exception of its own
    match error.status_code:
        case 400:
            return UnreadableBody()
        case 404:
            return NoSuchPath()
        case 405:
            return MethodNotAllowed()
    return NotAccepted(error.status_code)


def _of_validation(errors: Sequence[Any]) -> Problem:
    """Name every invalid field. The input is never repeated: it may be a secret, or huge."""
    fields = [FieldError(_field(error["loc"], error["type"]), _detail(error)) for error in errors[:_MAX_ERRORS]]
    first = fields[0]
    return Problem(
        TYPE_PREFIX + InvalidValue.code,
        InvalidValue.title,
        STATUS_OF_FAULT[Fault.INVALID],
        first.detail if len(fields) == 1 else f"{len(errors)} fields are invalid, the first of them {first.field}",
        field=first.field,
        errors=fields if len(fields) > 1 else [],
    )


def _field(location: Sequence[str | int], kind: str) -> str:
    place, *rest = location
    if place != "body":
        return str(rest[0] if rest else place)[:_MAX_FIELD]
    if kind == "json_invalid" or not rest:
        return "body"
    steps = (str(step).replace("~", "~0").replace("/", "~1") for step in rest)
    return ("/" + "/".join(steps))[:_MAX_FIELD]


def _detail(error: Any) -> str:
    kind = error["type"]
    if kind == "missing":
        return "this is required"
    if kind == "extra_forbidden":
        return "there is no such field"
    if kind == "json_invalid":
        return f"this is not JSON: {error['ctx']['error']}"[:_MAX_TEXT]
    if kind == "value_error":
        return str(error["msg"]).removeprefix("Value error, ")[:_MAX_TEXT]
    # The messages of Pydantic quote what was expected, but of a parsed value sometimes the character that broke it.
    text = str(error["msg"]).partition(":")[0] if kind.endswith("_parsing") else str(error["msg"])
    return (text[:1].lower() + text[1:])[:_MAX_TEXT]


def problem_schema() -> dict[str, Any]:
    """Return the JSON schema of a problem document, with an example."""
    text = {"type": "string"}
    return {
        "type": "object",
        "title": "Problem",
        "description": "A problem document (RFC 9457).",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {**text, "format": "uri-reference", "description": "Stable: /problems/ and the code of the error."},
            "title": {**text, "description": "What kind of error this is."},
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": {**text, "description": "What is wrong this time."},
            "instance": {**text, "format": "uri-reference", "description": "The correlation id of the request."},
            "field": {**text, "description": "A JSON pointer into the body, or the name of a parameter or header."},
            "hint": {**text, "description": "What to do about it."},
            "errors": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["field", "detail"],
                    "properties": {"field": text, "detail": text},
                },
            },
        },
        "examples": [json.loads(msgspec.json.encode(_EXAMPLE))],
    }


_EXAMPLE = Problem(
    TYPE_PREFIX + InvalidValue.code,
    InvalidValue.title,
    400,
    'an amount of this currency is written like "12.34"',
    instance="019a0b1c-7d2e-7f3a-8b4c-5d6e7f8a9b0c",
    field="/amount",
)
