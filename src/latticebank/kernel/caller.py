"""Who calls, and what finds that out."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeAlias
from uuid import UUID

from latticebank.values.errors import BankError, Fault

Credential: TypeAlias = Callable[[], Awaitable[str]]
"""Gives the value of the Authorization header field (RFC 9110, 11.6.2) with which to call, current at each call."""


class CallerKind(StrEnum):
    """The kinds of caller, each the name of its entity type in Cedar."""

    ANONYMOUS = "Anonymous"
    OPERATOR = "Operator"
    SERVICE = "Service"
    USER = "User"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request: the principal of its Cedar decision.

    A service has its name as `id`, a user a UUID in text. Of a user `roles` are the groups in Cedar, `parties` the
    references under which the ledger knows the user ("user:..."), and `session` is the session that speaks. `act` is the
    service that passes the request on (RFC 8693, 4.1).
    """

    kind: CallerKind
    id: str
    roles: tuple[str, ...] = ()
    parties: tuple[str, ...] = ()
    session: UUID | None = None
    act: str | None = None

    @property
    def user(self) -> UUID:
        """The id of the user who calls; a route that reads it is open to users only."""
        assert self.kind is CallerKind.USER
        return UUID(self.id)


ANONYMOUS = Caller(CallerKind.ANONYMOUS, "anyone")
OPERATOR = Caller(CallerKind.OPERATOR, "break-glass")


def service_caller(name: str) -> Caller:
    """Return the caller that a service is to the others."""
    return Caller(CallerKind.SERVICE, name)


class Unauthenticated(BankError):
    """The request needs a caller and names none."""

    code = "unauthenticated"
    title = "This needs to know who you are"
    fault = Fault.UNAUTHENTICATED


class CredentialRefused(BankError):
    """The credential is malformed, unknown, expired or revoked; it is never said which.

    `slow` is set when credentials are being refused faster than an honest caller errs: make this one wait.
    """

    code = "credential-refused"
    title = "This credential is not accepted"
    fault = Fault.UNAUTHENTICATED

    def __init__(self, *, slow: bool = False) -> None:
        super().__init__(
            "this credential is malformed or not known here",
            field="Authorization",
            hint="leave it out to call as anyone, or use a current one",
        )
        self.slow = slow


class Authenticator(Protocol):
    """Finds out who calls."""

    async def authenticate(self, authorization: str | None, audience: str) -> Caller:
        """Return who presents this Authorization header field to the service `audience`; no field at all is anonymous.

        Raises:
            CredentialRefused: the field is there and does not prove a caller to this service.

        """
        ...
