"""A service that starts under another configuration than before tells so, and never to what."""

import asyncio
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from pydantic import SecretStr

from latticebank import __version__
from latticebank.kernel import configuration
from latticebank.kernel.configuration import LEFT_OUT, ConfigurationChanged, setting_digests, tell_of_changes
from latticebank.kernel.database import Database
from latticebank.kernel.events import Event
from latticebank.kernel.outbox import events_of
from latticebank.kernel.settings import Settings
from latticebank.values.clock import SystemClock
from latticebank.values.ids import Uuid7Source

POLICY = 'permit (principal, action == Action::"ledger:Read", resource);'
EVERYTHING = [*sorted(setting_digests(Settings())), "policy", "version"]


async def start(database: Database, service: str = "ledger", policies: str = POLICY, **settings: object) -> None:
    """Start a service under these settings."""
    clock = SystemClock()
    await tell_of_changes(database, service, policies, Settings(**settings), clock, Uuid7Source(clock))  # type: ignore[arg-type]


async def told(database: Database) -> list[tuple[Event, ConfigurationChanged]]:
    """The events of the outbox, in order."""
    async with database.read() as connection:
        rows = (await connection.exec_driver_sql("SELECT events FROM outbox ORDER BY id")).scalars()
        events = [event for row in rows for event in events_of(row)]
    return [(event, msgspec.json.decode(event.data, type=ConfigurationChanged)) for event in events]


async def changes(database: Database) -> list[list[str]]:
    return [change.changed for _, change in await told(database)]


async def test_the_first_start_tells_everything_and_a_start_alike_nothing(database: Database) -> None:
    for _ in range(3):
        await start(database)
    [(event, change)] = await told(database)
    assert (event.type, event.topic) == ("latticebank.ledger.configuration-changed.v1", "latticebank.ledger")
    assert (change.service, change.version, change.changed) == ("ledger", __version__, EVERYTHING)


async def test_a_start_names_what_changed_since_the_last_one(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await start(database)
    await start(database, payment_limit="5", daily_limit="7")
    await start(database, policies="", payment_limit="5", daily_limit="7")
    monkeypatch.setattr(configuration, "__version__", "99.0")
    await start(database, policies="", payment_limit="5")
    assert (await changes(database))[1:] == [["daily_limit", "payment_limit"], ["policy"], ["daily_limit", "version"]]
    assert [change.policy for _, change in await told(database)][1] != (await told(database))[2][1].policy


async def test_a_setting_that_comes_or_goes_with_a_version_is_a_change(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await start(database)
    monkeypatch.setattr(configuration, "LEFT_OUT", LEFT_OUT | {"currency"})
    await start(database)
    monkeypatch.undo()
    await start(database)
    assert (await changes(database))[1:] == [["currency"], ["currency"]]


async def test_each_service_has_its_own_configuration(database: Database) -> None:
    await start(database)
    await start(database, "payments")
    await start(database, "payments", payment_limit="5")
    await start(database)
    assert [change.service for _, change in await told(database)] == ["ledger", "payments", "payments"]


async def test_of_processes_that_start_together_one_tells(database: Database) -> None:
    for limit in ("5", "7"):
        await asyncio.gather(*(start(database, payment_limit=limit) for _ in range(4)))
    assert await changes(database) == [EVERYTHING, ["payment_limit"]]


async def test_where_a_process_listens_is_no_change(database: Database) -> None:
    await start(database)
    await start(database, host="::1", port=9, log_level="debug")
    assert len(await told(database)) == 1


async def test_nothing_that_is_told_or_stored_comes_from_a_secret(database: Database, tmp_path: Path) -> None:
    url = "postgresql://u:hunter2@localhost/ledger"
    for passphrase in ("kettle", "bridge"):
        await start(database, kek_passphrase=passphrase, database_urls={"ledger": url}, data=tmp_path)
    assert len(await told(database)) == 1
    async with database.read() as connection:
        [row] = (await connection.exec_driver_sql("SELECT settings FROM configurations")).scalars()
    assert set(row) == set(Settings.model_fields) - LEFT_OUT
    assert all(len(digest) == 64 for digest in row.values())
    # Whoever adds a secret setting has to leave it out here.
    secret = {name for name, each in Settings.model_fields.items() if _holds_a_secret(each.annotation)}
    assert secret == {"kek_passphrase", "database_urls"}
    assert secret <= LEFT_OUT


def _holds_a_secret(annotation: object) -> bool:
    return annotation is SecretStr or any(map(_holds_a_secret, get_args(annotation)))
