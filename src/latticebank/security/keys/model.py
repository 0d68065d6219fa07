"""Keys, the states they go through, and how each is bound to its place in the tree.

States and transitions are those of NIST SP 800-57 part 1, 7. A key is made active: nothing here is made to lie in wait.
"""

from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from secrets import token_bytes
from typing import Final
from uuid import UUID

from latticebank.crypto.canonical import canonical_json, parse_canonical
from latticebank.crypto.checkpoints import LogKey
from latticebank.crypto.envelope import field_place
from latticebank.crypto.errors import NotCanonical, UnknownAlgorithm
from latticebank.crypto.registry import (
    DEFAULT_FIELD_CIPHER,
    DEFAULT_SEALING,
    FIELD_CIPHERS,
    LOG_KEYS,
    SEALING,
    SIGNATURES,
)
from latticebank.crypto.sealing import SealingKey, sealing_info
from latticebank.crypto.signatures import SigningKey
from latticebank.values.errors import BankError, Fault
from latticebank.values.words import Word

BLIND_INDEX = "HMAC-SHA256"
SECRET_BYTES: Final = 32
"""The length of a secret that is random bytes: a customer's key, the key of a blind index."""
MAX_VERSION = 65_535

PROFILE, RECORDS = "profile", "records"
KINDS = (PROFILE, RECORDS)
"""The purposes of a customer's keys."""
CUSTOMER_ALGORITHM = DEFAULT_FIELD_CIPHER

KEEPER = "service:keys"
"""The owner of the two keys that customers' keys are wrapped by."""
DESTROYED_BEFORE: Final = "destroyed-before"
"""The reason of a destruction that a tombstone tells of, and that the database had forgotten."""
SEALING_PURPOSE, SEALING_ALGORITHM = "customer-keys/sealing", DEFAULT_SEALING
GUARD_PURPOSE, GUARD_ALGORITHM = "customer-keys/guard", DEFAULT_FIELD_CIPHER


class KeyState(Word):
    """The states of a key; it seals and signs while active, opens and verifies in others, and is gone when destroyed."""

    PRE_ACTIVATION = 1
    ACTIVE = 2
    SUSPENDED = 3
    DEACTIVATED = 4
    COMPROMISED = 5
    DESTROYED = 6

    @property
    def opens(self) -> bool:
        """Whether what the key protects may still be opened or verified with it."""
        return self not in (KeyState.PRE_ACTIVATION, KeyState.DESTROYED)


_LATER = frozenset({KeyState.COMPROMISED, KeyState.DESTROYED})
TRANSITIONS: dict[KeyState, frozenset[KeyState]] = {
    KeyState.PRE_ACTIVATION: _LATER | {KeyState.ACTIVE},
    KeyState.ACTIVE: _LATER | {KeyState.SUSPENDED, KeyState.DEACTIVATED},
    KeyState.SUSPENDED: _LATER | {KeyState.ACTIVE, KeyState.DEACTIVATED},
    KeyState.DEACTIVATED: _LATER,
    KeyState.COMPROMISED: frozenset({KeyState.DESTROYED}),
    KeyState.DESTROYED: frozenset(),
}
STATE_OF_WORD = {state.word: state for state in KeyState}


class KeyNotFound(BankError):
    """There is no such key, or none left that could do this."""

    code = "key-not-found"
    title = "There is no such key"
    fault = Fault.NOT_FOUND


class TransitionRefused(BankError):
    """A key does not come from its present state into this one."""

    code = "key-transition-refused"
    title = "The key cannot come into this state"
    fault = Fault.CONFLICT


class KeySuspended(BankError):
    """The key is suspended: it is neither used nor replaced until somebody has decided about it."""

    code = "key-suspended"
    title = "The key is suspended"
    fault = Fault.CONFLICT


class KeyOfOtherAlgorithm(BankError):
    """A service asks for a key of one algorithm and has one of another for this purpose."""

    code = "key-of-other-algorithm"
    title = "The key has another algorithm"
    fault = Fault.CONFLICT


class KeyDamaged(BankError):
    """A key in the database does not open as what its row says that it is."""

    code = "key-damaged"
    title = "A key was changed in the database"
    fault = Fault.INTERNAL


class LegalHold(BankError):
    """A legal hold stands over the customer: none of the customer's keys is destroyed."""

    code = "legal-hold"
    title = "A legal hold stands"
    fault = Fault.CONFLICT


class TombstoneDamaged(BankError):
    """What is kept of destroyed keys cannot be read, and keys that were destroyed might come back."""

    code = "tombstone-damaged"
    title = "A tombstone of a destroyed key is damaged"
    fault = Fault.INTERNAL


