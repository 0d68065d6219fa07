"""Chosen services make one bank: one address, one interface, one health, and each service where it lives."""

import json
import re
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from latticebank.bank import Bank, UnfitService, UnknownService, compose, open_context
from latticebank.kernel.http import Router, permit
from latticebank.kernel.http.application import Lifespan
from latticebank.kernel.policy import InvalidPolicy
from latticebank.kernel.service import Context, Service
from latticebank.kernel.settings import Settings
from latticebank.kernel.transports import HttpTransport, Request, Response, Transport
from latticebank.kernel.transports.memory import MemoryTransport
from tests.kernel.serving import ANYONE_READS, Desk, context_in, problem, served, service_of


class Diary:
    """Which lifespans started and stopped, in order."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def lifespan(self, name: str, *, fails: str = "") -> Lifespan:
        @asynccontextmanager
        async def live(_app: FastAPI) -> AsyncIterator[None]:
            if fails == "start":
                raise RuntimeError(f"{name} cannot start")
            self.lines.append(f"{name} starts")
            try:
                yield
            finally:
                self.lines.append(f"{name} stops")

        return live


def accounts(name: str, model: type[BaseModel]) -> Router:
    """A public route that reads an account of this model."""
    router = Router(prefix=f"/api/{name}", tags=[name], dependencies=[permit(f"{name}:Read")])

    @router.get("/account", response_model=model, operation_id=f"{name}_account")
    async def read_account() -> Any:
        return {"id": name}

    return router


def internal(name: str) -> Router:
    router = Router(prefix=f"/internal/{name}", dependencies=[permit(f"{name}:Read")])

    @router.get("/account", operation_id=f"{name}_internal_account")
    async def read_internal_account() -> str:
        return f"internal {name}"

    return router


def ledger(**options: Any) -> Service:
    class Account(BaseModel):
        id: str

    return service_of(accounts("ledger", Account), internal("ledger"), **options)


def payments(**options: Any) -> Service:
    class Account(BaseModel):
        """Another thing of the same name."""

        id: str
        debtor: bool = True

    return service_of(accounts("payments", Account), internal("payments"), name="payments", **options)


def bank_of(folder: Path, *services: Service, here: list[str] | None = None, internal: bool | None = None) -> Bank:
    known = {service.name: service for service in services}
    return compose(here or list(known), context_in(folder, *services), services=known, internal=internal)


async def ask(bank: Bank, target: str, method: str = "GET") -> Response:
    return await MemoryTransport(bank.app).send(Request(method, target))


async def test_each_path_is_answered_by_the_service_that_owns_it(tmp_path: Path) -> None:
    bank = bank_of(tmp_path, ledger(), payments())
    assert json.loads((await ask(bank, "/api/ledger/account")).body) == {"id": "ledger"}
    assert json.loads((await ask(bank, "/api/payments/account")).body) == {"id": "payments", "debtor": True}
    for nowhere in ("/api/ledger", "/api/ledgers/account", "/api/", "/nothing", "/docs", "/api/ledger/account/"):
        assert problem(await ask(bank, nowhere)).status == 404


async def test_internal_routes_answer_outside_only_if_a_service_lives_elsewhere(tmp_path: Path) -> None:
    whole = bank_of(tmp_path, ledger(), payments())
    part = bank_of(tmp_path, ledger(), payments(), here=["ledger"])
    assert (await ask(whole, "/internal/ledger/account")).status == 404
    assert (await ask(part, "/internal/ledger/account")).status == 200
    assert (await ask(part, "/internal/payments/account")).status == 404
    forced = bank_of(tmp_path, ledger(), internal=True)
    assert (await ask(forced, "/internal/ledger/account")).status == 200


async def test_a_service_here_is_called_in_memory_and_another_over_http(tmp_path: Path) -> None:
    both = bank_of(tmp_path, ledger(), payments())
    neighbour = both.context.transport("ledger")
    assert isinstance(neighbour, MemoryTransport)
    request = Request("GET", "/internal/ledger/account")
    assert (await neighbour.send(request)).body == b'"internal ledger"'

    part = bank_of(tmp_path, ledger(), payments(), here=["ledger"])
    async with served(part.app) as url, open_context(Settings(data=tmp_path, peers={"ledger": url}), {}) as context:
        other = compose(["payments"], context, services={"ledger": ledger(), "payments": payments()})
        far = other.context.transport("ledger")
        assert isinstance(far, HttpTransport)
        assert (await far.send(request)).body == b'"internal ledger"'
        with pytest.raises(UnknownService):
            other.context.transport("fraud")


async def test_a_service_may_ask_for_a_neighbour_that_is_built_after_it(tmp_path: Path) -> None:
    ways: list[Transport] = []
    first = ledger()

    def build_early(context: Context) -> FastAPI:
        ways.append(context.transport("payments"))
        return first.build(context)

    early = Service("ledger", 8002, first.prefixes, None, first.policies, build_early)
    bank_of(tmp_path, early, payments())
    assert (await ways[0].send(Request("GET", "/internal/payments/account"))).status == 200


async def test_services_start_in_order_and_stop_in_reverse(tmp_path: Path) -> None:
    diary = Diary()
    bank = bank_of(tmp_path, ledger(lifespan=diary.lifespan("ledger")), payments(lifespan=diary.lifespan("payments")))
    assert (await ask(bank, "/health/ready")).status == 503
    async with bank.running():
        assert (await ask(bank, "/health/ready")).status == 200
    assert diary.lines == ["ledger starts", "payments starts", "payments stops", "ledger stops"]
    assert (await ask(bank, "/health/ready")).status == 503


async def test_a_service_that_cannot_start_stops_the_others(tmp_path: Path) -> None:
    diary = Diary()
    bank = bank_of(
        tmp_path,
        ledger(lifespan=diary.lifespan("ledger")),
        payments(lifespan=diary.lifespan("payments", fails="start")),
    )
    with pytest.raises(RuntimeError, match="payments cannot start"):
        async with bank.running():
            raise AssertionError("the bank opened")
    assert diary.lines == ["ledger starts", "ledger stops"]


@pytest.mark.parametrize("fails", ["", "start"])
async def test_the_bank_follows_the_lifespan_of_its_server(tmp_path: Path, fails: str) -> None:
    diary = Diary()
    bank = bank_of(tmp_path, ledger(lifespan=diary.lifespan("ledger", fails=fails)))
    sent: list[str] = []
    received = iter(["lifespan.startup", "lifespan.shutdown"])

    async def receive() -> dict[str, Any]:
        return {"type": next(received)}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    if fails:
        with pytest.raises(RuntimeError):
            await bank.app({"type": "lifespan"}, receive, send)
        assert sent == ["lifespan.startup.failed"]
    else:
        await bank.app({"type": "lifespan"}, receive, send)
        assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
        assert diary.lines == ["ledger starts", "ledger stops"]


async def test_a_component_that_is_down_makes_the_bank_unready(tmp_path: Path) -> None:
    async def broken() -> None:
        raise ConnectionError("10.0.0.7 refused")

    bank = bank_of(tmp_path, ledger(checks={"database": broken}), payments())
    async with bank.running():
        report = await ask(bank, "/health")
        ready = await ask(bank, "/health/ready")
        live = await ask(bank, "/health/live")
    assert report.status == 503
    assert json.loads(report.body)["components"] == {"ledger": {"database": "down"}, "payments": {}}
    assert b"10.0.0.7" not in report.body
    assert problem(ready).status == 503
    assert "retry-after" in ready.headers
    assert (live.status, live.body) == (200, b'{"live":true}')


async def test_one_document_describes_all_that_answers(tmp_path: Path) -> None:
    document = json.loads((await ask(bank_of(tmp_path, ledger(), payments()), "/openapi.json")).body)
    assert document["openapi"].startswith("3.1")
    served_paths = {"/api/ledger/account", "/api/payments/account", "/health", "/metrics", "/"}
    assert served_paths <= set(document["paths"])
    assert not [path for path in document["paths"] if path.startswith("/internal/")]
    schemas = document["components"]["schemas"]
    assert set(schemas["Account"]["properties"]) == {"id"}
    assert set(schemas["PaymentsAccount"]["properties"]) == {"id", "debtor"}
    answer = document["paths"]["/api/payments/account"]["get"]["responses"]["200"]
    assert answer["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/PaymentsAccount"}
    default = document["paths"]["/api/ledger/account"]["get"]["responses"]["default"]
    assert default["content"]["application/problem+json"]["schema"] == {"$ref": "#/components/schemas/Problem"}
    references = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(document)))
    assert references <= set(schemas)
    assert "HTTPValidationError" not in schemas


async def test_every_route_is_in_the_table_and_on_the_front_page(tmp_path: Path) -> None:
    bank = bank_of(tmp_path, ledger(), payments())
    table = bank.route_table()
    assert {"/", "/health", "/health/live", "/health/ready", "/metrics", "/openapi.json"} <= {row.path for row in table}
    assert all(re.fullmatch(r"(bank|ledger|payments):[A-Z]\w+", row.action) for row in table)
    page = await ask(bank, "/")
    html = page.body.decode()
    for row in table:
        shown = f"<code>{row.path}</code></td><td><code>{row.action}</code>" in html
        assert shown is not row.path.startswith("/internal/")


async def test_the_front_page_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    page = await ask(bank_of(tmp_path, ledger()), "/")
    html = page.body.decode()
    style = html.split("<style>")[1].split("</style>")[0]
    digest = b64encode(sha256(style.encode()).digest()).decode()
    policy = page.headers["content-security-policy"]
    assert f"style-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert not re.search(r"<script|<link|<img|style=|url\(|\son\w+=", html)
    assert "prefers-color-scheme: dark" in style


async def test_the_front_page_shows_the_address_by_which_it_was_reached_and_nothing_else(tmp_path: Path) -> None:
    bank = bank_of(tmp_path, ledger())

    async def page(host: str) -> str:
        async def reached(scope: Any, receive: Any, send: Any) -> None:
            await bank.app(scope | {"headers": [(b"host", host.encode())]}, receive, send)

        return (await MemoryTransport(reached).send(Request("GET", "/"))).body.decode()

    assert "curl http://bank.example:8443/health" in await page("bank.example:8443")
    hostile = await page('"><script>alert(1)</script>')
    assert "<script" not in hostile
    assert "curl http://localhost:8000/health" in hostile


async def test_every_problem_is_explained_at_the_address_of_its_type(tmp_path: Path) -> None:
    bank = bank_of(tmp_path, ledger())
    told = problem(await ask(bank, "/nothing-here", "GET"))
    assert told.type == "/problems/no-such-path"
    for kind in (
        "/problems/forbidden",
        "/problems/idempotency-key-reused",
        "/problems/unsupported-media-type",
        told.type,
    ):
        explained = await ask(bank, kind)
        assert explained.status == 200, kind
        assert json.loads(explained.body)["advice"]
    assert (await ask(bank, "/problems/nonsense")).status == 404


async def test_metrics_are_for_the_operator_and_for_this_machine(tmp_path: Path) -> None:
    bank = bank_of(tmp_path, ledger())
    desk = Desk(bank.app, tmp_path)
    assert (await desk.ask("GET", "/metrics")).status == 401
    assert b"latticebank_build_info" in (await desk.ask("GET", "/metrics", operator=True)).body
    async with served(bank.app) as url:
        here = HttpTransport(url)
        assert (await here.send(Request("GET", "/metrics"))).status == 200
        for header in ({"X-Forwarded-For": "192.0.2.1"}, {"Forwarded": "for=192.0.2.1"}, {"Host": "evil.example"}):
            assert (await here.send(Request("GET", "/metrics", header))).status == 401
        await here.aclose()


def test_a_bank_whose_policies_do_not_fit_its_routes_is_not_composed(tmp_path: Path) -> None:
    with pytest.raises(InvalidPolicy, match="ledger:Raed"):
        bank_of(tmp_path, ledger(policies='permit (principal, action == Action::"ledger:Raed", resource);'))


def test_only_services_that_exist_are_composed(tmp_path: Path) -> None:
    with pytest.raises(UnknownService, match="loans"):
        bank_of(tmp_path, ledger(), here=["ledger", "loans"])


@pytest.mark.parametrize("claims", ["/api/ledger/", "/api/ledger/accounts/", "/health/", "/api/", "/api/pay", "/"])
def test_services_do_not_claim_what_is_not_theirs(tmp_path: Path, claims: str) -> None:
    greedy = service_of(name="payments", prefixes=(claims,), policies="")
    with pytest.raises(UnfitService):
        bank_of(tmp_path, ledger(), greedy)


def test_the_policy_of_the_bank_is_that_of_the_services_here(tmp_path: Path) -> None:
    absent = payments(policies=ANYONE_READS % "payments")
    bank = bank_of(tmp_path, ledger(), absent, here=["ledger"])
    assert {row.action for row in bank.route_table()}.isdisjoint({"payments:Read"})
