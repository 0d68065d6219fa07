"""What no restore takes back comes from all that is left of it; where nothing is left, the operator has to say so."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from latticebank.kernel.kept_apart import LISTS, KeptApart
from latticebank.runtime.errors import BackupBroken, KeptApartMissing
from latticebank.runtime.kept import KeptApartDamaged
from latticebank.security.audit.model.standing import LogHalted, Remembered, line_of, remembered_in, require_growth
from latticebank.security.identity.model.erasure import Erasure
from latticebank.security.keys.model import Tombstone
from latticebank.values.errors import InvalidValue
from tests.runtime.conftest import GIVEN_UP, Restore, Server, rows, write_a_row
from tests.runtime.copies import back_up, moment

ORIGIN = "bank.test/log"

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)

Keep = Callable[..., None]


def published(size: int, origin: str = ORIGIN) -> bytes:
    return line_of(Remembered(origin, size, f"{size:064x}"))


def grave(number: int) -> bytes:
    """The tombstone of a customer's profile key."""
    return Tombstone(1, f"customer:{UUID(int=number)}", "profile", NOON).to_line()


def erased(number: int) -> bytes:
    """What is kept of the erasure of a user, by the operator."""
    return Erasure(UUID(int=number), None, NOON).to_line(1)


@pytest.fixture
def keep(place: Path) -> Keep:
    """Keeps the line of a list as the bank does: in the folders of these names beside each other."""

    def append(name: str, line: bytes, *beside: str) -> None:
        folders = [place / each / "kept" for each in beside or ("bank",)]
        for folder in folders:
            folder.parent.mkdir(mode=0o711, exist_ok=True)
        KeptApart(folders, name).append(line)

    return append


def kept(data: Path, name: str) -> list[bytes]:
    return KeptApart([data / "kept"], name).lines()


def test_what_is_kept_apart_comes_together_from_everywhere(
    server: Server, place: Path, backups: Path, archive: Path, again: Restore, keep: Keep
) -> None:
    with server(archive=archive) as postgres:
        keep("tombstones", grave(1))
        keep("log-published", published(5), "bank", "archive")
        back_up(postgres, backups)
        keep("tombstones", grave(2), "bank", "archive")
        keep("log-published", published(9), "bank", "archive")
        keep("erasures", erased(1))
        keep("erasures", erased(2), "restored")
    restored = again(kept=place / "bank" / "kept")
    assert restored.kept_apart
    assert set(kept(place / "restored", "tombstones")) == {grave(1), grave(2)}
    assert set(kept(place / "restored", "erasures")) == {erased(1), erased(2)}
    assert remembered_in(kept(place / "restored", "log-published"))[ORIGIN].size == 9
    assert again("from-the-archive").kept_apart
    assert set(kept(place / "from-the-archive", "tombstones")) == {grave(1), grave(2)}


def test_the_old_data_folder_remembers_where_there_is_no_archive(
    server: Server, place: Path, backups: Path, again: Restore, keep: Keep
) -> None:
    with server() as postgres:
        keep("log-published", published(5))
        back_up(postgres, backups)
        keep("tombstones", grave(2))
        keep("log-published", published(7))
    for name, folder in (("one", place / "bank" / "kept"), ("two", place / "bank")):
        assert again(name, archive=None, kept=folder).kept_apart
        assert kept(place / name, "tombstones") == [grave(2)]
        assert remembered_in(kept(place / name, "log-published"))[ORIGIN].size == 7


def test_without_any_memory_nothing_is_restored(
    server: Server, place: Path, backups: Path, again: Restore, keep: Keep
) -> None:
    with server() as postgres:
        keep("log-published", published(5))
        back_up(postgres, backups)
    with pytest.raises(KeptApartMissing) as refused:
        again(archive=None)
    for way in ("--archive", "--kept", "--without-kept"):
        assert way in str(refused.value.hint)
    (place / "empty").mkdir()
    (place / "empty" / "operator.token").write_text("no list")
    for nothing in (place / "empty", place / "gone"):
        with pytest.raises(KeptApartMissing, match="none of the lists"):
            again(archive=None, kept=nothing)
    assert not (place / "restored").exists()


def test_a_memory_that_ends_before_the_backup_or_is_of_another_bank_is_none(
    server: Server, place: Path, backups: Path, again: Restore, keep: Keep
) -> None:
    with server() as postgres:
        keep("log-published", published(5))
        back_up(postgres, backups)
    keep("log-published", published(4), "older")
    keep("log-published", published(9, "other.test/log"), "other")
    for name in ("older", "other"):
        with pytest.raises(KeptApartMissing, match="knows less"):
            again(archive=None, kept=place / name)
    assert not (place / "restored").exists()


