"""The document in which a bank tells of an error (RFC 9457), as whoever asks and whoever answers know it."""

import msgspec

from latticebank.values.errors import Fault

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "/problems/"

STATUS_OF_FAULT = {
    Fault.INVALID: 400,
    Fault.UNAUTHENTICATED: 401,
    Fault.FORBIDDEN: 403,
    Fault.NOT_FOUND: 404,
    Fault.CONFLICT: 409,
    Fault.REFUSED: 422,
    Fault.TOO_LARGE: 413,
    Fault.TOO_MANY: 429,
    Fault.TIMEOUT: 504,
    Fault.UNAVAILABLE: 503,
    Fault.INTERNAL: 500,
}


class FieldError(msgspec.Struct, frozen=True):
    """One invalid field: a JSON pointer (RFC 6901) into the body, or the name of a parameter or header field."""

    field: str
    detail: str


class Problem(msgspec.Struct, omit_defaults=True):
    """A problem document. `instance` is the correlation id of the request, to be quoted to the bank."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None
    field: str | None = None
    hint: str | None = None
    errors: list[FieldError] = msgspec.field(default_factory=list)

    @property
    def code(self) -> str:
        """The stable code of the error, which ends the type."""
        return self.type.removeprefix(TYPE_PREFIX)
