"""Asks witnesses to cosign checkpoints: C2SP tlog-witness, from the side of the log."""

import asyncio
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

import structlog

from latticebank.crypto.checkpoints import cosigned_at
from latticebank.crypto.errors import InvalidSignature, MalformedNote
from latticebank.crypto.log_policy import NamedWitness
from latticebank.crypto.notes import MAX_NOTE, parse_note
from latticebank.crypto.tiles import consistency_nodes, consistency_proof_from, tiles_for
from latticebank.kernel.transports import HttpTransport, Request, Response
from latticebank.security.audit.service.foundation import Foundation
from latticebank.security.audit.service.standing import Standing
from latticebank.security.audit.store import published, tree
from latticebank.security.audit.store.published import Published
from latticebank.security.audit.store.tree import Log
from latticebank.values.errors import BankError, Fault

ANSWER_SECONDS = 2.0
REST_SECONDS = 10.0
"""How long a witness that did not cosign is left alone."""
_CONFLICT, _UNPROCESSABLE = 409, 422


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

    async def ask(self, old: int, proof: Sequence[bytes], note: bytes) -> Response:
        """Return what the witness answers to a checkpoint and the proof from the size it knows.

        Raises:
            ServiceUnavailable, DeadlineExceeded, ResponseTooLarge: it does not answer.

        """
        lines = [f"old {old}", *(b64encode(each).decode() for each in proof), "", ""]
        body = "\n".join(lines).encode() + note
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        request = Request("POST", "/add-checkpoint", headers, body, ANSWER_SECONDS, MAX_NOTE)
        return await self._transport.send(request)

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

    async def cosign(self, log: Log, checkpoint: Published) -> Published:
        """Return a checkpoint of the log with the cosignatures of the witnesses who gave one in time.

        Raises:
            LogHalted: a witness has seen another log than this one.

        """
        signed = parse_note(checkpoint.note)
        names = {each.name for each in signed.signatures}
        asked = [each for each in self.witnesses if each.name not in names and not each.rests]
        given = await asyncio.gather(*(self._line(each, log, checkpoint) for each in asked))
        return Published(checkpoint.size, checkpoint.note + "".join(given).encode())

    def lacks(self, checkpoint: Published) -> bool:
        """Whether a witness who may be asked has not cosigned a checkpoint."""
        names = {each.name for each in parse_note(checkpoint.note).signatures}
        return any(each.name not in names and not each.rests for each in self.witnesses)

    async def aclose(self) -> None:
        """Close the connections to all."""
        async with AsyncExitStack() as closing:
            for witness in self.witnesses:
                closing.push_async_callback(witness.aclose)

    async def _line(self, witness: Witness, log: Log, checkpoint: Published) -> str:
        """Return the lines that a witness gave, none where it gave none."""
        outcomes = self._base.metrics.cosignatures
        try:
            lines = await self._cosignature(witness, log, checkpoint)
        except NotCosigned as error:
            structlog.get_logger().error("a witness did not cosign", witness=witness.name, reason=error.detail)
            witness.failed(error.detail)
            outcomes.labels(witness.name, "refused").inc()
            return ""
        except BankError as error:
            if error.fault is not Fault.UNAVAILABLE or self._standing.refusal is not None:
                raise
            witness.failed(error.detail)
            outcomes.labels(witness.name, "silent").inc()
            return ""
        witness.trouble = None
        outcomes.labels(witness.name, "cosigned").inc()
        async with self._base.database.begin() as work:
            await published.cosigned(work, self._base.book, log.log, witness.name, checkpoint.size)
        return lines

    async def _cosignature(self, witness: Witness, log: Log, checkpoint: Published) -> str:
        async with self._base.database.read() as connection:
            known = (await published.witnessed(connection, self._base.book, log.log)).get(witness.name, 0)
        answer = await witness.ask(known, await self._proof(log, known, checkpoint.size), checkpoint.note)
        if answer.status == _CONFLICT:
            seen = _size_in(answer)
            if seen > checkpoint.size:
                why = f"the witness {witness.name} has cosigned {seen} leaves, and the log has {checkpoint.size}"
                raise await self._standing.contradict(log, seen, why)
            proof = await self._proof(log, seen, checkpoint.size)
            answer = await witness.ask(seen, proof, checkpoint.note)
        if answer.status == _UNPROCESSABLE:
            why = f"the witness {witness.name} has cosigned another log than this one"
            raise await self._standing.contradict(log, 0, why)
        if answer.status != 200:
            raise NotCosigned(f"it answered {answer.status}")
        return self._verified(witness, checkpoint, answer.body)

    def _verified(self, witness: Witness, checkpoint: Published, lines: bytes) -> str:
        """Return the lines of an answer that are by the key of the witness, if they verify."""
        try:
            note = parse_note(checkpoint.note + lines)
            if cosigned_at(note, witness.key) is None:
                raise NotCosigned("it answered without a signature by its key")
        except (MalformedNote, InvalidSignature) as error:
            raise NotCosigned(f"it answered with no cosignature: {error.detail}") from error
        return "".join(
            each.line()
            for each in note.signatures
            if (each.name, each.key_id) == (witness.key.name, witness.key.key_id)
        )

    async def _proof(self, log: Log, old: int, new: int) -> list[bytes]:
        """Return the proof that the tree of `old` leaves begins that of `new`; the empty one proves nothing."""
        if old == 0 or old == new:
            return []
        places = [(tile.level, tile.number) for tile in tiles_for(consistency_nodes(old, new), log.size)]
        async with self._base.database.read() as connection:
            found = await tree.tiles(connection, self._base.book, log.log, places)
        return consistency_proof_from(found, old, new)


def _size_in(answer: Response) -> int:
    text = answer.body.decode("ascii", "replace").removesuffix("\n")
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise NotCosigned("it answered 409 and named no size: it may have seen another log than this one")
    return int(text)
