"""Takes in what the services tell, topic by topic: the events of a transaction become entries of the log together."""

import asyncio
from collections.abc import Coroutine, Iterator, Sequence

from latticebank.kernel.bus import EventsMissing
from latticebank.kernel.consumer import Consumer
from latticebank.kernel.database import UnitOfWork
from latticebank.kernel.events import Event
from latticebank.kernel.transports import ServiceUnavailable
from latticebank.kernel.worker import Pace
from latticebank.security.audit.model.entries import Entry
from latticebank.security.audit.model.gaps import Span
from latticebank.security.audit.service.appending import Appending
from latticebank.security.audit.service.enrolments import Enrolments
from latticebank.security.audit.service.foundation import NAME, Foundation
from latticebank.security.audit.service.hearing import TOPICS
from latticebank.security.audit.service.standing import Standing
from latticebank.security.audit.subscriptions import configuration, identity, keys, ledger, own, payments
from latticebank.values.errors import BankError, Fault

READINGS = {
    **payments.READINGS,
    **identity.READINGS,
    **keys.READINGS,
    **ledger.READINGS,
    **own.READINGS,
    **configuration.READINGS,
}
"""What reads an event, by its type: it is given the event and the name of the bank."""

_EVENTS_AT_ONCE = 16
"""An event tells of up to 2,000 payments."""
_READ_HERE_BYTES = 8_192
"""More than this is read in a thread of its own, so that nothing else waits for it."""
_STUCK = 8
"""So many failures in a row are more than a pause."""
_PACE = Pace(idle=2.0, longest_failure=4.0)
"""A database that is back is soon found again: events of the whole bank wait for it."""


class UnknownEvent(BankError):
    """A service tells of something that the log has no form for: nothing goes on past it unrecorded."""

    code = "unknown-event"
    title = "The log does not know this event"
    fault = Fault.INTERNAL


class Intake:
    """The reading end of the log: a consumer for each topic. They take turns at the tree."""

    def __init__(
        self, foundation: Foundation, standing: Standing, enrolments: Enrolments, appending: Appending
    ) -> None:
        self._base = foundation
        self._enrolments = enrolments
        self._standing = standing
        self._appending = appending
        self._consumers: dict[str, Consumer] = {}

    def work(self) -> Iterator[Coroutine[None, None, None]]:
        """Yield what runs as long as the service does."""
        yield from (self._take_in(topic) for topic in TOPICS)

    async def _take_in(self, topic: str) -> None:
        await self._standing.ready.wait()

        async def handle(work: UnitOfWork, events: Sequence[tuple[int, Event]]) -> None:
            await self._append(work, topic, [event for _, event in events])

        base = self._base
        consumer = Consumer(NAME, topic, base.database, base.bus, handle, batch=_EVENTS_AT_ONCE, pace=_PACE)
        self._consumers[topic] = consumer
        await consumer.run()

    async def check(self) -> None:
        """Tell the health of the bank whether the log takes in what the services tell.

        Raises:
            EventsMissing: the bus does not have what comes next in a topic; no later try will mend that.
            ServiceUnavailable: it has failed to, over and over.

        """
        troubles = {topic: each.trouble for topic, each in self._consumers.items() if each.trouble is not None}
        for trouble in troubles.values():
            if isinstance(trouble.error, EventsMissing):
                raise EventsMissing(trouble.error.detail, hint=trouble.error.hint)
        stuck = [topic for topic, trouble in troubles.items() if trouble.times >= _STUCK]
        if stuck:
            raise ServiceUnavailable(f"the log does not take in {', '.join(stuck)}", hint="the log of audit says why")

    async def _append(self, work: UnitOfWork, topic: str, events: Sequence[Event]) -> None:
        bank = self._base.bank
        if sum(len(event.data) for event in events) > _READ_HERE_BYTES:
            entries, spans = await asyncio.to_thread(read, events, bank)
        else:
            entries, spans = read(events, bank)
        if entries:
            log, before = await self._enrolments.before(work, entries)
            await self._appending.append(work, topic, [*before, *entries], spans, only_to=log)
        for event in events:
            self._base.metrics.integrated.observe(max(0.0, (self._base.now() - event.time).total_seconds()))


def read(events: Sequence[Event], bank: str) -> tuple[list[Entry], list[Span]]:
    """Return the entries that events lead to, in order, and the batches of the ledger that they tell of.

    Raises:
        UnknownEvent: there is no form for one.

    """
    entries: list[Entry] = []
    spans: list[Span] = []
    for event in events:
        reading = READINGS.get(event.type)
        if reading is None:
            raise UnknownEvent(
                f"{event.type} leads to no entry", hint="bring audit to the version of the other services"
            )
        entries += reading(event, bank)
        if (span := ledger.span_of(event)) is not None:
            spans.append(span)
    return entries, spans
