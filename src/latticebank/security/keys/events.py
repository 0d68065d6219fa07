"""The events that keys publishes: identifiers, purposes and states, never a secret.

Their data is JSON (`KeyCreated`, `KeyStateChanged`, `HoldChanged`). Partition key and subject are the owner and the id of
the key or hold, the causation id is the key with the number of the entry in its history, or the hold.
"""

from uuid import UUID

from msgspec import Struct

SOURCE = "/latticebank/keys"
KEY_CREATED = "latticebank.keys.key-created.v1"
KEY_STATE_CHANGED = "latticebank.keys.key-state-changed.v1"
HOLD_PLACED = "latticebank.keys.hold-placed.v1"
HOLD_LIFTED = "latticebank.keys.hold-lifted.v1"


class KeyCreated(Struct, frozen=True):
    """A key was made; `owner` is "service:<name>" or "customer:<uuid>", `actor` like "Service:identity" or "User:<uuid>"."""

    key: UUID
    owner: str
    purpose: str
    version: int
    algorithm: str
    state: str
    actor: str


class KeyStateChanged(Struct, frozen=True):
    """A key came into another state by `actor`, for a reason out of the fixed list of `wire.Reason`."""

    key: UUID
    owner: str
    purpose: str
    version: int
    from_state: str
    to_state: str
    reason: str
    actor: str


class HoldChanged(Struct, frozen=True):
    """A legal hold over a customer, as `owner`, was placed or lifted by `by`; `reason` is that of its placing."""

    owner: str
    reason: str
    by: str
