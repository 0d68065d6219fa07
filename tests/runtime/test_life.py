"""A data folder gets a database that starts, answers, stops, and keeps what it was given."""

import os
import socket
import stat
from pathlib import Path

import psycopg
import pytest

from latticebank.runtime import processes
from latticebank.runtime.configuration import DEFAULTS
from latticebank.runtime.errors import DatabaseFailedToStart, DatabaseNotRunning
from latticebank.runtime.guardian import LOG_BYTES, LOG_FILES, Log
from latticebank.runtime.postgres import EmbeddedPostgres
from latticebank.values.errors import InvalidValue
from tests.runtime.conftest import QUICK, Server, needs_root, rows, write_a_row


def test_the_first_start_makes_a_cluster_and_later_starts_have_nothing_to_make(
    server: Server, steps: list[str], new_folder: Path
) -> None:
    postgres = server(new_folder)
    postgres.start()
    assert postgres.alive
    assert "Creating the database cluster" in steps
    postgres.create_database("ledger")
    postgres.create_database("ledger")
    write_a_row(postgres.url("ledger"), "kept")
    pid = postgres.pid
    postgres.stop()
    postgres.stop()
    assert processes.find(pid) is None

    steps.clear()
    postgres.start()
    assert steps == []
    assert rows(postgres.url("ledger")) == ["kept"]


def test_it_is_a_context_manager_and_starting_twice_is_starting_once(server: Server) -> None:
    with server() as postgres:
        pid = postgres.pid
        postgres.start()
        assert postgres.pid == pid
    assert processes.find(pid) is None


def test_it_runs_as_it_is_configured(server: Server) -> None:
    ours = server(parameters={name: DEFAULTS[name] for name in QUICK})  # unlike in the other tests
    with ours as postgres, psycopg.connect(postgres.url("postgres")) as connection:
        settings: dict[str, str] = dict(
            connection.execute("SELECT lower(name), current_setting(name) FROM pg_settings").fetchall()
        )
        locale = connection.execute(
            "SELECT datlocprovider, datlocale, pg_encoding_to_char(encoding) FROM pg_database WHERE datname = %s",
            ["postgres"],
        ).fetchone()
    for name, value in DEFAULTS.items():
        assert settings[name] == value
    assert settings["data_checksums"] == "on"
    assert settings["server_version"].startswith("18.")
    assert settings["listen_addresses"] == "127.0.0.1"
    assert settings["unix_socket_directories"] == ""
    assert locale == ("b", "C.UTF-8", "UTF8")


def test_the_caller_can_override_a_parameter_but_not_what_the_launcher_relies_on(server: Server, folder: Path) -> None:
    changed = server(parameters={"work_mem": "3MB", "application_name": "it's \\ quoted"})
    with changed as postgres, psycopg.connect(postgres.url("postgres")) as connection:
        assert connection.execute("SHOW work_mem").fetchone() == ("3MB",)
        named = connection.execute("SELECT reset_val FROM pg_settings WHERE name = 'application_name'").fetchone()
        assert named == ("it's \\ quoted",)
    for name, value in (("listen_addresses", "*"), ("bad name", "x"), ("work_mem", "1MB\nfsync = off")):
        with pytest.raises(InvalidValue) as refused:
            EmbeddedPostgres(folder, parameters={name: value})
        assert refused.value.field == name


def test_a_parameter_that_postgresql_refuses_is_told_with_the_servers_own_words(server: Server) -> None:
    with pytest.raises(DatabaseFailedToStart) as failed:
        server(parameters={"no_such_parameter": "1"}).start()
    assert "no_such_parameter" in str(failed.value)
    assert any("no_such_parameter" in line for line in failed.value.log)
    server().start()


def test_only_the_password_opens_it_and_only_from_this_machine(server: Server) -> None:
    with server() as postgres:
        with psycopg.connect(postgres.url("postgres")) as connection:
            methods = connection.execute("SELECT DISTINCT auth_method, address FROM pg_hba_file_rules").fetchall()
            secret = connection.execute("SELECT rolpassword FROM pg_authid WHERE rolcanlogin").fetchall()
        assert methods == [("scram-sha-256", "127.0.0.1")]
        assert [row[0][:13] for row in secret] == ["SCRAM-SHA-256"]
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(
                host="127.0.0.1", port=postgres.port, user="latticebank", password="guess", dbname="postgres"
            )
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", postgres.port), timeout=1)


