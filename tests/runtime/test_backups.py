"""Backups: whole, verified, and never taken for whole when they are not."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from latticebank.runtime import wal
from latticebank.runtime.archive import Archive
from latticebank.runtime.backup import Whose, backups_in, keep_newest, make_backup
from latticebank.runtime.binaries import binaries_of_the_wheel
from latticebank.runtime.errors import (
    BackupBroken,
    BackupNotMade,
    DiskFull,
    NoBackup,
)
from latticebank.values.clock import SystemClock
from tests.runtime.conftest import Disk, Restore, Server, needs_root, rows, write_a_row
from tests.runtime.copies import LaterClock, back_up, flip, next_segment


def test_a_backup_brings_back_what_was_there(server: Server, place: Path, backups: Path, again: Restore) -> None:
    with server() as postgres:
        write_a_row(postgres.url("postgres"), "before")
        made = back_up(postgres, backups)
        write_a_row(postgres.url("postgres"), "after")
    assert backups_in(backups) == [made]
    assert backups.stat().st_mode & 0o777 == 0o700
    restored = again(archive=None)
    assert restored.backup == made
    with server(place / "restored" / "postgres") as postgres:
        assert rows(postgres.url("postgres")) == ["before"]
        write_a_row(postgres.url("postgres"), "later")


def test_the_folder_of_backups_may_be_named_from_where_one_is(
    server: Server, place: Path, backups: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    with server() as postgres:
        made = back_up(postgres, Path(backups.name))
    assert backups_in(backups) == [made]


@pytest.mark.parametrize("name", ["PG_VERSION", "global/pg_control", "backup_manifest", "base/1/1259"])
def test_a_byte_that_was_changed_in_a_backup_is_found(
    server: Server, place: Path, backups: Path, again: Restore, name: str
) -> None:
    with server() as postgres:
        made = back_up(postgres, backups)
    flip(backups / made.name / "cluster" / name, 2)
    with pytest.raises(BackupBroken):
        again(archive=None)
    assert not (place / "restored").exists()


def test_a_backup_that_is_not_whole_is_refused(server: Server, backups: Path, again: Restore) -> None:
    with server() as postgres:
        made = back_up(postgres, backups)
    cluster = backups / made.name / "cluster"
    (cluster / "base" / "planted").write_text("not of this backup")
    with pytest.raises(BackupBroken, match="base/planted"):
        again(archive=None)
    (cluster / "base" / "planted").unlink()
    (segment,) = wal.segments_in(cluster / "pg_wal").values()
    segment.unlink()
    with pytest.raises(BackupBroken, match=segment.name):
        again(archive=None)
    (cluster / "PG_VERSION").unlink()
    with pytest.raises(BackupBroken, match="PG_VERSION is missing"):
        again(archive=None)
    (cluster / "PG_VERSION").symlink_to("/etc/passwd")
    with pytest.raises(BackupBroken, match="link"):
        again(archive=None)
    (backups / made.name / "backup.json").write_text("{}")
    with pytest.raises(BackupBroken, match=r"backup\.json"):
        again(source=backups / made.name, archive=None)
    with pytest.raises(NoBackup, match="none"):
        again(archive=None)


def test_only_the_newest_backups_are_kept_with_the_log_that_leads_on_from_them(
    server: Server, place: Path, backups: Path, archive: Path, again: Restore
) -> None:
    with server(archive=archive) as postgres:
        made = []
        for number in range(3):
            made.append(back_up(postgres, backups, LaterClock(number)))
            write_a_row(postgres.url("postgres"), str(number))
            next_segment(postgres)
        found = Archive.at(archive)
        assert found
        deleted, pruned = keep_newest(backups, 1, made[-1], found)
    assert deleted == [made[0].name, made[1].name]
    assert pruned >= 2
    assert backups_in(backups) == [made[-1]]
    assert min(found.segments(1)).number == wal.position_of(made[-1].begin) // wal.SEGMENT_BYTES
    again()
    with server(place / "restored" / "postgres") as postgres:
        assert rows(postgres.url("postgres")) == ["0", "1", "2"]


def test_a_backup_that_fails_leaves_nothing_and_spoils_no_other(server: Server, place: Path, backups: Path) -> None:
    class Still(SystemClock):
        def now(self) -> datetime:
            return datetime(2026, 11, 20, tzinfo=UTC)

    with server() as postgres:
        made = back_up(postgres, backups, Still())
        with pytest.raises(BackupNotMade, match="there already"):
            back_up(postgres, backups, Still())
        (backups / ".building-abandoned").mkdir()
        binaries = binaries_of_the_wheel()
        wrong = postgres.url("postgres").replace(":", ":x", 2).replace("postgresql:x", "postgresql:")
        with pytest.raises(BackupNotMade, match="does not answer"):
            make_backup(backups, wrong, Whose("bank.test", 1), binaries, SystemClock(), lambda _: None)
    assert sorted(each.name for each in backups.iterdir()) == [made.name, "lock"]


@needs_root
def test_a_disk_without_room_for_the_backup_is_named(server: Server, disk: Disk) -> None:
    small = disk("size=8m")
    with server() as postgres, pytest.raises(DiskFull, match="MiB are needed"):
        back_up(postgres, small / "backups")
    assert not backups_in(small / "backups")
