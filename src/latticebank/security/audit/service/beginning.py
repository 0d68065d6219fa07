"""The beginning of a log. Its first entry says so, and names what was last published of the log before it, if there was one."""

import asyncio
from datetime import datetime

from latticebank.kernel.database import Database
from latticebank.security.audit.model.entries import Entry, record_of, text_of_time
from latticebank.security.audit.model.standing import Remembered, origin_of, remembered_in
from latticebank.security.audit.service.appending import Appending
from latticebank.security.audit.service.foundation import Foundation
from latticebank.security.audit.store import tree
from latticebank.security.audit.store.tree import Log

TOPIC = "log"


async def write_first_entry(base: Foundation, appending: Appending) -> None:
    """Append the first entry of the log, unless it has one.

    Raises:
        LogHalted, RemoteProblem, ServiceUnavailable, DatabaseUnavailable: not now.

    """
    async with base.database.begin() as work:
        log = await tree.held(work, base.book)
        if log is not None and log.size == 0:
            await appending.append(work, TOPIC, [Entry(None, None, await _first_record(base, log))])


async def begin_anew(database: Database, book: int, bank: str, now: datetime) -> Log:
    """Begin a further log in the place of the present one, and return it; audit writes its first entry.

    Raises:
        DatabaseUnavailable: the database is down.

    """
    async with database.begin() as work:
        present = await tree.held(work, book)
        number = 1 if present is None else present.log + 1
        await tree.begin(work, book, number, origin_of(bank, number), now)
        log = await tree.current(work.connection, book)
    assert log is not None, "it was begun just now"
    return log


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
        facts |= {"previous": before, "previous_root": said.root or None, "previous_size": str(said.size)}
    return record_of(facts)
