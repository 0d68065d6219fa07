"""The routes of a service: declared on a `Router`, read strictly, and none without a policy."""

from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from inspect import iscoroutinefunction, signature
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from fastapi.params import Depends
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from latticebank.kernel.http.body import StrictRequest
from latticebank.kernel.http.permission import Permit, permits_of
from latticebank.values.errors import BankError, Fault, InvalidValue

_MAX_NAME = 60


class UnfitRoute(BankError):
    """A route without exactly one action of its service, outside the service's paths, or not declared on a `Router`."""

    code = "unfit-route"
    title = "A route is not fit to be served"
    fault = Fault.INTERNAL


class StrictRoute(APIRoute):
    """A route that asks the policy before it reads the body, and reads body and parameters strictly.

    A plain route, one that takes nothing but the request and its caller and returns a response, is called directly:
    that saves most of what FastAPI costs.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        if signature(endpoint).return_annotation is Response and (names := _plain_parameters(self.dependant)):
            self.app = _plain_app(endpoint, *names)
        else:
            self.app = AsyncExitStackMiddleware(self.app)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of FastAPI with the permits in front."""
        handle = super().get_route_handler()
        permits = tuple(permits_of(self.dependant))
        known = frozenset(_parameters_of(self.dependant))

        async def strictly(request: Request) -> Response:
            for permit in permits:
                await permit(request)
            _refuse_odd_parameters(request, known)
            return await handle(StrictRequest(request.scope, request.receive))

        return strictly


def _plain_parameters(dependant: Dependant) -> tuple[str, str, Permit] | None:
    """Return the names of the request and of the caller, and the permit, of a plain route; None if it is not plain."""
    asked = (dependant.path_params, dependant.query_params, dependant.header_params, dependant.cookie_params)
    if any(asked) or dependant.body_params or dependant.request_param_name is None or len(dependant.dependencies) != 1:
        return None
    [dependency] = dependant.dependencies
    if not isinstance(dependency.call, Permit) or dependency.name is None:
        return None
    return dependant.request_param_name, dependency.name, dependency.call


def _plain_app(endpoint: Callable[..., Any], request_name: str, caller_name: str, permit: Permit) -> ASGIApp:
    async def plain(scope: Scope, receive: Receive, send: Send) -> None:
        request = StrictRequest(scope, receive)
        caller = await permit(request)
        if scope["query_string"]:
            _refuse_odd_parameters(request, frozenset())
        response: Response = await endpoint(**{request_name: request, caller_name: caller})
        await response(scope, receive, send)

    return plain


def _parameters_of(dependant: Dependant) -> Iterator[str]:
    """Yield the query parameters of a route, and of what it depends on."""
    yield from (field.alias for field in dependant.query_params)
    for dependency in dependant.dependencies:
        yield from _parameters_of(dependency)


def _refuse_odd_parameters(request: Request, known: frozenset[str]) -> None:
    """Refuse a parameter that the route does not know, or that is given twice: it would quietly be passed over."""
    seen: set[str] = set()
    for name, _ in request.query_params.multi_items():
        if name not in known:
            told = (
                f"there is no such parameter; there are: {', '.join(sorted(known))}"
                if known
                else "there are no parameters"
            )
            raise InvalidValue(told, field=name[:_MAX_NAME])
        if name in seen:
            raise InvalidValue("this parameter is given twice", field=name)
        seen.add(name)


class Router(APIRouter):
    """The routes of one subject; `dependencies=[permit(...)]` gives all of them the same action.

    Routers are flat: a router is given to `application`, not included in another.
    """

    def __init__(
        self, *, prefix: str = "", tags: list[str] | None = None, dependencies: Iterable[Depends] = ()
    ) -> None:
        super().__init__(
            prefix=prefix,
            tags=list(tags or []),
            dependencies=list(dependencies),
            route_class=StrictRoute,
            redirect_slashes=False,
        )


@dataclass(frozen=True, slots=True)
class RouteRow:
    """One method of one path, with the Cedar action that it needs."""

    method: str
    path: str
    action: str
    summary: str


def route_table(app: FastAPI) -> list[RouteRow]:
    """Return every route of an application, ordered by path and method.

    Raises:
        UnfitRoute: one has no action, or several, or is of a kind that cannot have one; all are named.

    """
    rows: list[RouteRow] = []
    unfit: list[str] = []
    for route in app.routes:
        if (reason := _unfit(route)) is not None:
            unfit.append(f"{getattr(route, 'path', type(route).__name__)} {reason}")
            continue
        assert isinstance(route, StrictRoute)
        [permit] = permits_of(route.dependant)
        said = route.summary or route.description.partition("\n")[0].removesuffix(".")
        summary = said or route.name.replace("_", " ").capitalize()
        rows.extend(RouteRow(method, route.path, permit.action, summary) for method in route.methods or ())
    if unfit:
        raise UnfitRoute("; ".join(unfit), hint='declare it on a Router with one permit("service:Action")')
    return sorted(rows, key=lambda row: (row.path, row.method))


def refuse_unfit_routes(app: FastAPI, service: str, prefixes: tuple[str, ...]) -> None:
    """Check that every route has one action of this service and one of its paths.

    Raises:
        UnfitRoute: one has not; all are named.

    """
    unfit = [
        f"{row.method} {row.path} ({row.action})"
        for row in route_table(app)
        if not row.action.startswith(f"{service}:") or not row.path.startswith(prefixes)
    ]
    if unfit:
        raise UnfitRoute(f"not of {service}, its paths {' '.join(prefixes)} and its actions: {'; '.join(unfit)}")


def methods_at(app: FastAPI, path: str) -> list[str]:
    """Return the methods that some route knows at this path, HEAD with GET (RFC 9110, 9.1)."""
    methods: set[str] = set()
    for route in app.routes:
        if isinstance(route, StrictRoute) and route.path_regex.match(path):
            methods |= route.methods or set()
    return sorted(methods | {"HEAD"} if "GET" in methods else methods)


def _unfit(route: BaseRoute) -> str | None:
    if not isinstance(route, StrictRoute):
        return "is not declared on a Router of the kernel"
    if not iscoroutinefunction(route.endpoint):
        return "is not an async function, so that a deadline could not cancel it"
    actions = [permit.action for permit in permits_of(route.dependant)]
    if len(actions) != 1:
        return f"has the actions {', '.join(actions)}, not one" if actions else "has no action"
    return None
