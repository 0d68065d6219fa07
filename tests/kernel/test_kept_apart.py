"""What is kept apart outlives the databases: in several folders, whole lines, however a write ends."""

import stat
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest

from latticebank.kernel.kept_apart import KeptApart, KeptApartUnavailable
from latticebank.values.errors import InvalidValue


def kept(*folders: Path) -> KeptApart:
    return KeptApart(folders, "tombstones")


def test_lines_are_found_again_in_their_order(tmp_path: Path) -> None:
    for folder in ("data", "archive"):
        (tmp_path / folder).mkdir()
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


def test_where_the_disk_of_a_folder_is_gone_nothing_is_kept_in_its_place(tmp_path: Path) -> None:
    gone = tmp_path / "disk" / "kept"
    with pytest.raises(KeptApartUnavailable):
        kept(tmp_path / "kept", gone).append(b"one")
    assert not gone.parent.exists()


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


COUNTING = """
import sys
from pathlib import Path
from latticebank.kernel.kept_apart import KeptApart

folders = [Path(each) for each in sys.argv[1:]]
for _ in range(100):
    KeptApart(folders, "tombstones").revise(lambda lines: [b"%d" % (max(map(int, lines), default=0) + 1)])
"""


def test_processes_that_revise_one_list_undo_nothing_of_each_other(tmp_path: Path) -> None:
    # They share a folder, and each has one of its own: so stand processes with an archive in common.
    shared = tmp_path / "archive"
    counting = [
        subprocess.Popen([sys.executable, "-c", COUNTING, str(tmp_path / own), str(shared)]) for own in ("one", "two")
    ]
    assert [process.wait(timeout=300) for process in counting] == [0, 0]
    assert kept(shared).lines() == [b"200"]


def test_what_is_added_while_a_list_is_revised_stays(tmp_path: Path) -> None:
    tombstones = kept(tmp_path)
    tombstones.append(b"one")
    adding = Thread(target=kept(tmp_path).append, args=(b"two",))

    def revised(lines: list[bytes]) -> list[bytes]:
        adding.start()
        adding.join(timeout=0.5)
        return [*lines, b"three"]

    tombstones.revise(revised)
    adding.join(timeout=60)
    assert set(tombstones.lines()) == {b"one", b"two", b"three"}


def test_a_list_that_cannot_be_revised_stays_as_it_is(tmp_path: Path) -> None:
    tombstones = kept(tmp_path)
    tombstones.append(b"one")
    with pytest.raises(ZeroDivisionError):
        tombstones.revise(lambda lines: [b"two"] * (1 // 0))
    with pytest.raises(InvalidValue):
        tombstones.revise(lambda lines: [*lines, b""])
    assert tombstones.lines() == [b"one"]
    tombstones.append(b"two")
    assert tombstones.lines() == [b"one", b"two"]


def test_a_folder_named_twice_is_one(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    both = kept(tmp_path / "kept", tmp_path / "link")
    both.replace([b"one"])
    assert both.lines() == [b"one"]


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
