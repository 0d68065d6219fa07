"""How changes of keys become the events that `events` describes."""

from msgspec import Struct, json

from latticebank.kernel.events import Event
from latticebank.security.keys.events import KEY_CREATED, KEY_STATE_CHANGED, SOURCE, KeyCreated, KeyStateChanged
from latticebank.security.keys.model import Change, Key
from latticebank.values.ids import Uuid7Source


def event_of(ids: Uuid7Source, key: Key, change: Change) -> Event:
    """Return the event that tells of a change of a key."""
    type_, content = KEY_STATE_CHANGED, _changed(key, change)
    if change.from_state is None:
        type_, content = KEY_CREATED, _created(key, change)
    cause = f"{key.id}/{change.number}"
    data = json.encode(content)
    return Event(ids(), SOURCE, type_, change.at, str(key.id), key.owner, cause, "application/json", data)


def _created(key: Key, change: Change) -> Struct:
    return KeyCreated(key.id, key.owner, key.purpose, key.version, key.algorithm, change.to_state.word)


def _changed(key: Key, change: Change) -> Struct:
    present = "" if change.from_state is None else change.from_state.word
    return KeyStateChanged(key.id, key.owner, key.purpose, key.version, present, change.to_state.word, change.reason)