@dataclass(frozen=True, slots=True)
class Key:
    """A key as it is stored: wrapped by its parent, or gone. `changes` counts the entries of its history.

    `owner` is `service:<name>` or `customer:<uuid>`; purpose, owner and version are one key only.
    """

    id: UUID
    owner: str
    purpose: str
    version: int
    algorithm: str
    state: KeyState
    changes: int
    parent: UUID
    wrapped: bytes | None = field(repr=False)
    public_key: bytes = field(repr=False)
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the history: from which state (None where the key was made) into which, by whom, why and when."""

    key: UUID
    number: int
    from_state: KeyState | None
    to_state: KeyState
    actor: str
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Hold:
    """A legal hold over the keys of a customer: by whom it was placed and lifted; it stands until it is lifted."""

    id: UUID
    owner: str
    reason: str
    placed_at: datetime
    placed_by: str
    lifted_at: datetime | None = None
    lifted_by: str | None = None


@dataclass(frozen=True, slots=True)
class Tombstone:
    """That a key of a customer is destroyed, or is to be: in all its versions, or in one."""

    book: int
    owner: str
    purpose: str
    at: datetime
    version: int | None = None

    def is_of(self, key: Key) -> bool:
        """Whether it tells of this key of its book."""
        return (self.owner, self.purpose) == (key.owner, key.purpose) and self.version in (None, key.version)

    def to_line(self) -> bytes:
        """Return the tombstone as it is kept."""
        members = {"at": self.at.isoformat(), "book": str(self.book), "owner": self.owner, "purpose": self.purpose}
        return canonical_json(members if self.version is None else members | {"version": str(self.version)})

    @classmethod
    def from_line(cls, line: bytes) -> "Tombstone":
        """Return the tombstone that `to_line` wrote.

        Raises:
            TombstoneDamaged: it is none.

        """
        try:
            members = {name: str(value) for name, value in parse_canonical(line).items()}
            version = int(members["version"]) if "version" in members else None
            at = datetime.fromisoformat(members["at"])
            told = cls(int(members["book"]), members["owner"], members["purpose"], at, version)
            if told.to_line() == line and told.purpose in KINDS and told.owner.startswith("customer:"):
                return told
        except (NotCanonical, KeyError, ValueError):
            pass
        raise TombstoneDamaged(
            f"this is no tombstone: {line[:120]!a}", hint="bring back an undamaged copy of the file of tombstones"
        )


@dataclass(frozen=True, slots=True)
class Secret:
    """A key outside of its wrapping: seed or random bytes, and the public key that belongs to it, empty if none does."""

    value: bytes = field(repr=False)
    public: bytes = field(repr=False)

    @property
    def value_text(self) -> str:
        """The secret in base64url without padding."""
        return _base64url(self.value)

    @property
    def public_text(self) -> str:
        """The public key in base64url without padding."""
        return _base64url(self.public)


def service_owner(name: str) -> str:
    """Return how the tree names a service."""
    return f"service:{name}"


def customer_owner(customer: UUID) -> str:
    """Return how the tree names a customer."""
    return f"customer:{customer}"


def require_transition(present: KeyState, wanted: KeyState) -> None:
    """Return if a key may come from one state into another.

    Raises:
        TransitionRefused: NIST SP 800-57 does not let it.

    """
    if wanted not in TRANSITIONS[present]:
        allowed = ", ".join(state.word for state in sorted(TRANSITIONS[present]))
        raise TransitionRefused(
            f"a key that is {present.word} never becomes {wanted.word}",
            field="state",
            hint=f"from here it becomes {allowed}" if allowed else "a destroyed key is gone for ever",
        )


def active_of(versions: Sequence[Key]) -> Key | None:
    """Return the active version of one key, if there is one."""
    return next((key for key in versions if key.state is KeyState.ACTIVE), None)


def next_version(versions: Sequence[Key]) -> int:
    """Return the version that a new key would have after these.

    Raises:
        KeySuspended: one of them is suspended.
        KeyNotFound: versions have run out.

    """
    if any(key.state is KeyState.SUSPENDED for key in versions):
        raise KeySuspended("a version of this key is suspended", hint="activate, deactivate or destroy it first")
    last = max((key.version for key in versions), default=0)
    if last == MAX_VERSION:
        raise KeyNotFound(f"a key has at most {MAX_VERSION} versions")
    return last + 1


def new_secret(algorithm: str) -> Secret:
    """Return a fresh secret for a key of an algorithm.

    Raises:
        UnknownAlgorithm: the bank makes no keys of it.
        AlgorithmNotPermitted: it is there to verify what is old.

    """
    if algorithm in SIGNATURES:
        return completed(algorithm, SigningKey.generate(algorithm).seed)
    if algorithm in SEALING:
        return completed(algorithm, SealingKey.generate(algorithm).seed)
    if algorithm in LOG_KEYS:
        return completed(algorithm, LogKey.generate().seed)
    return completed(algorithm, token_bytes(SECRET_BYTES))


def completed(algorithm: str, value: bytes) -> Secret:
    """Return a secret with the public key that belongs to it.

    Raises:
        UnknownAlgorithm: the bank makes no keys of this algorithm.
        InvalidKey: the secret has another length.

    """
    if algorithm in SIGNATURES:
        return Secret(value, SigningKey.from_seed(algorithm, value).public_bytes)
    if algorithm in SEALING:
        return Secret(value, SealingKey.from_seed(algorithm, value).public_bytes)
    if algorithm in LOG_KEYS:
        return Secret(value, LogKey.from_seed(value).public_bytes)
    if algorithm not in FIELD_CIPHERS and algorithm != BLIND_INDEX:
        raise UnknownAlgorithm(f"the bank makes no keys of {algorithm[:80]!r}", field="algorithm")
    return Secret(value, b"")


def place_of(book: int, key: Key) -> bytes:
    """Return the place of a wrapped key: all that its row says of it but its state, so that no row passes for another."""
    row = [str(book), str(key.id), key.owner, key.purpose, str(key.version), key.algorithm, str(key.parent)]
    return field_place("keys", "wrapped", canonical_json(row).decode())


def info_of(key: Key) -> bytes:
    """Return the info with which a customer's key is sealed to the service."""
    return sealing_info(f"latticebank/customer-key/v1/{key.purpose}", key.owner, "keys", key.id, key.version)


def _base64url(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode()