@pytest.mark.parametrize("where", ["archive", "old", "restored"])
@pytest.mark.parametrize("name", LISTS)
def test_a_line_that_no_service_can_read_is_named_before_anything_is_done(
    server: Server, place: Path, backups: Path, archive: Path, again: Restore, keep: Keep, where: str, name: str
) -> None:
    with server(archive=archive) as postgres:
        back_up(postgres, backups)
    for each in ("archive", "old", "restored"):
        keep("tombstones", grave(1), each)
        keep("erasures", erased(1), each)
        keep("log-published", published(5), each)
    path = place / where / "kept" / name
    sound = path.read_bytes()
    for damage in (b"garbage", b"x" * 5_000, b"\xff", b'{"x":' * 800, b'{"origin":"\xff"}', b"null"):
        path.write_bytes(sound + b"\n" + damage + b"\n")
        with pytest.raises(KeptApartDamaged, match=f"line 3 of {path}"):
            again(kept=place / "old")
        assert not (place / "restored" / "postgres").exists()
    path.write_bytes(sound + b"a line that was not written to its end is none")
    assert again(kept=place / "old").kept_apart


@pytest.mark.parametrize("name", LISTS)
def test_a_list_that_no_restore_could_read_is_not_copied_into_a_backup(
    server: Server, place: Path, backups: Path, keep: Keep, name: str
) -> None:
    keep(name, b"garbage")
    with server() as postgres, pytest.raises(KeptApartDamaged, match=f"line 1 of .*{name}"):
        back_up(postgres, backups)
    assert not backups.exists()


def test_who_gives_the_memory_up_gives_the_log_up(
    server: Server, place: Path, backups: Path, again: Restore, keep: Keep
) -> None:
    with server() as postgres:
        write_a_row(postgres.url("postgres"), "kept")
        keep("log-published", published(5))
        keep("log-published", published(3, f"{ORIGIN}/2"))
        keep("tombstones", grave(1))
        back_up(postgres, backups)
    assert not again(**GIVEN_UP).kept_apart
    said = remembered_in(kept(place / "restored", "log-published"))
    for origin in (ORIGIN, f"{ORIGIN}/2"):
        with pytest.raises(LogHalted):
            require_growth(1_000_000_000, said[origin])
    assert f"{ORIGIN}/3" not in said
    assert kept(place / "restored", "tombstones") == [grave(1)]
    with server(place / "restored" / "postgres") as postgres:
        assert rows(postgres.url("postgres")) == ["kept"]


def test_the_memory_is_not_given_up_while_it_is_there(
    server: Server, place: Path, backups: Path, archive: Path, again: Restore, keep: Keep
) -> None:
    with server(archive=archive) as postgres:
        keep("log-published", published(5), "bank", "archive")
        back_up(postgres, backups)
    with pytest.raises(InvalidValue, match="leave this out"):
        again(without_kept=True)
    with pytest.raises(InvalidValue, match="where it is"):
        again(archive=None, kept=place / "bank" / "kept", without_kept=True)


def test_an_archive_that_lost_its_memory_leads_to_the_end_and_not_to_a_moment(
    server: Server, place: Path, backups: Path, archive: Path, again: Restore, keep: Keep
) -> None:
    with server(archive=archive) as postgres:
        keep("log-published", published(5))
        back_up(postgres, backups)
        write_a_row(postgres.url("postgres"), "before")
        between = moment(postgres)
        write_a_row(postgres.url("postgres"), "after")
    assert again("to-the-end").kept_apart
    with pytest.raises(KeptApartMissing):
        again(until=between)
    assert again(until=between, kept=place / "bank" / "kept").kept_apart


@pytest.mark.parametrize("name", LISTS)
def test_a_list_that_was_changed_in_a_backup_is_found(
    server: Server, place: Path, backups: Path, again: Restore, keep: Keep, name: str
) -> None:
    with server() as postgres:
        keep("log-published", published(5))
        keep("tombstones", grave(1))
        made = back_up(postgres, backups)
    changed = KeptApart([backups / made.name / "kept"], name)
    changed.append(b"planted")
    with pytest.raises(BackupBroken, match=name):
        again(**GIVEN_UP)
    (backups / made.name / "kept" / name).unlink()
    if name in made.kept:
        with pytest.raises(BackupBroken, match=name):
            again(**GIVEN_UP)
    assert not (place / "restored").exists()
