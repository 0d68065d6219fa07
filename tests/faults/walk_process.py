"""A process that runs a whole bank, sends it signed requests, and is killed after a chosen number of steps.

Run as a module. Each line on standard input is a plan, a JSON object (see `Plan`), for one life: a fork of this process
that opens the bank, waits until all is settled, says so, repeats the requests of earlier lives on demand, sends its own,
and dies by SIGKILL at step `dies_at` of those, unless it has done before. What it says goes to standard output, a JSON
object a line.

A step is a transaction or a call from one service to another, each when it is about to happen and when it has happened.
Whatever does not outlive the process cannot tell two deaths apart between which no transaction ended: so, unless the plan
wants every one of them, only steps count before which something was committed.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypedDict

from latticebank.bank import Bank
from latticebank.banking.ledger.store import write as ledger_write
from latticebank.kernel.database import Database, UnitOfWork
from latticebank.kernel.telemetry import configure_logs
from latticebank.kernel.transports import Request, Response, Transport
from latticebank.kernel.transports.memory import MemoryTransport
from tests.e2e.townspeople import ShiftedClock, all_told, open_village, rows_in

CLAIM = timedelta(seconds=16)
"""A little more than recovery leaves whoever accepted work alone with it."""


class Asked(TypedDict):
    """A request: whose session it comes in, and what it asks."""

    who: str
    path: str
    body: dict[str, Any] | None


class Plan(TypedDict):
    """A life: the bank's folder and databases, its clock's offset in seconds, the tokens of sessions by name."""

    folder: str
    urls: dict[str, str]
    offset: float
    tokens: dict[str, str]
    again: list[Asked]
    new: list[Asked]
    dies_at: int
    every_step: bool


class Fuse:
    """Counts steps while it is armed, and kills the process at one of them."""

    def __init__(self, *, every_step: bool) -> None:
        self.steps = 0
        self._every_step = every_step
        self._committed = True
        self._dies_at: int | None = None

    def arm(self, dies_at: int) -> None:
        self._dies_at = dies_at

    def disarm(self) -> None:
        self._dies_at = None

    def commits(self) -> None:
        """Note that something outlives the process that did not before."""
        self._committed = True

    def burn(self) -> None:
        if self._dies_at is None or not (self._committed or self._every_step):
            return
        self._committed = False
        self.steps += 1
        if self.steps == self._dies_at:
            os.kill(os.getpid(), signal.SIGKILL)


def lay(fuse: Fuse) -> None:
    """Have every transaction and every call between services burn the fuse, before and after."""
    begin, write, send = Database.begin, ledger_write.write, MemoryTransport.send

    def counted_begin(self: Database, *, shard: int = 0) -> AbstractAsyncContextManager[UnitOfWork]:
        @asynccontextmanager
        async def block() -> AsyncIterator[UnitOfWork]:
            async with begin(self, shard=shard) as work:
                yield work
                fuse.burn()
            fuse.commits()
            fuse.burn()

        return block()

    async def counted_write(*parts: Any) -> None:
        fuse.burn()
        await write(*parts)
        fuse.commits()
        fuse.burn()

    async def counted_send(self: MemoryTransport, request: Request) -> Response:
        fuse.burn()
        response = await send(self, request)
        fuse.burn()
        return response

    Database.begin = counted_begin  # type: ignore[method-assign, assignment]
    ledger_write.write = counted_write  # type: ignore[assignment]
    MemoryTransport.send = counted_send  # type: ignore[method-assign]


async def live(plan: Plan) -> None:
    """Do what a plan says."""
    fuse, clock = Fuse(every_step=plan["every_step"]), ShiftedClock(timedelta(seconds=plan["offset"]))
    lay(fuse)
    async with open_village(Path(plan["folder"]), plan["urls"], clock) as (bank, village):
        await _settled(bank, clock)
        await _say({"settled": clock.offset.total_seconds()})
        await _say({"again": [[await _ask(village.way, plan, each) for each in plan["again"]] for _ in range(3)]})
        fuse.arm(plan["dies_at"])
        for asked in plan["new"]:
            await _tell({"answer": await _ask(village.way, plan, asked)})
        await all_told(bank)
        fuse.disarm()
        await _tell({"steps": fuse.steps})


async def _ask(door: Transport, plan: Plan, asked: Asked) -> list[Any]:
    """Ask as somebody in a session; status and text of the answer."""
    headers = {"Authorization": f"Bearer {plan['tokens'][asked['who']]}", "Content-Type": "application/json"}
    body = b"" if asked["body"] is None else json.dumps(asked["body"]).encode()
    response = await door.send(Request("POST", asked["path"], headers, body))
    return [response.status, response.body.decode()]


async def _settled(bank: Bank, clock: ShiftedClock) -> None:
    """Wait until nothing is left half-way, and let the claims of the dead run out."""
    async with asyncio.timeout(60):
        while await rows_in(bank, "payments", "unsettled"):
            clock.offset += CLAIM
            for _ in range(60):
                if not await rows_in(bank, "payments", "unsettled"):
                    break
                await asyncio.sleep(0.02)
        await all_told(bank)


async def _tell(said: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


async def _say(said: dict[str, Any]) -> None:
    """Tell something, and wait for a word to go on."""
    await _tell(said)
    await asyncio.to_thread(sys.stdin.readline)


def main() -> None:
    """Live through one plan after another."""
    configure_logs(level="error")
    while line := sys.stdin.readline():
        child = os.fork()
        if child == 0:
            try:
                asyncio.run(live(json.loads(line)))
            except BaseException:  # noqa: BLE001 - whatever it is, this life is over and says why
                sys.excepthook(*sys.exc_info())
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(json.dumps({"ended": os.waitstatus_to_exitcode(status)}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
