"""The archive: no commit is acknowledged before its write-ahead log lies there."""

import json
import shutil
import signal
import threading
from pathlib import Path

import psycopg
import pytest

from latticebank.runtime import processes, wal
from latticebank.runtime.archive import Archive
from latticebank.runtime.archiving import LATE_SECONDS
from latticebank.runtime.errors import ArchiveNotNamed, ArchiveUnavailable, ForeignArchive
from latticebank.runtime.postgres import EmbeddedPostgres
from latticebank.runtime.wal import Segment
from latticebank.values.errors import InvalidValue
from tests.runtime.conftest import Disk, OwnerMaker, Server, needs_root, rows, write_a_row
from tests.runtime.copies import next_segment
from tests.runtime.owners import wait_until


def receivers(archive: Path) -> list[int]:
    """The processes that write to the archive."""
    return [each.pid for each in processes.every() if each.alive and f"--directory {archive}/" in each.command]


def received(url: str) -> bool:
    """Whether the archive has all that the server has written."""
    query = "SELECT flush_lsn >= pg_current_wal_flush_lsn() FROM pg_stat_replication"
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(query).fetchone()
    return bool(row and row[0])


def test_what_was_committed_is_in_the_archive_when_the_commit_returns(server: Server, archive: Path) -> None:
    with server(archive=archive) as postgres:
        write_a_row(postgres.url("postgres"), "kept")
        with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
            connection.execute("SELECT pg_switch_wal()")
            connection.execute("INSERT INTO kept VALUES ('a word that is found again')")
            assert received(postgres.url("postgres"))
            content = b"".join(path.read_bytes() for path in wal.segments_in(archive / "wal" / "00000001").values())
        assert b"a word that is found again" in content
        assert postgres.archiving
        postgres.archiving.require_in_step()
    assert receivers(archive) == []


def test_a_bank_with_an_archive_starts_again_and_goes_on_with_it(server: Server, archive: Path) -> None:
    for word in ("first", "second"):
        with server(archive=archive) as postgres:
            write_a_row(postgres.url("postgres"), word)
    with server(archive=archive) as postgres:
        assert rows(postgres.url("postgres")) == ["first", "second"]
    segments = wal.segments_in(archive / "wal" / "00000001")
    assert wal.first_gap(segment.number for segment in segments) is None


def test_commits_wait_while_the_archive_cannot_be_written_and_go_on_when_it_can(server: Server, archive: Path) -> None:
    with server(archive=archive) as postgres:
        url = postgres.url("postgres")
        write_a_row(url, "before")
        log, away = archive / "wal", archive.with_name("away")
        log.rename(away)
        processes.send(receivers(archive), signal.SIGKILL)
        assert wait_until(lambda: not receivers(archive), 5)
        writing = threading.Thread(target=write_a_row, args=(url, "during"))
        writing.start()
        writing.join(1)
        assert writing.is_alive()
        assert rows(url) == ["before"]
        assert postgres.archiving
        with pytest.raises(ArchiveUnavailable, match="could not"):
            postgres.archiving.require_in_step()
        away.rename(log)
        writing.join(20)
        assert not writing.is_alive()
        assert rows(url) == ["before", "during"]
        postgres.archiving.require_in_step()


@pytest.mark.parametrize("size", [0, 4_096, wal.SEGMENT_BYTES - 1])
def test_a_receiver_that_died_before_it_wrote_to_a_new_segment_begins_it_again(
    server: Server, archive: Path, size: int
) -> None:
    with server(archive=archive) as postgres:
        write_into_the_next_segment(postgres, "not acknowledged")
    begun = list(wal.files_in(archive / "wal" / "00000001").values())[-1]
    begun.write_bytes(bytes(size))
    with server(archive=archive) as postgres:
        write_a_row(postgres.url("postgres"), "later")
        assert begun.stat().st_size == wal.SEGMENT_BYTES
        for word in (b"not acknowledged", b"later"):
            assert word in begun.read_bytes()


