"""The Idempotency-Key of an unsafe call: the caller's own name for a command, under which it happens at most once."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Header

from latticebank.values.errors import BankError, Fault
from latticebank.values.ids import parse_uuid

HEADER = "Idempotency-Key"


class IdempotencyKeyReused(BankError):
    """This key named another command before."""

    code = "idempotency-key-reused"
    title = "This Idempotency-Key was used for something else"
    fault = Fault.REFUSED

    def __init__(self) -> None:
        super().__init__(
            "the first request with this key asked for something else",
            field=HEADER,
            hint="repeat the first request exactly, or take a new key",
        )


async def idempotency_key(
    key: Annotated[
        str,
        Header(
            alias=HEADER,
            description="A UUID of the caller's making that names this command: the same key and body get the same "
            "answer, the same key with another body gets 422.",
            examples=["019a0b1c-7d2e-7f3a-8b4c-5d6e7f8a9b0c"],
            json_schema_extra={"format": "uuid"},
        ),
    ],
) -> UUID:
    """Return the id of the command.

    Raises:
        InvalidValue: not a UUID in canonical form.

    """
    return parse_uuid(key, HEADER)


IdempotencyKey = Annotated[UUID, Depends(idempotency_key)]
"""A parameter of a route: the id of the command, from the header field that the route requires."""
