"""Reading the body of a request strictly: UTF-8 JSON without surprises, or an error that names the place."""

import json
import math
import re
from typing import Any, NoReturn, TypeVar

import msgspec
from starlette.requests import Request

from latticebank.kernel.http.problems import UnreadableBody
from latticebank.values.errors import InvalidValue

MAX_DEPTH = 32
_SUSPECT = re.compile(rb"\\u(?:0000|d[89a-f])", re.IGNORECASE)
_PLACE = re.compile(r" - at `\$?(.*)`$")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")
_MAX_TEXT = 300

T = TypeVar("T")


class StrictRequest(Request):
    """A request whose JSON has unique names, finite numbers, little depth, and texts that a database can hold."""

    async def json(self) -> Any:
        """Return the parsed body.

        Raises:
            UnreadableBody: it is not such JSON.

        """
        if not hasattr(self, "_json"):
            self._json = parse_strict(await self.body())
        return self._json


def parse_strict(body: bytes) -> Any:
    """Return the value of a JSON text (RFC 8259) under the rules of `StrictRequest`.

    Raises:
        UnreadableBody: it breaks one of them.

    """
    try:
        value = json.loads(
            body.decode(), object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite
        )
    except UnicodeDecodeError:
        raise UnreadableBody("this is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise UnreadableBody(f"this is not JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise UnreadableBody(f"this is nested deeper than {MAX_DEPTH} levels") from None
    except ValueError:
        raise UnreadableBody("a number has too many digits") from None
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH or _SUSPECT.search(body):
        _inspect(value)
    return value


async def read_json(request: Request, shape: type[T]) -> T:
    """Return the body of a request as this type of msgspec: the quick way, for bulk routes.

    Raises:
        UnreadableBody: it is not JSON.
        InvalidValue: it is not of this type; the field is a JSON pointer (RFC 6901).

    """
    body = await request.body()
    if _SUSPECT.search(body):
        parse_strict(body)
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as error:
        text = str(error)
        place = _PLACE.search(text)
        steps = _STEP.findall(place.group(1)) if place else []
        pointer = "".join(f"/{name or index}" for name, index in steps)
        detail = text[: place.start()] if place else text
        raise InvalidValue((detail[:1].lower() + detail[1:])[:_MAX_TEXT], field=pointer[:_MAX_TEXT] or "body") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise UnreadableBody("this is not JSON in UTF-8") from None
    except RecursionError:
        raise UnreadableBody("this is nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise UnreadableBody("an object names a member twice")
    return value


def _refuse_constant(_name: str) -> NoReturn:
    raise UnreadableBody("a number must be finite")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise UnreadableBody("a number must be finite")
    return value


def _inspect(value: Any) -> None:
    """Refuse depth, NUL and lone surrogates anywhere in a parsed value."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(item)
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
            elif isinstance(item, str) and ("\0" in item or not _encodes(item)):
                raise UnreadableBody("a text holds NUL or half of a surrogate pair")
        if not inner:
            return
        level = inner
    raise UnreadableBody(f"this is nested deeper than {MAX_DEPTH} levels")


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
