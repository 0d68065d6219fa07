"""What goes over audit's wire: msgspec structures inside the bank, dataclasses for people. Hashes are hexadecimal."""

from dataclasses import dataclass
from typing import Annotated, ClassVar
from uuid import UUID

from msgspec import Meta, Struct
from pydantic import ConfigDict

MAX_THINGS = 20
"""The most things whose entries are proved at once: a payment, its batch, and the devices behind it."""
MAX_ENTRIES_PROVED = 200
MAX_ENTRIES_OPENED = 1_000


class ProofsWanted(Struct, frozen=True, forbid_unknown_fields=True):
    """All entries about these things (payments, batches, devices) of `owner` are to be proved."""

    owner: UUID
    things: Annotated[list[UUID], Meta(min_length=1, max_length=MAX_THINGS)]


class ProvenEntry(Struct, frozen=True):
    """An entry opened, with the inclusion proof of its leaf (RFC 9162, 2.1.3.1) for the tree of the checkpoint."""

    index: int
    salt: str
    record: str
    proof: list[str]


class Proofs(Struct, frozen=True):
    """What is proved, in the order of the log, all for the tree of one published checkpoint (a C2SP note).

    `pending` says that an entry about these things is not in that tree yet; `checkpoint` is empty where none was published.
    """

    checkpoint: str
    entries: list[ProvenEntry]
    pending: bool


class _Message:
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class OpenedEntry(_Message):
    """An entry of the log with what it commits to; `record` is empty where the key is gone."""

    index: int
    salt: str
    record: str


@dataclass(frozen=True, slots=True)
class OpenedPage(_Message):
    """Entries in the order of the log; `next_index` is null where the log ends."""

    items: list[OpenedEntry]
    next_index: int | None


@dataclass(frozen=True, slots=True)
class WitnessView(_Message):
    """A witness: the largest tree of ours that it has cosigned, and what was wrong at the last try, if anything."""

    name: str
    size: int
    trouble: str | None


@dataclass(frozen=True, slots=True)
class SpanView(_Message):
    """Records of a shard of the ledger, from `first_seq` up to, without, `next_seq`."""

    shard: int
    first_seq: int
    next_seq: int


@dataclass(frozen=True, slots=True)
class StuckTopic(_Message):
    """A topic of the event bus of which the log takes in nothing any more, and why."""

    topic: str
    reason: str


@dataclass(frozen=True, slots=True)
class LogStatus(_Message):
    """How the log stands. `refusal` says why nothing is appended or signed any more, where that is so.

    `waiting` are entries that are not published yet. `gaps` are records of the ledger of which the log has not heard though
    it has of later ones; `overlaps` those that it heard of more than once, since the ledger was set back and went on from
    there. These and `stuck` are empty in a bank that is well.
    """

    origin: str
    size: int
    published_size: int
    waiting: int
    refusal: str | None
    gaps: list[SpanView]
    overlaps: list[SpanView]
    stuck: list[StuckTopic]
    witnesses: list[WitnessView]
