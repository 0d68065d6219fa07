"""How changes of keys and of holds become the events that `events` describes."""

from datetime import datetime

from msgspec import Struct, json

from latticebank.kernel.events import Event
from latticebank.security.keys.events import (
    HOLD_LIFTED,
    HOLD_PLACED,
    KEY_CREATED,
    KEY_STATE_CHANGED,
    SOURCE,
    HoldChanged,
    KeyCreated,
    KeyStateChanged,
)
from latticebank.security.keys.model import Change, Hold, Key
from latticebank.values.ids import Uuid7Source


def event_of(ids: Uuid7Source, key: Key, change: Change) -> Event:
    """Return the event that tells of a change of a key."""
    type_, content = KEY_STATE_CHANGED, _changed(key, change)
    if change.from_state is None:
        type_, content = KEY_CREATED, _created(key, change)
    cause = f"{key.id}/{change.number}"
    data = json.encode(content)
    return Event(ids(), SOURCE, type_, change.at, str(key.id), key.owner, cause, "application/json", data)


def placed(ids: Uuid7Source, hold: Hold) -> Event:
    """Return the event that tells of a new hold."""
    return _of_hold(ids, hold, HOLD_PLACED, hold.placed_by, hold.placed_at)


def lifted(ids: Uuid7Source, hold: Hold, by: str, at: datetime) -> Event:
    """Return the event that tells of a hold that somebody lifted."""
    return _of_hold(ids, hold, HOLD_LIFTED, by, at)


def _of_hold(ids: Uuid7Source, hold: Hold, type_: str, by: str, at: datetime) -> Event:
    data = json.encode(HoldChanged(hold.owner, hold.reason, by))
    return Event(ids(), SOURCE, type_, at, str(hold.id), hold.owner, str(hold.id), "application/json", data)


def _created(key: Key, change: Change) -> Struct:
    state = change.to_state.word
    return KeyCreated(key.id, key.owner, key.purpose, key.version, key.algorithm, state, change.actor)


def _changed(key: Key, change: Change) -> Struct:
    present = "" if change.from_state is None else change.from_state.word
    states = (present, change.to_state.word)
    return KeyStateChanged(key.id, key.owner, key.purpose, key.version, *states, change.reason, change.actor)
