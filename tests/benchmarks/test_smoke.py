"""Each benchmark runs at a tiny size and counts what it did. None asserts a time: that is what benchmarks are for."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from benchmarks import books, ledger, report
from benchmarks.accounting import cpu_of, cpu_of_server, memory_of, memory_of_server
from benchmarks.large import OtherBank, Size, grow, transfers_at
from benchmarks.server import Server
from latticebank.runtime.postgres import EmbeddedPostgres

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the benchmarks read /proc")

TINY = ledger.Plan(
    accounts=200,
    sizes=(1, 50),
    rounds=2,
    rates=(500,),
    transfers=200,
    streamed=200,
    pgbench_seconds=1,
    pgbench_scale=1,
)


def silent(_: str) -> None:
    """Tell nobody."""


def counted(rows: list[dict[str, Any]]) -> dict[str, tuple[int, int]]:
    return {row["variant"]: (row["transfers"], row["refused"]) for row in rows}


async def test_the_ledger_is_measured_in_every_variant(tmp_path: Path) -> None:
    document = await ledger.measure(TINY, None, silent)
    rows = counted(document["rows"])
    assert rows.pop(ledger.YARDSTICK)[0] > 0
    assert rows.pop("1 % rejected, batches of 50") == (400, 4)
    assert len(rows) == 6
    assert set(rows.values()) == {(400, 0)}
    assert counted(document["processes"]) == {
        "one process, batches of 50": (400, 0),
        "two processes, one shard, batches of 50": (800, 0),
        "two processes, a shard each, batches of 50": (800, 0),
    }
    assert all(row["to_pgbench"] > 0 for row in document["rows"])
    assert document["memory"][0]["rss"] > 0
    report.write(document, tmp_path / "figures.json")
    assert msgspec.json.decode((tmp_path / "figures.json").read_bytes()) == msgspec.to_builtins(document)


async def test_an_import_is_measured_both_ways(tmp_path: Path) -> None:
    document = await books.measure(500, 1, silent)
    assert [row["rows"] for row in document["imports"]] == [500, 500]
    report.write(document, tmp_path / "figures.json")


async def test_a_large_bank_is_built_once_and_no_other_bank_is_built_upon_it(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    server = Server(postgres, tmp_path, kept=True)
    done: list[tuple[str, int, int]] = []
    for wanted in (Size(30, 10_000), Size(30, 20_000), Size(30, 20_000)):
        await grow(server, wanted, lambda *said: done.append(said))
    assert counts(postgres.url("ledger")) == (30, 20_000)
    with pytest.raises(OtherBank):
        await grow(server, Size(31, 20_000), lambda *said: None)


def test_a_large_bank_that_was_killed_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "bank"
    words = [sys.executable, "-m", "benchmarks", "large", "--folder", str(folder), "--accounts", "50"]
    builder = subprocess.Popen([*words, "--transfers", "50000000"], stderr=subprocess.PIPE, text=True)
    assert builder.stderr is not None
    for line in builder.stderr:
        if "posting" in line and "/s" in line:
            break
    time.sleep(0.5)
    builder.send_signal(signal.SIGKILL)
    builder.stderr.close()
    builder.wait()
    try:
        with EmbeddedPostgres(folder / "postgres") as server:
            accounts, before = counts(server.url("ledger"))
        subprocess.run([*words, "--transfers", str(before + 10_000)], check=True, capture_output=True)
        with EmbeddedPostgres(folder / "postgres") as server:
            assert counts(server.url("ledger")) == (accounts, before + 10_000)
    finally:
        EmbeddedPostgres(folder / "postgres").remove()


def test_the_history_of_a_large_bank_is_the_same_each_time() -> None:
    accounts = list(range(1_000, 1_100))
    assert transfers_at(0, 100, accounts) == transfers_at(0, 100, accounts)
    ids = [chain[0].id for place in (0, 100) for chain in transfers_at(place, 100, accounts)]
    assert ids == sorted(set(ids))


def test_the_books_of_the_kernel_show_work(postgres: EmbeddedPostgres) -> None:
    before = cpu_of_server(postgres.pid)
    with psycopg.connect(postgres.url("postgres")) as connection:
        connection.execute("SELECT count(*) FROM generate_series(1, 1000000)")
    assert cpu_of_server(postgres.pid) > before
    assert cpu_of(os.getpid()) > 0
    mine = memory_of(os.getpid())
    assert 0 < mine.own <= mine.rss <= mine.peak
    assert "postmaster" in memory_of_server(postgres.pid)


def counts(url: str) -> tuple[int, int]:
    """How many accounts and transfers there are."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT (SELECT count(*) FROM accounts), (SELECT count(*) FROM transfers)").fetchone()
    assert row is not None
    return int(row[0]), int(row[1])
