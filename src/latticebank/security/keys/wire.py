"""What goes over the wire of keys. Secrets and public keys are base64url without padding (RFC 4648, 5).

Secrets travel inside the bank only, in the answers to `/internal/keys/own` and `/internal/keys/customers/open`; the
structures that hold one never show it in their text form.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar, Literal
from uuid import UUID

from msgspec import Meta, Struct
from pydantic import ConfigDict, Field

MAX_PURPOSES = 20
MAX_OPENED = 1_000
"""The most customer keys opened by one call."""

KindWord = Literal["profile", "records"]
"""The keys of a customer: destroyed at erasure, and at the end of retention."""
StateWord = Literal["pre-activation", "active", "suspended", "deactivated", "compromised", "destroyed"]
Reason = Literal[
    "first-use",
    "rotation",
    "erasure-requested",
    "retention-ended",
    "compromise-suspected",
    "compromise-known",
    "suspicion-cleared",
    "no-longer-needed",
    "error",
]
"""Why a key changes: a fixed list, since free text would gather personal data."""
HoldReason = Literal["court-order", "investigation", "dispute", "tax-audit", "error"]
"""Why the keys of a customer may not be destroyed: a fixed list, as above."""


class OwnKeyRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A key that a service wants for itself: what for, such as "token-signing", and its algorithm."""

    purpose: Annotated[str, Meta(pattern="^[a-z][a-z0-9-]{0,31}(/[a-z0-9-]{1,31})?$")]
    algorithm: Annotated[str, Meta(min_length=1, max_length=64)]


class OwnKeysWanted(Struct, frozen=True, forbid_unknown_fields=True):
    """The keys that a service wants for itself."""

    purposes: Annotated[list[OwnKeyRequest], Meta(min_length=1, max_length=MAX_PURPOSES)]


class OwnKey(Struct, frozen=True):
    """A version of a service's own key: its secret (a seed, or random bytes) and its public key, empty if it has none."""

    id: UUID
    purpose: str
    algorithm: str
    version: int
    state: StateWord
    secret: str
    public: str

    def __repr__(self) -> str:
        return f"OwnKey({self.id}, {self.purpose} version {self.version}, {self.algorithm}, {self.state})"


class OwnKeys(Struct, frozen=True):
    """For each purpose in the order asked, the active version and then the deactivated ones, newest first."""

    keys: list[OwnKey]


class NewCustomer(Struct, frozen=True, forbid_unknown_fields=True):
    """A customer who gets keys."""

    owner: UUID


class CustomerKeyRequest(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A customer's key to be opened: this version of it, or the active one."""

    owner: UUID
    kind: KindWord
    version: Annotated[int, Meta(ge=1, le=65_535)] | None = None


class CustomerKeysWanted(Struct, frozen=True, forbid_unknown_fields=True):
    """Customers' keys to be opened."""

    wanted: Annotated[list[CustomerKeyRequest], Meta(min_length=1, max_length=MAX_OPENED)]


class CustomerKey(Struct, frozen=True):
    """A customer's key, opened. A state other than active says: open with it, seal nothing new."""

    owner: UUID
    kind: KindWord
    key_id: UUID
    version: int
    secret: str
    state: StateWord

    def __repr__(self) -> str:
        return f"CustomerKey({self.owner}, {self.kind} version {self.version}, {self.key_id}, {self.state})"


class CustomerKeys(Struct, frozen=True):
    """The keys that were there to be opened, in the order asked; unknown and destroyed ones are left out."""

    keys: list[CustomerKey]


class _Message:
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class StateOrder(_Message):
    """Into which state a key shall come, and why."""

    state: StateWord
    reason: Reason


@dataclass(frozen=True, slots=True)
class DestructionOrder(_Message):
    """Why a customer's key is destroyed."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class HoldOrder(_Message):
    """Why a legal hold is placed over a customer."""

    reason: HoldReason


@dataclass(frozen=True, slots=True)
class HoldView(_Message):
    """A legal hold; it stands while `lifted_at` is null."""

    reason: HoldReason
    placed_at: datetime
    placed_by: str
    lifted_at: datetime | None
    lifted_by: str | None


@dataclass(frozen=True, slots=True)
class HoldsView(_Message):
    """The legal holds over a customer in the order of time, and whether one stands: then no key is destroyed."""

    user: UUID
    held: bool
    holds: list[HoldView]


@dataclass(frozen=True, slots=True)
class KeyView(_Message):
    """What is known of a key; never its secret."""

    id: UUID
    kind: Annotated[str, Field(examples=["profile"])]
    version: int
    algorithm: Annotated[str, Field(examples=["AES-256-GCM"])]
    state: StateWord
    created_at: datetime


@dataclass(frozen=True, slots=True)
class KeysView(_Message):
    """The keys of a customer, all versions, newest first within a kind, and how they are wrapped."""

    user: UUID
    sealed_with: Annotated[str, Field(examples=["MLKEM768-X25519/HKDF-SHA256/AES-256-GCM"])]
    keys: list[KeyView]


@dataclass(frozen=True, slots=True)
class KeyChangeView(_Message):
    """One entry of the history of a key; `from_state` is null where it was made."""

    key: UUID
    kind: str
    version: int
    number: int
    from_state: StateWord | None
    to_state: StateWord
    actor: str
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class KeyHistoryPage(_Message):
    """A page of the history of a customer's keys, oldest first; `next_cursor` is null on the last."""

    items: list[KeyChangeView]
    next_cursor: str | None
