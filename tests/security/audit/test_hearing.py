"""What was told is never skipped: a bus that was set back, alone, stops the log instead of being followed."""

import asyncio

import pytest

from latticebank.kernel.bus import EventsMissing
from latticebank.kernel.settings import BUS
from tests.security.audit.hall import Hall
from tests.security.identity.people import said

TOPIC = "latticebank.ledger"


def copy(hall: Hall, name: str) -> None:
    """Back up what the bus has of the ledger."""
    for table in ("events", "topics"):
        hall.write(f"CREATE TABLE {table}_{name} AS SELECT * FROM {table} WHERE topic = '{TOPIC}'", database=BUS)


def bring_back(hall: Hall, name: str) -> None:
    """Bring what the bus has of the ledger, and nothing else, back to what it was."""
    hall.write(
        f"DELETE FROM topics WHERE topic = '{TOPIC}'; DELETE FROM events WHERE topic = '{TOPIC}';"
        f"INSERT INTO topics SELECT * FROM topics_{name}; INSERT INTO events SELECT * FROM events_{name}",
        database=BUS,
    )


async def stuck(hall: Hall) -> list[dict[str, str]]:
    found: list[dict[str, str]] = said(await hall.audit("/status", "operator"))["stuck"]
    return found


async def test_a_bus_that_was_set_back_is_told_of_at_once_and_for_good(hall: Hall) -> None:
    await hall.integrated()
    copy(hall, "old")
    for _ in range(3):
        await hall.open("EUR")
    await hall.integrated()
    copy(hall, "new")
    logged = len(await hall.kinds("ledger.batch"))
    bring_back(hall, "old")
    [told] = await stuck(hall)
    assert told["topic"] == TOPIC
    assert "latticebank restore" in told["reason"]
    for _ in range(5):  # past what the log has taken in
        await hall.open("EUR")
    async with asyncio.timeout(60):
        while hall.rows("SELECT 1 FROM outbox", database="ledger"):  # noqa: ASYNC110 - nobody rings
            await asyncio.sleep(0.05)
        while (await hall.bank.health.report()).components["audit"]["intake"] != "down":  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    with pytest.raises(EventsMissing, match=TOPIC):
        await hall.log.intake.check()
    [told] = await stuck(hall)
    assert "another event at offset" in told["reason"]
    assert await hall.measured("latticebank_log_stuck_topics") == 1
    assert len(await hall.kinds("ledger.batch")) == logged, "nothing after the hole was taken in"

    bring_back(hall, "new")
    assert await stuck(hall) == []
    async with asyncio.timeout(60):
        while (await hall.bank.health.report()).components["audit"]["intake"] != "ok":  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_the_other_topics_go_on_meanwhile(hall: Hall) -> None:
    await hall.integrated()
    copy(hall, "old")
    await hall.open("EUR")
    await hall.integrated()
    bring_back(hall, "old")
    ada = await hall.register("ada")
    async with asyncio.timeout(60):
        while not await hall.kinds("user.registered", user=str(ada.user)):  # noqa: ASYNC110 - nobody rings
            await asyncio.sleep(0.05)
    assert [each["topic"] for each in await stuck(hall)] == [TOPIC]
