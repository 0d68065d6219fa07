"""What callers are shown of keys."""

from collections.abc import Sequence
from typing import cast
from uuid import UUID

from latticebank.security.keys.model import SEALING_ALGORITHM, STATE_OF_WORD, Change, Hold, Key, KeyState, Secret
from latticebank.security.keys.wire import (
    CustomerKey,
    CustomerKeyRequest,
    HoldReason,
    HoldsView,
    HoldView,
    KeyChangeView,
    KeysView,
    KeyView,
    OwnKey,
    StateWord,
)


def own_key(key: Key, secret: Secret) -> OwnKey:
    """Return a service's own key as the service gets it."""
    return OwnKey(
        key.id, key.purpose, key.algorithm, key.version, _word(key.state), secret.value_text, secret.public_text
    )


def customer_key(request: CustomerKeyRequest, key: Key, secret: Secret) -> CustomerKey:
    """Return a customer's key as it is given to the service that asked for it."""
    return CustomerKey(request.owner, request.kind, key.id, key.version, secret.value_text, _word(key.state))


def keys_view(customer: UUID, keys: Sequence[Key]) -> KeysView:
    """Return what is shown of a customer's keys."""
    shown = [KeyView(key.id, key.purpose, key.version, key.algorithm, _word(key.state), key.created_at) for key in keys]
    return KeysView(customer, SEALING_ALGORITHM, shown)


def change_view(row: tuple[Change, str, int]) -> KeyChangeView:
    """Return what is shown of an entry of the history, with kind and version of its key."""
    change, kind, version = row
    present = None if change.from_state is None else _word(change.from_state)
    told = (change.actor, change.reason, change.at)
    return KeyChangeView(change.key, kind, version, change.number, present, _word(change.to_state), *told)


def holds_view(customer: UUID, holds: Sequence[Hold]) -> HoldsView:
    """Return what is shown of the legal holds over a customer."""
    shown = [
        HoldView(cast("HoldReason", hold.reason), hold.placed_at, hold.placed_by, hold.lifted_at, hold.lifted_by)
        for hold in holds
    ]
    return HoldsView(customer, any(hold.lifted_at is None for hold in holds), shown)


def state_of(word: StateWord) -> KeyState:
    """Return the state that a word of the wire names."""
    return STATE_OF_WORD[word]


def _word(state: KeyState) -> StateWord:
    return cast("StateWord", state.word)
