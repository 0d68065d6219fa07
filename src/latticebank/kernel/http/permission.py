"""The Cedar action that a route needs, declared where the route is and decided before its body is read."""

from collections.abc import Iterator
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

from fastapi import Depends
from fastapi.dependencies.models import Dependant
from starlette.requests import Request

from latticebank.kernel.caller import Caller, CallerKind, Unauthenticated
from latticebank.kernel.policy import ACTION_FORM, Forbidden, Policy, Resource

CALLER = "latticebank.caller"
"""The key of the scope under which the middleware leaves who calls."""
_PERMITTED = "latticebank.permitted"
_PROXY_HEADERS = ("forwarded", "via", "x-forwarded-for", "x-envoy-external-address", "x-real-ip")


class Permit:
    """The dependency that lets a request through if the policy permits its caller the action on the service."""

    def __init__(self, action: str) -> None:
        if not ACTION_FORM.fullmatch(action):
            raise ValueError(f'an action is written like "ledger:ReadAccounts", not {action!r}')
        self.action = action

    async def __call__(self, request: Request) -> Caller:
        """Return who calls.

        Raises:
            Unauthenticated: the policy does not permit this to anyone unknown.
            Forbidden: nor to this caller.

        """
        scope = request.scope
        caller: Caller = scope[CALLER]
        if scope.get(_PERMITTED) is not self:
            state = scope["app"].state
            policy: Policy = state.context.policy
            resource: Resource = state.resource
            try:
                policy.decide(caller, self.action, resource, {"loopback": _from_this_machine(request)})
            except Forbidden:
                if caller.kind is not CallerKind.ANONYMOUS:
                    raise
                raise Unauthenticated(
                    f"{self.action} is not for anyone unknown", hint="send a credential in the Authorization header"
                ) from None
            scope[_PERMITTED] = self
        return caller


def permit(action: str) -> Any:
    """Declare the Cedar action that a route needs, or all routes of a router.

    A parameter of the route is written `Annotated[Caller, permit("ledger:ReadAccounts")]`.
    """
    return Depends(Permit(action))


def permits_of(dependant: Dependant) -> Iterator[Permit]:
    """Yield the permits that a route declares, itself or through its router."""
    for dependency in dependant.dependencies:
        if isinstance(dependency.call, Permit):
            yield dependency.call
        yield from permits_of(dependency)


def _from_this_machine(request: Request) -> bool:
    """Whether the caller is a process here: by its address, not through a proxy, and not a page that rebinds a name."""
    client = request.scope.get("client")
    if client is None or not _is_loopback(client[0]):
        return False
    host = request.headers.get("host", "").rpartition(":")
    name = (host[0] or host[2]).strip("[]")
    named_here = name == "localhost" or _is_loopback(name)
    return named_here and not any(header in request.headers for header in _PROXY_HEADERS)


@lru_cache(maxsize=4_096)
def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False
