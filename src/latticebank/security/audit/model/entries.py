"""Entries of the log: what is recorded of one thing that happened, and the leaf that commits to it.

A record is one JSON object in canonical form (RFC 8785) whose members are all texts; whoever opens a leaf reads it with
any JSON parser. It holds identifiers, hashes, account numbers and amounts, and nothing else that is personal. The leaf

    0x01 || SHA-256(salt || record)

tells nobody without the salt anything about it, not even which of two guesses is right.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID

import msgspec

LEAF_VERSION = b"\x01"
SALT_BYTES = 32
LEAF_BYTES = 33
MAX_RECORD_BYTES = 8_192
RUN = 250
"""The most entries whose openings are sealed together."""


class Entry(NamedTuple):
    """What is to be recorded: under whose key it is sealed (None is the bank's own), and what it is about.

    One that tells of the enrolment of a device `enrols` it, which a log does once; one of something that a device signed is
    `signed_by` it, and comes after its enrolment.
    """

    owner: UUID | None
    thing: UUID | None
    record: bytes
    enrols: UUID | None = None
    signed_by: UUID | None = None


class Opening(NamedTuple):
    """What a leaf commits to."""

    salt: bytes
    record: bytes


class Run(NamedTuple):
    """Entries that follow each other and have one owner: the place of the first among all, and what they are about."""

    owner: UUID | None
    start: int
    openings: list[Opening]
    things: list[UUID]


def record_of(facts: dict[str, str | None]) -> bytes:
    """Return the record of these facts; those that are None are left out."""
    record = msgspec.json.encode({name: fact for name, fact in facts.items() if fact is not None}, order="sorted")
    assert len(record) <= MAX_RECORD_BYTES, "facts are identifiers, numbers and words"
    return record


def leaf_of(opening: Opening) -> bytes:
    """Return the leaf that commits to an opening."""
    return LEAF_VERSION + sha256(opening.salt + opening.record).digest()


def runs_of(entries: Sequence[Entry], salts: bytes) -> list[Run]:
    """Return entries with their salts, in order, as runs of at most `RUN` with one owner; `salts` has 32 bytes for each."""
    assert len(salts) == SALT_BYTES * len(entries)
    runs: list[Run] = []
    for place, (owner, thing, record, _, _) in enumerate(entries):
        if not runs or runs[-1].owner != owner or len(runs[-1].openings) == RUN:
            runs.append(Run(owner, place, [], []))
        run = runs[-1]
        run.openings.append(Opening(salts[place * SALT_BYTES : (place + 1) * SALT_BYTES], record))
        if thing is not None:
            run.things.append(thing)
    return runs


def text_of_time(time: datetime) -> str:
    """Return a time as records have it: UTC, three decimals (RFC 3339)."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
