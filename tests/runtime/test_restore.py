"""Backups and the way back: to the end of the archive, to a moment, and never to what is not whole."""

import os
import shutil
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from latticebank.runtime import processes, wal
from latticebank.runtime.errors import (
    ArchiveBroken,
    DataFolderInUse,
    DataFolderTaken,
    ForeignArchive,
    ForeignDataFolder,
    NoBackup,
    RecoveryFailed,
)
from latticebank.runtime.lock import FolderLock
from latticebank.runtime.restore import Wanted, restore
from latticebank.runtime.wal import Segment
from tests.runtime.conftest import GIVEN_UP, OwnerMaker, Restore, Server, needs_root, rows, write_a_row
from tests.runtime.copies import LaterClock, back_up, flip, moment, next_segment


def test_what_was_acknowledged_before_the_database_was_lost_comes_back_from_the_archive(
    owner: OwnerMaker, server: Server, place: Path, folder: Path, backups: Path, archive: Path, again: Restore
) -> None:
    with server(archive=archive) as postgres:
        back_up(postgres, backups)
    lost = owner(archive=archive)
    heard = lost.hear("url")
    for number in range(20):
        write_a_row(heard["url"], str(number))
    processes.send([heard["pid"]], signal.SIGKILL)
    lost.kill()
    shutil.rmtree(folder)
    again()
    with server(place / "restored" / "postgres", archive=archive) as postgres:
        assert rows(postgres.url("postgres")) == [str(number) for number in range(20)]
        write_a_row(postgres.url("postgres"), "goes on")


def test_a_restore_to_a_moment_has_what_was_before_and_tells_of_what_it_leaves_out(
    server: Server, place: Path, backups: Path, archive: Path, again: Restore
) -> None:
    with server(archive=archive) as postgres:
        back_up(postgres, backups)
        write_a_row(postgres.url("postgres"), "before")
        between = moment(postgres)
        write_a_row(postgres.url("postgres"), "after")
        write_a_row(postgres.url("postgres"), "later")
    restored = again(until=between)
    assert restored.left_out == 2
    assert restored.last_commit is not None
    assert restored.left_out_until is not None
    assert restored.last_commit < between < restored.left_out_until
    with server(place / "restored" / "postgres") as postgres:
        assert rows(postgres.url("postgres")) == ["before"]


def test_after_a_restore_the_archive_goes_on_and_keeps_what_came_later_before(
    server: Server, place: Path, backups: Path, archive: Path, again: Restore
) -> None:
    with server(archive=archive) as postgres:
        back_up(postgres, backups)
        write_a_row(postgres.url("postgres"), "before")
        between = moment(postgres)
        write_a_row(postgres.url("postgres"), "given up")
    first_life = {path.name: path.read_bytes() for path in (archive / "wal" / "00000001").iterdir()}
    assert again("second", until=between).timeline == 2
    with server(place / "second" / "postgres", archive=archive) as postgres:
        write_a_row(postgres.url("postgres"), "second life")
        next_segment(postgres)
        write_a_row(postgres.url("postgres"), "and on")
    assert {path.name: path.read_bytes() for path in (archive / "wal" / "00000001").iterdir()} == first_life
    assert again("third").timeline == 3
    with server(place / "third" / "postgres") as postgres:
        assert rows(postgres.url("postgres")) == ["before", "second life", "and on"]
    again("first", timeline=1)
    with server(place / "first" / "postgres") as postgres:
        assert rows(postgres.url("postgres")) == ["before", "given up"]


def test_a_restore_can_be_tried_while_the_bank_runs(
    server: Server, place: Path, backups: Path, archive: Path, again: Restore
) -> None:
    with server(archive=archive) as postgres:
        back_up(postgres, backups)
        write_a_row(postgres.url("postgres"), "so far")
        again()
        with server(place / "restored" / "postgres") as tried:
            assert rows(tried.url("postgres")) == ["so far"]
        write_a_row(postgres.url("postgres"), "later")
        assert rows(postgres.url("postgres")) == ["so far", "later"]


def test_of_two_restores_only_one_goes_on_with_the_archive(
    server: Server, place: Path, backups: Path, archive: Path, again: Restore
) -> None:
    with server(archive=archive) as postgres:
        back_up(postgres, backups)
    again("one")
    again("two")
    with server(place / "one" / "postgres", archive=archive) as postgres:
        write_a_row(postgres.url("postgres"), "kept")
    with pytest.raises(ForeignArchive, match="another database"):
        server(place / "two" / "postgres", archive=archive).start()


