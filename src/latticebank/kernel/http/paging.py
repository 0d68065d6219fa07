"""Lists come in pages: a bounded number of items, and an opaque cursor to where the next page begins."""

import base64
from typing import Annotated, TypeVar

import msgspec
from fastapi import Query

from latticebank.values.errors import InvalidValue

MAX_PAGE = 200
DEFAULT_PAGE = 50
_MAX_CURSOR = 400
_INT64 = 1 << 63

T = TypeVar("T")

PageLimit = Annotated[
    int, Query(alias="limit", ge=1, le=MAX_PAGE, description="The most items that this page may hold.")
]
"""A parameter of a route; give it `DEFAULT_PAGE` as default."""
PageCursor = Annotated[
    str | None, Query(alias="cursor", max_length=_MAX_CURSOR, description="Where the last page said the next begins.")
]
"""A parameter of a route; give it None as default, for the first page."""


def encode_cursor(position: tuple[int | str, ...]) -> str:
    """Return the cursor of a position in a list: the sort key of the last item shown."""
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).rstrip(b"=").decode()


def decode_cursor(cursor: str, shape: type[T]) -> T:
    """Return the position that a cursor of this bank stands for, a tuple of this type such as `tuple[int, str]`.

    Raises:
        InvalidValue: not a cursor of such a list.

    """
    try:
        if len(cursor) > _MAX_CURSOR:
            raise ValueError("too long")
        padded = cursor + "=" * (-len(cursor) % 4)
        position = msgspec.json.decode(base64.b64decode(padded, altchars=b"-_", validate=True), type=shape)
        if not isinstance(position, tuple) or not all(_fits_a_column(part) for part in position):
            raise ValueError("out of range")
    except (ValueError, RecursionError):
        raise InvalidValue(
            "this is not a cursor of this list", field="cursor", hint="take it from the last page, or leave it out"
        ) from None
    return position


def _fits_a_column(part: object) -> bool:
    if isinstance(part, int):
        return -_INT64 <= part < _INT64
    return not isinstance(part, str) or "\0" not in part
