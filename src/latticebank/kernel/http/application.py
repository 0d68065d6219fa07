"""The factory of every application of the bank."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from latticebank import __version__
from latticebank.kernel.deadline import Deadline
from latticebank.kernel.http.admission import Admission
from latticebank.kernel.http.exchange import Exchange
from latticebank.kernel.http.openapi import with_problems
from latticebank.kernel.http.problems import problem_response
from latticebank.kernel.http.routes import Router, methods_at, refuse_unfit_routes
from latticebank.kernel.policy import Resource
from latticebank.values.errors import BankError

if TYPE_CHECKING:
    from latticebank.kernel.service import Context, Service

Check = Callable[[], Awaitable[None]]
"""A question about one component; it returns if the component is well and raises if it is not."""
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]

JSON = "application/json"


@asynccontextmanager
async def nothing_to_start(_app: FastAPI) -> AsyncIterator[None]:
    """The lifespan of an application that holds nothing open."""
    yield


class Application(FastAPI):
    """A FastAPI application whose OpenAPI document tells of problem documents.

    Of FastAPI's own middleware it has none: `Exchange` tells of what fails, and routes that need a stack bring it.
    """

    def build_middleware_stack(self) -> ASGIApp:
        """Return our middleware around the router."""
        app: ASGIApp = ExceptionMiddleware(self.router, handlers=self.exception_handlers)
        for middleware, args, options in reversed(self.user_middleware):
            app = middleware(app, *args, **options)
        return app

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI 3.1 document."""
        if self.openapi_schema is None:
            self.openapi_schema = with_problems(super().openapi())
        return self.openapi_schema


def application(
    service: "Service",
    context: "Context",
    lifespan: Lifespan = nothing_to_start,
    routers: Iterable[Router] = (),
    *,
    checks: Mapping[str, Check] | None = None,
    accepts: Iterable[str] = (JSON,),
    max_body_bytes: int | None = None,
) -> Application:
    """Return the application of a service. Its state has `context`, `resource` (the service, for Cedar) and `checks`.

    `checks` are asked by the health of the bank, besides the service's database. `accepts` are the media types of the
    bodies that the service reads, `max_body_bytes` the size of the largest (None: that of the settings).

    Raises:
        UnfitRoute: a route has not exactly one action of this service, or lies outside the service's paths.

    """
    app = Application(
        title=f"Latticebank {service.name}",
        version=__version__,
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        middleware=[
            Middleware(Exchange, service=service.name, ids=context.ids, metrics=context.metrics),
            Middleware(
                Admission,
                authenticator=context.authenticator,
                service=service.name,
                max_body_bytes=max_body_bytes or context.settings.max_body_bytes,
                accepts=tuple(accepts),
            ),
            Middleware(Deadline, seconds=context.settings.request_timeout_seconds),
        ],
        exception_handlers={
            BankError: _tell,
            HTTPException: _tell,
            RequestValidationError: _tell,
        },
    )
    for router in routers:
        # Included routers are matched twice for each request; these are flat, so their routes can stand here.
        app.router.routes.extend(router.routes)
    refuse_unfit_routes(app, service.name, service.prefixes)
    app.state.context = context
    app.state.resource = Resource("Service", service.name)
    app.state.checks = dict(checks or {})
    return app


async def _tell(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.status_code == 405:
        error.headers = {"Allow": ", ".join(methods_at(request.app, request.scope["path"]))}
    return problem_response(error)
