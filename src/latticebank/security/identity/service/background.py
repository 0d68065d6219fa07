"""What identity does without being asked: fetch its keys, finish what was broken off, forget what is over."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from latticebank.kernel.worker import Pace, Wake, keep_working
from latticebank.security.identity.service.erasures import Erasures
from latticebank.security.identity.service.own_keys import OwnKeys
from latticebank.security.identity.service.registration import Registration
from latticebank.security.identity.service.sessions import Sessions

KEYS_FETCHED_SECONDS = 60.0
"""How long a new version of an own key may stay unknown here."""
_KEYS_PACE = Pace(idle=KEYS_FETCHED_SECONDS, first_failure=0.05, longest_failure=5.0)
_REGISTRATIONS_PACE = Pace(idle=5.0)
_ERASURES_PACE = Pace(idle=5.0)
_FORGETTING_PACE = Pace(idle=60.0)


@asynccontextmanager
async def working(
    own_keys: OwnKeys, registration: Registration, erasures: Erasures, sessions: Sessions
) -> AsyncIterator[None]:
    """Do the work of identity as long as the block lasts."""

    async def fetch_keys() -> int:
        await own_keys.load()
        return 0

    async def finish_registrations() -> int:
        return await registration.finish() if own_keys.is_loaded else 0

    async def resume_erasures() -> int:
        return await erasures.resume() if own_keys.is_loaded else 0

    async def forget() -> int:
        return await sessions.forget() + await registration.forget()

    work = (
        keep_working("own keys of identity", fetch_keys, wake=Wake(), pace=_KEYS_PACE),
        keep_working("broken-off registrations", finish_registrations, wake=Wake(), pace=_REGISTRATIONS_PACE),
        keep_working("broken-off erasures", resume_erasures, wake=Wake(), pace=_ERASURES_PACE),
        keep_working("forgetting what is over", forget, wake=Wake(), pace=_FORGETTING_PACE),
    )
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each) for each in work]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
