"""An unsafe call carries its caller's name for it, so that it happens at most once."""

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from latticebank.kernel.http import IdempotencyKey, IdempotencyKeyReused, Router, permit
from tests.kernel.serving import KEY, Desk, context_in, desk_of, problem, service_of


def router_of_orders() -> Router:
    router = Router(prefix="/api/ledger", dependencies=[permit("ledger:Read")])
    placed: dict[UUID, Any] = {}

    @router.post("/orders")
    async def order(key: IdempotencyKey, body: dict[str, Any]) -> dict[str, str]:
        if placed.setdefault(key, body) != body:
            raise IdempotencyKeyReused
        return {"id": str(key)}

    return router


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return desk_of(service_of(router_of_orders()), tmp_path)


async def test_the_key_is_the_id_of_the_command(desk: Desk) -> None:
    response = await desk.ask("POST", "/api/ledger/orders", b"{}", idempotency_key=KEY)
    assert response.body == b'{"id":"%s"}' % KEY.encode()


async def test_the_same_key_and_body_get_the_same_answer_and_another_body_is_refused(desk: Desk) -> None:
    first = await desk.ask("POST", "/api/ledger/orders", b'{"a": 1}', idempotency_key=KEY)
    again = await desk.ask("POST", "/api/ledger/orders", b'{"a": 1}', idempotency_key=KEY)
    other = await desk.ask("POST", "/api/ledger/orders", b'{"a": 2}', idempotency_key=KEY)
    assert (again.status, again.body) == (first.status, first.body)
    told = problem(other)
    assert (told.status, told.code, told.field) == (422, "idempotency-key-reused", "Idempotency-Key")


async def test_a_call_without_a_key_is_told_which_header_it_lacks(desk: Desk) -> None:
    told = problem(await desk.ask("POST", "/api/ledger/orders", b"{}"))
    assert (told.status, told.field) == (400, "Idempotency-Key")


@pytest.mark.parametrize(
    "key", ["", "1", KEY.upper(), KEY.replace("-", ""), "{" + KEY + "}", KEY + "0", "x" * 3000, "é"]
)
async def test_a_malformed_key_is_refused(desk: Desk, key: str) -> None:
    told = problem(await desk.ask("POST", "/api/ledger/orders", b"{}", idempotency_key=key))
    assert (told.status, told.field) == (400, "Idempotency-Key")


def test_the_interface_says_that_the_key_is_required(tmp_path: Path) -> None:
    service = service_of(router_of_orders())
    operation = service.build(context_in(tmp_path, service)).openapi()["paths"]["/api/ledger/orders"]["post"]
    [parameter] = operation["parameters"]
    assert (parameter["name"], parameter["in"], parameter["required"]) == ("Idempotency-Key", "header", True)
    assert parameter["schema"]["format"] == "uuid"