def test_a_backup_after_a_restore_leads_on_and_one_of_a_given_up_timeline_is_not_taken(
    server: Server, place: Path, backups: Path, archive: Path, again: Restore
) -> None:
    with server(archive=archive) as postgres:
        first = back_up(postgres, backups)
        between = moment(postgres)
        write_a_row(postgres.url("postgres"), "given up")
        next_segment(postgres)
        given_up = back_up(postgres, backups, LaterClock(1))
    again("second", until=between)
    with server(place / "second" / "postgres", archive=archive) as postgres:
        write_a_row(postgres.url("postgres"), "second life")
    assert again("third").backup == first
    assert again("first", timeline=1).backup == given_up
    with server(place / "second" / "postgres", archive=archive) as postgres:
        latest = back_up(postgres, backups, LaterClock(5))
    assert again("fourth").backup == latest


def archived_in_three_segments(server: Server, backups: Path, archive: Path) -> tuple[list[Path], datetime]:
    """The files of an archive behind a backup, with a row in each, and a moment within the first."""
    with server(archive=archive) as postgres:
        back_up(postgres, backups)
        write_a_row(postgres.url("postgres"), "first")
        after_the_first = moment(postgres)
        write_a_row(postgres.url("postgres"), "first again")
        for word in ("second", "third"):
            next_segment(postgres)
            write_a_row(postgres.url("postgres"), word)
    segments = wal.segments_in(archive / "wal" / "00000001")
    return list(segments.values())[-3:], after_the_first


def test_a_segment_that_is_missing_in_the_archive_is_named(
    server: Server, place: Path, backups: Path, archive: Path, again: Restore
) -> None:
    (_, missing, _), before = archived_in_three_segments(server, backups, archive)
    missing.unlink()
    with pytest.raises(ArchiveBroken, match=missing.name):
        again()
    with pytest.raises(ArchiveBroken, match=missing.name):
        again(until=datetime.now(UTC))
    assert not (place / "restored" / "postgres").exists()
    again(until=before)
    with server(place / "restored" / "postgres") as postgres:
        assert rows(postgres.url("postgres")) == ["first"]


@pytest.mark.parametrize(
    ("which", "size"), [(0, 16_000_000), (1, 16_000_000), (1, 0), (2, 16_000_000), (2, wal.SEGMENT_BYTES + 1)]
)
def test_a_segment_that_has_another_size_is_named_and_not_taken_for_the_end(
    server: Server, place: Path, backups: Path, archive: Path, again: Restore, which: int, size: int
) -> None:
    segments, before = archived_in_three_segments(server, backups, archive)
    os.truncate(segments[which], size)
    with pytest.raises(ArchiveBroken, match=segments[which].name):
        again()
    assert not (place / "restored" / "postgres").exists()
    if which > 0:
        again(until=before)
        with server(place / "restored" / "postgres") as postgres:
            assert rows(postgres.url("postgres")) == ["first"]
    else:
        with pytest.raises(ArchiveBroken, match=segments[which].name):
            again(until=before)


def test_a_newest_segment_that_was_only_begun_has_nothing_to_lose(
    server: Server, place: Path, backups: Path, archive: Path, again: Restore
) -> None:
    segments, _ = archived_in_three_segments(server, backups, archive)
    last = Segment.named(segments[-1].name.removesuffix(".partial"))
    assert last
    segments[-1].rename(segments[-1].with_suffix(""))
    begun = segments[-1].with_name(Segment(last.timeline, last.number + 1).name + ".partial")
    begun.write_bytes(bytes(8_000_000))
    again()
    with server(place / "restored" / "postgres") as postgres:
        assert rows(postgres.url("postgres")) == ["first", "first again", "second", "third"]
    begun.write_bytes(bytes(7_999_999) + b"x")
    with pytest.raises(ArchiveBroken, match=begun.name):
        again("second")


def test_a_lost_timeline_of_the_archive_is_not_taken_for_its_end(
    server: Server, place: Path, backups: Path, archive: Path, again: Restore
) -> None:
    archived_in_three_segments(server, backups, archive)
    (archive / "wal" / "00000001").rename(archive / "wal" / "zzzzzzzz")
    with pytest.raises(ArchiveBroken, match="no log of the timeline 1"):
        again()
    assert not (place / "restored").exists()


