"""What can go wrong, as types with stable codes.

An error is raised where it is known and says what is wrong, in which field, and what to do.
`kernel.http.problems` turns it into an RFC 9457 problem document and the command line into a message and an exit code;
nothing else translates errors.
"""

from enum import Enum
from typing import ClassVar


class Fault(Enum):
    """Whose fault an error is, and so what the caller should do about it."""

    INVALID = "invalid"  # the input is malformed: correct it
    UNAUTHENTICATED = "unauthenticated"  # say who you are
    FORBIDDEN = "forbidden"  # you may not
    NOT_FOUND = "not-found"  # there is no such thing
    CONFLICT = "conflict"  # it contradicts the present state
    REFUSED = "refused"  # well-formed, but against a rule of the bank
    TOO_LARGE = "too-large"  # over a bound
    TOO_MANY = "too-many"  # too often, too fast: wait as long as is said
    TIMEOUT = "timeout"  # the deadline passed; the outcome may be unknown
    UNAVAILABLE = "unavailable"  # a dependency is down: try again later
    INTERNAL = "internal"  # our defect


class BankError(Exception):
    """Base of all errors that a person or a caller is told of.

    `detail` says what is wrong, `field` where, `hint` what to do. `code` is stable and part of the interface.
    """

    code: str = "internal-error"
    title: str = "The bank failed to do this"
    fault: ClassVar[Fault] = Fault.INTERNAL
    codes: ClassVar[tuple[str, ...]] = ()
    """The codes that instances of this class have instead of `code`, where the code says more than the class."""

    def __init__(self, detail: str, *, field: str | None = None, hint: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
        self.hint = hint

    def __str__(self) -> str:
        where = f"{self.field}: " if self.field else ""
        then = f" ({self.hint})" if self.hint else ""
        return f"{where}{self.detail}{then}"


class InvalidValue(BankError):
    """A value that is malformed or out of bounds; `field` names it."""

    code = "invalid-value"
    title = "A value is malformed or out of bounds"
    fault = Fault.INVALID
