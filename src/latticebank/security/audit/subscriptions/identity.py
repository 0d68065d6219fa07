"""What identity tells: who came, who looked, whose devices and rights changed."""

from datetime import datetime
from uuid import UUID

from msgspec import json

from latticebank.kernel.events import Event
from latticebank.security.audit.model.entries import Entry, record_of, text_of_time
from latticebank.security.audit.subscriptions.facts import common
from latticebank.security.identity import events
from latticebank.security.identity.events import Happening

_GRANT = "grant"
_OPERATOR = "operator"
_KINDS = {
    events.USER_REGISTERED: "user.registered",
    events.LOGGED_IN: "login",
    events.LOGIN_FAILED: "login.failed",
    events.LOCKED_OUT: "login.locked",
    events.PASSWORD_CHANGED: "password.changed",
    events.SESSION_ENDED: "session.ended",
    events.PROFILE_READ: "profile.read",
    events.PROFILE_ERASED: "profile.erased",
    events.DEVICE_ENROLLED: "device.enrolled",
    events.DEVICE_REVOKED: "device.revoked",
}

_ABOUT_A_DEVICE = (events.DEVICE_ENROLLED, events.DEVICE_REVOKED)

_happening = json.Decoder(Happening)


def happened(event: Event, bank: str) -> list[Entry]:
    """Return the entry for what happened to a user."""
    return [_entry(event, bank, _KINDS[event.type], _happening.decode(event.data))]


def rights_changed(event: Event, bank: str) -> list[Entry]:
    """Return the entry for a right that was granted or withdrawn."""
    told = _happening.decode(event.data)
    return [_entry(event, bank, "right.granted" if told.action == _GRANT else "right.withdrawn", told)]


READINGS = {**dict.fromkeys(_KINDS, happened), events.RIGHTS_CHANGED: rights_changed}


def _entry(event: Event, bank: str, kind: str, told: Happening) -> Entry:
    facts = {
        "active_from": _time(told.active_from),
        "algorithm": told.algorithm,
        "by": _OPERATOR if told.by_operator else _id(told.by),
        "device": _id(told.device),
        "document_hash": told.document,
        "enrolled_at": _time(told.enrolled_at),
        "kind": kind,
        "proposal": _id(told.proposal),
        "reason": told.reason,
        "revoked_at": _time(told.revoked_at),
        "right": told.right,
        "session": _id(told.session),
        "sponsor": _id(told.sponsor),
        "user": str(told.user),
    }
    # A login names its device too, and is not about it: receipts ask for what became of a device.
    thing = told.device if event.type in _ABOUT_A_DEVICE else None
    enrols = told.device if event.type == events.DEVICE_ENROLLED else None
    return Entry(told.user, thing, record_of(common(event, bank) | facts), enrols, told.sponsor)


def _id(identifier: UUID | None) -> str | None:
    return None if identifier is None else str(identifier)


def _time(time: datetime | None) -> str | None:
    return None if time is None else text_of_time(time)
