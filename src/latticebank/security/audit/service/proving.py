"""Proves what the log holds about something, to the service that makes receipts of it."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple, TypeVar
from uuid import UUID

import msgspec

from latticebank.crypto.tiles import HASH_BYTES, WIDTH, Node, folded, inclusion_nodes, subtree_root, tiles_for
from latticebank.kernel.database import Database
from latticebank.security.audit.model.entries import Opening
from latticebank.security.audit.service.foundation import Foundation
from latticebank.security.audit.service.sealing import open_run
from latticebank.security.audit.store import openings, published, tree
from latticebank.security.audit.store.tree import Log
from latticebank.security.audit.wire import MAX_ENTRIES_PROVED, Proofs, ProvenEntry
from latticebank.values.errors import BankError, Fault

MAX_RUNS = 64
_TILES_REMEMBERED = 512
_ROOTS_REMEMBERED = 20_000
_REMEMBERED_ABOVE = 10
"""The roots of smaller subtrees are found as quickly as remembered."""

K = TypeVar("K")


class TooMuchToProve(BankError):
    """There are more entries about these things than are proved at once."""

    code = "too-much-to-prove"
    title = "The log has too many entries about this"
    fault = Fault.TOO_LARGE


class _About(msgspec.Struct):
    """The members of a record that name what it is about."""

    payment: str = ""
    device: str = ""
    key: str = ""
    kind: str = ""

    def things(self) -> set[str]:
        """The ids that the record is about: a payment or a login is not about the device that signed it."""
        if self.payment:
            return {self.payment}
        return {self.device if self.kind.startswith("device.") else "", self.key} - {""}


class _Found(NamedTuple):
    place: int
    opening: Opening


_about = msgspec.json.Decoder(_About)


class Proving:
    """Finds entries by what they are about, opens them, and proves each for one published checkpoint."""

    def __init__(self, foundation: Foundation) -> None:
        self._base = foundation
        self._reader = TileReader(foundation.database, foundation.book)

    async def proofs(self, owner: UUID, things: Sequence[UUID]) -> Proofs:
        """Return all entries about these things of an owner, with their proofs: from the log that tells of the first.

        Raises:
            TooMuchToProve: there are too many.
            SealBroken: an opening was changed in the database.

        """
        base = self._base
        async with base.database.read() as connection:
            logs = await tree.all_of(connection, base.book)
        best = Proofs("", [], pending=True)
        for log in logs:
            found = await self._in_log(log, owner, things)
            if any(str(things[0]) in _about.decode(entry.record).things() for entry in found.entries):
                return found
            best = best if best.checkpoint else found
        return best

    async def _in_log(self, log: Log, owner: UUID, things: Sequence[UUID]) -> Proofs:
        base = self._base
        async with base.database.read() as connection:
            newest = await published.newest(connection, base.book, log.log)
            runs = await openings.about(connection, base.book, log.log, owner, things, MAX_RUNS + 1)
        if newest is None:
            return Proofs("", [], pending=True)
        if len(runs) > MAX_RUNS:
            raise TooMuchToProve("there are too many entries about this", field="things")
        found: list[_Found] = []
        for run in runs:
            found += _entries_about(run.first_index, await open_run(base, log.log, run) or [], things)
        there = [entry for entry in found if entry.place < newest.size]
        if len(there) > MAX_ENTRIES_PROVED:
            raise TooMuchToProve("there are too many entries about this", field="things")
        places = [entry.place for entry in there]
        proofs = await self._reader.inclusion_proofs(log.log, places, newest.size)
        proven = [
            ProvenEntry(place, opening.salt.hex(), opening.record.decode(), [each.hex() for each in proof])
            for (place, opening), proof in zip(there, proofs, strict=True)
        ]
        return Proofs(newest.note.decode(), proven, pending=len(there) < len(found))


class TileReader:
    """Proves leaves from the tiles. What is complete never changes, so much of it is remembered: all proofs need it."""

    def __init__(self, database: Database, book: int) -> None:
        self._database = database
        self._book = book
        self._tiles: OrderedDict[tuple[int, int, int], bytes] = OrderedDict()
        self._roots: OrderedDict[tuple[int, Node], bytes] = OrderedDict()

    async def inclusion_proofs(self, log: int, indexes: Sequence[int], size: int) -> list[list[bytes]]:
        """Return the inclusion proofs of leaves in the tree of the first `size` leaves of a log."""
        wanted = [inclusion_nodes(index, size) for index in indexes]
        nodes = {node for proof in wanted for each in proof for node in each}
        missing = [node for node in nodes if (log, node) not in self._roots]
        roots = {node: self._roots[(log, node)] for node in nodes.difference(missing)}
        tiles = await self._read(log, [(tile.level, tile.number) for tile in tiles_for([missing], size)])
        for node in missing:
            roots[node] = subtree_root(node, tiles)
            if node.height > _REMEMBERED_ABOVE:
                _remember(self._roots, (log, node), roots[node], _ROOTS_REMEMBERED)
        return [[folded([roots[node] for node in each]) for each in proof] for proof in wanted]

    async def _read(self, log: int, places: Sequence[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        found = {place: tile for place in places if (tile := self._tiles.get((log, *place))) is not None}
        missing = [place for place in places if place not in found]
        levels, numbers = [level for level, _ in missing], [number for _, number in missing]
        for level, number, content in await self._database.fetch(tree.TILES, (levels, numbers, self._book, log)):
            tile = found[(level, number)] = bytes(content)
            if level > 0 and len(tile) == WIDTH * HASH_BYTES:
                _remember(self._tiles, (log, level, number), tile, _TILES_REMEMBERED)
        return found


def _remember(known: OrderedDict[K, bytes], key: K, value: bytes, at_most: int) -> None:
    known[key] = value
    if len(known) > at_most:
        known.popitem(last=False)


def _entries_about(first_index: int, run: Sequence[Opening], things: Sequence[UUID]) -> list[_Found]:
    wanted = {str(thing) for thing in things}
    return [
        _Found(first_index + place, opening)
        for place, opening in enumerate(run)
        if _about.decode(opening.record).things() & wanted
    ]
