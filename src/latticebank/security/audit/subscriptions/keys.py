"""What keys tells: keys that were made, and that came into another state; legal holds."""

from uuid import UUID

from msgspec import json

from latticebank.kernel.events import Event
from latticebank.security.audit.model.entries import Entry, record_of
from latticebank.security.audit.subscriptions.facts import common
from latticebank.security.keys.events import (
    HOLD_LIFTED,
    HOLD_PLACED,
    KEY_CREATED,
    KEY_STATE_CHANGED,
    HoldChanged,
    KeyCreated,
    KeyStateChanged,
)

_CUSTOMER = "customer:"

_created = json.Decoder(KeyCreated)
_changed = json.Decoder(KeyStateChanged)
_held = json.Decoder(HoldChanged)


def created(event: Event, bank: str) -> list[Entry]:
    """Return the entry for a key that was made."""
    told = _created.decode(event.data)
    facts: dict[str, str | None] = {
        "algorithm": told.algorithm,
        "by": told.actor,
        "key": str(told.key),
        "kind": "key.created",
        "owner": told.owner,
        "purpose": told.purpose,
        "version": str(told.version),
    }
    return [Entry(customer_of(told.owner), told.key, record_of(common(event, bank) | facts))]


def changed(event: Event, bank: str) -> list[Entry]:
    """Return the entry for a key that came into another state."""
    told = _changed.decode(event.data)
    facts = {
        "by": told.actor,
        "from_state": told.from_state or None,
        "key": str(told.key),
        "kind": "key.changed",
        "owner": told.owner,
        "purpose": told.purpose,
        "reason": told.reason,
        "to_state": told.to_state,
        "version": str(told.version),
    }
    return [Entry(customer_of(told.owner), told.key, record_of(common(event, bank) | facts))]


def held(event: Event, bank: str) -> list[Entry]:
    """Return the entry for a legal hold that was placed or lifted."""
    told = _held.decode(event.data)
    facts: dict[str, str | None] = {
        "by": told.by,
        "kind": "hold.placed" if event.type == HOLD_PLACED else "hold.lifted",
        "owner": told.owner,
        "reason": told.reason,
    }
    return [Entry(customer_of(told.owner), None, record_of(common(event, bank) | facts))]


def customer_of(owner: str) -> UUID | None:
    """Return the customer that an owner of keys is, None for a service."""
    return UUID(owner.removeprefix(_CUSTOMER)) if owner.startswith(_CUSTOMER) else None


READINGS = {KEY_CREATED: created, KEY_STATE_CHANGED: changed, HOLD_PLACED: held, HOLD_LIFTED: held}
