"""Witnesses cosign what the log publishes, and stop a log that says other than it has said."""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from secrets import token_bytes
from typing import Any

import psycopg
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from latticebank.crypto.checkpoints import Checkpoint, CosignerKey, LogKey, cosigned_at
from latticebank.crypto.log_policy import parse_policy
from latticebank.crypto.notes import parse_note
from latticebank.kernel.settings import InvalidSettings
from latticebank.values.clock import SystemClock
from latticebank.witness.api import witness_app
from latticebank.witness.cosigning import Witness
from latticebank.witness.record import Record
from tests.clocks import MovingClock
from tests.security.audit.hall import Hall, open_hall
from tests.security.identity.people import said

NAME = "witness.example/w1"


class Outsider:
    """A witness that somebody else runs, at an address that stays its own."""

    def __init__(self, folder: Path, log_policy: bytes) -> None:
        self.key = CosignerKey.from_seed(NAME, token_bytes(32))
        self._folder = folder
        self._policy = parse_policy(log_policy)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    @property
    def policy(self) -> str:
        """The line by which a bank knows it."""
        return f"witness w1 {self.key.note_key().vkey()} http://127.0.0.1:{self.port}\nquorum w1\n"

    @asynccontextmanager
    async def awake(self) -> AsyncIterator[None]:
        """Let it answer."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        witness = Witness(self._policy, self.key, Record(self._folder), SystemClock())
        async with served(witness_app(witness), self.port):
            yield


class Liar(Outsider):
    """Whoever answers in the place of a witness."""

    @asynccontextmanager
    async def claiming(self, status: int, body: str, shown: bytes | None = None) -> AsyncIterator[None]:
        """Answer every checkpoint like this, and show this as the latest one."""

        async def answer(_: Request) -> Response:
            return PlainTextResponse(body, status)

        async def show(_: Request) -> Response:
            return PlainTextResponse("nothing", 404) if shown is None else Response(shown)

        app = Starlette(routes=[Route("/add-checkpoint", answer, methods=["POST"]), Route("/{hash}/checkpoint", show)])
        async with served(app, self.port):
            yield


@asynccontextmanager
async def served(app: Starlette, port: int) -> AsyncIterator[None]:
    """Serve an application on this machine."""
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, lifespan="off"))
    running = asyncio.create_task(server.serve())
    async with asyncio.timeout(10):
        while not server.started:  # noqa: ASYNC110 - nobody rings
            await asyncio.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        await running


async def status(hall: Hall) -> dict[str, Any]:
    return said(await hall.audit("/status", "operator"))


async def grow(hall: Hall) -> int:
    await hall.open("EUR")
    return (await hall.integrated()).size


async def cosigned(hall: Hall, outsider: Outsider) -> bool:
    note = parse_note((await hall.read("/checkpoint")).body)
    return cosigned_at(note, outsider.key.note_key()) is not None


async def refusal(hall: Hall) -> str:
    """What the log says once it stands still."""
    async with asyncio.timeout(20):
        while (told := (await status(hall))["refusal"]) is None:  # noqa: ASYNC110 - nobody rings
            await asyncio.sleep(0.05)
    return str(told)


async def founded(urls: dict[str, str], clock: MovingClock, folder: Path, kind: type[Outsider] = Outsider) -> Outsider:
    """Open a bank for the first time, and return a witness that knows its log."""
    async with open_hall(urls, folder / "bank", clock) as hall:
        await hall.is_open()
        await grow(hall)
        outsider = kind(folder / "witness", (await hall.read("/policy")).body)
    (folder / "witnesses").write_text(outsider.policy)
    return outsider


def forget(folder: Path) -> None:
    """Lose all that the bank kept apart."""
    shutil.rmtree(folder / "bank" / "kept")


def copied(urls: dict[str, str], name: str) -> dict[str, str]:
    """The databases, with that of audit as it is now under another name."""
    source = urls["audit"].rpartition("/")[2]
    with psycopg.connect(urls["audit"].rpartition("/")[0] + "/postgres", autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{source}_{name}" WITH (FORCE)'.encode())
        connection.execute(f'CREATE DATABASE "{source}_{name}" TEMPLATE "{source}"'.encode())
    return {**urls, "audit": f"{urls['audit']}_{name}"}


async def test_what_is_published_carries_the_cosignature(
    urls: dict[str, str], clock: MovingClock, tmp_path: Path
) -> None:
    outsider = await founded(urls, clock, tmp_path)
    async with outsider.awake(), open_hall(urls, tmp_path / "bank", clock, witnesses=tmp_path / "witnesses") as hall:
        await hall.is_open()
        size = await grow(hall)
        assert await cosigned(hall, outsider)
        [witness] = (await status(hall))["witnesses"]
        assert witness == {"name": NAME, "size": size, "trouble": None}
        assert NAME in (await hall.read("/policy")).body.decode()


async def test_the_bank_goes_on_without_a_silent_witness_which_cosigns_when_it_is_back(
    urls: dict[str, str], clock: MovingClock, tmp_path: Path
) -> None:
    outsider = await founded(urls, clock, tmp_path)
    async with open_hall(urls, tmp_path / "bank", clock, witnesses=tmp_path / "witnesses") as hall:
        await hall.is_open()
        await grow(hall)
        assert not await cosigned(hall, outsider)
        [witness] = (await status(hall))["witnesses"]
        assert witness["trouble"]
        async with outsider.awake():
            hall.log.witnessing.witnesses[0]._rests_until = 0.0
            async with asyncio.timeout(10):
                while not await cosigned(hall, outsider):  # noqa: ASYNC110 - nobody rings
                    await asyncio.sleep(0.05)
        [witness] = (await status(hall))["witnesses"]
        assert witness["trouble"] is None


async def test_a_witness_remembers_what_a_restored_bank_has_forgotten(
    urls: dict[str, str], clock: MovingClock, tmp_path: Path
) -> None:
    outsider = await founded(urls, clock, tmp_path)
    older = copied(urls, "older")
    async with outsider.awake():
        async with open_hall(urls, tmp_path / "bank", clock, witnesses=tmp_path / "witnesses") as hall:
            await hall.is_open()
            size = await grow(hall)
        forget(tmp_path)
        async with open_hall(older, tmp_path / "bank", clock, witnesses=tmp_path / "witnesses") as hall:
            before = hall.rows("SELECT size, (SELECT max(size) FROM checkpoints) FROM logs", database="audit")
            await hall.is_open()
            assert f"and {size} were published" in await refusal(hall)
            after = hall.rows("SELECT size, (SELECT max(size) FROM checkpoints) FROM logs", database="audit")
            assert after == before
    # It is remembered: the witness need not be there the next time.
    async with open_hall(older, tmp_path / "bank", clock, witnesses=tmp_path / "witnesses") as hall:
        await hall.is_open()
        assert "were published" in await refusal(hall)


async def test_a_witness_refuses_a_fork_and_the_log_stands_still(
    urls: dict[str, str], clock: MovingClock, tmp_path: Path
) -> None:
    outsider = await founded(urls, clock, tmp_path)
    older = copied(urls, "forked")
    async with outsider.awake(), open_hall(urls, tmp_path / "bank", clock, witnesses=tmp_path / "witnesses") as hall:
        await hall.is_open()
        size = await grow(hall)
    forget(tmp_path)
    # Nobody is there to contradict, so the restored log grows another way.
    async with open_hall(older, tmp_path / "bank", clock) as hall:
        await hall.is_open()
        await grow(hall)
        assert await grow(hall) > size
    async with outsider.awake(), open_hall(older, tmp_path / "bank", clock, witnesses=tmp_path / "witnesses") as hall:
        await hall.is_open()
        assert "are not those that were published" in await refusal(hall)
        published = hall.rows("SELECT max(size) FROM checkpoints", database="audit")
        await hall.open("EUR")
        await asyncio.sleep(0.5)
        assert hall.rows("SELECT max(size) FROM checkpoints", database="audit") == published


@pytest.mark.parametrize(
    ("status_code", "body"),
    [(409, "9000000000000\n"), (409, ""), (422, "no"), (200, "nonsense"), (500, "")],
    ids=["a large size", "no size", "a fork", "no cosignature", "an error"],
)
async def test_a_word_without_the_logs_own_signatures_stops_nothing(
    urls: dict[str, str], clock: MovingClock, tmp_path: Path, status_code: int, body: str
) -> None:
    outsider = await founded(urls, clock, tmp_path, Liar)
    other = LogKey.generate().sign(Checkpoint("bank.test/log", 9_000_000, b"\x07" * 32), clock.now())
    assert isinstance(outsider, Liar)
    async with (
        outsider.claiming(status_code, body, other),
        open_hall(urls, tmp_path / "bank", clock, witnesses=tmp_path / "witnesses") as hall,
    ):
        await hall.is_open()
        size = await grow(hall)
        told = await status(hall)
        assert (told["refusal"], told["published_size"]) == (None, size)
        assert told["witnesses"][0]["trouble"]


async def test_a_bank_that_died_before_it_published_what_was_cosigned_goes_on(
    urls: dict[str, str], clock: MovingClock, tmp_path: Path
) -> None:
    outsider = await founded(urls, clock, tmp_path)
    async with outsider.awake():
        async with open_hall(urls, tmp_path / "bank", clock, witnesses=tmp_path / "witnesses") as hall:
            await hall.is_open()
            await grow(hall)
            # The database refuses what is to be published: the witness has cosigned it by then.
            with hall.out_of_order("audit", "checkpoints"):
                await hall.open("EUR")
                await asyncio.sleep(1)
        async with open_hall(urls, tmp_path / "bank", clock, witnesses=tmp_path / "witnesses") as hall:
            await hall.is_open()
            await grow(hall)
            assert (await status(hall))["refusal"] is None
            assert await cosigned(hall, outsider)


@pytest.mark.parametrize("address", ["", " nonsense", " http://[::1", " ftp://witness.example"])
async def test_a_witness_without_an_address_keeps_the_bank_closed(
    urls: dict[str, str], clock: MovingClock, tmp_path: Path, address: str
) -> None:
    key = CosignerKey.from_seed(NAME, token_bytes(32)).note_key()
    (tmp_path / "witnesses").write_text(f"witness w1 {key.vkey()}{address}\n")
    with pytest.raises(InvalidSettings, match="names no address of w1"):
        async with open_hall(urls, tmp_path / "bank", clock, witnesses=tmp_path / "witnesses"):
            pass