@needs_root
def test_a_disk_that_was_full_while_a_segment_was_begun_takes_commits_again_when_it_has_room(
    server: Server, disk: Disk
) -> None:
    small = disk("size=40m")
    with server(archive=small / "archive") as postgres:
        url = postgres.url("postgres")
        write_a_row(url, "before")
        filling = small / "filling"
        filling.write_bytes(bytes(shutil.disk_usage(small).free - 8_000_000))
        writing = threading.Thread(target=write_into_the_next_segment, args=(postgres, "during"))
        writing.start()
        assert wait_until(lambda: wal.only_begun_in(small / "archive" / "wal" / "00000001") is not None, 20)
        writing.join(1)
        assert writing.is_alive()
        filling.unlink()
        writing.join(20)
        assert not writing.is_alive()
        assert rows(url) == ["before", "during"]


def write_into_the_next_segment(postgres: EmbeddedPostgres, word: str) -> None:
    next_segment(postgres)
    write_a_row(postgres.url("postgres"), word)


def test_a_commit_that_waits_for_long_is_seen_though_the_receiver_runs(server: Server, archive: Path) -> None:
    with server(archive=archive) as postgres:
        url = postgres.url("postgres")
        write_a_row(url, "before")
        assert postgres.archiving
        processes.send(receivers(archive), signal.SIGSTOP)
        writing = threading.Thread(target=write_a_row, args=(url, "during"))
        writing.start()
        try:
            assert wait_until(lambda: not in_step(postgres), LATE_SECONDS + 5)
        finally:
            processes.send(receivers(archive), signal.SIGCONT)
        writing.join(20)
        assert not writing.is_alive()
        assert in_step(postgres)


def in_step(postgres: EmbeddedPostgres) -> bool:
    assert postgres.archiving
    try:
        postgres.archiving.require_in_step()
    except ArchiveUnavailable:
        return False
    return True


def test_a_bank_whose_archive_cannot_be_written_does_not_start(server: Server, place: Path) -> None:
    (place / "file").write_text("not a folder")
    with pytest.raises(ArchiveUnavailable, match="Not a directory"):
        server(archive=place / "file").start()
    server().start()


def test_an_archived_bank_does_not_start_without_its_archive(server: Server, archive: Path, folder: Path) -> None:
    with server(archive=archive):
        pass
    with pytest.raises(ArchiveNotNamed, match="LATTICEBANK_ARCHIVE"):
        server().start()
    archive.rename(archive.with_name("unmounted"))
    with pytest.raises(ForeignArchive, match="is not in"):
        server(archive=archive).start()
    (folder / "archive.json").unlink()
    with server() as postgres, psycopg.connect(postgres.url("postgres")) as connection:
        assert connection.execute("SELECT count(*) FROM pg_replication_slots").fetchone() == (0,)


def test_an_archive_may_move(server: Server, archive: Path) -> None:
    with server(archive=archive) as postgres:
        write_a_row(postgres.url("postgres"), "kept")
    moved = archive.rename(archive.with_name("elsewhere"))
    with server(archive=moved) as postgres:
        assert rows(postgres.url("postgres")) == ["kept"]


def test_an_archive_that_was_given_up_can_be_begun_anew(server: Server, archive: Path, folder: Path) -> None:
    with server(archive=archive):
        pass
    (folder / "archive.json").unlink()
    with server(archive=archive.with_name("new")) as postgres:
        write_a_row(postgres.url("postgres"), "kept")
    assert Archive.at(archive.with_name("new"))


def test_a_bank_takes_no_archive_of_another_and_no_folder_with_other_files(
    server: Server, archive: Path, new_folder: Path
) -> None:
    with server(archive=archive), pytest.raises(ArchiveUnavailable, match="in use"):
        server(new_folder, archive=archive).start()
    with pytest.raises(ForeignArchive, match="another bank's"):
        server(new_folder, archive=archive).start()
    with pytest.raises(ForeignArchive, match="not of an archive"):
        server(new_folder, archive=archive.parent).start()
    with pytest.raises(ForeignArchive, match="in the data folder"):
        server(new_folder, archive=new_folder.parent / "archive").start()


