"""Requests are counted by the template of their route, so that no caller can make the counters grow."""

import asyncio
from pathlib import Path

from latticebank.kernel.http import Router, permit
from latticebank.kernel.telemetry import Metrics
from tests.kernel.serving import Desk, context_in, service_of


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


async def test_requests_are_counted_by_route_and_status(tmp_path: Path) -> None:
    router = Router(prefix="/api/ledger", dependencies=[permit("ledger:Read")])
    holding = asyncio.Event()

    @router.get("/accounts/{number}")
    async def account(number: int) -> None: ...

    @router.get("/hold")
    async def hold() -> None:
        await holding.wait()

    service = service_of(router)
    context = context_in(tmp_path, service)
    desk, metrics = Desk(service.build(context), tmp_path), context.metrics
    for number in range(3):
        await desk.ask("GET", f"/api/ledger/accounts/{number}")
        await desk.ask("GET", f"/api/ledger/nothing/{number}")
        await desk.ask(f"METHOD{number}", f"/api/ledger/nothing/{number}")
    await desk.ask("GET", "/api/ledger/accounts/x")
    await desk.ask("GET", "/api/ledger/accounts/1", authorization="Bearer x")

    route = {"service": "ledger", "method": "GET", "route": "/api/ledger/accounts/{number}"}
    nowhere = {"service": "ledger", "route": "(none)"}
    assert value(metrics, "latticebank_requests_total", **route, status="200") == 3
    assert value(metrics, "latticebank_requests_total", **route, status="400") == 1
    assert value(metrics, "latticebank_requests_total", **nowhere, method="GET", status="404") == 3
    assert value(metrics, "latticebank_requests_total", **nowhere, method="OTHER", status="404") == 3
    assert value(metrics, "latticebank_request_seconds_count", **route) == 4
    assert value(metrics, "latticebank_credentials_refused_total") == 1

    held = [asyncio.create_task(desk.ask("GET", "/api/ledger/hold")) for _ in range(3)]
    async with asyncio.timeout(60):
        while value(metrics, "latticebank_requests_in_flight", service="ledger") != 3:  # noqa: ASYNC110 - nobody rings
            await asyncio.sleep(0.01)
    holding.set()
    await asyncio.gather(*held)
    assert value(metrics, "latticebank_requests_in_flight", service="ledger") == 0


def test_two_banks_in_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.refused_credentials.inc()
    assert value(other, "latticebank_credentials_refused_total") == 0
    assert b"latticebank_build_info" in one.render()
