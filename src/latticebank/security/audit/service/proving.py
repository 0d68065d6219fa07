"""Proves what the log holds about something, to the service that makes receipts of it."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import msgspec

from latticebank.crypto.tiles import inclusion_nodes, inclusion_proof_from, tiles_for
from latticebank.kernel.database import Database
from latticebank.security.audit.model.entries import Opening
from latticebank.security.audit.service.foundation import Foundation
from latticebank.security.audit.service.sealing import open_run
from latticebank.security.audit.store import openings, published, tree
from latticebank.security.audit.store.tree import Log
from latticebank.security.audit.wire import MAX_ENTRIES_PROVED, Proofs, ProvenEntry
from latticebank.values.errors import BankError, Fault

MAX_RUNS = 64


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

    async def proofs(self, owner: UUID, things: Sequence[UUID]) -> Proofs:
        """Return all entries about these things of an owner, with their proofs.

        Raises:
            TooMuchToProve: there are too many.
            SealBroken: an opening was changed in the database.

        """
        base = self._base
        async with base.database.read() as connection:
            log = await tree.current(connection, base.book)
            newest = None if log is None else await published.newest(connection, base.book, log.log)
            runs = [] if log is None else await openings.about(
                connection, base.book, log.log, owner, things, MAX_RUNS + 1
            )  # fmt: skip
        if log is None or newest is None:
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
        proofs = await inclusion_proofs(base.database, base.book, log, places, newest.size)
        proven = [
            ProvenEntry(place, opening.salt.hex(), opening.record.decode(), [each.hex() for each in proof])
            for (place, opening), proof in zip(there, proofs, strict=True)
        ]
        return Proofs(newest.note.decode(), proven, pending=len(there) < len(found))


async def inclusion_proofs(
    database: Database, book: int, log: Log, indexes: Sequence[int], size: int
) -> list[list[bytes]]:
    """Return the inclusion proofs of leaves in the tree of `size` leaves, from the tiles in the database."""
    if not indexes:
        return []
    needed = [nodes for index in indexes for nodes in inclusion_nodes(index, size)]
    places = [(tile.level, tile.number) for tile in tiles_for(needed, log.size)]
    levels, numbers = [level for level, _ in places], [number for _, number in places]
    rows = await database.fetch(tree.TILES, (levels, numbers, book, log.log))
    tiles = {(level, number): bytes(content) for level, number, content in rows}
    return [inclusion_proof_from(tiles, index, size) for index in indexes]


def _entries_about(first_index: int, run: Sequence[Opening], things: Sequence[UUID]) -> list[_Found]:
    wanted = {str(thing) for thing in things}
    return [
        _Found(first_index + place, opening)
        for place, opening in enumerate(run)
        if _about.decode(opening.record).things() & wanted
    ]