def test_the_password_is_in_one_private_file_and_nowhere_else(server: Server, new_folder: Path) -> None:
    postgres = server(new_folder)
    postgres.start()
    password = (new_folder / "password").read_text()
    assert len(password) == 64
    assert stat.S_IMODE((new_folder / "password").stat().st_mode) == 0o600
    with psycopg.connect(postgres.url("postgres")) as connection:
        pid = connection.info.backend_pid
        guardian = processes.find(postgres.pid)
        assert guardian
        for seen in (postgres.pid, pid, guardian.parent):
            for part in ("cmdline", "environ"):
                assert password.encode() not in Path(f"/proc/{seen}/{part}").read_bytes()
    postgres.stop()
    elsewhere = [path for path in new_folder.rglob("*") if path.is_file() and password.encode() in path.read_bytes()]
    assert elsewhere == [new_folder / "password"]


def test_a_lost_password_file_is_replaced_and_the_data_kept(server: Server, folder: Path, steps: list[str]) -> None:
    with server() as postgres:
        write_a_row(postgres.url("postgres"), "kept")
        old = postgres.url("postgres").rpartition(":")[0]
    (folder / "password").unlink()
    with server() as postgres:
        assert rows(postgres.url("postgres")) == ["kept"]
        assert postgres.url("postgres").rpartition(":")[0] != old
        new = (folder / "password").read_text()
    assert any("password" in step for step in steps)
    assert new.encode() not in (folder / "server.log").read_bytes()


def test_a_wrong_password_file_is_told_with_what_to_do(server: Server, folder: Path) -> None:
    with server():
        pass
    (folder / "password").write_text("of another bank")
    with pytest.raises(DatabaseFailedToStart) as failed:
        server().start()
    assert str(folder / "password") in str(failed.value)
    (folder / "password").unlink()
    server().start()


@pytest.mark.parametrize("name", ['my "bank" 100%', "банк's"])
def test_folders_and_databases_may_have_any_name(server: Server, place: Path, name: str) -> None:
    with server(place / name) as postgres:
        postgres.create_database(name)
        with psycopg.connect(postgres.url(name)) as connection:
            assert connection.info.dbname == name
        for impossible in ("", "x" * 64, "a\0b"):
            with pytest.raises(InvalidValue):
                postgres.create_database(impossible)


def test_removing_it_leaves_nothing(server: Server, folder: Path) -> None:
    postgres = server()
    postgres.start()
    pid = postgres.pid
    postgres.remove()
    with pytest.raises(DatabaseNotRunning):
        postgres.url("ledger")
    assert not folder.exists()
    assert processes.find(pid) is None
    postgres.remove()


def test_the_owner_notices_nothing_of_the_environment_of_libpq(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("PGHOSTADDR", "192.0.2.1"), ("PGDATA", "/nowhere"), ("PGPORT", "1"), ("PGOPTIONS", "-c x=y")):
        monkeypatch.setenv(name, value)
    with server() as postgres:
        postgres.create_database("ledger")


def test_a_fork_of_the_owner_cannot_stop_the_database(server: Server) -> None:
    with server() as postgres:
        child = os.fork()
        if child == 0:
            postgres.stop()
            os._exit(0)
        os.waitpid(child, 0)
        assert postgres.alive
        write_a_row(postgres.url("postgres"), "still served")


def test_the_log_of_the_server_is_bounded(tmp_path: Path) -> None:
    log = Log(str(tmp_path / "server.log"))
    for number in range(40):
        log.write(b"x" * 1_000_000 + b" line %d\n" % number)
    written = sorted(tmp_path.iterdir())
    assert [path.name for path in written] == ["server.log", "server.log.1", "server.log.2", "server.log.3"]
    assert sum(path.stat().st_size for path in written) <= LOG_FILES * (LOG_BYTES + 1_100_000)
    assert log.last[-1].startswith("xxx")
    assert (tmp_path / "server.log.1").read_bytes().endswith(b"\n")


@needs_root
def test_root_gives_the_server_to_a_user_with_no_privileges(server: Server, new_folder: Path) -> None:
    with server(new_folder) as postgres:
        status = dict(
            line.split(":\t", 1)
            for line in Path(f"/proc/{postgres.pid}/status").read_text().splitlines()
            if ":\t" in line
        )
    uids, groups = set(status["Uid"].split()), status["Groups"].split()
    assert len(uids) == 1
    assert uids != {"0"}
    assert groups == [status["Gid"].split()[0]]
    assert int(status["CapEff"], 16) == 0
    assert (new_folder / "data").stat().st_uid == int(uids.pop())
    assert new_folder.stat().st_uid == 0
