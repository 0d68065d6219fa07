"""What the log should hear and does not, or hears twice: for whoever looks after the bank."""

from typing import NamedTuple

from latticebank.kernel.bus import EventsMissing
from latticebank.kernel.consumer import require_place
from latticebank.kernel.worker import Pace, Wake, keep_working
from latticebank.security.audit.model.gaps import Span
from latticebank.security.audit.service.foundation import NAME, Foundation
from latticebank.security.audit.store import heard

TOPICS = tuple(f"latticebank.{service}" for service in ("keys", "identity", "ledger", "payments", "audit"))
_MEASURED = Pace(idle=5.0, longest_failure=5.0)


class Stuck(NamedTuple):
    """A topic of which the log takes in nothing any more, and why."""

    topic: str
    reason: str


class Findings(NamedTuple):
    """What is wrong with what was heard."""

    gaps: list[Span]
    overlaps: list[Span]
    stuck: list[Stuck]


async def findings(base: Foundation) -> Findings:
    """Return what is wrong now with what the log has heard.

    It looks itself at the places in the topics: whoever asks need not be the process that takes events in.

    Raises:
        DatabaseUnavailable: the database of audit or the bus is down.

    """
    async with base.database.read() as connection:
        gaps = await heard.found(connection, base.book, "gaps")
        overlaps = await heard.found(connection, base.book, "told_again")
    return Findings(gaps, overlaps, [stuck for topic in TOPICS if (stuck := await _look_at(base, topic)) is not None])


async def measure(base: Foundation) -> None:
    """Keep telling Prometheus what is wrong, until cancelled."""

    async def step() -> int:
        found = await findings(base)
        base.metrics.gaps.set(len(found.gaps))
        base.metrics.overlaps.set(len(found.overlaps))
        base.metrics.stuck.set(len(found.stuck))
        return 0

    await keep_working("the measuring of what the log has heard", step, wake=Wake(), pace=_MEASURED)


async def _look_at(base: Foundation, topic: str) -> Stuck | None:
    try:
        await require_place(NAME, topic, base.database, base.bus)
    except EventsMissing as error:
        return Stuck(topic, str(error))
    return None
