"""What a witness answers to a checkpoint: C2SP tlog-witness, add-checkpoint. Nothing here knows files or HTTP."""

from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from dataclasses import dataclass
from typing import ClassVar

from latticebank.crypto.checkpoints import Checkpoint, parse_checkpoint
from latticebank.crypto.errors import InvalidProof
from latticebank.crypto.merkle import EMPTY_ROOT, verify_consistency
from latticebank.crypto.notes import MAX_NOTE, Note, parse_note
from latticebank.crypto.tiles import MAX_SIZE
from latticebank.values.errors import BankError, Fault

MAX_PROOF = 63
_OLD = "old "
_HASH_BYTES = 32
_MAX_DIGITS = len(str(MAX_SIZE))
MAX_BODY = len(_OLD) + _MAX_DIGITS + 1 + MAX_PROOF * 45 + 1 + MAX_NOTE


class MalformedSubmission(BankError):
    """A request that is none of the protocol."""

    code = "malformed-submission"
    title = "This is no submission of a checkpoint"
    fault: ClassVar[Fault] = Fault.INVALID


class UnknownLog(BankError):
    """A log that the policy of the witness does not name."""

    code = "unknown-log"
    title = "The witness does not know this log"
    fault: ClassVar[Fault] = Fault.NOT_FOUND


class NotLatest(BankError):
    """A proof from another size than the latest that the witness cosigned, which is `size`."""

    code = "not-latest"
    title = "The witness has cosigned another size"
    fault: ClassVar[Fault] = Fault.CONFLICT

    def __init__(self, size: int) -> None:
        super().__init__(f"the latest checkpoint that the witness cosigned has {size} leaves")
        self.size = size


class Inconsistent(BankError):
    """A checkpoint that is not shown to continue the latest one."""

    code = "inconsistent"
    title = "The checkpoint does not continue the one before"
    fault: ClassVar[Fault] = Fault.REFUSED


class Forked(Inconsistent):
    """A checkpoint of the very size of the latest one, with another root: the log has signed two histories."""

    code = "forked"
    title = "The log has signed two histories"


@dataclass(frozen=True, slots=True)
class Submission:
    """A checkpoint in its note, not verified yet, and the proof that the tree of `old_size` leaves begins it."""

    old_size: int
    proof: tuple[bytes, ...]
    note: Note
    checkpoint: Checkpoint


def parse_submission(body: bytes) -> Submission:
    """Return what a request submits.

    Raises:
        MalformedSubmission: the lines before the checkpoint are not those of the protocol.
        MalformedNote: the rest is no checkpoint.

    """
    head, separator, raw = body.partition(b"\n\n")
    if not separator or not head.isascii():
        raise MalformedSubmission("a submission is an old size, a proof, an empty line and a checkpoint")
    first, *proof = head.decode().split("\n")
    if len(proof) > MAX_PROOF:
        raise MalformedSubmission(f"a proof has at most {MAX_PROOF} hashes")
    note = parse_note(raw)
    return Submission(_old_size(first), tuple(map(_hash, proof)), note, parse_checkpoint(note.text))


def require_continuation(submission: Submission, latest: Checkpoint | None) -> None:
    """Return if the witness may cosign what is submitted, whose signatures are verified, after the latest checkpoint.

    Raises:
        MalformedSubmission: the old size is above that of the checkpoint.
        NotLatest: the proof is not from the latest checkpoint.
        Inconsistent: the proof does not hold, or the empty tree has no root of one.
        Forked: this is another tree of the size of the latest.

    """
    checkpoint = submission.checkpoint
    if submission.old_size > checkpoint.size:
        raise MalformedSubmission(f"a tree of {checkpoint.size} leaves does not begin with {submission.old_size}")
    recorded = latest.size if latest is not None else 0
    if submission.old_size != recorded:
        raise NotLatest(recorded)
    if checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT:
        raise Inconsistent("the tree without leaves has the hash of nothing as its root")
    if latest is None or recorded == 0:
        if submission.proof:
            raise Inconsistent("the empty tree begins every other: its proof is empty")
        return
    if checkpoint.size == latest.size and checkpoint.root != latest.root:
        raise Forked(f"{checkpoint.origin} has signed another tree of {latest.size} leaves")
    try:
        verify_consistency(latest.size, latest.root, checkpoint.size, checkpoint.root, submission.proof)
    except InvalidProof as error:
        raise Inconsistent(error.detail) from error


def _old_size(line: str) -> int:
    digits = line.removeprefix(_OLD)
    if not line.startswith(_OLD) or not digits.isdigit() or len(digits) > _MAX_DIGITS or str(int(digits)) != digits:
        raise MalformedSubmission('a submission begins with "old " and a size')
    return int(digits)


def _hash(line: str) -> bytes:
    try:
        value = b64decode(line, validate=True)
    except NotBase64 as error:
        raise MalformedSubmission("a hash of a proof is base64") from error
    if len(value) != _HASH_BYTES or b64encode(value).decode() != line:
        raise MalformedSubmission(f"a hash of a proof has {_HASH_BYTES} bytes, in the one base64 form of its value")
    return value
