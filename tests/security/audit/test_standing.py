"""The log never says less, or other, than it has said: after a restore, a fork, a lost memory it stands still."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import psycopg
import pytest

from latticebank.crypto.checkpoints import Checkpoint
from latticebank.kernel.events import Event
from latticebank.kernel.kept_apart import KeptApart
from latticebank.kernel.transports import ServiceUnavailable
from latticebank.security.audit.model.standing import (
    LogHalted,
    Remembered,
    line_of,
    remembered_in,
    require_growth,
    require_same,
)
from latticebank.security.audit.service.beginning import LogStillSound, begin_anew
from latticebank.security.audit.service.foundation import PUBLISHED
from latticebank.security.audit.service.standing import Standing
from latticebank.security.audit.store.tree import Log
from tests.banking.payments.counter import ok
from tests.clocks import MovingClock
from tests.security.audit.hall import Hall, old_copy, open_hall, root
from tests.security.identity.people import said


def kept(folder: Path) -> list[Remembered]:
    return [msgspec.json.decode(line, type=Remembered) for line in KeptApart([folder / "kept"], PUBLISHED).lines()]


async def status(hall: Hall) -> dict[str, object]:
    return said(await hall.audit("/status", "operator"))


async def halted(hall: Hall) -> None:
    """Wait until the log stands still; it never became ready."""
    async with asyncio.timeout(60):
        while (await status(hall))["refusal"] is None:  # noqa: ASYNC110 - nobody rings
            await asyncio.sleep(0.05)
    assert not hall.log.status._standing.ready.is_set()


async def failure(caplog: pytest.LogCaptureFixture, of: str = "") -> None:
    """Wait until work in the background, by its name, fails once more than it has."""

    def failures() -> int:
        told = (record for record in caplog.records if record.name == "latticebank.kernel.worker")
        return sum(of in record.getMessage() for record in told)

    before = failures()
    async with asyncio.timeout(60):
        while failures() == before:  # noqa: ASYNC110 - nobody rings
            await asyncio.sleep(0.02)


async def grow(hall: Hall) -> int:
    """Let something happen, and return the size of the published log after it."""
    await hall.open("EUR")
    return (await hall.integrated()).size


async def test_what_is_signed_was_remembered_outside_of_the_database(hall: Hall, tmp_path: Path) -> None:
    size = await grow(hall)
    [remembered] = kept(tmp_path / "bank")
    checkpoint = await hall.checkpoint()
    assert (remembered.origin, remembered.size, remembered.root) == (checkpoint.origin, size, checkpoint.root.hex())


async def test_a_log_from_an_old_backup_stands_still_and_says_how_to_go_on(
    urls: dict[str, str], clock: MovingClock, tmp_path: Path
) -> None:
    async with open_hall(urls, tmp_path / "bank", clock) as hall:
        await hall.is_open()
        size = await grow(hall)
    older = old_copy(urls["audit"])
    async with open_hall(urls, tmp_path / "bank", clock) as hall:
        await hall.is_open()
        assert await grow(hall) > size
        published = (await hall.checkpoint()).size
    async with open_hall({**urls, "audit": older}, tmp_path / "bank", clock) as hall:
        await hall.is_open()
        await hall.open("EUR")
        await halted(hall)
        assert hall.rows("SELECT size FROM logs", database="audit") == [(size,)], "nothing was appended"
        assert hall.rows("SELECT max(size) FROM checkpoints", database="audit") == [(size,)], "nothing was signed"
        told = await status(hall)
        assert told["refusal"] == f"the log in the database has {size} leaves, and {published} were published"
        with pytest.raises(LogHalted) as caught:
            hall.log.status._standing.require()
        assert "latticebank restore" in str(caught.value.hint)
        assert "begin-anew" in str(caught.value.hint)


async def test_other_leaves_under_a_published_size_are_a_fork(
    hall: Hall, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    size = await grow(hall)
    said_before = Remembered("bank.test/log", size, "00" * 32)
    KeptApart([tmp_path / "bank" / "kept"], PUBLISHED).replace([line_of(said_before)])
    standing = hall.log.status._standing
    with pytest.raises(LogHalted, match="not those that were published"):
        await standing.examine()
    before = hall.rows("SELECT size FROM logs", database="audit")
    await hall.open("EUR")
    await failure(caplog, "latticebank.ledger")
    assert hall.rows("SELECT size FROM logs", database="audit") == before


async def test_a_database_that_is_set_back_under_a_running_bank_is_noticed_before_anything_is_signed(
    hall: Hall,
) -> None:
    await hall.integrated()
    tables = ("logs", "tiles", "bundles", "openings", "checkpoints", "devices", "consumer_offsets", "spans", "gaps")
    for table in tables:
        hall.write(f"CREATE TABLE {table}_before AS SELECT * FROM {table}", database="audit")
    await grow(hall)
    published = await grow(hall)
    for table in tables:
        hall.write(
            f"ALTER TABLE {table} DISABLE TRIGGER USER; DELETE FROM {table};"
            f"INSERT INTO {table} SELECT * FROM {table}_before; ALTER TABLE {table} ENABLE TRIGGER USER",
            database="audit",
        )
    await hall.open("EUR")
    async with asyncio.timeout(60):
        while (await status(hall))["refusal"] is None:  # noqa: ASYNC110 - nobody rings
            await asyncio.sleep(0.05)
    with pytest.raises(LogHalted):
        await hall.log.background._publish()
    [(size, shown)] = hall.rows("SELECT size, (SELECT size FROM checkpoints) FROM logs", database="audit")
    assert shown <= size < published


async def test_one_connection_suffices(urls: dict[str, str], clock: MovingClock, tmp_path: Path) -> None:
    async with open_hall(urls, tmp_path / "bank", clock, pool_size=1) as hall:
        await hall.is_open()
        await hall.open_counter()
        ada, bob = await hall.customer("ada"), await hall.customer("bob")
        ok(await hall.pay(ada, bob))
        await hall.integrated()
        assert len(await hall.kinds("payment.posted")) == 1


async def test_a_new_log_begins_by_naming_the_last_word_of_the_old_one(hall: Hall, tmp_path: Path) -> None:
    size = await grow(hall)
    old = await hall.checkpoint()
    base = hall.log.foundation
    with pytest.raises(LogStillSound):
        await begin_anew(base.database, base.book, base.bank, base.kept, base.now())
    begun = await begin_anew(base.database, base.book, base.bank, base.kept, base.now(), though_sound=True)
    assert begun.origin == "bank.test/log/2"
    async with asyncio.timeout(60):
        while not hall.rows("SELECT 1 FROM checkpoints WHERE log = 2", database="audit"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await hall.open("EUR")
    async with asyncio.timeout(60):
        while (await status(hall))["waiting"] or (await status(hall))["size"] == 1:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    first, *others = await hall.records()
    assert first["kind"] == "log.begun"
    assert (first["previous"], first["previous_size"]) == ("bank.test/log", str(size))
    assert first["previous_root"] == old.root.hex()
    assert "account.opened" in {record["kind"] for record in others}
    assert {each.origin for each in kept(tmp_path / "bank")} == {"bank.test/log", "bank.test/log/2"}


async def test_an_intruder_cannot_shorten_or_change_the_log(hall: Hall) -> None:
    await grow(hall)
    for statement in (
        "UPDATE logs SET size = size - 1",
        "UPDATE logs SET root = sha256('')",
        "DELETE FROM logs",
        "DELETE FROM tiles",
        "UPDATE tiles SET content = sha256('') WHERE level = 0",
        "UPDATE bundles SET content = substring(content FOR 33)",
        "UPDATE openings SET sealed = ''",
        "DELETE FROM openings",
        "DELETE FROM checkpoints",
        "UPDATE checkpoints SET note = ''",
        "TRUNCATE checkpoints",
    ):
        with pytest.raises(psycopg.errors.RaiseException):
            hall.write(statement, database="audit")


async def test_tiles_changed_past_the_guards_are_noticed_before_anything_is_appended(
    urls: dict[str, str], clock: MovingClock, tmp_path: Path
) -> None:
    async with open_hall(urls, tmp_path / "bank", clock) as hall:
        await hall.is_open()
        size = await grow(hall)
        hall.write("ALTER TABLE tiles DISABLE TRIGGER only_grows", database="audit")
        hall.write(
            "UPDATE tiles SET content = overlay(content PLACING sha256('x') FROM 1) WHERE level = 0", database="audit"
        )
    async with open_hall(urls, tmp_path / "bank", clock) as hall:
        await hall.is_open()
        await hall.open("EUR")
        await halted(hall)
        assert hall.rows("SELECT size FROM logs", database="audit") == [(size,)]


async def test_every_step_of_the_log_can_be_broken_off(hall: Hall, caplog: pytest.LogCaptureFixture) -> None:
    ada, bob = await hall.customer("ada", "500.00"), await hall.customer("bob")
    views = []
    for table in ("openings", "tiles", "bundles", "spans", "checkpoints", "consumer_offsets"):
        with hall.out_of_order("audit", table):
            views.append(ok(await hall.pay(ada, bob, "1.00")))
            await hall.register(f"friend-{table.replace('_', '-')}")
            await failure(caplog)
    checkpoint = await hall.integrated()
    assert sorted(each["payment"] for each in await hall.kinds("payment.posted")) == sorted(v["id"] for v in views)
    assert root(await hall.leaves(checkpoint.size)) == checkpoint.root


async def unhealthy(hall: Hall) -> str | None:
    """What the health of the bank hears of what the log takes in; None if all is well."""
    try:
        await hall.log.intake.check()
    except ServiceUnavailable as why:
        return why.detail
    return None


async def test_an_event_that_the_log_does_not_know_stops_its_topic_and_is_seen(hall: Hall) -> None:
    await hall.integrated()
    event = Event(
        hall.ids(), "/latticebank/payments", "latticebank.payments.news.v1", hall.clock.now(), "x", "x", "x",
        "application/json", b"{}",
    )  # fmt: skip
    await hall.log.foundation.bus.append([event])
    ada, bob = await hall.customer("ada"), await hall.customer("bob")
    ok(await hall.pay(ada, bob))
    async with asyncio.timeout(60):
        while (why := await unhealthy(hall)) is None:  # noqa: ASYNC110 - nobody rings
            await asyncio.sleep(0.05)
    assert "latticebank.payments" in why
    assert await hall.kinds("payment.posted") == []
    assert await hall.kinds("user.registered", user=str(ada.user))


async def test_processes_that_remember_at_once_forget_nothing(hall: Hall, tmp_path: Path) -> None:
    processes = [Standing(hall.log.foundation) for _ in range(3)]
    log = Log(7, "bank.test/log/7", 100, b"")
    remembering = [
        processes[size % 3].remember(log, Checkpoint(log.origin, size, size.to_bytes(32))) for size in range(1, 101)
    ]
    refused = [each for each in await asyncio.gather(*remembering, return_exceptions=True) if each is not None]
    assert {type(each) for each in refused} <= {LogHalted}, "whoever is told late of a larger tree signs nothing"
    assert [each.size for each in kept(tmp_path / "bank") if each.origin == log.origin] == [100]


async def test_no_tree_is_signed_below_or_against_what_another_process_remembers(hall: Hall) -> None:
    one, other = Standing(hall.log.foundation), Standing(hall.log.foundation)
    log = Log(7, "bank.test/log/7", 100, b"")
    await one.remember(log, Checkpoint(log.origin, 100, b"1" * 32))
    await other.remember(log, Checkpoint(log.origin, 100, b"1" * 32))
    for size, root_ in ((99, b"0" * 32), (100, b"2" * 32)):
        with pytest.raises(LogHalted):
            await other.remember(log, Checkpoint(log.origin, size, root_))


def test_the_furthest_word_counts_whichever_folder_has_it() -> None:
    lines = [line_of(Remembered("a", 5, "55")), line_of(Remembered("a", 7, "77")), line_of(Remembered("b", 1, "11"))]
    for order in (lines, lines[::-1]):
        assert remembered_in(order)["a"] == Remembered("a", 7, "77")


@pytest.mark.parametrize(
    "refused",
    [
        lambda: remembered_in([b"{"]),
        lambda: remembered_in([b"[" * 4_000]),
        lambda: remembered_in([b"\xff"]),
        lambda: remembered_in([line_of(Remembered("a", -1))]),
        lambda: require_growth(
            9, remembered_in([line_of(Remembered("a", 7, "77")), line_of(Remembered("a", 7, "78"))])["a"]
        ),
        lambda: require_growth(6, Remembered("a", 7)),
        lambda: require_same(b"\x00" * 32, Remembered("a", 7, "77" * 32)),
    ],
    ids=[
        "no line",
        "nested too deeply",
        "no text",
        "a size below nothing",
        "two trees of one size",
        "fewer leaves",
        "another root",
    ],
)
def test_whatever_does_not_fit_stops_the_log(refused: Callable[[], object]) -> None:
    with pytest.raises(LogHalted):
        refused()
