"""A copy of the log is what is served, goes on where it stopped, and never follows a log that was rewritten."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from latticebank.client.log_mirror import AT_ONCE, LogMirror, LogNotContinued, LogNotServed, OtherFolder, ServedLog
from latticebank.client.private_file import CannotUseFile
from latticebank.kernel.transports.memory import MemoryTransport
from tests.documents.papers import BANK as NAME
from tests.documents.papers import new_id
from tests.verify.conftest import Verdict, judge
from tests.verify.notary import PublicLog, write

Judge = Callable[..., Verdict]
__all__ = ["judge"]


class Server:
    """Serves the folder of a log as the bank does, and counts; `trouble` answers in place of some paths."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        self.trouble: dict[str, list[int]] = {}
        self.running = self.most_running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].removeprefix("/api/log/")
        self.asked.append(path)
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        await asyncio.sleep(0)
        self.running -= 1
        file = self.folder / path
        status = self.trouble[path].pop(0) if self.trouble.get(path) else 200 if file.is_file() else 404
        body = file.read_bytes() if status == 200 else b'{"detail": "there is none"}'
        headers = [(b"retry-after", b"0")] if status in (429, 503) else []
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class Bank:
    """A log that grows, and the way to it."""

    def __init__(self, folder: Path) -> None:
        self.log = PublicLog()
        self.server = Server(folder)
        self.served = ServedLog(MemoryTransport(self.server))
        self._folder = folder

    def grow(self, number: int) -> "Bank":
        for _ in range(number):
            self.log.record("login", user=new_id(), session="1")
        self.log.download(self._folder)
        return self


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    """A bank that has published 600 entries."""
    return Bank(tmp_path / "bank").grow(600)


async def test_a_copy_verifies_and_is_brought_up_to_date_without_what_is_there(
    bank: Bank, tmp_path: Path, judge: Judge
) -> None:
    folder = tmp_path / "copy"
    for size, new in ((600, 7), (600, 0), (700, 2), (1_300, 9)):
        bank.grow(size - len(bank.log.records))
        bank.server.asked.clear()
        mirrored = await LogMirror(bank.served, folder).download()

        assert (mirrored.size, mirrored.fetched) == (size, new)
        assert len(bank.server.asked) == len(set(bank.server.asked)) <= new + 7
        assert judge(folder, bank.log.policy()).faults == []
    assert bank.server.most_running <= AT_ONCE


async def test_an_empty_log_is_copied(tmp_path: Path, judge: Judge) -> None:
    bank = Bank(tmp_path / "bank").grow(0)

    assert (await LogMirror(bank.served, tmp_path / "copy").download()).size == 0
    assert judge(tmp_path / "copy", bank.log.policy()).code == 0


async def test_an_interrupted_download_goes_on(bank: Bank, tmp_path: Path, judge: Judge) -> None:
    bank.server.trouble = {"tile/entries/001": [404]}
    with pytest.raises(LogNotServed):
        await LogMirror(bank.served, tmp_path / "copy").download()
    assert not (tmp_path / "copy" / "checkpoint").exists()
    write(tmp_path / "copy" / "tile" / "0" / ".001.draft", b"torn")
    write(tmp_path / "copy" / "tile" / "0" / "001", b"torn")

    await LogMirror(bank.served, tmp_path / "copy").download()

    assert judge(tmp_path / "copy", bank.log.policy()).faults == []


@pytest.mark.parametrize("missing", ["tile/entries/005.p/20", "tile/0/003", "tile/entries/003"])
async def test_an_interrupted_update_leaves_the_copy_whole_and_says_how_to_go_on(
    bank: Bank, tmp_path: Path, judge: Judge, missing: str
) -> None:
    folder = tmp_path / "copy"
    await LogMirror(bank.served, folder).download()
    bank.grow(700)
    bank.server.trouble = {missing: [404]}
    with pytest.raises(LogNotServed):
        await LogMirror(bank.served, folder).download()

    interrupted = judge(folder, bank.log.policy())
    assert (interrupted.code, interrupted.faults) == (3, [])
    assert "run `latticebank log download` again" in interrupted.told
    await LogMirror(bank.served, folder).download()
    assert judge(folder, bank.log.policy()).code == 0


async def test_an_update_that_stops_after_the_checkpoint_is_tidied_up_by_the_next(
    bank: Bank, tmp_path: Path, judge: Judge
) -> None:
    folder = tmp_path / "copy"
    await LogMirror(bank.served, folder).download()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "checkpoint"}
    bank.grow(700)
    await LogMirror(bank.served, folder).download()
    for path, content in before.items():
        write(path, content)
    write(folder / ".checkpoint.draft", b"torn")

    assert judge(folder, bank.log.policy()).code == 3
    await LogMirror(bank.served, folder).download()
    assert judge(folder, bank.log.policy()).code == 0