def test_a_history_that_says_nothing_is_named(
    server: Server, place: Path, backups: Path, archive: Path, again: Restore
) -> None:
    with server(archive=archive) as postgres:
        back_up(postgres, backups)
    again("second")
    with server(place / "second" / "postgres", archive=archive) as postgres:
        write_a_row(postgres.url("postgres"), "second life")
    history = archive / "wal" / "00000002" / "00000002.history"
    assert again("third").timeline == 3
    for spoiled in (b"garbage\n", b"1\n", b"1\t0/zzz\tx\n", b"\xff\xfe\n", b"", b"-1\t0/3000000\n"):
        history.write_bytes(spoiled)
        with pytest.raises(ArchiveBroken, match=r"00000002\.history"):
            again("fourth")
    assert not (place / "fourth").exists()


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_byte_that_was_changed_in_the_archive_is_not_taken_for_its_end(
    server: Server, backups: Path, archive: Path, again: Restore, which: int
) -> None:
    segments, _ = archived_in_three_segments(server, backups, archive)
    content = segments[which].read_bytes()
    flip(segments[which], content.index([b"first", b"second", b"third"][which]))
    with pytest.raises(ArchiveBroken, match="cannot be read beyond"):
        again()


def test_a_moment_that_the_archive_does_not_reach_is_refused(
    server: Server, place: Path, backups: Path, archive: Path, again: Restore
) -> None:
    with server(archive=archive) as postgres:
        made = back_up(postgres, backups)
        write_a_row(postgres.url("postgres"), "kept")
    with pytest.raises(RecoveryFailed, match="target"):
        again(until=datetime.now(UTC) + timedelta(hours=1))
    with pytest.raises(NoBackup, match=made.name):
        again(until=made.ended_at - timedelta(hours=1))
    with pytest.raises(NoBackup, match="complete at"):
        again(source=backups / made.name, until=made.ended_at - timedelta(hours=1))
    assert not list((place / "restored").iterdir())
    again()


def test_nothing_is_restored_over_a_bank_and_nothing_foreign_is_touched(
    server: Server, folder: Path, place: Path, backups: Path, again: Restore
) -> None:
    with server() as postgres:
        back_up(postgres, backups)
    with pytest.raises(DataFolderTaken):
        again(folder.parent.name, **GIVEN_UP)
    work = place / "new" / "postgres.restoring"
    work.mkdir(parents=True)
    (work / "letter.txt").write_text("somebody's")
    with pytest.raises(ForeignDataFolder, match=r"letter\.txt"):
        again("new", **GIVEN_UP)
    assert (work / "letter.txt").exists()


def test_a_restore_begins_anew_where_one_was_interrupted(
    server: Server, place: Path, folder: Path, backups: Path, again: Restore
) -> None:
    with server() as postgres:
        write_a_row(postgres.url("postgres"), "kept")
        back_up(postgres, backups)
    shutil.copytree(folder, place / "restored" / "postgres.restoring")
    lock = FolderLock.take(place / "restored" / "postgres.restoring", lambda _: None)
    with pytest.raises(DataFolderInUse):
        again(**GIVEN_UP)
    lock.release()
    again(**GIVEN_UP)
    with server(place / "restored" / "postgres") as postgres:
        assert rows(postgres.url("postgres")) == ["kept"]
    assert sorted(each.name for each in (place / "restored").iterdir()) == ["kept", "postgres"]


def test_an_archive_of_another_bank_leads_nowhere(
    server: Server, place: Path, new_folder: Path, backups: Path, archive: Path, again: Restore
) -> None:
    with server() as postgres:
        made = back_up(postgres, backups)
    with server(new_folder, archive=archive):
        pass
    with pytest.raises(ForeignArchive, match="not of the bank"):
        again(source=backups / made.name)
    with pytest.raises(ForeignArchive, match="no archive"):
        again(archive=place / "nothing")


@needs_root
def test_a_bank_is_restored_into_a_folder_that_the_servers_user_cannot_enter(
    server: Server, tmp_path: Path, place: Path, backups: Path, archive: Path, system_folder: Path
) -> None:
    with server(archive=archive) as postgres:
        back_up(postgres, backups)
        write_a_row(postgres.url("postgres"), "kept")
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    restore(Wanted(backups, archive), private / "bank", lambda _: None, system_folder=system_folder)
    with server(private / "bank" / "postgres") as postgres:
        assert rows(postgres.url("postgres")) == ["kept"]
