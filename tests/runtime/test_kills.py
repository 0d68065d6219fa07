"""However the bank or its database is killed, nothing is orphaned and the next start is clean."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from latticebank.runtime import processes
from latticebank.runtime.binaries import binaries_of_the_wheel
from latticebank.runtime.configuration import command_line
from latticebank.runtime.data_folder import DataFolder, require_ours
from latticebank.runtime.errors import DataFolderInUse
from latticebank.runtime.os_user import ENVIRONMENT, server_user
from tests.runtime.conftest import OwnerMaker, Server, rows, write_a_row
from tests.runtime.owners import guardian_of, wait_until

IN_TIME = 60.0
"""Seconds after which a thing is said not to come about; it takes a fraction of one."""


def gone(pid: int) -> bool:
    return not processes.is_alive(pid)


def test_the_database_ends_with_an_owner_that_is_killed(owner: OwnerMaker, server: Server, folder: Path) -> None:
    bank = owner()
    said = bank.hear("pid", "url")
    guardian = guardian_of(said["pid"])
    write_a_row(said["url"], "kept")
    bank.kill()
    assert wait_until(lambda: gone(said["pid"]), IN_TIME)
    assert processes.find(said["pid"]) is None, "the guardian reaped it"
    assert wait_until(lambda: gone(guardian), IN_TIME)
    assert "database system is shut down" in (folder / "server.log").read_text(), "it was a clean stop"
    with server() as postgres:
        assert rows(postgres.url("postgres")) == ["kept"]


def test_a_start_right_after_the_kill_waits_for_the_old_server(
    owner: OwnerMaker, server: Server, steps: list[str]
) -> None:
    bank = owner()
    said = bank.hear("pid", "url")
    with psycopg.connect(said["url"]) as connection:
        connection.execute("CREATE TABLE payments AS SELECT generate_series(1, 200000) AS id")
    bank.kill()
    with server() as postgres:
        assert gone(said["pid"])
        assert steps == [f"Waiting for the database server of process {bank.process.pid}, which was killed, to stop"]
        with psycopg.connect(postgres.url("postgres")) as connection:
            assert connection.execute("SELECT count(*) FROM payments").fetchone() == (200000,)


def test_a_worker_that_outlives_its_killed_owner_keeps_neither_server_nor_folder(
    owner: OwnerMaker, server: Server
) -> None:
    bank = owner()
    said = bank.hear("pid")
    bank.tell("fork")
    worker = bank.hear("child")["child"]
    try:
        bank.process.kill()
        bank.process.wait()
        assert processes.is_alive(worker)
        server().start()
        assert gone(said["pid"])
    finally:
        os.kill(worker, signal.SIGKILL)


def test_the_database_ends_with_its_killed_guardian_and_the_owner_notices(server: Server) -> None:
    postgres = server()
    postgres.start()
    write_a_row(postgres.url("postgres"), "kept")
    pid = postgres.pid
    os.kill(guardian_of(pid), signal.SIGKILL)
    assert wait_until(lambda: gone(pid), IN_TIME)
    assert not postgres.alive
    postgres.start()
    assert rows(postgres.url("postgres")) == ["kept"]


def test_owner_and_guardian_killed_together_still_end_the_database(owner: OwnerMaker, server: Server) -> None:
    bank = owner()
    said = bank.hear("pid", "url")
    write_a_row(said["url"], "kept")
    os.kill(guardian_of(said["pid"]), signal.SIGKILL)
    bank.kill()
    with server() as postgres:
        assert gone(said["pid"])
        assert rows(postgres.url("postgres")) == ["kept"]


class BusyQuery:
    """A client whose backend computes for minutes and so does not see that its postmaster is gone."""

    def __init__(self, url: str) -> None:
        self.connection = psycopg.connect(url, autocommit=True)
        self.backend = self.connection.info.backend_pid
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        with psycopg.connect(url) as other:
            query = "SELECT state FROM pg_stat_activity WHERE pid = %s"
            assert wait_until(lambda: other.execute(query, [self.backend]).fetchone() == ("active",), IN_TIME)
            other.rollback()

    def _run(self) -> None:
        with suppress(psycopg.Error):
            self.connection.execute("SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 100000) b")

    def end(self) -> None:
        self.thread.join(IN_TIME)
        assert not self.thread.is_alive()
        self.connection.close()


def test_a_killed_postmaster_is_noticed_and_the_next_start_recovers(server: Server) -> None:
    postgres = server()
    postgres.start()
    write_a_row(postgres.url("postgres"), "kept")
    query = BusyQuery(postgres.url("postgres"))
    os.kill(postgres.pid, signal.SIGKILL)
    assert wait_until(lambda: not postgres.alive, IN_TIME)
    assert wait_until(lambda: gone(query.backend), IN_TIME), "the guardian ended it"
    postgres.start()
    query.end()
    assert rows(postgres.url("postgres")) == ["kept"]


def test_backends_that_nobody_watches_any_more_do_not_block_the_next_start(server: Server, steps: list[str]) -> None:
    postgres = server()
    postgres.start()
    write_a_row(postgres.url("postgres"), "kept")
    query = BusyQuery(postgres.url("postgres"))
    guardian = guardian_of(postgres.pid)
    os.kill(guardian, signal.SIGSTOP)  # so that it cannot clean up
    os.kill(postgres.pid, signal.SIGKILL)
    os.kill(guardian, signal.SIGKILL)
    assert wait_until(lambda: not postgres.alive, IN_TIME)
    assert not gone(query.backend)
    postgres.start()
    assert gone(query.backend)
    query.end()
    assert any("left behind" in step for step in steps)
    assert rows(postgres.url("postgres")) == ["kept"]


def test_a_postmaster_that_nothing_ties_to_an_owner_is_stopped_cleanly_by_the_next_start(
    server: Server, folder: Path, steps: list[str]
) -> None:
    """What is left where the system has no parent-death signal and both the owner and the guardian were killed."""
    with server() as postgres:
        port = postgres.port
    marker = require_ours(folder)
    assert marker
    of = DataFolder(folder, marker)
    user = server_user(of.cluster)
    command = command_line(binaries_of_the_wheel().postgres, of.cluster, of.home, of.cluster_name, port)
    orphan = subprocess.Popen(
        command, env=ENVIRONMENT, cwd="/", stderr=subprocess.DEVNULL, start_new_session=True, **user.identity
    )
    try:
        pid_file = of.cluster / "postmaster.pid"
        assert wait_until(lambda: pid_file.exists() and "ready" in pid_file.read_text(), IN_TIME)
        server().start()
        assert orphan.wait(IN_TIME) == 0
        assert f"Stopping the database server that was left behind (process {orphan.pid})" in steps
    finally:
        orphan.kill()
        orphan.wait()


@pytest.mark.parametrize("holder", ["a zombie", "another program"])
def test_a_pid_file_that_names_something_else_does_not_block(server: Server, folder: Path, holder: str) -> None:
    with server() as postgres:
        write_a_row(postgres.url("postgres"), "kept")
    user = server_user(folder / "data")
    command = ["true"] if holder == "a zombie" else ["sleep", "600"]
    other = subprocess.Popen(command, start_new_session=True, cwd="/", **user.identity)
    try:
        if holder == "a zombie":
            assert wait_until(lambda: gone(other.pid), IN_TIME)
        pid_file = folder / "data" / "postmaster.pid"
        pid_file.write_text(f"{other.pid}\n{folder / 'data'}\n1\n5432\n\n127.0.0.1\n  1 1\nready   \n")
        os.chown(pid_file, user.uid, user.gid)
        with server() as postgres:
            assert rows(postgres.url("postgres")) == ["kept"]
        assert other.poll() is None or holder == "a zombie"
    finally:
        other.kill()
        other.wait()


def test_a_first_start_that_is_killed_leaves_nothing_in_the_way(
    owner: OwnerMaker, server: Server, new_folder: Path
) -> None:
    bank = owner(new_folder)
    assert bank.hear_progress() == "Creating the database cluster"
    assert wait_until(lambda: any(new_folder.glob("data.building-*/base/*")), IN_TIME)
    bank.kill()
    with server(new_folder) as postgres:
        write_a_row(postgres.url("postgres"), "made anew")
    assert sorted(path.name for path in new_folder.iterdir()) == [
        "data",
        "latticebank.json",
        "lock",
        "password",
        "pg_hba.conf",
        "postgresql.conf",
        "server.log",
    ]


def test_ctrl_c_reaches_the_owner_only_which_then_stops_the_database(owner: OwnerMaker, folder: Path) -> None:
    bank = owner()
    said = bank.hear("pid")
    sessions = {os.getsid(pid) for pid in (bank.process.pid, guardian_of(said["pid"]), said["pid"])}
    assert len(sessions) == 3
    bank.interrupt()
    assert bank.hear("interrupted")["alive"] is True
    bank.hear("stopped")
    assert processes.find(said["pid"]) is None
    log = (folder / "server.log").read_text()
    assert log.count("received fast shutdown request") == 1


def test_a_second_start_is_refused_and_told_who_holds_the_folder(
    owner: OwnerMaker, server: Server, folder: Path
) -> None:
    bank = owner()
    said = bank.hear("pid", "url")
    with pytest.raises(DataFolderInUse) as refused:
        server().start()
    assert refused.value.pid == bank.process.pid
    assert str(folder) in refused.value.detail
    assert str(bank.process.pid) in refused.value.detail
    write_a_row(said["url"], "the first is not disturbed")
    bank.close()
    server().start()
    with pytest.raises(DataFolderInUse) as refused:
        server().start()
    assert refused.value.pid == os.getpid()


def test_the_process_table_reads_the_same_by_ps() -> None:
    if not Path("/bin/ps").exists():
        pytest.skip("there is no ps here, and /proc serves")
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        assert wait_until(lambda: "sleep" in str(processes.find(other.pid)), IN_TIME), "its program is loaded"
        by_proc = processes.find(other.pid)
        by_ps = next(processes._from_ps("-p", str(other.pid)))
        assert by_proc
        assert (by_ps.pid, by_ps.parent, by_ps.uid, by_ps.alive) == (other.pid, os.getpid(), os.geteuid(), True)
        assert by_ps.command == by_proc.command
        assert os.getpid() in {process.pid for process in processes._from_ps("-ax")}
        other.kill()
        assert wait_until(lambda: not next(processes._from_ps("-p", str(other.pid))).alive, IN_TIME), "it is a zombie"
    finally:
        other.kill()
        other.wait()
    assert next(processes._from_ps("-p", str(other.pid)), None) is None
