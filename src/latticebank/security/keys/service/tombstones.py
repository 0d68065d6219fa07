"""Tombstones: what was destroyed stays destroyed, whatever copy of the database or of the keys comes back.

A tombstone is durable, apart from the database, before the key of a customer is destroyed, and says that it is destroyed
or to be destroyed. At every start they are all replayed, before anything is answered: what a crash left undone is done,
and what an old copy brought back goes again, also where the copy knows of a legal hold that stood before.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from latticebank.kernel.database import Database, UnitOfWork
from latticebank.kernel.kept_apart import KeptApart
from latticebank.kernel.settings import Settings
from latticebank.security.keys import store
from latticebank.security.keys.model import DESTROYED_BEFORE, KINDS, Change, Key, KeyState, Tombstone
from latticebank.security.keys.service.messages import event_of
from latticebank.values.clock import Clock
from latticebank.values.ids import Uuid7Source

NAME = "tombstones"
OWNERS_AT_ONCE = 500
KEYS_AT_ONCE = 400
"""The most keys destroyed in one transaction: whoever rotates often has more versions than events fit into one."""
_SEXTON = "Service:keys"

Graves = Mapping[str, Sequence[Tombstone]]
"""Tombstones by owner."""


class Tombstones:
    """The tombstones of one book; they are never taken away."""

    def __init__(self, kept: KeptApart, book: int) -> None:
        self._kept = kept
        self._book = book

    async def put(self, *tombstones: Tombstone) -> None:
        """Make tombstones durable.

        Raises:
            KeptApartUnavailable: they cannot be written, at least not everywhere.

        """
        for tombstone in tombstones:
            await asyncio.to_thread(self._kept.append, tombstone.to_line())

    async def graves(self) -> Graves:
        """Return the tombstones of the book.

        Raises:
            TombstoneDamaged: a line is none.
            KeptApartUnavailable: they cannot be read.

        """
        return await asyncio.to_thread(self._read)

    async def add_copy(self, lines: Iterable[bytes]) -> int:
        """Take in the tombstones of a copy, all or none; return how many of this book were not known.

        Raises:
            TombstoneDamaged: a line is none.

        """
        known = {each for graves in (await self.graves()).values() for each in graves}
        told = dict.fromkeys(Tombstone.from_line(line) for line in lines if line)
        new = [each for each in told if each.book == self._book and each not in known]
        await self.put(*new)
        return len(new)

    def _read(self) -> Graves:
        found: dict[str, list[Tombstone]] = defaultdict(list)
        for tombstone in map(Tombstone.from_line, self._kept.lines()):
            if tombstone.book == self._book:
                found[tombstone.owner].append(tombstone)
        return found


def tombstones_of(settings: Settings) -> Tombstones:
    """Return the tombstones that these settings keep."""
    return Tombstones(KeptApart(settings.kept_folders, NAME), settings.book)


async def replay(database: Database, book: int, tombstones: Tombstones, clock: Clock, ids: Uuid7Source) -> int:
    """Destroy every key that has a tombstone and is there, and give one to those destroyed that have none.

    Returns:
        How many keys were destroyed.

    Raises:
        TombstoneDamaged, KeptApartUnavailable: the tombstones cannot be had.

    """
    graves = await tombstones.graves()
    owners, destroyed = sorted(graves), 0
    for first in range(0, len(owners), OWNERS_AT_ONCE):
        some, done = owners[first : first + OWNERS_AT_ONCE], KEYS_AT_ONCE
        while done == KEYS_AT_ONCE:
            async with database.begin() as unit:
                await store.lock_owners(unit.connection, book, some)
                done = await complete(unit, book, graves, some, clock, ids)
            destroyed += done
    async with database.read() as connection:
        gone = await store.destroyed_keys_of_customers(connection, book)
    now = clock.now()
    untold = [Tombstone(book, owner, purpose, now, version) for owner, purpose, version in gone]
    await tombstones.put(*(each for each in untold if not _has_one(graves, each)))
    return destroyed


async def complete(
    unit: UnitOfWork, book: int, graves: Graves, owners: Collection[str], clock: Clock, ids: Uuid7Source
) -> int:
    """Destroy keys of these owners, who are locked, that have a tombstone, at most `KEYS_AT_ONCE`; return how many."""
    buried = [owner for owner in owners if owner in graves]
    if not buried:
        return 0
    keys = await store.keys_of(unit.connection, book, buried, KINDS)
    living = [key for key in keys if key.state is not KeyState.DESTROYED and _is_buried(graves, key)]
    for key in living[:KEYS_AT_ONCE]:
        change = Change(key.id, key.changes + 1, key.state, KeyState.DESTROYED, _SEXTON, DESTROYED_BEFORE, clock.now())
        await store.change_state(unit.connection, book, change)
        unit.publish(event_of(ids, key, change))
    return len(living[:KEYS_AT_ONCE])


def _is_buried(graves: Graves, key: Key) -> bool:
    return any(each.is_of(key) for each in graves.get(key.owner, ()))


def _has_one(graves: Graves, wanted: Tombstone) -> bool:
    return any(
        each.purpose == wanted.purpose and each.version in (None, wanted.version)
        for each in graves.get(wanted.owner, ())
    )
