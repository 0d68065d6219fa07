"""What audit tells itself: who looked into the log."""

from msgspec import json

from latticebank.kernel.events import Event
from latticebank.security.audit.events import ENTRIES_OPENED, EntriesOpened
from latticebank.security.audit.model.entries import Entry, record_of
from latticebank.security.audit.subscriptions.facts import common

_opened = json.Decoder(EntriesOpened)


def opened(event: Event, bank: str) -> list[Entry]:
    """Return the entry for an auditor's look at entries."""
    told = _opened.decode(event.data)
    facts = {
        "by": str(told.by),
        "count": str(told.count),
        "first": str(told.first),
        "kind": "entries.opened",
        "session": None if told.session is None else str(told.session),
    }
    return [Entry(told.by, None, record_of(common(event, bank) | facts))]


READINGS = {ENTRIES_OPENED: opened}
