"""A copy of the bank's public log in a folder, as it is served (C2SP tlog-tiles), for `latticebank verify`.

What is served is not trusted, and nothing is proved here but one thing: that a folder which holds a log already goes on
with it. The keys that make a checkpoint worth something are the reader's, and so is the verdict.
"""

import asyncio
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from latticebank.client.private_file import CannotUseFile, sync_folder
from latticebank.crypto.checkpoints import Checkpoint, parse_checkpoint
from latticebank.crypto.errors import MalformedNote, TilesDamaged
from latticebank.crypto.notes import parse_note
from latticebank.crypto.tiles import (
    HASH_BYTES,
    HEIGHT,
    WIDTH,
    Tile,
    root_from,
    root_nodes,
    tile_at,
    tile_path,
    tiles_for,
)
from latticebank.kernel.deadline import DeadlineExceeded
from latticebank.kernel.transports import Request, Response, ServiceUnavailable, Transport
from latticebank.values.errors import BankError, Fault

AT_ONCE = 4
"""How many requests are under way at a time."""
MAX_ENTRIES = 10**9
"""The largest log that is copied: 70 GB."""
CHECKPOINT = "checkpoint"
_ROOT = "/api/log"
_ENTRIES = -1
_ENTRY_BYTES = 35
_MAX_NOTE_BYTES = 262_144
_ATTEMPTS = 4
_TIMEOUT_SECONDS = 30.0
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 30.0
_BUSY = (429, 503)
_PARTIAL = re.compile(r"[0-9]{3}\.p")

Told = Callable[[int, int], None]
"""Hears how many files of how many are there."""


class LogNotServed(BankError):
    """The bank does not serve its log, or a part of it."""

    code = "log-not-served"
    title = "The log cannot be read"
    fault = Fault.UNAVAILABLE


class LogNotContinued(BankError):
    """What is served now does not go on from what is in the folder."""

    code = "log-not-continued"
    title = "The log does not go on from the one in the folder"
    fault = Fault.CONFLICT


class OtherFolder(BankError):
    """The folder holds something else than a log."""

    code = "other-folder"
    title = "This folder is not for a log"
    fault = Fault.INVALID


@dataclass(frozen=True, slots=True)
class Mirrored:
    """What is in the folder now, and how many files of it came anew."""

    origin: str
    size: int
    fetched: int


