"""Whether the bank lives, whether it is ready, and which of its components is not: no names, addresses or messages.

Components are asked at most once in a second, however often callers ask, and each has a bounded time to answer.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Literal

import structlog
from fastapi import Depends, Response
from pydantic import BaseModel, ConfigDict

from latticebank import __version__
from latticebank.kernel.http.permission import permit
from latticebank.kernel.http.routes import Router
from latticebank.kernel.telemetry import METRICS_MEDIA_TYPE, Metrics
from latticebank.kernel.transports.interface import ServiceUnavailable

FRESH_SECONDS = 1.0
CHECK_SECONDS = 2.0
_PAUSE_SECONDS = 0.02

State = Literal["ok", "down"]
Checks = Mapping[str, Callable[[], Awaitable[None]]]


class HealthReport(BaseModel):
    """The state of the bank in this process."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "status": "ok",
                    "live": True,
                    "ready": True,
                    "version": __version__,
                    "components": {"ledger": {"database": "ok"}},
                }
            ]
        }
    )

    status: State
    live: bool
    ready: bool
    version: str
    components: dict[str, dict[str, State]]


class Health:
    """Asks the components of every service. `started` is set while the bank serves: before and after it is not ready."""

    def __init__(self, checks: Callable[[], Mapping[str, Checks]]) -> None:
        self._checks = checks
        self.further: dict[str, Checks] = {}
        """Components that are no service's, by what they belong to."""
        self._lock = asyncio.Lock()
        self._components: dict[str, dict[str, State]] = {}
        self._asked_at = float("-inf")
        self.started = False

    async def report(self) -> HealthReport:
        """Return the present state, at most a second old."""
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if now - self._asked_at >= FRESH_SECONDS:
                self._components = await self._ask()
                self._asked_at = asyncio.get_running_loop().time()
        ready = self.started and _all_well(self._components)
        return HealthReport(
            status="ok" if ready else "down",
            live=True,
            ready=ready,
            version=__version__,
            components=self._components,
        )

    async def until_well(self, seconds: float) -> bool:
        """Wait until every component is well, at most so many seconds; whether it came to that."""
        expires = asyncio.get_running_loop().time() + seconds
        while not _all_well(await self._ask(telling=False)):
            if asyncio.get_running_loop().time() >= expires:
                return False
            await asyncio.sleep(_PAUSE_SECONDS)
        return True

    async def _ask(self, *, telling: bool = True) -> dict[str, dict[str, State]]:
        asked = {**self._checks(), **self.further}
        named = [(service, name, check) for service, checks in asked.items() for name, check in checks.items()]
        states = await asyncio.gather(
            *(self._state(service, name, check, telling=telling) for service, name, check in named)
        )
        components: dict[str, dict[str, State]] = {service: {} for service in asked}
        for (service, name, _), state in zip(named, states, strict=True):
            components[service][name] = state
        return components

    async def _state(self, service: str, name: str, check: Callable[[], Awaitable[None]], *, telling: bool) -> State:
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                await check()
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a component, it is down
            if telling:
                structlog.get_logger().warning("component down", service=service, component=name, reason=repr(error))
            return "down"
        return "ok"


def _all_well(components: Mapping[str, Mapping[str, State]]) -> bool:
    return all(state == "ok" for component in components.values() for state in component.values())


def health_router(health: Health) -> Router:
    """Return the routes by which others see whether the bank is well."""
    router = Router(prefix="/health", tags=["health"], dependencies=[permit("bank:ReadHealth")])
    down = {"model": HealthReport, "description": "A component is down, or the bank starts or stops"}

    @router.get("", summary="The state of the bank and of its components", responses={503: down})
    async def read_health(response: Response) -> HealthReport:
        report = await health.report()
        response.status_code = 200 if report.ready else 503
        return report

    @router.get("/live", summary="Whether the process answers at all")
    async def read_live() -> dict[str, bool]:
        return {"live": True}

    @router.get("/ready", summary="Whether requests can be served: 503 while a component is down")
    async def read_ready(report: Annotated[HealthReport, Depends(health.report)]) -> dict[str, bool]:
        if not report.ready:
            raise ServiceUnavailable("a component is down, or the bank starts or stops", hint="see /health for which")
        return {"ready": True}

    return router


def metrics_router(metrics: Metrics) -> Router:
    """Return the route by which Prometheus collects."""
    router = Router(tags=["health"], dependencies=[permit("bank:ReadMetrics")])

    @router.get("/metrics", summary="Counters and latencies for Prometheus", response_class=Response)
    async def read_metrics() -> Response:
        return Response(metrics.render(), headers={"Content-Type": METRICS_MEDIA_TYPE})

    return router