async def test_no_file_has_its_name_before_its_content_is_on_the_disk(
    bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, done, sync = tmp_path / "copy", [], os.fsync

    def synced(descriptor: int) -> None:
        sync(descriptor)
        done.append(Path(f"/proc/self/fd/{descriptor}").readlink().relative_to(folder).as_posix())

    monkeypatch.setattr(os, "fsync", synced)
    await LogMirror(bank.served, folder).download()

    drafts = [path.with_name(f".{path.name}.draft") for path in folder.rglob("*") if path.is_file()]
    tiles = {path.relative_to(folder).as_posix() for path in drafts} - {".checkpoint.draft"}
    folders = {path.relative_to(folder).as_posix() for path in (folder, *folder.rglob("*")) if path.is_dir()}
    end = done.index(".checkpoint.draft")
    assert (len(tiles), done[:end].index("."), done[end + 1 :]) == (7, 7, ["."])
    assert set(done[:7]) == tiles
    assert set(done[7:end]) == folders


async def test_a_busy_bank_is_asked_again(bank: Bank, tmp_path: Path) -> None:
    bank.server.trouble = {"checkpoint": [503, 429], "tile/0/000": [503]}

    assert (await LogMirror(bank.served, tmp_path / "copy").download()).size == 600


async def test_a_partial_tile_that_is_full_by_now_is_cut_from_the_full_one(
    bank: Bank, tmp_path: Path, judge: Judge
) -> None:
    checkpoint = bank.log.checkpoint().encode()
    bank.grow(200)
    for path in ("tile/0/002.p/88", "tile/entries/002.p/88"):
        (bank.server.folder / path).unlink()
    write(bank.server.folder / "checkpoint", checkpoint)

    await LogMirror(bank.served, tmp_path / "copy").download()

    assert judge(tmp_path / "copy", bank.log.policy()).faults == []


@pytest.mark.parametrize("size", [600, 700, 300, 2])
async def test_a_rewritten_log_is_refused_and_the_copy_left_as_it_is(
    bank: Bank, tmp_path: Path, judge: Judge, size: int
) -> None:
    folder = tmp_path / "copy"
    await LogMirror(bank.served, folder).download()
    other = Bank(tmp_path / "other")
    other.log.keys = bank.log.keys
    other.grow(size)

    with pytest.raises(LogNotContinued) as refused:
        await LogMirror(other.served, folder).download()

    assert "latticebank verify" in str(refused.value.hint)
    assert judge(folder, bank.log.policy()).faults == []
    beside = tmp_path / "copy.refused-checkpoint"
    assert judge([folder / "checkpoint", beside], bank.log.policy()).code == (1 if size == 600 else 3)


async def test_another_log_or_folder_is_refused(bank: Bank, tmp_path: Path) -> None:
    await LogMirror(bank.served, tmp_path / "copy").download()
    other = Bank(tmp_path / "other")
    other.log = PublicLog(origin=f"{bank.log.origin}/2")
    other.grow(700)
    write(tmp_path / "home" / "letter", b"")
    write(tmp_path / "file", b"")

    with pytest.raises(LogNotContinued):
        await LogMirror(other.served, tmp_path / "copy").download()
    with pytest.raises(OtherFolder):
        await LogMirror(bank.served, tmp_path / "home").download()
    with pytest.raises(CannotUseFile):
        await LogMirror(bank.served, tmp_path / "file").download()


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("checkpoint", b"no checkpoint"),
        ("checkpoint", b""),
        ("checkpoint", f"{NAME}/log\n{2**62}\n{'A' * 43}=\n\n\u2014 {NAME}/log {'A' * 92}\n".encode()),
        ("tile/0/002.p/88", bytes(88 * 32)),
        ("tile/0/000", bytes(10)),
        ("tile/1/000.p/2", bytes(64)),
    ],
    ids=lambda value: f"{value[:14]!r}",
)
async def test_what_does_not_fit_together_is_not_taken(bank: Bank, tmp_path: Path, path: str, content: bytes) -> None:
    write(bank.server.folder / path, content)

    with pytest.raises(LogNotServed):
        await LogMirror(bank.served, tmp_path / "copy").download()
    assert not (tmp_path / "copy" / "checkpoint").exists()


async def test_the_policy_is_told_as_it_is_served(bank: Bank, tmp_path: Path) -> None:
    write(bank.server.folder / "policy", bank.log.policy().encode())
    assert await bank.served.policy() == bank.log.policy()

    for wrong in (b"\x1b[31m", b"\xff"):
        write(bank.server.folder / "policy", wrong)
        with pytest.raises(LogNotServed):
            await bank.served.policy()
