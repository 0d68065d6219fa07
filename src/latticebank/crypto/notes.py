"""Signed notes and the keys that verify them: C2SP signed-note. Strict: each note and each key has one form in bytes."""

from base64 import b64decode, b64encode
from dataclasses import dataclass
from hashlib import sha256

from latticebank.crypto.errors import MalformedNote

ED25519_NOTE, ED25519_COSIGNATURE, ML_DSA_44_COSIGNATURE = 0x01, 0x04, 0x06
"""The types of signatures that the bank makes or verifies (signed-note, tlog-cosignature)."""
PUBLIC_BYTES = {ED25519_NOTE: 32, ED25519_COSIGNATURE: 32, ML_DSA_44_COSIGNATURE: 1312}
SIGNATURE_BYTES = {ED25519_NOTE: 64, ED25519_COSIGNATURE: 72, ML_DSA_44_COSIGNATURE: 2428}
"""What follows the id of the key in a signature line: a cosignature begins with its time, 8 bytes."""

MAX_NOTE = 65_536
MAX_SIGNATURES = 64
MAX_NAME = 255

_DASH = "\u2014 "
_KEY_ID = 4


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """A line below a note: the name and the id, 4 bytes, of a key, and what it made."""

    name: str
    key_id: bytes
    signature: bytes

    def line(self) -> str:
        """Return the line with its newline."""
        return f"{_DASH}{self.name} {_base64(self.key_id + self.signature)}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A text that ends with a newline, and its signatures; nothing says yet that they verify."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def to_bytes(self) -> bytes:
        """Return the note as it is sent and kept."""
        return "".join((self.text, "\n", *(each.line() for each in self.signatures))).encode()

    def signatures_of(self, key: "NoteKey") -> list[bytes]:
        """Return the signatures that name this key."""
        return [each.signature for each in self.signatures if (each.name, each.key_id) == (key.name, key.key_id)]


@dataclass(frozen=True, slots=True)
class NoteKey:
    """A key that verifies signatures of one type under one name."""

    name: str
    key_id: bytes
    kind: int
    public: bytes

    @classmethod
    def of(cls, name: str, kind: int, public: bytes) -> "NoteKey":
        """Return the key of a name, a type of signatures and a public key.

        Raises:
            MalformedNote: the name is none, the type is unknown or the key has another length.

        """
        _require_name(name)
        if PUBLIC_BYTES.get(kind) != len(public):
            raise MalformedNote(
                f"a key of type {kind:#04x} with {len(public)} bytes is none that the bank verifies with"
            )
        return cls(name, key_id(name, kind, public), kind, public)

    @property
    def line_bytes(self) -> int:
        """How long the line of a signature by this key is, with its newline."""
        return len(NoteSignature(self.name, self.key_id, bytes(SIGNATURE_BYTES[self.kind])).line().encode())

    def vkey(self) -> str:
        """Return the text that others configure this key by."""
        return f"{self.name}+{self.key_id.hex()}+{_base64(bytes([self.kind]) + self.public)}"


def key_id(name: str, kind: int, public: bytes) -> bytes:
    """Return the 4 bytes that stand for a key in a signature line."""
    return sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:_KEY_ID]


def parse_vkey(text: str) -> NoteKey:
    """Return the key of a verifier key text.

    Raises:
        MalformedNote: it is none, of an unknown type, or its id is not that of its key.

    """
    name, *others = text.split("+", 2)
    if len(text) > 2 * MAX_NOTE or len(others) != 2:
        raise MalformedNote("a verifier key is <name>+<id>+<key>", hint="copy it again, whole and on one line")
    id_text, material = others
    encoded = _from_base64(material, "the key of a verifier key")
    if not encoded:
        raise MalformedNote("a verifier key without a key")
    key = NoteKey.of(name, encoded[0], encoded[1:])
    if key.key_id.hex() != id_text:
        raise MalformedNote(
            f"the verifier key of {name!a} has the id {key.key_id.hex()}, not {id_text[:16]!a}", hint="copy it again"
        )
    return key


def parse_note(raw: bytes) -> Note:
    """Return the note in these bytes.

    Raises:
        MalformedNote: they are none, or one of more than 64 KiB or 64 signatures.

    """
    if len(raw) > MAX_NOTE:
        raise MalformedNote(f"a note has at most {MAX_NOTE} bytes")
    try:
        whole = raw.decode()
    except UnicodeDecodeError as error:
        raise MalformedNote("a note is UTF-8") from error
    if any(character < " " and character != "\n" for character in whole):
        raise MalformedNote("a note has no control characters but newlines")
    text, separator, below = whole.rpartition("\n\n")
    if not separator or not below.endswith("\n"):
        raise MalformedNote("a note is a text, an empty line and signature lines, each line with its newline")
    lines = below[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise MalformedNote(f"a note has at most {MAX_SIGNATURES} signatures")
    return Note(text + "\n", tuple(parse_signature_line(line) for line in lines))


def parse_signature_line(line: str) -> NoteSignature:
    """Return the signature of a line below a note, without its newline.

    Raises:
        MalformedNote: it is none.

    """
    name, separator, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not separator:
        raise MalformedNote("a signature line is a dash, a name and the signature, with single blanks between")
    _require_name(name)
    signature = _from_base64(encoded, "a signature")
    if len(signature) <= _KEY_ID:
        raise MalformedNote("a signature line holds a key id of 4 bytes and a signature")
    return NoteSignature(name, signature[:_KEY_ID], signature[_KEY_ID:])


def is_key_name(name: str) -> bool:
    """Whether a key, and so a log, can have this name: no blanks, no plus, no control characters, 255 bytes at most."""
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        return False
    unfit = any(character.isspace() or character == "+" or character < " " for character in name)
    return 0 < len(encoded) <= MAX_NAME and not unfit


def _require_name(name: str) -> None:
    if not is_key_name(name):
        raise MalformedNote(f"{name[:80]!a} is no name of a key")


def _base64(content: bytes) -> str:
    return b64encode(content).decode()


def _from_base64(text: str, what: str) -> bytes:
    try:
        content = b64decode(text, validate=True)
    except ValueError as error:
        raise MalformedNote(f"{what} is not base64") from error
    if _base64(content) != text:
        raise MalformedNote(f"{what} is not in the one base64 form of its value")
    return content
