"""The witness: it verifies, remembers, and only then cosigns."""

from threading import Lock

from latticebank.crypto.checkpoints import Checkpoint, CosignerKey, cosigned_at, open_checkpoint, parse_checkpoint
from latticebank.crypto.errors import InvalidSignature, MalformedNote
from latticebank.crypto.log_policy import LogPolicy
from latticebank.crypto.notes import Note, NoteKey, parse_note, parse_signature_line
from latticebank.values.clock import Clock
from latticebank.witness.model import Forked, UnknownLog, parse_submission, require_continuation
from latticebank.witness.record import Record, RecordDamaged, origin_hash


class Witness:
    """A witness of the logs of a policy. It may be asked from many threads at a time."""

    def __init__(self, policy: LogPolicy, key: CosignerKey, record: Record, clock: Clock) -> None:
        """Look through the record.

        Raises:
            RecordDamaged: a recorded checkpoint is not one that this key cosigned.
            FolderUnusable: the record cannot be read.

        """
        self._policy = policy
        self._key = key
        self._record = record
        self._clock = clock
        self._one_at_a_time = Lock()
        self._origins = {origin_hash(log.name): log.name for log in policy.logs}
        for origin in self._origins.values():
            self._latest(origin)

    def add_checkpoint(self, body: bytes) -> str:
        """Return the cosignature of a submitted checkpoint, as a line; it is the latest of its log from now on.

        Raises:
            MalformedSubmission, MalformedNote: this is no submission.
            UnknownLog: the policy does not name the log.
            NotSigned, InvalidSignature: not all keys of the log have signed.
            NotLatest, Inconsistent, Forked: it does not continue the latest checkpoint.
            FolderUnusable, RecordDamaged: the witness cannot keep its word, so it does not give it.

        """
        submission = parse_submission(body)
        checkpoint = submission.checkpoint
        keys = self._policy.keys_of(checkpoint.origin)
        if not keys:
            raise UnknownLog(f"no log {checkpoint.origin!a} is known here", field="origin")
        open_checkpoint(submission.note.to_bytes(), keys)
        signed = _with_signatures_of(submission.note, keys)
        # Between the look at the latest checkpoint and the writing of the next nobody else may come.
        with self._one_at_a_time:
            try:
                require_continuation(submission, self._latest(checkpoint.origin))
            except Forked:
                self._record.keep_fork(checkpoint.origin, signed.to_bytes())
                raise
            line = self._key.cosign(checkpoint, self._clock.now())
            cosigned = Note(signed.text, (*signed.signatures, parse_signature_line(line[:-1])))
            self._record.keep(checkpoint.origin, cosigned.to_bytes())
        return line

    def checkpoint(self, named: str) -> bytes:
        """Return the latest checkpoint of the log whose origin has this hash, with the cosignature that was given.

        Raises:
            UnknownLog: no such log is known, or nothing of it was ever cosigned.
            FolderUnusable: the record cannot be read.

        """
        origin = self._origins.get(named)
        latest = self._record.latest(origin) if origin is not None else None
        if latest is None:
            raise UnknownLog("nothing of such a log was cosigned here")
        return latest

    def _latest(self, origin: str) -> Checkpoint | None:
        raw = self._record.latest(origin)
        if raw is None:
            return None
        try:
            note = parse_note(raw)
            checkpoint = parse_checkpoint(note.text)
            ours = cosigned_at(note, self._key.note_key()) is not None
        except (MalformedNote, InvalidSignature) as error:
            raise RecordDamaged(f"the latest checkpoint of {origin}: {error.detail}") from error
        if not ours or checkpoint.origin != origin:
            raise RecordDamaged(f"the latest checkpoint of {origin} is not one that this witness cosigned")
        return checkpoint


def _with_signatures_of(note: Note, keys: tuple[NoteKey, ...]) -> Note:
    """Return the note without what others have signed, which nobody has verified."""
    known = {(key.name, key.key_id) for key in keys}
    return Note(note.text, tuple(each for each in note.signatures if (each.name, each.key_id) in known))
