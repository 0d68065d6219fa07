"""Asks witnesses to cosign checkpoints: C2SP tlog-witness, from the side of the log.

A witness says what it has seen by a number, and proves it by the checkpoint that it cosigned, which carries the log's
own signatures. Only that proof is believed against the database: whoever answers in the place of a witness could
otherwise stop the log with a word.

No witness holds up the log, or another witness: each is asked in a task of its own, a log that grows waits for a moment
only, and whoever answers later is heard later.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from itertools import accumulate, islice

import structlog

from latticebank.crypto.checkpoints import Checkpoint, cosigned_at, log_note_keys, open_checkpoint
from latticebank.crypto.errors import InvalidSignature, MalformedNote, NotSigned
from latticebank.crypto.log_policy import NamedWitness
from latticebank.crypto.merkle import EMPTY_ROOT
from latticebank.crypto.notes import MAX_NOTE, MAX_SIGNATURES, Note, NoteKey, parse_note, parse_signature_line
from latticebank.crypto.registry import LOG_KEY, log_key_pair
from latticebank.crypto.tiles import MAX_SIZE, consistency_nodes, consistency_proof_from, tiles_for
from latticebank.kernel.database import UnitOfWork
from latticebank.kernel.deadline import DeadlineExceeded
from latticebank.kernel.transports import Response, ResponseTooLarge, ServiceUnavailable
from latticebank.security.audit.model.standing import LogHalted, origin_of
from latticebank.security.audit.service.foundation import Foundation
from latticebank.security.audit.service.standing import Standing
from latticebank.security.audit.service.witness import CONFLICT, OK, ROUND_SECONDS, Cosignature, NotCosigned, Witness
from latticebank.security.audit.store import published, tree
from latticebank.security.audit.store.published import Published
from latticebank.security.audit.store.tree import Connection, Log

_TROUBLES = (NotCosigned, ServiceUnavailable, DeadlineExceeded, ResponseTooLarge)
_LAST_LOG = 32_767
"""The highest number that a log of a bank can have: none has a longer origin."""


class Witnessing:
    """All witnesses of the log."""

    def __init__(self, foundation: Foundation, standing: Standing, named: Sequence[NamedWitness]) -> None:
        self._base = foundation
        self._standing = standing
        self.witnesses = [Witness(each, each.url) for each in named if each.url is not None]

    async def latest(self, log: Log) -> list[Checkpoint]:
        """Return what witnesses show that the log itself has signed, each the furthest that its witness knows."""
        shown = await asyncio.gather(*(self._greeted(witness, log) for witness in self.witnesses))
        return [checkpoint for checkpoint in shown if checkpoint is not None]

    def lacks(self, checkpoint: Published) -> bool:
        """Whether there is a witness to ask for a cosignature of a checkpoint that is published, or to hear."""
        waiting = any(witness.has_answered for witness in self.witnesses)
        return waiting or any(witness.is_free(growing=False) for witness in self._lacking(checkpoint))

    async def cosign(self, work: UnitOfWork, log: Log, checkpoint: Published, *, growing: bool) -> Published:
        """Return a checkpoint of the log with the cosignatures that there are by now; who has given none is asked.

        For a log that grows, witnesses are waited for, at most `ROUND_SECONDS`, but for those who were late the last
        time. Whoever answers later is heard the next time, and counts if the log has not grown.

        Raises:
            LogHalted: one has shown that the log signed something else.

        """
        shown = await self._with_answers(work, checkpoint)
        asked = [witness for witness in self._lacking(shown) if witness.is_free(growing=growing)]
        answers = await self._ask(work, log, checkpoint, asked)
        if growing and (awaited := [answer for witness, answer in answers.items() if witness.prompt]):
            await asyncio.wait(awaited, timeout=ROUND_SECONDS)
            shown = await self._with_answers(work, shown)
        self._standing.require()
        return shown

    async def aclose(self) -> None:
        """Ask nobody any longer."""
        async with AsyncExitStack() as closing:
            for witness in self.witnesses:
                closing.push_async_callback(witness.aclose)

    def _lacking(self, checkpoint: Published) -> list[Witness]:
        """Return the witnesses whose key has not cosigned a checkpoint that has room for it."""
        note = parse_note(checkpoint.note)
        if len(note.signatures) >= MAX_SIGNATURES:
            return []
        keys, room = {(each.name, each.key_id) for each in note.signatures}, MAX_NOTE - len(checkpoint.note)
        return [
            witness
            for witness in self.witnesses
            if (witness.key.name, witness.key.key_id) not in keys and witness.key.line_bytes <= room
        ]

    async def _with_answers(self, work: UnitOfWork, checkpoint: Published) -> Published:
        """Return a checkpoint with what witnesses have answered since they were last heard, as far as it is about it."""
        for witness in self.witnesses:
            if (given := witness.hear()) is None:
                continue
            await published.cosigned(work, self._base.book, given.log, witness.name, given.size)
            if given.text != parse_note(checkpoint.note).text:
                witness.trouble = f"it is late: the log had grown when it cosigned {given.size}"
            elif witness in self._lacking(checkpoint):
                checkpoint = Published(checkpoint.size, checkpoint.note + given.line.encode())
        return checkpoint

    async def _ask(
        self, work: UnitOfWork, log: Log, checkpoint: Published, asked: Sequence[Witness]
    ) -> dict[Witness, asyncio.Task[Cosignature | None]]:
        """Begin to ask witnesses for the cosignature of a checkpoint."""
        known = await published.witnessed(work.connection, self._base.book, log.log) if asked else {}
        sizes = {witness: min(known.get(witness.name, 0), checkpoint.size) for witness in asked}
        proofs = {size: await self._proof(work.connection, log, size, checkpoint.size) for size in set(sizes.values())}
        return {
            witness: witness.ask(self._cosignature(witness, log, checkpoint, size, proofs[size]))
            for witness, size in sizes.items()
        }

    async def _cosignature(
        self, witness: Witness, log: Log, checkpoint: Published, old: int, proof: Sequence[bytes]
    ) -> Cosignature | None:
        """Return the cosignature that a witness gives, None where it gives none."""
        outcomes, logger, began = self._base.metrics.cosignatures, structlog.get_logger(), time.monotonic()
        try:
            line = await self._line(witness, log, checkpoint, old, proof)
        except LogHalted as why:
            witness.failed(why.detail)  # the standing of the log knows, and nothing is published any more
            return None
        except _TROUBLES as error:
            logger.warning("a witness did not cosign", witness=witness.name, reason=error.detail)
            witness.failed(error.detail)
            outcomes.labels(witness.name, "refused" if isinstance(error, NotCosigned) else "silent").inc()
            return None
        witness.cosigned(time.monotonic() - began)
        outcomes.labels(witness.name, "cosigned").inc()
        return Cosignature(log.log, checkpoint.size, parse_note(checkpoint.note).text, line)

    async def _line(self, witness: Witness, log: Log, checkpoint: Published, old: int, proof: Sequence[bytes]) -> str:
        """Return the line of a witness, after another proof if it knows another size than was thought."""
        signed = _signed_by_log(log, checkpoint)
        answer = await witness.add_checkpoint(old, proof, signed)
        if answer.status == CONFLICT and (seen := _size_in(answer)) <= checkpoint.size:
            async with self._base.database.read() as connection:
                proof = await self._proof(connection, log, seen, checkpoint.size)
            answer = await witness.add_checkpoint(seen, proof, signed)
        if answer.status == OK:
            return _verified_line(answer.body, checkpoint, witness.key)
        # It has seen more than there is, or something else. If it can show that, the log stops here.
        if (shown := await self._proved(witness, log)) is not None:
            await self._confront(log, shown)
        raise NotCosigned(f"it answered {answer.status}, and shows nothing that the log has signed against it")

    async def _confront(self, log: Log, shown: Checkpoint) -> None:
        """Hold the log as it stands now against what a witness shows: another process may have gone on with it.

        Raises:
            LogHalted: it has signed what it does not have.

        """
        async with self._base.database.read() as connection:
            present = await tree.current(connection, self._base.book)
            if present is not None and present.origin == log.origin:
                await self._standing.confront(connection, present, shown)

    async def _greeted(self, witness: Witness, log: Log) -> Checkpoint | None:
        """Return the latest checkpoint that a witness shows, if the log has signed it and the witness answers."""
        try:
            return await self._proved(witness, log)
        except _TROUBLES as error:
            witness.failed(error.detail)
            return None

    async def _proved(self, witness: Witness, log: Log) -> Checkpoint | None:
        """Return the latest checkpoint that a witness shows, None if it shows none.

        Raises:
            NotCosigned: the log has not signed it.
            ServiceUnavailable, DeadlineExceeded, ResponseTooLarge: the witness does not answer.

        """
        note = await witness.checkpoint(log.origin)
        try:
            return None if note is None else open_checkpoint(note, self._base.own_keys.log.note_keys(log.origin))
        except (MalformedNote, NotSigned, InvalidSignature) as error:
            raise NotCosigned(f"it shows what the log has not signed: {error.detail}") from error

    async def _proof(self, connection: Connection, log: Log, old: int, new: int) -> list[bytes]:
        """Return the proof that the tree of `old` leaves begins that of `new`; the empty one proves nothing."""
        if old == 0 or old == new:
            return []
        places = [(tile.level, tile.number) for tile in tiles_for(consistency_nodes(old, new), log.size)]
        return consistency_proof_from(await tree.tiles(connection, self._base.book, log.log, places), old, new)


def how_many_fit(bank: str, witnesses: Sequence[NoteKey]) -> int:
    """Return how many of these keys, from the first on, can cosign a checkpoint of any log of a bank together."""
    origin = origin_of(bank, _LAST_LOG)
    own = log_note_keys(origin, bytes(log_key_pair(LOG_KEY).public_key_bytes))
    text = Note(Checkpoint(origin, MAX_SIZE, EMPTY_ROOT).text(), ()).to_bytes()
    taken = len(text) + sum(key.line_bytes for key in own)
    sizes = accumulate((key.line_bytes for key in witnesses), initial=taken)
    return sum(size <= MAX_NOTE for size in islice(sizes, 1, MAX_SIGNATURES - len(own) + 1))


def _signed_by_log(log: Log, checkpoint: Published) -> bytes:
    """Return a checkpoint as the log signed it: what other witnesses gave is nothing to a witness."""
    note = parse_note(checkpoint.note)
    return Note(note.text, tuple(each for each in note.signatures if each.name == log.origin)).to_bytes()


def _verified_line(lines: bytes, checkpoint: Published, key: NoteKey) -> str:
    """Return the one line of an answer that is taken over: the first that the key of the witness has made."""
    text = parse_note(checkpoint.note).text
    try:
        for line in lines.decode("utf-8", "replace").removesuffix("\n").split("\n")[:MAX_SIGNATURES]:
            given = parse_signature_line(line)
            if cosigned_at(Note(text, (given,)), key) is not None:
                return given.line()
    except (MalformedNote, InvalidSignature) as error:
        raise NotCosigned(f"it answered with no cosignature: {error.detail}") from error
    raise NotCosigned("it answered without a signature by its key")


def _size_in(answer: Response) -> int:
    text = answer.body.decode("ascii", "replace").removesuffix("\n")
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise NotCosigned("it answered 409 and named no size: it may have seen another log than this one")
    return int(text)
