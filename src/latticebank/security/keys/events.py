"""The events that keys publishes: identifiers, purposes and states, never a secret.

Their data is JSON (`KeyCreated`, `KeyStateChanged`). Partition key and subject are the key's owner and id, the causation
id is the key with the number of the entry in its history.
"""

from uuid import UUID

from msgspec import Struct

SOURCE = "/latticebank/keys"
KEY_CREATED = "latticebank.keys.key-created.v1"
KEY_STATE_CHANGED = "latticebank.keys.key-state-changed.v1"


class KeyCreated(Struct, frozen=True):
    """A key was made; `owner` is "service:<name>" or "customer:<uuid>"."""

    key: UUID
    owner: str
    purpose: str
    version: int
    algorithm: str
    state: str


class KeyStateChanged(Struct, frozen=True):
    """A key came into another state, for a reason out of the fixed list of `wire.Reason`."""

    key: UUID
    owner: str
    purpose: str
    version: int
    from_state: str
    to_state: str
    reason: str
