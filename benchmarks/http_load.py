"""A load over HTTP/1.1 in a process of its own: requests that were made before, over kept-alive connections.

It speaks the protocol itself, since a general client costs as much as the bank, and it would be part of the figures. The
first line on standard input is a `Load`; the child answers with a line when it has read the requests, and, told to go by
a second line, with an `Outcome`. Connections are a closed loop: each sends its next request when the last is answered.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import msgspec
import uvloop

_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = b"content-length:"
_PATIENCE_SECONDS = 300.0


class Load(msgspec.Struct, frozen=True):
    """What is sent: the files hold a list of connections, each a list of whole requests, for the port of their place."""

    ports: list[int]
    files: list[str]


class Outcome(msgspec.Struct, frozen=True):
    """What came of it: answers by status, what the first answer of another status than 2xx said, seconds, CPU seconds."""

    statuses: dict[int, int]
    first_refusal: str
    seconds: float
    cpu: float
    latencies: list[float]


def request_bytes(path: str, token: str, body: bytes) -> bytes:
    """Return a whole POST request with a bearer token and a JSON body."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def write_requests(path: Path, connections: Sequence[Sequence[bytes]]) -> None:
    """Write what `Load.files` names."""
    path.write_bytes(msgspec.msgpack.encode(connections))


class _Connection(asyncio.Protocol):
    """Sends its requests one after the other, and times each answer."""

    def __init__(self, requests: Sequence[bytes], done: "asyncio.Future[None]", told: "_Told") -> None:
        self._requests = iter(requests)
        self._done = done
        self._told = told
        self._received = b""
        self._sent_at = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has all of it, and is none

    def begin(self) -> None:
        assert self._transport is not None
        request = next(self._requests, None)
        if request is None:
            self._transport.close()
            self._done.set_result(None)
            return
        self._sent_at = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(_END_OF_HEAD)
        if end < 0:
            return
        head = self._received[:end].lower()
        start = head.index(_LENGTH) + len(_LENGTH)
        stop = head.find(b"\r\n", start)
        length = int(head[start : stop if stop > 0 else None])
        if len(self._received) < end + len(_END_OF_HEAD) + length:
            return
        self._told.latencies.append(time.perf_counter() - self._sent_at)
        status = int(head[9:12])
        self._told.statuses[status] += 1
        if not 200 <= status < 300 and not self._told.first_refusal:
            self._told.first_refusal = self._received[end + len(_END_OF_HEAD) :].decode(errors="replace")[:400]
        self._received = b""
        self.begin()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(error or ConnectionError("the bank closed a connection"))


class _Told:
    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.first_refusal = ""
        self.latencies: list[float] = []


def _read_requests(file: str) -> list[list[bytes]]:
    return msgspec.msgpack.decode(Path(file).read_bytes(), type=list[list[bytes]])


async def _drive(load: Load) -> Outcome:
    loop = asyncio.get_running_loop()
    told = _Told()
    connections: list[_Connection] = []
    ends: list[asyncio.Future[None]] = []
    for port, file in zip(load.ports, load.files, strict=True):
        for requests in _read_requests(file):
            ends.append(loop.create_future())
            connection = _Connection(requests, ends[-1], told)
            await loop.create_connection(lambda made=connection: made, "127.0.0.1", port)  # type: ignore[misc]
            connections.append(connection)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.readline)
    began, cpu = time.perf_counter(), time.process_time()
    for connection in connections:
        connection.begin()
    await asyncio.gather(*ends)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    return Outcome(dict(told.statuses), told.first_refusal, seconds, cpu, told.latencies)


class LoadProcess:
    """The child, ready to go."""

    def __init__(self, child: "subprocess.Popen[bytes]") -> None:
        self._child = child

    async def go(self) -> Outcome:
        """Let it send everything; return what came of it."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(b"go\n")
        self._child.stdin.flush()
        line = await asyncio.wait_for(asyncio.to_thread(self._child.stdout.readline), _PATIENCE_SECONDS)
        return msgspec.json.decode(line, type=Outcome)


@contextmanager
def load_process(load: Load) -> Iterator[LoadProcess]:
    """Start the child and wait until it has read its requests and is connected."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.http_load"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    ) as child:
        try:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write(msgspec.json.encode(load) + b"\n")
            child.stdin.flush()
            if child.stdout.readline() != b"ready\n":
                raise RuntimeError("the load could not be started; what it said is above")
            yield LoadProcess(child)
        finally:
            child.kill()


if __name__ == "__main__":
    outcome = uvloop.run(_drive(msgspec.json.decode(sys.stdin.readline(), type=Load)))
    sys.stdout.write(msgspec.json.encode(outcome).decode() + "\n")
