"""What cannot be is refused in clear words that name the place and say what to do, and nothing is damaged."""

import json
import os
import shutil
import socket
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from latticebank.runtime import binaries
from latticebank.runtime.disk import MEBIBYTE, ROOM_FOR_A_START
from latticebank.runtime.errors import (
    DatabaseMissing,
    DiskFull,
    ForeignDataFolder,
    NewerDataFolder,
    OtherPostgresVersion,
    PortInUse,
    UnsupportedPlatform,
    UnwritableDataFolder,
)
from tests.ports import kept_port
from tests.runtime.conftest import Disk, Server, needs_root, rows, write_a_row


def test_a_port_in_use_is_named_and_the_folder_stays_free(server: Server) -> None:
    with kept_port() as port:
        with socket.create_server(("127.0.0.1", port)):
            with pytest.raises(PortInUse, match=str(port)):
                server(port=port).start()
            with server() as elsewhere:
                assert elsewhere.port != port
        with server(port=port) as there:
            assert there.port == port


def test_a_folder_with_other_files_is_left_as_it_is(server: Server, new_folder: Path) -> None:
    new_folder.mkdir(parents=True)
    (new_folder / "thesis.txt").write_text("ten years of work")
    with pytest.raises(ForeignDataFolder) as refused:
        server(new_folder).start()
    assert str(new_folder) in refused.value.detail
    assert "thesis.txt" in refused.value.detail
    assert [path.name for path in new_folder.iterdir()] == ["thesis.txt"]
    with pytest.raises(ForeignDataFolder):
        server(new_folder / "thesis.txt").start()


def test_an_empty_folder_and_a_fresh_file_system_are_taken(server: Server, new_folder: Path) -> None:
    (new_folder / "lost+found").mkdir(parents=True)
    new_folder.chmod(0o711)
    with server(new_folder) as postgres:
        write_a_row(postgres.url("postgres"), "kept")
    assert (new_folder / "lost+found").exists()


def test_a_folder_of_a_newer_latticebank_is_left_as_it_is(server: Server, folder: Path) -> None:
    with server():
        pass
    marker = folder / "latticebank.json"
    ours = marker.read_text()
    newer = json.dumps({**json.loads(ours), "format": 2, "unheard_of": True})
    marker.write_text(newer)
    with pytest.raises(NewerDataFolder, match="format 2"):
        server().start()
    assert marker.read_text() == newer
    for broken in ("", "[]", "{}", json.dumps({**json.loads(ours), "made_by": "another program"})):
        marker.write_text(broken)
        with pytest.raises(ForeignDataFolder):
            server().start()
    marker.write_text(ours)
    server().start()


@pytest.mark.parametrize("other", ["17", "19"])
def test_a_cluster_of_another_postgresql_is_left_as_it_is(server: Server, folder: Path, other: str) -> None:
    with server():
        pass
    version = folder / "data" / "PG_VERSION"
    version.write_text(f"{other}\n")
    with pytest.raises(OtherPostgresVersion) as refused:
        server().start()
    assert f"PostgreSQL {other}" in refused.value.detail
    assert str(folder) in refused.value.detail
    version.write_text("18\n")
    server().start()


def test_a_database_that_disappeared_is_never_replaced_by_an_empty_one(server: Server, folder: Path) -> None:
    with server():
        pass
    (folder / "data").rename(folder.parent / "backup")
    with pytest.raises(DatabaseMissing) as refused:
        server().start()
    assert str(folder) in refused.value.detail
    assert not (folder / "data").exists()
    (folder.parent / "backup").rename(folder / "data")
    with server():
        pass
    (folder / "data" / "PG_VERSION").unlink()
    with pytest.raises(DatabaseMissing, match="PG_VERSION"):
        server().start()


def test_a_platform_without_postgresql_is_told_so(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(sys, "platform", "win32")
        with pytest.raises(UnsupportedPlatform, match="win32"):
            server().start()
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(binaries, "INSTALLATION", "pginstall99")
        with pytest.raises(UnsupportedPlatform, match="no PostgreSQL"):
            server().start()
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(binaries, "WHEEL", "not_installed")
        with pytest.raises(UnsupportedPlatform, match="not_installed"):
            server().start()
    server().start()


@needs_root
def test_a_disk_too_small_for_a_cluster_is_told_before_one_is_begun(server: Server, disk: Disk) -> None:
    folder = disk("size=40m") / "bank"
    with pytest.raises(DiskFull) as refused:
        server(folder).start()
    assert str(folder) in refused.value.detail
    assert not list(folder.glob("data*"))


@needs_root
def test_a_disk_that_fills_up_while_the_cluster_is_made_leaves_nothing_half_made(server: Server, disk: Disk) -> None:
    point = disk("size=300m", "nr_inodes=300")  # a cluster has about a thousand files
    folder = point / "bank"
    for _ in range(2):
        with pytest.raises(DiskFull, match="No space left on device") as refused:
            server(folder).start()
        assert str(folder) in refused.value.detail
        assert not list(folder.glob("data*"))
        assert not list(folder.glob("*initdb*"))


@needs_root
def test_a_disk_that_is_full_at_a_later_start_is_told_and_nothing_is_lost(server: Server, disk: Disk) -> None:
    point = disk("size=300m", "nr_inodes=3000")
    with server(point / "bank") as postgres:
        write_a_row(postgres.url("postgres"), "kept")
    stat = shutil.disk_usage(point)
    with (point / "bytes").open("wb") as filler:
        filler.write(b"x" * (stat.free - ROOM_FOR_A_START + MEBIBYTE))
    with pytest.raises(DiskFull, match=str(point)):
        server(point / "bank").start()
    (point / "bytes").unlink()

    _use_up_inodes(point / "crowd")
    with pytest.raises(DiskFull, match="No space left on device"):
        server(point / "bank").start()
    shutil.rmtree(point / "crowd")

    with server(point / "bank") as postgres:
        assert rows(postgres.url("postgres")) == ["kept"]


@needs_root
def test_a_disk_that_the_server_itself_finds_full_is_told(server: Server, folder: Path, disk: Disk) -> None:
    """Only the cluster lies on the full disk: the launcher can write its own files and leaves the finding to it."""
    with server() as postgres:
        write_a_row(postgres.url("postgres"), "kept")
    cluster, elsewhere = folder / "data", folder.parent / "elsewhere"
    owner = cluster.stat()
    cluster.rename(elsewhere)
    disk("size=300m", "nr_inodes=3000", at=cluster)
    shutil.copytree(elsewhere, cluster, dirs_exist_ok=True)
    for path in [cluster, *cluster.rglob("*")]:
        os.chown(path, owner.st_uid, owner.st_gid)
    _use_up_inodes(cluster / "crowd")
    with pytest.raises(DiskFull, match=r"could not create lock file .* No space left on device"):
        server().start()
    shutil.rmtree(cluster / "crowd")
    with server() as postgres:
        assert rows(postgres.url("postgres")) == ["kept"]


def _use_up_inodes(crowd: Path) -> None:
    crowd.mkdir()
    with suppress(OSError):
        for number in range(3000):
            (crowd / str(number)).touch()


@needs_root
def test_a_file_system_that_cannot_be_written_is_told(server: Server, disk: Disk) -> None:
    point = disk("ro")
    with pytest.raises(UnwritableDataFolder, match="Read-only file system") as refused:
        server(point / "bank").start()
    assert str(point / "bank") in refused.value.detail