def test_a_marker_that_no_archive_has_is_refused(server: Server, archive: Path) -> None:
    with server(archive=archive):
        pass
    marker = archive / "archive.json"
    written = json.loads(marker.read_text())
    for spoiled in (
        *("", "null", "[]", "5", "[" * 20_000, '{"a":' * 20_000, marker.read_text().replace("{", '{"timeline": 7,')),
        *(json.dumps({name: value for name, value in written.items() if name != left_out}) for left_out in written),
        *(json.dumps(written | {"timeline": each}) for each in ("1", -1, 0, 10**12, 1.5, None)),
        *(json.dumps(written | {name: 7}) for name in ("identity", "system", "more")),
        *(json.dumps(written | {"format": each}) for each in (2, True)),
        marker.read_text().replace('"timeline": 1', '"timeline": 1e999'),
    ):
        marker.write_text(spoiled)
        with pytest.raises(ForeignArchive, match="marker"):
            Archive.at(archive)
    with pytest.raises(ForeignArchive, match="marker"):
        server(archive=archive).start()


def test_an_archive_that_lost_a_timeline_is_refused(server: Server, archive: Path) -> None:
    with server(archive=archive):
        pass
    (archive / "wal" / "00000001").rename(archive.with_name("lost"))
    with pytest.raises(ForeignArchive, match="has lost"):
        server(archive=archive).start()


def test_the_receiver_ends_with_a_bank_that_is_killed_and_the_next_start_goes_on(
    owner: OwnerMaker, server: Server, archive: Path
) -> None:
    killed = owner(archive=archive)
    url = killed.hear("url")["url"]
    write_a_row(url, "kept")
    assert len(receivers(archive)) == 1
    killed.kill()
    with server(archive=archive) as postgres:
        assert rows(postgres.url("postgres")) == ["kept"]
        assert len(receivers(archive)) == 1
    assert receivers(archive) == []


def test_a_new_password_can_be_set_in_a_bank_with_an_archive(server: Server, archive: Path, folder: Path) -> None:
    with server(archive=archive):
        pass
    (folder / "password").unlink()
    with server(archive=archive) as postgres:
        write_a_row(postgres.url("postgres"), "kept")


def test_a_server_that_dies_is_started_again_with_its_archive(server: Server, archive: Path) -> None:
    with server(archive=archive) as postgres:
        write_a_row(postgres.url("postgres"), "before")
        processes.send([postgres.pid], signal.SIGKILL)
        assert wait_until(lambda: not postgres.alive, 10)
        postgres.restart()
        write_a_row(postgres.url("postgres"), "after")
        assert rows(postgres.url("postgres")) == ["before", "after"]
        assert len(receivers(archive)) == 1


def test_positions_and_segments_are_named_as_postgresql_names_them() -> None:
    assert wal.position_of("1A/3000028") == 0x1A_0300_0028
    assert wal.shown(0x1A_0300_0028) == "1A/3000028"
    segment = Segment.holding(2, wal.position_of("1A/3000028"))
    assert segment.name == "000000020000001A00000003"
    assert Segment.named(segment.name) == segment
    assert Segment.named("00000002.history") is None
    assert wal.history_in("1\t0/30000A0\tno recovery target specified\n") == [wal.Switch(1, 0x30000A0)]
    assert wal.first_gap([3, 4, 6]) == 5
    assert wal.first_gap([]) is None
    with pytest.raises(InvalidValue):
        wal.position_of("3000028")
    for no_history in ("", "garbage\n", "1\n", "1\t3000028\n"):
        with pytest.raises(InvalidValue):
            wal.history_in(no_history)
