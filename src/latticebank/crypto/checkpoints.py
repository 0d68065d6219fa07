"""Checkpoints of a log, the keys of the log, and cosignatures: C2SP tlog-checkpoint and tlog-cosignature.

A log signs each checkpoint twice: as a note by Ed25519, for the many programs that read nothing else, and as a timestamped
cosignature under its own name by ML-DSA-44. Whoever opens one here demands both.
"""

from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from secrets import token_bytes

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from latticebank.crypto.errors import InvalidKey, InvalidSignature, MalformedNote, NotSigned
from latticebank.crypto.merkle import EMPTY_ROOT
from latticebank.crypto.notes import (
    ED25519_COSIGNATURE,
    ED25519_NOTE,
    ML_DSA_44_COSIGNATURE,
    Note,
    NoteKey,
    NoteSignature,
    is_key_name,
    parse_note,
)
from latticebank.crypto.registry import ED25519, LOG_KEY, ML_DSA_44, log_key_pair
from latticebank.crypto.signatures import SigningKey, VerifyingKey
from latticebank.crypto.tiles import MAX_SIZE

_LABEL = b"subtree/v1\n\x00"
_TIME_BYTES = 8
_ED25519_SEED = 32
_LATEST = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp())
_ALGORITHMS = {ED25519_NOTE: ED25519, ED25519_COSIGNATURE: ED25519, ML_DSA_44_COSIGNATURE: ML_DSA_44}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says of itself: its origin, the number of its leaves and the root of the tree over them."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """Return the text that is signed: three lines."""
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"


class LogKey:
    """The two private keys of a log, from `Ed25519 seed || ML-DSA-44 seed`, 64 bytes. It shows its seed to nobody."""

    __slots__ = ("_ed25519", "_ml_dsa", "public_bytes", "seed")

    seed: bytes
    public_bytes: bytes
    _ed25519: Ed25519PrivateKey
    _ml_dsa: SigningKey

    @classmethod
    def generate(cls) -> "LogKey":
        """Return fresh keys from the randomness of the operating system."""
        return cls.from_seed(token_bytes(log_key_pair(LOG_KEY).seed_bytes))

    @classmethod
    def from_seed(cls, seed: bytes) -> "LogKey":
        """Return the keys of a seed.

        Raises:
            InvalidKey: the seed has not 64 bytes.
            AlgorithmUnavailable: the library lacks an algorithm.

        """
        expected = log_key_pair(LOG_KEY).seed_bytes
        if len(seed) != expected:
            raise InvalidKey(f"a seed of {LOG_KEY} has {expected} bytes, not {len(seed)}", field="seed")
        key = cls()
        key.seed = bytes(seed)
        key._ed25519 = Ed25519PrivateKey.from_private_bytes(seed[:_ED25519_SEED])
        key._ml_dsa = SigningKey.from_seed(ML_DSA_44, seed[_ED25519_SEED:])
        key.public_bytes = key._ed25519.public_key().public_bytes_raw() + key._ml_dsa.public_bytes
        return key

    def note_keys(self, origin: str) -> tuple[NoteKey, NoteKey]:
        """Return the keys that others verify the checkpoints of a log of this origin with.

        Raises:
            MalformedNote: no log can have this origin.

        """
        return log_note_keys(origin, self.public_bytes)

    def sign(self, checkpoint: Checkpoint, at: datetime) -> bytes:
        """Return the note of a checkpoint with both signatures.

        Raises:
            MalformedNote: no log can have this origin, size or root.

        """
        text = _checked(checkpoint).text()
        ed25519, ml_dsa = self.note_keys(checkpoint.origin)
        signature = NoteSignature(ed25519.name, ed25519.key_id, self._ed25519.sign(text.encode()))
        return Note(text, (signature, _cosigned(self._ml_dsa, ml_dsa, checkpoint, at))).to_bytes()

    def __repr__(self) -> str:
        return f"LogKey(public keys {self.public_bytes[:8].hex()}...)"


@dataclass(frozen=True, slots=True)
class CosignerKey:
    """The key of a witness under its name: ML-DSA-44, from a seed of 32 bytes."""

    name: str
    signing: SigningKey = field(repr=False)

    @classmethod
    def from_seed(cls, name: str, seed: bytes) -> "CosignerKey":
        """Return the key of a name and a seed.

        Raises:
            MalformedNote: no key can have this name.
            InvalidKey: the seed has not 32 bytes.

        """
        key = cls(name, SigningKey.from_seed(ML_DSA_44, seed))
        key.note_key()
        return key

    def note_key(self) -> NoteKey:
        """Return the key that others verify the cosignatures with."""
        return NoteKey.of(self.name, ML_DSA_44_COSIGNATURE, self.signing.public_bytes)

    def cosign(self, checkpoint: Checkpoint, at: datetime) -> str:
        """Return the line of a cosignature, with its newline.

        Raises:
            MalformedNote: no log can have this origin, size or root.

        """
        return _cosigned(self.signing, self.note_key(), _checked(checkpoint), at).line()


def log_note_keys(origin: str, public_bytes: bytes) -> tuple[NoteKey, NoteKey]:
    """Return the note keys of a log from its origin and its public keys, `Ed25519 || ML-DSA-44`.

    Raises:
        MalformedNote: no log can have this origin, or the keys have another length.

    """
    halves = public_bytes[:_ED25519_SEED], public_bytes[_ED25519_SEED:]
    return NoteKey.of(origin, ED25519_NOTE, halves[0]), NoteKey.of(origin, ML_DSA_44_COSIGNATURE, halves[1])


def parse_checkpoint(text: str) -> Checkpoint:
    """Return the checkpoint of the text of a note. Extension lines are refused: no key of the bank signs any.

    Raises:
        MalformedNote: it is none.

    """
    lines = text.split("\n")
    if len(lines) != 4 or lines[3]:
        raise MalformedNote("a checkpoint has three lines: origin, size and root")
    origin, size, root = lines[:3]
    if not (size.isascii() and size.isdigit() and len(size) <= len(str(MAX_SIZE))):
        raise MalformedNote("the size of a checkpoint is a decimal number")
    try:
        checkpoint = Checkpoint(origin, int(size), b64decode(root, validate=True))
    except ValueError as error:
        raise MalformedNote("the root of a checkpoint is base64") from error
    if _checked(checkpoint).text() != text:
        raise MalformedNote("a checkpoint has one form: no leading zeros, base64 with padding")
    return checkpoint


def open_checkpoint(raw: bytes, keys: Sequence[NoteKey]) -> Checkpoint:
    """Return the checkpoint of a note that all of these keys, those of one log, have signed.

    Raises:
        MalformedNote: this is no note, or no checkpoint of that log.
        NotSigned: a key has not signed, or none is given.
        InvalidSignature: what names one of the keys was not made by it.

    """
    note = parse_note(raw)
    checkpoint = parse_checkpoint(note.text)
    if not keys:
        raise NotSigned(f"no key is known for the log {checkpoint.origin!a}")
    for key in keys:
        if key.name != checkpoint.origin:
            raise MalformedNote(f"this is a checkpoint of {checkpoint.origin!a}, not of {key.name!a}")
        signatures = note.signatures_of(key)
        if not signatures:
            raise NotSigned(f"the log {key.name!a} has not signed by its key {key.key_id.hex()}")
        for signature in signatures:
            _verify(signature, note, checkpoint, key)
    return checkpoint


def cosigned_at(note: Note, key: NoteKey) -> datetime | None:
    """Return when a key last cosigned the checkpoint of this note, None if it did not. Of the log it says nothing.

    Raises:
        MalformedNote: this is no checkpoint, or the key makes no cosignatures.
        InvalidSignature: what names this key was not made by it.

    """
    if key.kind == ED25519_NOTE:
        raise MalformedNote("a key of type 0x01 makes no cosignatures", hint="a witness has a key of type 0x06 or 0x04")
    checkpoint = parse_checkpoint(note.text)
    times = [_verify(signature, note, checkpoint, key) for signature in note.signatures_of(key)]
    return max((datetime.fromtimestamp(seconds, UTC) for seconds in times), default=None)


def _checked(checkpoint: Checkpoint) -> Checkpoint:
    if not is_key_name(checkpoint.origin):
        raise MalformedNote(f"{checkpoint.origin[:80]!a} is no origin of a log")
    if not 0 <= checkpoint.size <= MAX_SIZE:
        raise MalformedNote("a log has less than 2**63 leaves")
    if len(checkpoint.root) != len(EMPTY_ROOT):
        raise MalformedNote(f"the root of a log has {len(EMPTY_ROOT)} bytes")
    return checkpoint


def _cosigned(signing: SigningKey, key: NoteKey, checkpoint: Checkpoint, at: datetime) -> NoteSignature:
    seconds = int(at.timestamp())
    signature = signing.sign(_ml_dsa_message(key.name, checkpoint, seconds), b"")
    return NoteSignature(key.name, key.key_id, seconds.to_bytes(_TIME_BYTES) + signature)


def _verify(signature: bytes, note: Note, checkpoint: Checkpoint, key: NoteKey) -> int:
    """Return the POSIX seconds that a signature names, 0 for one without; InvalidSignature if the key did not make it."""
    verifying = VerifyingKey(_ALGORITHMS[key.kind], key.public)
    if key.kind == ED25519_NOTE:
        verifying.verify(signature, note.text.encode(), b"")
        return 0
    seconds, made = int.from_bytes(signature[:_TIME_BYTES]), signature[_TIME_BYTES:]
    if not 0 < seconds <= _LATEST:
        raise InvalidSignature("a cosignature names no time", field="signature")
    if key.kind == ML_DSA_44_COSIGNATURE:
        verifying.verify(made, _ml_dsa_message(key.name, checkpoint, seconds), b"")
    else:
        verifying.verify(made, f"cosignature/v1\ntime {seconds}\n{note.text}".encode(), b"")
    return seconds


def _ml_dsa_message(cosigner: str, checkpoint: Checkpoint, seconds: int) -> bytes:
    """Return the `cosigned_message` of tlog-cosignature for a whole tree."""
    name, origin = cosigner.encode(), checkpoint.origin.encode()
    return b"".join(
        (
            _LABEL,
            len(name).to_bytes(1) + name,
            seconds.to_bytes(_TIME_BYTES),
            len(origin).to_bytes(1) + origin,
            bytes(8),
            checkpoint.size.to_bytes(8),
            checkpoint.root,
        )
    )
