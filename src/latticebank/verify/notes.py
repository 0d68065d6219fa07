"""Signed notes and the keys that verify them (C2SP signed-note, tlog-cosignature)."""

from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

from latticebank.verify.findings import Fault
from latticebank.verify.signatures import is_signed
from latticebank.verify.strict import parse_base64

ED25519 = 0x01
ED25519_COSIGNATURE = 0x04
ML_DSA_44_COSIGNATURE = 0x06

MAX_NOTE_BYTES = 262_144
"""Sixteen signatures, the least that everybody has to read, need a quarter of it."""
_MAX_SIGNATURES = 64
_KEY_BYTES = {ED25519: 32, ED25519_COSIGNATURE: 32, ML_DSA_44_COSIGNATURE: 1312}
_WORDS = {ED25519: "Ed25519", ED25519_COSIGNATURE: "Ed25519", ML_DSA_44_COSIGNATURE: "ML-DSA-44"}
_TIME_BYTES = 8
_YEAR_10000 = 253_402_300_800


class NoteSignature(NamedTuple):
    """A line under a note: whose it says to be, and what follows the identifier of the key."""

    name: str
    key_id: bytes
    signature: bytes


class Signed(NamedTuple):
    """A note: its text, and what stands under it."""

    text: str
    signatures: list[NoteSignature]


class TreeHead(NamedTuple):
    """What a checkpoint says: `size` leaves of the log `origin` have this root."""

    origin: str
    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A key of a log or a witness; `kind` is the type of its signatures."""

    name: str
    key_id: bytes
    kind: int
    public_key: bytes

    @property
    def algorithm(self) -> str:
        """The algorithm by its name."""
        return _WORDS[self.kind]

    def check(self, signature: bytes, text: str, head: TreeHead) -> int | None:
        """Return the time of a signature of a checkpoint, in POSIX seconds; None for a kind that has none.

        Raises:
            Fault: this key did not sign it.

        """
        where = f"the signature of {self.name} ({self.algorithm})"
        time = None
        if self.kind == ED25519:
            message = text.encode()
        else:
            time = int.from_bytes(signature[:_TIME_BYTES])
            signature = signature[_TIME_BYTES:]
            if time >= _YEAR_10000:
                raise Fault(where, "its time is none")
            if self.kind == ED25519_COSIGNATURE:
                message = f"cosignature/v1\ntime {time}\n{text}".encode()
            else:
                message = _cosigned(self.name, time, head)
        if not is_signed(self.algorithm, self.public_key, signature, message):
            raise Fault(where, "it does not verify")
        return time


def parse_key(text: str, where: str) -> VerifierKey:
    """Return the key that a text such as `name+0123abcd+base64` writes.

    Raises:
        Fault: it writes none, or a kind that is not known here.

    """
    name, _, rest = text.partition("+")
    written_id, _, encoded = rest.partition("+")
    if not _is_name(name):
        raise Fault(where, "a key has a name without spaces")
    material = parse_base64(encoded, where)
    kind, public_key = material[0], material[1:]
    if len(public_key) != _KEY_BYTES.get(kind):
        raise Fault(where, "this is a kind of key that is not known here, or no key of its kind")
    key_id = sha256(name.encode() + b"\n" + material).digest()[:4]
    if written_id != key_id.hex():
        raise Fault(where, "the identifier of the key is not that of the key")
    return VerifierKey(name, key_id, kind, public_key)


def parse_note(note: str, where: str) -> Signed:
    """Return the text and the signatures of a note, none of them verified.

    Raises:
        Fault: it is no signed note.

    """
    if len(note) > MAX_NOTE_BYTES:
        raise Fault(where, f"it has more than {MAX_NOTE_BYTES} characters")
    if any(character < " " and character != "\n" for character in note):
        raise Fault(where, "it holds a control character")
    text, blank, under = note.rpartition("\n\n")
    lines = under.removesuffix("\n").split("\n")
    if not blank or not under.endswith("\n") or len(lines) > _MAX_SIGNATURES:
        raise Fault(where, f"it is not a text, an empty line and 1 to {_MAX_SIGNATURES} signatures")
    return Signed(f"{text}\n", [_parse_signature(line, where) for line in lines])


def _parse_signature(line: str, where: str) -> NoteSignature:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != "\u2014" or not _is_name(parts[1]):
        raise Fault(where, "a line under it is no signature")
    raw = parse_base64(parts[2], where)
    if len(raw) < 5:
        raise Fault(where, "a signature under it is too short")
    return NoteSignature(parts[1], raw[:4], raw[4:])


def _is_name(text: str) -> bool:
    try:
        return 0 < len(text.encode()) < 256 and "+" not in text and not any(map(str.isspace, text))
    except UnicodeEncodeError:
        return False


def _cosigned(name: str, time: int, head: TreeHead) -> bytes:
    """Return what an ML-DSA-44 cosigner signs of a whole tree: `cosigned_message` of tlog-cosignature."""
    cosigner, origin = name.encode(), head.origin.encode()
    return b"".join((
        b"subtree/v1\n\0",
        bytes([len(cosigner)]), cosigner,
        time.to_bytes(8),
        bytes([len(origin)]), origin,
        (0).to_bytes(8), head.size.to_bytes(8),
        head.root,
    ))  # fmt: skip
