"""Appends entries to the log: the leaves, the tiles above them and the sealed openings in one transaction."""

import asyncio
from collections.abc import Sequence
from os import urandom
from typing import NamedTuple
from uuid import UUID

from latticebank.crypto.envelope import FieldKey
from latticebank.crypto.merkle import leaf_hash
from latticebank.crypto.tiles import Frontier, partial_tiles
from latticebank.kernel.database import UnitOfWork
from latticebank.security.audit.model.entries import SALT_BYTES, Entry, Run, leaf_of, runs_of
from latticebank.security.audit.model.gaps import Span
from latticebank.security.audit.model.standing import LogHalted
from latticebank.security.audit.service.foundation import Foundation
from latticebank.security.audit.service.sealing import place_of, seal_run
from latticebank.security.audit.service.standing import Standing
from latticebank.security.audit.store import devices, heard, openings, tree
from latticebank.security.audit.store.tree import Log, LogOutOfStep

_MADE_HERE = 250
"""More entries than these are made in a thread of its own, so that nothing else waits for them."""


class _Made(NamedTuple):
    leaves: list[bytes]
    hashes: list[bytes]
    runs: list[openings.SealedRun]


class Appending:
    """The writing end of the log. It remembers the right edge of the tree, and reads it anew if somebody else appended."""

    def __init__(self, foundation: Foundation, standing: Standing) -> None:
        self._base = foundation
        self._standing = standing
        self._edge: tuple[str, bytes, Frontier] | None = None

    async def append(
        self,
        work: UnitOfWork,
        topic: str,
        entries: Sequence[Entry],
        spans: Sequence[Span] = (),
        *,
        only_to: int | None = None,
    ) -> None:
        """Append entries in their order; `spans` are the batches of the ledger that they come from.

        `only_to` is the number of the log that they were made for, where they do not fit another one.

        Raises:
            LogHalted: the log may not go on.
            LogOutOfStep: another process appended, or a new log was begun; to be done again.
            RemoteProblem, ServiceUnavailable: keys does not give the keys under which the openings are sealed.

        """
        base = self._base
        self._standing.require()
        keys = await base.records.active({entry.owner for entry in entries if entry.owner is not None})
        log = await tree.held(work, base.book)
        if log is None:
            raise LogHalted("the log was not begun")
        if only_to is not None and only_to != log.log:
            raise LogOutOfStep("a new log was begun")
        self._standing.require_reached(log)
        fresh = await self._without_told(work, log, entries)
        if len(fresh) > _MADE_HERE:
            made = await asyncio.to_thread(self._made, log, fresh, keys)
        else:
            made = self._made(log, fresh, keys)
        frontier = await self._frontier(work, log)
        pieces = frontier.append(made.hashes)
        after = Log(log.log, log.origin, frontier.size, frontier.root())
        await openings.insert(work, base.book, log.log, made.runs)
        await tree.grow(work, base.book, log, after, pieces, made.leaves)
        await self._hear(work, spans)
        # If the transaction fails after all, the database has another size and root, and the edge is read anew.
        self._edge = (after.origin, after.root, frontier)
        base.metrics.entries.labels(topic).inc(len(fresh))

    async def _without_told(self, work: UnitOfWork, log: Log, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Return entries without the enrolments of which the log that is held tells already."""
        enrolled = [entry.enrols for entry in entries if entry.enrols is not None]
        if not enrolled:
            return entries
        untold = await devices.insert(work, self._base.book, log.log, enrolled)
        return [entry for entry in entries if entry.enrols is None or entry.enrols in untold]

    def _made(self, log: Log, entries: Sequence[Entry], keys: dict[UUID, FieldKey]) -> _Made:
        """Return the leaves of entries, and what they commit to, sealed."""
        runs = runs_of(entries, urandom(SALT_BYTES * len(entries)))
        leaves = [leaf_of(opening) for run in runs for opening in run.openings]
        return _Made(leaves, list(map(leaf_hash, leaves)), [self._sealed(log, run, keys) for run in runs])

    async def _frontier(self, work: UnitOfWork, log: Log) -> Frontier:
        """Return the right edge of the log that is held, to be appended to."""
        if self._edge is not None:
            origin, root, known = self._edge
            if (origin, root, known.size) == (log.origin, log.root, log.size):
                return known.copy()
        places = [(tile.level, tile.number) for tile in partial_tiles(log.size)]
        found = await tree.tiles(work.connection, self._base.book, log.log, places)
        frontier = Frontier.of(log.size, {level: content for (level, _), content in found.items()})
        if frontier.root() != log.root:
            raise LogHalted(
                "the tiles of the log do not lead to its root: somebody changed them", hint="restore the database"
            )
        return frontier

    def _sealed(self, log: Log, run: Run, keys: dict[UUID, FieldKey]) -> openings.SealedRun:
        """Return a run sealed under its owner's records key, or audit's own where there is none."""
        first = log.size + run.start
        key = None if run.owner is None else keys.get(run.owner)
        sealed = seal_run(key or self._base.own_keys.sealing, run.openings, place_of(log.log, first))
        return openings.SealedRun(
            first, len(run.openings), run.owner, b"".join(thing.bytes for thing in run.things), sealed
        )

    async def _hear(self, work: UnitOfWork, spans: Sequence[Span]) -> None:
        """Keep which records of the ledger were heard of, which are missing before them, and which were told again."""
        base = self._base
        for shard in sorted({span.shard for span in spans}):
            before = after = await heard.held(work, base.book, shard)
            for span in spans:
                if span.shard == shard:
                    after = after.with_batch(span)
            await heard.keep(work, base.book, shard, before, after, base.now())