class ServedLog:
    """The log as the bank behind a transport serves it; anyone may read it."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def policy(self) -> str:
        """Return what the bank says whom to trust for its log (C2SP tlog-policy).

        Raises:
            LogNotServed, ServiceUnavailable, DeadlineExceeded, ResponseTooLarge: as `get`.

        """
        try:
            text = (await self.get("policy")).decode()
        except UnicodeDecodeError:
            text = "\0"
        if not all(character.isprintable() or character in "\t\n" for character in text):
            raise LogNotServed("what is served as a policy is no text")
        return text

    async def get(self, path: str, max_bytes: int = _MAX_NOTE_BYTES) -> bytes:
        """Return what is served at a path below `/api/log/`; asked again for as long as the bank is busy.

        Raises:
            LogNotServed, ServiceUnavailable, DeadlineExceeded: there is nothing, or no answer.
            ResponseTooLarge: it has more bytes.

        """
        target = f"{_ROOT}/{path}"
        for attempt in range(_ATTEMPTS):
            last = attempt == _ATTEMPTS - 1
            pause = _FIRST_PAUSE_SECONDS * 4.0**attempt
            try:
                request = Request("GET", target, timeout=_TIMEOUT_SECONDS, max_response_bytes=max(max_bytes, 65_536))
                response = await self._transport.send(request)
                if response.status == 200:
                    return response.body
                if last or response.status not in _BUSY:
                    raise LogNotServed(f"{target}: {_reason(response)}")
                asked = response.headers.get("retry-after", "")
                pause = float(asked) if asked.isascii() and asked.isdigit() and len(asked) < 3 else pause
            except (ServiceUnavailable, DeadlineExceeded):
                if last:
                    raise
            await asyncio.sleep(min(pause, _LONGEST_PAUSE_SECONDS))
        raise AssertionError("unreachable")


class LogMirror:
    """Brings the log that a bank serves into a folder. Full tiles that are there are not asked for again."""

    def __init__(self, served: ServedLog, folder: Path, told: Told = lambda _done, _of: None) -> None:
        self._served = served
        self._folder = folder.absolute()
        self._told = told
        self._known: dict[Tile, bytes] = {}

    async def download(self) -> Mirrored:
        """Bring the folder to the newest checkpoint; an interrupted download goes on when it is asked for again.

        Nothing is replaced but the checkpoint, and that only once everything else is on the disk. So the log that was there
        stays whole until then, and a file that has its name and size has its content, even after a power cut.

        Raises:
            OtherFolder: something else is in the folder.
            LogNotContinued: what is served does not go on from the checkpoint in the folder; nothing there is changed.
            LogNotServed, ServiceUnavailable, DeadlineExceeded, ResponseTooLarge: the bank does not answer, or otherwise.
            CannotUseFile: the folder cannot be read or written.

        """
        present = _present(self._folder)
        note = await self._served.get(CHECKPOINT)
        served = _read_checkpoint(note)
        if served is None:
            raise LogNotServed("what is served as a checkpoint is none")
        if served.size > MAX_ENTRIES:
            raise LogNotServed(f"a log of {served.size} entries is larger than what is copied: {MAX_ENTRIES}")
        await self._require_continued(present, served, note)
        fetched = await self._fetch_all(served.size)
        _sync_names(self._folder)
        _write(self._folder / CHECKPOINT, note)
        _remove_left_over(self._folder, served.size)
        return Mirrored(served.origin, served.size, fetched)

    async def _require_continued(self, present: Checkpoint | None, served: Checkpoint, note: bytes) -> None:
        """Check by the few tiles that both roots are folded from that the served tree begins with the present one."""
        before = Checkpoint(served.origin, 0, b"") if present is None else present
        if before.origin != served.origin:
            raise self._refused(f"it is of {before.origin}, and {served.origin} is served", note)
        if before.size > served.size:
            raise self._refused(f"it has {before.size} entries, and {served.size} are served", note)
        needed = tiles_for([*root_nodes(before.size), *root_nodes(served.size)], served.size)
        tiles = {(tile.level, tile.number): await self._tile(tile) for tile in needed}
        try:
            if root_from(tiles, served.size) != served.root:
                raise LogNotServed("the tiles that are served are not those of the checkpoint", hint="try again")
            if before.size and root_from(tiles, before.size) != before.root:
                raise self._refused("its entries are not the first ones of the tree that is served", note)
        except TilesDamaged as error:
            raise LogNotServed(error.detail) from error

    def _refused(self, why: str, note: bytes) -> LogNotContinued:
        beside = self._folder.with_name(f"{self._folder.name}.refused-checkpoint")
        _write(beside, note)
        both = f"{self._folder / CHECKPOINT} {beside}"
        return LogNotContinued(
            f"{self._folder}: {why}", hint=f"keep both, and look at them: latticebank verify {both} --policy FILE"
        )

    async def _fetch_all(self, size: int) -> int:
        """Fetch what is not there yet, a few at a time; return how many files that were."""
        pieces = iter(_pieces(size))
        total = sum(1 for _ in _pieces(size))
        done = fetched = 0

        async def work() -> None:
            nonlocal done, fetched
            for piece in pieces:
                path = self._folder / _path(piece)
                if not _is_there(path, _bytes(piece)):
                    _write(path, await self._tile(piece))
                    fetched += 1
                done += 1
                self._told(done, total)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(work())
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return fetched

    async def _tile(self, tile: Tile) -> bytes:
        """Return a tile or bundle; where a log has dropped one that was not full, the first part of the full one."""
        if tile in self._known:
            return self._known[tile]
        try:
            content = await self._served.get(_path(tile), _bytes(tile))
        except LogNotServed:
            if tile.width == WIDTH:
                raise
            full = Tile(tile.level, tile.number)
            content = (await self._served.get(_path(full), _bytes(full)))[: _bytes(tile)]
        if len(content) != _bytes(tile):
            raise LogNotServed(f"{_path(tile)} is served with {len(content)} bytes, not {_bytes(tile)}")
        if tile.level != _ENTRIES and len(self._known) < 4 * HEIGHT:
            self._known[tile] = content
        return content


def _reason(response: Response) -> str:
    try:
        problem = msgspec.json.decode(response.body, type=dict[str, object])
        return f"{response.status}, {str(problem.get('detail', ''))[:200]}"
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return f"the bank answered {response.status}"


def _present(folder: Path) -> Checkpoint | None:
    """Return what the checkpoint in the folder says, None where there is none yet."""
    try:
        there = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
        note = (folder / CHECKPOINT).read_bytes() if CHECKPOINT in there else None
    except OSError as error:
        raise CannotUseFile(folder, error) from error
    if set(there) - {CHECKPOINT, "tile", f".{CHECKPOINT}.draft"}:
        raise OtherFolder(f"{folder} holds something else than a log", hint="name a folder that is empty or new")
    if note is None:
        return None
    checkpoint = _read_checkpoint(note)
    if checkpoint is None:
        raise OtherFolder(f"{folder / CHECKPOINT} is no checkpoint", hint="look at it, and take another folder")
    return checkpoint


def _read_checkpoint(note: bytes) -> Checkpoint | None:
    try:
        return parse_checkpoint(parse_note(note).text)
    except MalformedNote:
        return None


def _pieces(size: int) -> Iterator[Tile]:
    """Yield all bundles (level -1) and tiles of a tree, each as wide as it is."""
    for level in (_ENTRIES, *range(-(-size.bit_length() // HEIGHT))):
        number = 0
        while (tile := tile_at(max(level, 0), number, size)) is not None:
            yield Tile(level, number, tile.width)
            number += 1


def _path(tile: Tile) -> str:
    return f"tile/{'entries' if tile.level == _ENTRIES else tile.level}/{tile_path(tile)}"


def _bytes(tile: Tile) -> int:
    return tile.width * (_ENTRY_BYTES if tile.level == _ENTRIES else HASH_BYTES)


def _is_there(path: Path, size: int) -> bool:
    try:
        return path.is_file() and path.stat().st_size == size
    except OSError as error:
        raise CannotUseFile(path, error) from error


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: its content is on the disk before it gets its name."""
    draft = path.with_name(f".{path.name}.draft")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise CannotUseFile(path, error) from error


def _sync_names(folder: Path) -> None:
    """Bring the names of all files in a folder and below to the disk."""
    try:
        for parent, _, _ in os.walk(folder):
            sync_folder(Path(parent))
    except OSError as error:
        raise CannotUseFile(folder, error) from error


def _remove_left_over(folder: Path, size: int) -> None:
    """Remove the tiles that were not full at an earlier size, and drafts; anything else is not ours to remove."""
    wanted = {_path(tile) for tile in _pieces(size) if tile.width < WIDTH}
    try:
        sync_folder(folder)  # the checkpoint, which no longer needs them
        for parent, _, files in os.walk(folder / "tile", topdown=False):
            place = Path(parent)
            _remove(place / name for name in files if name.startswith(".") and name.endswith(".draft"))
            if _PARTIAL.fullmatch(place.name):
                _remove(place / name for name in files if (place / name).relative_to(folder).as_posix() not in wanted)
                if not any(place.iterdir()):
                    place.rmdir()
    except OSError as error:
        raise CannotUseFile(folder, error) from error


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
