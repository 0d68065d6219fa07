"""Health says whether the bank is well and which component is not, quickly, and never why."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from latticebank.kernel.http.health import FRESH_SECONDS, Health


class Component:
    """A component that is well until told otherwise."""

    def __init__(self) -> None:
        self.asked = 0
        self.fails_with: BaseException | None = None
        self.seconds = 0.0

    async def __call__(self) -> None:
        self.asked += 1
        await asyncio.sleep(self.seconds)
        if self.fails_with is not None:
            raise self.fails_with


@pytest.fixture
def database() -> Component:
    return Component()


@pytest.fixture
def health(database: Component) -> Health:
    bus: Callable[[], Awaitable[None]] = Component()
    health = Health(lambda: {"ledger": {"database": database, "bus": bus}, "payments": {}})
    health.started = True
    return health


async def test_all_is_well(health: Health) -> None:
    report = await health.report()
    assert (report.status, report.live, report.ready) == ("ok", True, True)
    assert report.components == {"ledger": {"database": "ok", "bus": "ok"}, "payments": {}}


async def test_a_component_that_is_down_is_named_and_the_reason_kept_back(health: Health, database: Component) -> None:
    database.fails_with = ConnectionError("postgresql://bank:hunter2@10.0.0.7/ledger")
    report = await health.report()
    assert (report.status, report.live, report.ready) == ("down", True, False)
    assert report.components["ledger"] == {"database": "down", "bus": "ok"}
    assert "10.0.0.7" not in report.model_dump_json()


async def test_a_bank_that_starts_or_stops_is_not_ready(health: Health) -> None:
    health.started = False
    report = await health.report()
    assert (report.status, report.ready) == ("down", False)


async def test_components_are_asked_once_while_what_they_said_is_fresh(
    health: Health, database: Component, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert FRESH_SECONDS == 1
    monkeypatch.setattr("latticebank.kernel.http.health.FRESH_SECONDS", 60)
    database.seconds = 0.05
    await asyncio.gather(*(health.report() for _ in range(100)))
    await health.report()
    assert database.asked == 1


async def test_a_component_that_does_not_answer_is_down(
    health: Health, database: Component, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("latticebank.kernel.http.health.CHECK_SECONDS", 0.05)
    database.seconds = 30
    report = await health.report()
    assert report.components["ledger"]["database"] == "down"


async def test_who_waits_until_all_is_well_is_told_when_it_is_and_not_kept_for_ever(
    health: Health, database: Component
) -> None:
    database.fails_with = ConnectionError()
    assert not await health.until_well(0.05)
    waiting = asyncio.create_task(health.until_well(60))
    await asyncio.sleep(0)
    assert not waiting.done()
    database.fails_with = None
    assert await waiting
