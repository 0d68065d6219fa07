"""What a payment may rely on: whether its session, user and device count at this instant."""

from collections.abc import Collection
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from latticebank.security.identity.model.devices import DeviceState, state_of
from latticebank.security.identity.model.people import UserState
from latticebank.security.identity.model.sessions import Session


class Verdict(StrEnum):
    """Whether a session, a user and a device count together, or which of them does not."""

    GOOD = "good"
    SESSION_ENDED = "session-ended"
    USER_UNKNOWN = "user-unknown"
    DEVICE_UNKNOWN = "device-unknown"
    DEVICE_REVOKED = "device-revoked"
    DEVICE_COOLING = "device-cooling"


_OF_DEVICE = {
    DeviceState.ACTIVE: Verdict.GOOD,
    DeviceState.COOLING: Verdict.DEVICE_COOLING,
    DeviceState.REVOKED: Verdict.DEVICE_REVOKED,
}

KnownUser = tuple[int, Collection[str]]
"""State and rights."""
KnownDevice = tuple[UUID, datetime, datetime | None]
"""Whose it is, from when it counts, and since when not."""


def verdict(
    user: UUID, session: Session | None, known: KnownUser | None, device: KnownDevice | None, now: datetime
) -> Verdict:
    """Return whether `user` may act in this session with this device; what is not known is None."""
    if session is None or session.user != user or not session.is_open(now):
        return Verdict.SESSION_ENDED
    if known is None or known[0] != UserState.ACTIVE:
        return Verdict.USER_UNKNOWN
    if device is None or device[0] != user:
        return Verdict.DEVICE_UNKNOWN
    return _OF_DEVICE[state_of(device[1], device[2], now)]
