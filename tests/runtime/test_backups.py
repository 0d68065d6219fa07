"""Backups: whole, verified, and never taken for whole when they are not."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from latticebank.runtime import wal
from latticebank.runtime.archive import Archive
from latticebank.runtime.backup import Pruned, Whose, backups_in, keep_newest, make_backup, require_place_of_backups
from latticebank.runtime.binaries import binaries_of_the_wheel
from latticebank.runtime.errors import (
    BackupBroken,
    BackupNotMade,
    DiskFull,
    FoldersNotApart,
    FolderUnusable,
    ForeignArchive,
    KeptApartMissing,
    NoBackup,
)
from latticebank.runtime.restore import Wanted, restore
from latticebank.values.clock import SystemClock
from tests.runtime.conftest import GIVEN_UP, Disk, Restore, Server, needs_root, rows, write_a_row
from tests.runtime.copies import LaterClock, back_up, flip, next_segment, whose_bank

WRONG_MEMBERS: dict[str, list[object]] = {
    "bytes": ["90", -5, 10**30, 1e308, 1.5, None],
    "kept": [None, [], ["a"], {"erasures": 5}, {"erasures": "00"}],
    "ended_at": ["2026-11-20T13:38:00", "yesterday", 5, None],
    "begun_at": ["2026-11-20T13:38:00", 5],
    "postgres": [18, None],
    "end": ["zzz", "0/2000120\n", 3],
    "begin": ["zzz", 3],
    "timeline": ["1", [1], 0, -1, 2**32],
    "system": [1, "x"],
    "bank": [7, "", "\x1b[31mX"],
    "manifest": [None, "00"],
    "format": [True, 2],
    "made_by": ["another"],
    "more": [1],
    "name": ["other"],
}
"""What no backup writes into its `backup.json`, by the name of the member."""


def test_a_backup_brings_back_what_was_there(server: Server, place: Path, backups: Path, again: Restore) -> None:
    with server() as postgres:
        write_a_row(postgres.url("postgres"), "before")
        made = back_up(postgres, backups)
        write_a_row(postgres.url("postgres"), "after")
    assert backups_in(backups).sound == [made]
    assert backups.stat().st_mode & 0o777 == 0o700
    restored = again(**GIVEN_UP)
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
    assert backups_in(backups).sound == [made]


@pytest.mark.parametrize("name", ["PG_VERSION", "global/pg_control", "backup_manifest", "base/1/1259"])
def test_a_byte_that_was_changed_in_a_backup_is_found(
    server: Server, place: Path, backups: Path, again: Restore, name: str
) -> None:
    with server() as postgres:
        made = back_up(postgres, backups)
    flip(backups / made.name / "cluster" / name, 2)
    with pytest.raises(BackupBroken):
        again(**GIVEN_UP)
    assert not (place / "restored").exists()


def test_a_backup_that_is_not_whole_is_refused(server: Server, backups: Path, again: Restore) -> None:
    with server() as postgres:
        made = back_up(postgres, backups)
    cluster = backups / made.name / "cluster"
    (cluster / "base" / "planted").write_text("not of this backup")
    with pytest.raises(BackupBroken, match="base/planted"):
        again(**GIVEN_UP)
    (cluster / "base" / "planted").unlink()
    (segment,) = wal.segments_in(cluster / "pg_wal").values()
    segment.unlink()
    with pytest.raises(BackupBroken, match=segment.name):
        again(**GIVEN_UP)
    (cluster / "PG_VERSION").unlink()
    with pytest.raises(BackupBroken, match="PG_VERSION is missing"):
        again(**GIVEN_UP)
    (cluster / "PG_VERSION").symlink_to("/etc/passwd")
    with pytest.raises(BackupBroken, match="link"):
        again(**GIVEN_UP)
    (backups / made.name / "backup.json").write_text("{}")
    with pytest.raises(BackupBroken, match=r"backup\.json"):
        again(source=backups / made.name, **GIVEN_UP)
    with pytest.raises(NoBackup, match="broken"):
        again(**GIVEN_UP)


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
        pruned = keep_newest(backups, 1, made[-1], found)
    assert pruned.deleted == [made[0].name, made[1].name]
    assert pruned.segments >= 2
    assert backups_in(backups).sound == [made[-1]]
    assert min(found.segments(1)).number == wal.position_of(made[-1].begin) // wal.SEGMENT_BYTES
    again()
    with server(place / "restored" / "postgres") as postgres:
        assert rows(postgres.url("postgres")) == ["0", "1", "2"]


def test_the_backup_that_was_just_made_is_kept_though_the_clock_was_ahead_before(
    server: Server, place: Path, backups: Path, again: Restore
) -> None:
    with server() as postgres:
        first = back_up(postgres, backups, LaterClock(6 * 3600))
        second = back_up(postgres, backups, LaterClock(3 * 3600))
        write_a_row(postgres.url("postgres"), "kept")
        latest = back_up(postgres, backups)
    assert backups_in(backups).sound == [first, second, latest]
    assert keep_newest(backups, 2, latest, None).deleted == [first.name]
    assert again(**GIVEN_UP).backup == latest
    assert keep_newest(backups, 1, latest, None).deleted == [second.name]
    assert backups_in(backups).sound == [latest]


def test_a_record_that_no_backup_writes_is_refused(server: Server, backups: Path, again: Restore) -> None:
    with server() as postgres:
        made = back_up(postgres, backups)
    record = backups / made.name / "backup.json"
    written = json.loads(record.read_text())
    whole = record.read_bytes()
    for spoiled in (
        *(b"[" * 20_000, b'{"a":' * 20_000, b" " * 70_000 + whole),
        *(b"", b'"x"', b"5", b"null", b"[]", b"{}", b"\0" * 100, b'{"made_by":"\xff"}'),
        whole.rstrip().removesuffix(b"}") + b', "bytes": 1}',
        *(
            json.dumps({name: each for name, each in written.items() if name != left_out}).encode()
            for left_out in written
        ),
        *(json.dumps(written | {name: each}).encode() for name, wrong in WRONG_MEMBERS.items() for each in wrong),
    ):
        record.write_bytes(spoiled)
        with pytest.raises(BackupBroken, match=made.name):
            again(source=backups / made.name, until=datetime.now(UTC), **GIVEN_UP)
        assert backups_in(backups).broken == [made.name], spoiled[-100:]
    for lie in ({"begin": "0/28"}, {"end": "F/0"}, {"timeline": 2}, {"system": "1"}):
        record.write_text(json.dumps(written | lie))
        with pytest.raises(BackupBroken, match="manifest"):
            again(**GIVEN_UP)


def test_a_broken_backup_is_passed_over_and_neither_deleted_nor_counted(
    server: Server, backups: Path, again: Restore
) -> None:
    with server() as postgres:
        made = [back_up(postgres, backups, LaterClock(number)) for number in range(3)]
    (backups / made[0].name / "backup.json").write_text("[" * 20_000)
    assert keep_newest(backups, 2, made[2], None) == Pruned([], 0, [made[0].name])
    assert keep_newest(backups, 1, made[2], None) == Pruned([made[1].name], 0, [made[0].name])
    restored = again(**GIVEN_UP)
    assert restored.backup == made[2]
    assert restored.passed_over == [made[0].name]
    assert (backups / made[0].name / "cluster").is_dir()


def test_a_folder_with_backups_of_two_databases_does_not_say_which_is_meant(
    server: Server, new_folder: Path, backups: Path, again: Restore
) -> None:
    with server() as postgres:
        one = back_up(postgres, backups)
    with server(new_folder) as postgres:
        other = back_up(postgres, backups, LaterClock(1))
    with pytest.raises(NoBackup, match="several databases"):
        again(**GIVEN_UP)
    assert again(source=backups / one.name, **GIVEN_UP).backup == one
    assert again("second", source=backups / other.name, **GIVEN_UP).backup == other


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
            make_backup(backups, wrong, whose_bank(backups), binaries, SystemClock(), lambda _: None)
    assert sorted(each.name for each in backups.iterdir()) == [made.name, "lock"]


def test_a_backup_is_never_made_within_what_it_copies_nor_around_it(
    server: Server, place: Path, folder: Path, again: Restore, backups: Path
) -> None:
    with server() as postgres:
        backup = back_up(postgres, backups, LaterClock(-9))
        in_a_backup = (backups / backup.name, backups / backup.name / "cluster" / "base", backups / backup.name / "new")
        for within in (
            *(folder.parent, folder, folder / "data" / "base", folder.parent / "new", place),
            *in_a_backup,
        ):
            with pytest.raises(FoldersNotApart):
                make_backup(
                    within,
                    postgres.url("postgres"),
                    whose_bank(backups),
                    binaries_of_the_wheel(),
                    SystemClock(),
                    lambda _: None,
                )
        (place / "other-name").symlink_to(folder.parent)
        with pytest.raises(FoldersNotApart):
            require_place_of_backups(place / "other-name" / "backups", whose_bank(backups))
        made = back_up(postgres, backups)
    for target in (backups.name, f"{backups.name}/{made.name}/new"):
        with pytest.raises(FoldersNotApart):
            again(target, **GIVEN_UP)
    assert not (folder.parent / "new").exists()
    assert not in_a_backup[-1].exists()
    assert sorted(each.name for each in backups.iterdir()) == [backup.name, made.name, "lock"]


@needs_root
def test_a_backup_is_not_made_within_a_cluster_that_lies_elsewhere(
    server: Server, tmp_path: Path, system_folder: Path
) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    whose = Whose("bank.test", 1, private / "bank", ())
    with server(private / "bank" / "postgres"):
        (home,) = (each for each in (system_folder / "clusters").iterdir())
        for within in (home / "backups", home, system_folder):
            with pytest.raises(FoldersNotApart):
                require_place_of_backups(within, whose)


@pytest.mark.parametrize("wrong", ["letter", "letter/in", "~nobody-of-this-name/in", "loop/in", "x" * 300])
def test_what_is_no_folder_is_told_so(server: Server, place: Path, backups: Path, again: Restore, wrong: str) -> None:
    (place / "letter").write_text("a file")
    (place / "loop").symlink_to("loop")
    named = Path(wrong) if wrong.startswith("~") else place / wrong
    with server() as postgres:
        back_up(postgres, backups)
        with pytest.raises(FolderUnusable):
            make_backup(
                named,
                postgres.url("postgres"),
                whose_bank(backups),
                binaries_of_the_wheel(),
                SystemClock(),
                lambda _: None,
            )
    for wanted in (Wanted(named, without_kept=True), Wanted(backups, kept=named), Wanted(backups, archive=named)):
        with pytest.raises((FolderUnusable, NoBackup, KeptApartMissing, ForeignArchive)):
            restore(wanted, place / "restored", lambda _: None)
    with pytest.raises(FolderUnusable):
        restore(Wanted(backups, without_kept=True), named, lambda _: None)
    assert not (place / "restored").exists()


@needs_root
def test_a_disk_without_room_for_the_backup_is_named(server: Server, disk: Disk) -> None:
    small = disk("size=8m")
    with server() as postgres, pytest.raises(DiskFull, match="MiB are needed"):
        back_up(postgres, small / "backups")
    assert not backups_in(small / "backups").sound
