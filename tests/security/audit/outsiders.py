"""Witnesses of other people, good and bad, each at an address that stays its own; and a bank that names them."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from secrets import token_bytes
from typing import Protocol

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from latticebank.crypto.checkpoints import CosignerKey, parse_checkpoint
from latticebank.crypto.log_policy import parse_policy
from latticebank.crypto.notes import parse_note
from latticebank.values.clock import SystemClock
from latticebank.values.errors import BankError
from latticebank.witness.api import add_checkpoint, refuse, witness_app
from latticebank.witness.cosigning import Witness
from latticebank.witness.record import Record, origin_hash
from tests.clocks import MovingClock
from tests.security.audit.hall import ORIGIN, open_hall

WITNESS = "witness.example/w1"


class Outsider:
    """A witness that somebody else runs, at an address that stays its own."""

    def __init__(self, folder: Path, log_policy: bytes) -> None:
        self.key = CosignerKey.from_seed(WITNESS, token_bytes(32))
        self._folder = folder
        self._policy = parse_policy(log_policy)
        # Bound for as long as this witness is there, and never listening: nobody else gets the port while it sleeps.
        self._place = place()
        self.port = self._place.getsockname()[1]

    def gone(self) -> None:
        """Give back the port."""
        self._place.close()

    @property
    def vkey(self) -> str:
        """Its key and its address, as a bank knows it."""
        return f"{self.key.note_key().vkey()} http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def awake(self) -> AsyncIterator[None]:
        """Let it answer."""
        async with served(witness_app(self.witness()), self.port):
            yield

    def witness(self) -> Witness:
        """The witness itself, with all that it remembers."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        return Witness(self._policy, self.key, Record(self._folder), SystemClock())

    def knows(self) -> int:
        """The size of the largest tree that it has cosigned."""
        latest = self.witness().checkpoint(origin_hash(ORIGIN))
        return parse_checkpoint(parse_note(latest).text).size


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


class Stutterer(Outsider):
    """A witness that says everything twice, and repeats what others said."""

    @asynccontextmanager
    async def awake(self) -> AsyncIterator[None]:
        witness, other = self.witness(), CosignerKey.from_seed("friend.example/w2", token_bytes(32))

        async def answer(request: Request) -> Response:
            body = await request.body()
            try:
                line = await run_in_threadpool(witness.add_checkpoint, body)
            except BankError as error:
                return await refuse(request, error)
            friend = other.cosign(parse_checkpoint(parse_note(body.partition(b"\n\n")[2]).text), SystemClock().now())
            return PlainTextResponse(friend + line + friend + line)

        async with served(Starlette(routes=[Route("/add-checkpoint", answer, methods=["POST"])]), self.port):
            yield


class Ditherer(Outsider):
    """A witness that thinks for as long as the test wants."""

    def __init__(self, folder: Path, log_policy: bytes) -> None:
        super().__init__(folder, log_policy)
        self.asked = asyncio.Event()
        self.may_answer = asyncio.Event()

    @asynccontextmanager
    async def awake(self) -> AsyncIterator[None]:
        witness = self.witness()

        async def answer(request: Request) -> Response:
            self.asked.set()
            await self.may_answer.wait()
            try:
                return await add_checkpoint(witness, request)
            except BankError as error:
                return await refuse(request, error)

        async with served(Starlette(routes=[Route("/add-checkpoint", answer, methods=["POST"])]), self.port):
            try:
                yield
            finally:
                self.may_answer.set()


def place(port: int = 0) -> socket.socket:
    """A socket on this machine, at a port that this process may have twice."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    held.bind(("127.0.0.1", port))
    return held


@asynccontextmanager
async def served(app: Starlette, port: int) -> AsyncIterator[None]:
    """Serve an application on this machine."""
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    running = asyncio.create_task(server.serve(sockets=[place(port)]))
    async with asyncio.timeout(60):
        while not server.started:  # noqa: ASYNC110 - nobody rings
            await asyncio.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        await running


class Founding(Protocol):
    async def __call__(self, *kinds: type[Outsider]) -> list[Outsider]:
        """Open a bank for the first time, and return witnesses that know its log."""


@pytest.fixture
def founded(urls: dict[str, str], clock: MovingClock, tmp_path: Path) -> Iterator[Founding]:
    """What founds a bank, with a file that names its witnesses."""
    outsiders: list[Outsider] = []

    async def found(*kinds: type[Outsider]) -> list[Outsider]:
        async with open_hall(urls, tmp_path / "bank", clock) as hall:
            await hall.is_open()
            await hall.open("EUR")
            await hall.integrated()
            policy = (await hall.read("/policy")).body
        outsiders.extend(kind(tmp_path / f"witness{number}", policy) for number, kind in enumerate(kinds))
        (tmp_path / "witnesses").write_text("".join(f"witness w{n} {each.vkey}\n" for n, each in enumerate(outsiders)))
        return outsiders

    yield found
    for outsider in outsiders:
        outsider.gone()
