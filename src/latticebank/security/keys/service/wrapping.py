"""How keys are wrapped: those of services by the KEK, those of customers sealed to the service's X-Wing key.

Anyone can seal to a public key, so a sealed box alone would let whoever writes to the database plant a customer key of
their own. The box therefore lies in a second wrapping under the guard, a secret key of this service: only what the
service itself has sealed opens.
"""

from collections.abc import Mapping
from typing import NoReturn
from uuid import UUID

from latticebank.crypto.envelope import FieldKey, sealed_under
from latticebank.crypto.errors import InvalidKey, SealBroken, UnknownAlgorithm
from latticebank.crypto.sealing import SealingKey, seal
from latticebank.security.keys.model import (
    GUARD_PURPOSE,
    KEEPER,
    SEALING_PURPOSE,
    Key,
    KeyDamaged,
    Secret,
    completed,
    info_of,
    place_of,
)


class Keepers:
    """The service's own sealing keys and guards by id, opened; those that are active wrap what is new."""

    def __init__(self) -> None:
        self.sealing: dict[UUID, SealingKey] = {}
        self.guards: dict[UUID, FieldKey] = {}

    def add(self, key: Key, secret: Secret) -> None:
        """Take a key of the service."""
        if key.purpose == SEALING_PURPOSE:
            self.sealing[key.id] = SealingKey.from_seed(key.algorithm, secret.value)
        elif key.purpose == GUARD_PURPOSE:
            self.guards[key.id] = FieldKey(key.id, key.version, secret.value, key.algorithm)

    def knows(self, identifier: UUID) -> bool:
        """Whether a key is among them."""
        return identifier in self.sealing or identifier in self.guards

    def forget(self, identifier: UUID) -> None:
        """Let go of a key that was destroyed."""
        self.sealing.pop(identifier, None)
        self.guards.pop(identifier, None)


def keepers_of(key: Key) -> tuple[UUID, UUID]:
    """Return the sealing key and the guard that a customer's key says it was wrapped by.

    Raises:
        KeyDamaged: it says nothing that can be read.

    """
    try:
        guard, _ = sealed_under(key.wrapped or b"")
    except SealBroken as error:
        _damaged(key, error)
    return key.parent, guard


def wrap_own(book: int, kek: FieldKey, key: Key, secret: Secret) -> bytes:
    """Return a key of a service, wrapped by the KEK."""
    return kek.seal(secret.value, place_of(book, key))


def open_own(book: int, kek: FieldKey, key: Key) -> Secret:
    """Return the secret of a key of a service.

    Raises:
        KeyDamaged: it was changed, belongs to another row, or is under another KEK.

    """
    try:
        secret = completed(key.algorithm, kek.open(key.wrapped or b"", place_of(book, key)))
    except (SealBroken, InvalidKey, UnknownAlgorithm) as error:
        _damaged(key, error)
    if secret.public != key.public_key:
        raise KeyDamaged(f"the public key in the row of key {key.id} is not that of its secret")
    return secret


def wrap_customer(book: int, sealing: SealingKey, guard: FieldKey, key: Key, secret: Secret) -> bytes:
    """Return a key of a customer: sealed to the service, and the box wrapped by the guard."""
    box = seal(sealing.suite, sealing.public_bytes, secret.value, info_of(key))
    return guard.seal(box, place_of(book, key))


def open_customer(book: int, keepers: Keepers, key: Key) -> Secret:
    """Return the secret of a key of a customer, given the keepers that `keepers_of` names.

    Raises:
        KeyDamaged: it was changed or planted, belongs to another row, or to keys that are not the service's.

    """
    parent, guard = keepers_of(key)
    if parent not in keepers.sealing or guard not in keepers.guards:
        raise KeyDamaged(f"key {key.id} is wrapped by keys that the service does not have")
    try:
        box = keepers.guards[guard].open(key.wrapped or b"", place_of(book, key))
        return completed(key.algorithm, keepers.sealing[parent].open(box, info_of(key)))
    except (SealBroken, InvalidKey, UnknownAlgorithm) as error:
        _damaged(key, error)


def add_keepers(book: int, kek: FieldKey, keepers: Keepers, found: Mapping[UUID, Key]) -> None:
    """Open those of these keys that are keepers of customers' keys, and take them in.

    Raises:
        KeyDamaged: one does not open.

    """
    for key in found.values():
        if key.owner == KEEPER and key.wrapped is not None:
            keepers.add(key, open_own(book, kek, key))


def _damaged(key: Key, error: Exception) -> NoReturn:
    raise KeyDamaged(
        f"key {key.id} ({key.purpose} of {key.owner}) does not open: {error}",
        hint="restore the keys from their backup with `latticebank keys restore`",
    ) from error
