"""The routes of audit, and the service as the composition root sees it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.resources import files

from fastapi import FastAPI

from latticebank.kernel.http import application
from latticebank.kernel.service import Context, Service
from latticebank.security.audit.api import entries, log
from latticebank.security.audit.api.rooms import Rooms
from latticebank.security.audit.migrations import AUDIT_TABLES
from latticebank.security.audit.service.foundation import NAME


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    rooms: Rooms = app.state.rooms
    async with AsyncExitStack() as closing:
        closing.push_async_callback(rooms.foundation.records.aclose)
        closing.push_async_callback(rooms.witnessing.aclose)
        group = await closing.enter_async_context(asyncio.TaskGroup())
        tasks = [group.create_task(work) for work in (*rooms.background.work(), *rooms.intake.work())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


def build(context: Context) -> FastAPI:
    """Return the application of audit.

    Raises:
        MalformedNote, InvalidSettings: the file that names the witnesses is none.

    """
    rooms = Rooms.of(context)
    checks = {"log": rooms.status.check, "intake": rooms.intake.check}
    app = application(SERVICE, context, _lifespan, [log.router, entries.router, entries.internal], checks=checks)
    app.state.rooms = rooms
    return app


SERVICE = Service(
    name=NAME,
    port=8009,
    prefixes=("/api/log/", "/api/audit/", "/internal/audit/"),
    migrations=AUDIT_TABLES,
    policies=(files("latticebank.security.audit") / "policies.cedar").read_text("utf-8"),
    build=build,
)
