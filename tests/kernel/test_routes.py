"""No route is served without a policy action of its own service."""

from pathlib import Path
from typing import Annotated

import pytest
from fastapi import APIRouter, FastAPI, WebSocket
from starlette.routing import Mount, Route

from latticebank.kernel.caller import Caller
from latticebank.kernel.http import Router, RouteRow, permit, route_table
from latticebank.kernel.http.routes import UnfitRoute
from tests.kernel.serving import context_in, service_of


def build(folder: Path, *routers: Router) -> FastAPI:
    service = service_of(*routers)
    return service.build(context_in(folder, service))


def test_the_table_lists_every_route_with_its_action(tmp_path: Path) -> None:
    read = Router(prefix="/api/ledger", dependencies=[permit("ledger:Read")])
    write = Router(prefix="/internal/ledger")

    @read.get("/accounts/{number}", summary="One account")
    async def account(number: str) -> None: ...

    @write.post("/postings")
    async def post_entries(caller: Annotated[Caller, permit("ledger:Post")]) -> None:
        """Post a batch of entries.

        All of them or none.
        """

    @read.put("/accounts/{number}")
    async def rename_account(number: str) -> None: ...

    assert route_table(build(tmp_path, read, write)) == [
        RouteRow("GET", "/api/ledger/accounts/{number}", "ledger:Read", "One account"),
        RouteRow("PUT", "/api/ledger/accounts/{number}", "ledger:Read", "Rename account"),
        RouteRow("POST", "/internal/ledger/postings", "ledger:Post", "Post a batch of entries"),
    ]


async def answer() -> None: ...


def answer_at_leisure() -> None: ...


async def talk(websocket: WebSocket) -> None: ...


def without_action(router: Router) -> None:
    router.get("/api/ledger/odd")(answer)


def with_two_actions(router: Router) -> None:
    router.get("/api/ledger/odd", dependencies=[permit("ledger:Read"), permit("ledger:Post")])(answer)


def of_another_service(router: Router) -> None:
    router.get("/api/ledger/odd", dependencies=[permit("payments:Read")])(answer)


def outside_its_paths(router: Router) -> None:
    router.get("/api/ledgers/odd", dependencies=[permit("ledger:Read")])(answer)


def not_cancellable(router: Router) -> None:
    router.get("/api/ledger/odd", dependencies=[permit("ledger:Read")])(answer_at_leisure)


def a_mount(router: Router) -> None:
    router.routes.append(Mount("/api/ledger/odd", FastAPI()))


def a_bare_route(router: Router) -> None:
    router.routes.append(Route("/api/ledger/odd", answer))


def a_web_socket(router: Router) -> None:
    router.add_api_websocket_route("/api/ledger/odd", talk)


def an_included_router(router: Router) -> None:
    inner = APIRouter(dependencies=[permit("ledger:Read")])
    inner.get("/api/ledger/odd")(answer)
    router.include_router(inner)


@pytest.mark.parametrize(
    "declare",
    [
        without_action,
        with_two_actions,
        of_another_service,
        outside_its_paths,
        not_cancellable,
        a_mount,
        a_bare_route,
        a_web_socket,
        an_included_router,
    ],
)
def test_an_application_with_an_unfit_route_is_not_built(tmp_path: Path, declare: object) -> None:
    router = Router()
    assert callable(declare)
    declare(router)
    with pytest.raises(UnfitRoute):
        build(tmp_path, router)


def test_every_unfit_route_is_named(tmp_path: Path) -> None:
    router = Router(prefix="/api/ledger")
    router.get("/one")(answer)
    router.get("/two")(answer)
    with pytest.raises(UnfitRoute, match=r"/api/ledger/one.*/api/ledger/two"):
        build(tmp_path, router)


@pytest.mark.parametrize(
    "action", ["", "Read", "ledger:", "ledger:read", "Ledger:Read", "ledger:Read All", 'ledger:Read"']
)
def test_an_action_has_one_form(action: str) -> None:
    with pytest.raises(ValueError, match="an action is written"):
        permit(action)
