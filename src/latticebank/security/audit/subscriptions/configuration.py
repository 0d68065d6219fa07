"""What every service tells at a start under another configuration than before."""

from msgspec import json

from latticebank.kernel.configuration import ConfigurationChanged, event_type
from latticebank.kernel.events import Event
from latticebank.kernel.settings import SERVICES
from latticebank.security.audit.model.entries import Entry, record_of
from latticebank.security.audit.subscriptions.facts import common

_changed = json.Decoder(ConfigurationChanged)


def changed(event: Event, bank: str) -> list[Entry]:
    """Return the entry for a changed configuration: settings by name, policies by their hash."""
    told = _changed.decode(event.data)
    facts: dict[str, str | None] = {
        "changed": " ".join(told.changed),
        "kind": "configuration.changed",
        "policy": told.policy,
        "service": told.service,
        "version": told.version,
    }
    return [Entry(None, None, record_of(common(event, bank) | facts))]


READINGS = {event_type(service): changed for service in SERVICES}
