"""Asks witnesses to cosign checkpoints: C2SP tlog-witness, from the side of the log.

A witness says what it has seen by a number, and proves it by the checkpoint that it cosigned, which carries the log's
own signatures. Only that proof is believed against the database: whoever answers in the place of a witness could
otherwise stop the log with a word.
"""

import asyncio
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from hashlib import sha256

import structlog

from latticebank.crypto.checkpoints import Checkpoint, cosigned_at, open_checkpoint
from latticebank.crypto.errors import InvalidSignature, MalformedNote, NotSigned
from latticebank.crypto.log_policy import NamedWitness
from latticebank.crypto.notes import MAX_NOTE, parse_note
from latticebank.crypto.tiles import consistency_nodes, consistency_proof_from, tiles_for
from latticebank.kernel.database import UnitOfWork
from latticebank.kernel.transports import HttpTransport, Request, Response
from latticebank.security.audit.model.standing import LogHalted
from latticebank.security.audit.service.foundation import Foundation
from latticebank.security.audit.service.standing import Standing
from latticebank.security.audit.store import published, tree
from latticebank.security.audit.store.published import Published
from latticebank.security.audit.store.tree import Log
from latticebank.values.errors import BankError, Fault

ANSWER_SECONDS = 2.0
REST_SECONDS = 10.0
"""How long a witness that did not cosign is left alone."""
_OK, _NOT_FOUND, _CONFLICT = 200, 404, 409


class NotCosigned(BankError):
    """A witness did not cosign."""

    code = "not-cosigned"
    title = "A witness did not cosign the checkpoint"
    fault = Fault.UNAVAILABLE


