"""A downloaded log: every leaf and tile is computed anew, and nothing may be missing, changed or too much."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latticebank.crypto.merkle import leaf_hash, root_of
from latticebank.verify.log import path_of, root_at
from tests.documents.papers import new_id
from tests.verify.conftest import Verdict
from tests.verify.notary import NoteKey, PublicLog, write

Judge = Callable[..., Verdict]
SIZES = (0, 1, 2, 255, 256, 257, 511, 512, 700)


@pytest.fixture(scope="module")
def whole() -> PublicLog:
    """A log of 700 entries."""
    log = PublicLog()
    for number in range(700):
        log.record("login", user=new_id(), session=f"{number}")
    return log


def beginning(whole: PublicLog, size: int) -> PublicLog:
    return PublicLog(keys=whole.keys, records=whole.records[:size], salts=whole.salts[:size])


@pytest.mark.parametrize("size", SIZES)
def test_a_log_of_any_size_verifies_as_it_is_served(judge: Judge, whole: PublicLog, tmp_path: Path, size: int) -> None:
    log = beginning(whole, size)
    verdict = judge(log.download(tmp_path / "log"), log.policy())

    assert (verdict.code, verdict.faults) == (0, [])
    assert f"{size} leaves" in verdict.told


def test_a_log_with_three_levels_of_tiles_verifies(judge: Judge, tmp_path: Path) -> None:
    log = PublicLog(records=["x"] * 65_800, salts=[bytes(32)] * 65_800)

    folder, hashes = log.download(tmp_path / "log"), log.hashes

    assert judge(folder, log.policy()).faults == []
    assert (folder / "tile" / "2" / "000.p" / "1").stat().st_size == 32
    for size in (65_535, 65_536, 65_537, 65_791, 65_792, 65_800):
        assert root_at(folder, size, 65_800) == root_of(hashes[:size])


@pytest.mark.parametrize("change", ["changed", "cut", "longer", "emptied", "missing"])
def test_each_file_of_a_log_is_needed_as_it_is(judge: Judge, whole: PublicLog, tmp_path: Path, change: str) -> None:
    folder = whole.download(tmp_path / "log")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    assert len(files) == 8

    for path in files:
        content = path.read_bytes()
        if change == "missing":
            path.unlink()
        else:
            at = len(content) // 2
            flipped = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
            changed = {"changed": flipped, "cut": content[:-1], "longer": content + b"\0", "emptied": b""}[change]
            path.write_bytes(changed)
        verdict = judge(folder, whole.policy())
        assert verdict.code == 1
        assert path.relative_to(folder).as_posix() in "".join(verdict.faults) or path.name == "checkpoint"
        path.write_bytes(content)


@pytest.mark.parametrize(
    "extra",
    [
        "policy",
        ".policy.draft",
        "tile/0/002.p/0",
        "tile/0/002.p/256",
        "tile/0/002.p/01",
        "tile/entries/x000/000",
        "tile/00/000",
        "tile/x",
        "tile/64/000",
        "other/file",
    ],
)
def test_a_file_too_much_is_a_fault(judge: Judge, whole: PublicLog, tmp_path: Path, extra: str) -> None:
    folder = whole.download(tmp_path / "log")
    write(folder / extra, bytes(32))
    verdict = judge(folder, whole.policy())

    assert verdict.code == 1
    assert verdict.faults == [f"{extra}: it is no part of the log of this checkpoint"]


@pytest.mark.parametrize(
    "left_over",
    [
        "tile/0/003",
        "tile/0/x001/000",
        "tile/0/002.p/1",
        "tile/0/000.p/255",
        "tile/2/000.p/1",
        "tile/entries/002.p/187",
        "tile/entries/.002.draft",
        "tile/entries/002.p/.189.draft",
        ".checkpoint.draft",
    ],
)
def test_what_an_interrupted_update_leaves_is_not_called_a_forgery_nor_sound(
    judge: Judge, whole: PublicLog, tmp_path: Path, left_over: str
) -> None:
    folder = whole.download(tmp_path / "log")
    write(folder / left_over, bytes(32))
    verdict = judge(folder, whole.policy())

    assert (verdict.code, verdict.faults) == (3, [])
    assert "an update of this copy was interrupted: run `latticebank log download` again" in verdict.told
    assert "nothing else is there" not in verdict.told


def test_links_and_pipes_are_not_followed(judge: Judge, whole: PublicLog, tmp_path: Path) -> None:
    folder = whole.download(tmp_path / "log")
    tile = folder / "tile" / "0" / "001"
    aside = tmp_path / "aside"
    tile.rename(aside)
    tile.symlink_to(aside)
    assert judge(folder, whole.policy()).code == 1
    tile.unlink()
    os.mkfifo(tile)
    assert judge(folder, whole.policy()).code == 1
    tile.unlink()
    aside.rename(tile)
    assert judge(folder, whole.policy()).code == 0
    (folder / "elsewhere").symlink_to(tmp_path, target_is_directory=True)
    assert judge(folder, whole.policy()).code == 1


def test_a_leaf_of_another_version_or_length_is_a_fault(judge: Judge, tmp_path: Path) -> None:
    for number, leaf in enumerate((b"\x02" + bytes(32), b"\x01" + bytes(31), b"\x01" + bytes(33), b"")):
        log = PublicLog(records=["x"], salts=[bytes(32)])
        folder = log.download(tmp_path / f"{number}")
        write(folder / "tile" / "entries" / "000.p" / "1", len(leaf).to_bytes(2) + leaf)
        write(folder / "tile" / "0" / "000.p" / "1", leaf_hash(leaf))
        verdict = judge(folder, log.policy())
        assert verdict.code == 1
        assert "tile/entries/000.p/1" in verdict.faults[0]


def test_entries_that_make_another_root_are_a_fault(judge: Judge, whole: PublicLog, tmp_path: Path) -> None:
    other = PublicLog(keys=whole.keys, records=whole.records[::-1], salts=whole.salts)
    folder = other.download(tmp_path / "log")
    write(folder / "checkpoint", whole.checkpoint().encode())

    assert judge(folder, whole.policy()).faults == ["checkpoint: its root is not that of the entries"]


def test_a_checkpoint_of_a_size_that_nobody_has_ends_soon(judge: Judge, tmp_path: Path) -> None:
    log = PublicLog()
    text = log.text().replace("\n0\n", f"\n{10**18 - 1}\n")
    write(tmp_path / "log" / "checkpoint", f"{text}\n{''.join(key.line(text) for key in log.keys)}".encode())
    verdict = judge(tmp_path / "log", log.policy())

    assert verdict.code == 1
    assert verdict.faults == ["tile/0/000: it cannot be read: No such file or directory"]


def test_a_folder_without_a_log_is_a_fault(judge: Judge, whole: PublicLog, tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()

    assert "checkpoint: it cannot be read" in judge(tmp_path / "log", whole.policy()).faults[0]


def test_another_log_does_not_pass_under_this_policy(judge: Judge, whole: PublicLog, tmp_path: Path) -> None:
    assert judge(whole.download(tmp_path / "log"), PublicLog(keys=[NoteKey("other", 1)]).policy()).code == 1


@given(number=st.integers(0, 10**12), width=st.integers(1, 256))
def test_paths_of_tiles_are_those_of_the_format(number: int, width: int) -> None:
    path = path_of(3, number, (number * 256 + width) << 24)
    digits = path.removeprefix("tile/3/").partition(".p/")

    assert int(digits[0].replace("x", "").replace("/", "")) == number
    assert digits[2] == ("" if width == 256 else str(width))
    assert all(len(part) == 3 + (part[0] == "x") for part in digits[0].split("/"))


def test_the_example_of_the_format_has_its_tiles() -> None:
    assert path_of(0, 1_234_067, 10**9) == "tile/0/x001/x234/067"
    assert [path_of(level, number, 70_000) for level, number in ((0, 272), (0, 273), (1, 1), (2, 0))] == [
        "tile/0/272",
        "tile/0/273.p/112",
        "tile/1/001.p/17",
        "tile/2/000.p/1",
    ]


def test_the_root_made_from_tiles_is_that_of_the_tree_at_every_step(whole: PublicLog, tmp_path: Path) -> None:
    folder, hashes = whole.download(tmp_path / "log"), whole.hashes

    for size in range(1, 701):
        assert root_at(folder, size, 700) == root_of(hashes[:size])
