"""What is kept apart outlives the databases: in several folders, whole lines, however a write ends."""

import stat
from pathlib import Path

import pytest

from latticebank.kernel.kept_apart import KeptApart, KeptApartUnavailable
from latticebank.values.errors import InvalidValue


def kept(*folders: Path) -> KeptApart:
    return KeptApart(folders, "tombstones")


def test_lines_are_found_again_in_their_order(tmp_path: Path) -> None:
    first = kept(tmp_path / "data" / "kept", tmp_path / "archive" / "kept")
    first.append(b"one")
    first.append(b"two")
    assert kept(tmp_path / "data" / "kept", tmp_path / "archive" / "kept").lines() == [b"one", b"two"]


def test_a_folder_that_was_lost_takes_nothing_away(tmp_path: Path) -> None:
    both = kept(tmp_path / "data", tmp_path / "archive")
    both.append(b"one")
    (tmp_path / "data" / "tombstones").unlink()
    both.append(b"two")
    assert kept(tmp_path / "data").lines() == [b"two"]
    assert set(both.lines()) == {b"one", b"two"}


def test_a_line_that_was_cut_short_is_none_and_spoils_no_other(tmp_path: Path) -> None:
    tombstones = kept(tmp_path)
    tombstones.append(b"one")
    with (tmp_path / "tombstones").open("ab") as file:
        file.write(b"cut sho")
    assert tombstones.lines() == [b"one"]
    tombstones.append(b"two")
    assert tombstones.lines() == [b"one", b"two"]


def test_replacing_leaves_the_new_lines_only_and_no_draft(tmp_path: Path) -> None:
    published = kept(tmp_path)
    published.replace([b"one"])
    published.replace([b"two"])
    assert published.lines() == [b"two"]
    assert "tombstones.draft" not in {path.name for path in tmp_path.iterdir()}


def test_only_its_owner_reads_it(tmp_path: Path) -> None:
    tombstones = kept(tmp_path / "kept")
    tombstones.append(b"one")
    assert stat.S_IMODE((tmp_path / "kept" / "tombstones").stat().st_mode) == 0o600


@pytest.mark.parametrize("line", [b"", b"a\nb", b"a" * 5_000])
def test_what_is_no_line_is_refused(tmp_path: Path, line: bytes) -> None:
    with pytest.raises(InvalidValue):
        kept(tmp_path).append(line)
    assert kept(tmp_path).lines() == []


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a file stands in the way")
    with pytest.raises(KeptApartUnavailable):
        kept(tmp_path / "kept").append(b"one")