class Witness:
    """One witness, as this process knows it; `monotonic` gives its time in seconds."""

    def __init__(self, named: NamedWitness, url: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.name = named.key.name
        self.key = named.key
        self.trouble: str | None = None
        self._transport = HttpTransport(url)
        self._monotonic = monotonic
        self._rests_until = 0.0

    @property
    def rests(self) -> bool:
        """Whether it is left alone for now."""
        return self._monotonic() < self._rests_until

    async def add_checkpoint(self, old: int, proof: Sequence[bytes], note: bytes) -> Response:
        """Return what the witness answers to a checkpoint and the proof from the size it knows.

        Raises:
            ServiceUnavailable, DeadlineExceeded, ResponseTooLarge: it does not answer.

        """
        lines = [f"old {old}", *(b64encode(each).decode() for each in proof), "", ""]
        body = "\n".join(lines).encode() + note
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        return await self._transport.send(Request("POST", "/add-checkpoint", headers, body, ANSWER_SECONDS, MAX_NOTE))

    async def checkpoint(self, origin: str) -> bytes | None:
        """Return the latest checkpoint of a log that the witness shows, None if it shows none; nothing says it is true.

        Raises:
            NotCosigned, ServiceUnavailable, DeadlineExceeded, ResponseTooLarge: it does not answer that.

        """
        target = f"/{sha256(origin.encode()).hexdigest()}/checkpoint"
        answer = await self._transport.send(Request("GET", target, {}, b"", ANSWER_SECONDS, MAX_NOTE))
        if answer.status not in (_OK, _NOT_FOUND):
            raise NotCosigned(f"it answered {answer.status}")
        return answer.body if answer.status == _OK else None

    def failed(self, why: str) -> None:
        """Leave it alone for a while."""
        self.trouble, self._rests_until = why, self._monotonic() + REST_SECONDS

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()


class Witnessing:
    """All witnesses of the log."""

    def __init__(self, foundation: Foundation, standing: Standing, named: Sequence[NamedWitness]) -> None:
        self._base = foundation
        self._standing = standing
        self.witnesses = [Witness(each, each.url) for each in named if each.url is not None]

    async def latest(self, log: Log) -> list[Checkpoint]:
        """Return what witnesses show that the log itself has signed, each the furthest that its witness knows."""
        shown = await asyncio.gather(*(self._proved(witness, log) for witness in self.witnesses))
        return [checkpoint for checkpoint in shown if checkpoint is not None]

    def lacks(self, checkpoint: Published) -> bool:
        """Whether a witness who may be asked has not cosigned a checkpoint."""
        return any(not witness.rests for witness in self._lacking(checkpoint))

    async def cosign(self, work: UnitOfWork, log: Log, checkpoint: Published) -> Published:
        """Return a checkpoint of the log with the cosignatures of the witnesses who gave one in time.

        Raises:
            LogHalted: one has shown that the log signed something else.

        """
        asked = [witness for witness in self._lacking(checkpoint) if not witness.rests]
        known = await published.witnessed(work.connection, self._base.book, log.log) if asked else {}
        sizes = [min(known.get(witness.name, 0), checkpoint.size) for witness in asked]
        proofs = [await self._proof(work, log, size, checkpoint.size) for size in sizes]
        asking = (
            witness.add_checkpoint(size, proof, checkpoint.note)
            for witness, size, proof in zip(asked, sizes, proofs, strict=True)
        )
        answers = await asyncio.gather(*asking, return_exceptions=True)
        note = checkpoint.note
        for witness, answer in zip(asked, answers, strict=True):
            note += (await self._lines(work, witness, log, checkpoint, answer)).encode()
        return Published(checkpoint.size, note)

    async def aclose(self) -> None:
        """Close the connections to all."""
        async with AsyncExitStack() as closing:
            for witness in self.witnesses:
                closing.push_async_callback(witness.aclose)

    def _lacking(self, checkpoint: Published) -> list[Witness]:
        names = {each.name for each in parse_note(checkpoint.note).signatures}
        return [witness for witness in self.witnesses if witness.name not in names]

    async def _lines(
        self, work: UnitOfWork, witness: Witness, log: Log, checkpoint: Published, answer: Response | BaseException
    ) -> str:
        """Return the lines that a witness gave, none where it gave none."""
        outcomes, logger = self._base.metrics.cosignatures, structlog.get_logger()
        try:
            if isinstance(answer, BaseException):
                raise answer
            lines = await self._accepted(work, witness, log, checkpoint, answer)
        except LogHalted:
            raise
        except BankError as error:
            if error.fault not in (Fault.UNAVAILABLE, Fault.TIMEOUT, Fault.INTERNAL):
                raise
            logger.warning("a witness did not cosign", witness=witness.name, reason=error.detail)
            witness.failed(error.detail)
            outcomes.labels(witness.name, "refused" if isinstance(error, NotCosigned) else "silent").inc()
            return ""
        witness.trouble = None
        outcomes.labels(witness.name, "cosigned").inc()
        await published.cosigned(work, self._base.book, log.log, witness.name, checkpoint.size)
        return lines

    async def _accepted(
        self, work: UnitOfWork, witness: Witness, log: Log, checkpoint: Published, answer: Response
    ) -> str:
        """Return the lines of an answer, after another proof if the witness knows another size than was thought."""
        if answer.status == _CONFLICT and (seen := _size_in(answer)) <= checkpoint.size:
            proof = await self._proof(work, log, seen, checkpoint.size)
            answer = await witness.add_checkpoint(seen, proof, checkpoint.note)
        if answer.status == _OK:
            return _verified(witness, checkpoint, answer.body)
        # It has seen more than there is, or something else. If it can show that, the log stops here.
        if (shown := await self._proved(witness, log)) is not None:
            await self._standing.confront(work.connection, log, shown)
        raise NotCosigned(f"it answered {answer.status}, and shows nothing that the log has signed against it")

    async def _proved(self, witness: Witness, log: Log) -> Checkpoint | None:
        """Return the latest checkpoint that a witness shows, if the log has signed it."""
        try:
            note = await witness.checkpoint(log.origin)
            return None if note is None else open_checkpoint(note, self._base.own_keys.log.note_keys(log.origin))
        except (MalformedNote, NotSigned, InvalidSignature) as error:
            witness.failed(f"it shows what the log has not signed: {error.detail}")
        except BankError as error:
            if error.fault not in (Fault.UNAVAILABLE, Fault.TIMEOUT, Fault.INTERNAL):
                raise
            witness.failed(error.detail)
        return None

    async def _proof(self, work: UnitOfWork, log: Log, old: int, new: int) -> list[bytes]:
        """Return the proof that the tree of `old` leaves begins that of `new`; the empty one proves nothing."""
        if old == 0 or old == new:
            return []
        places = [(tile.level, tile.number) for tile in tiles_for(consistency_nodes(old, new), log.size)]
        return consistency_proof_from(await tree.tiles(work.connection, self._base.book, log.log, places), old, new)


def _verified(witness: Witness, checkpoint: Published, lines: bytes) -> str:
    """Return the lines of an answer that are by the key of the witness, if they verify."""
    try:
        note = parse_note(checkpoint.note + lines)
        if cosigned_at(note, witness.key) is None:
            raise NotCosigned("it answered without a signature by its key")
    except (MalformedNote, InvalidSignature) as error:
        raise NotCosigned(f"it answered with no cosignature: {error.detail}") from error
    own = (witness.key.name, witness.key.key_id)
    return "".join(each.line() for each in note.signatures if (each.name, each.key_id) == own)


def _size_in(answer: Response) -> int:
    text = answer.body.decode("ascii", "replace").removesuffix("\n")
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise NotCosigned("it answered 409 and named no size: it may have seen another log than this one")
    return int(text)
