"""The beginning of a log. Its first entry says so, and names what was last published of the log before it, if there was one."""

import asyncio
from datetime import datetime

from latticebank.kernel.database import Database, UnitOfWork
from latticebank.kernel.kept_apart import KeptApart
from latticebank.security.audit.model.entries import Entry, record_of, text_of_time
from latticebank.security.audit.model.standing import UNKNOWN_SIZE, LogHalted, Remembered, origin_of, remembered_in
from latticebank.security.audit.service.appending import Appending
from latticebank.security.audit.service.foundation import Foundation
from latticebank.security.audit.service.standing import hold_against
from latticebank.security.audit.store import tree
from latticebank.security.audit.store.tree import Log
from latticebank.values.errors import BankError, Fault

TOPIC = "log"


class LogStillSound(BankError):
    """There is no reason to end the present log."""

    code = "log-still-sound"
    title = "The log can go on"
    fault = Fault.CONFLICT


async def write_first_entry(base: Foundation, appending: Appending, work: UnitOfWork, log: Log) -> None:
    """Append the first entry of a log that has none.

    Raises:
        LogHalted, RemoteProblem, ServiceUnavailable, DatabaseUnavailable: not now.

    """
    held = await tree.held(work, base.book)
    if held is not None and held.size == 0:
        await appending.append(work, TOPIC, [Entry(None, None, await _first_record(base, log))])


async def begin_anew(
    database: Database, book: int, bank: str, kept: KeptApart, now: datetime, *, though_sound: bool = False
) -> Log:
    """Begin a further log in the place of the present one, and return it; audit writes its first entry.

    Raises:
        LogStillSound: the present one fits what was published of it, and it is not said that this does not matter.
        DatabaseUnavailable: the database is down.

    """
    async with database.begin() as work:
        present = await tree.held(work, book)
        if present is not None and not though_sound:
            await _require_unfit(work, book, present, kept)
        number = 1 if present is None else present.log + 1
        await tree.begin(work, book, number, origin_of(bank, number), now)
        log = await tree.current(work.connection, book)
    assert log is not None, "it was begun just now"
    return log


async def _require_unfit(work: UnitOfWork, book: int, log: Log, kept: KeptApart) -> None:
    try:
        said = remembered_in(await asyncio.to_thread(kept.lines)).get(log.origin)
        if said is not None:
            await hold_against(work.connection, book, log, said)
    except LogHalted:
        return
    raise LogStillSound(
        "the log fits all that is remembered of it", hint="say --though-sound if it has to end for another reason"
    )


async def _first_record(base: Foundation, log: Log) -> bytes:
    facts: dict[str, str | None] = {
        "at": text_of_time(base.now()),
        "bank": base.bank,
        "event": f"{base.ids()}#0",
        "kind": "log.begun",
        "origin": log.origin,
    }
    if log.log > 1:
        before = origin_of(base.bank, log.log - 1)
        said = remembered_in(await asyncio.to_thread(base.kept.lines)).get(before, Remembered(before, 0))
        size = None if said.size == UNKNOWN_SIZE else str(said.size)
        facts |= {"previous": before, "previous_root": said.root or None, "previous_size": size}
    return record_of(facts)
