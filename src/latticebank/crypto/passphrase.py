"""Files sealed by a passphrase: a canonical JSON text that names how it was made, and opens with the passphrase alone.

Argon2id (RFC 9106) gives 64 bytes from the passphrase in NFC and the salt: the key of AES-256-GCM, and a check that tells
a wrong passphrase from a damaged file. Everything but the ciphertext is authenticated with it.
"""

from base64 import b64decode, b64encode
from hmac import compare_digest
from os import urandom
from unicodedata import normalize

from argon2.low_level import Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from latticebank.crypto.canonical import canonical_json, parse_canonical
from latticebank.crypto.errors import NotCanonical, PassphraseWrong, SealBroken
from latticebank.values.errors import InvalidValue

FORMAT = "latticebank-passphrase-file/1"
MAX_PLAINTEXT = 1 << 20
MAX_PASSPHRASE = 1024

MEMORY_KIB = 131_072
PASSES = 3
LANES = 4

_MAX_FILE = 2 * MAX_PLAINTEXT
_MEMORY_BOUNDS = (65_536, 1_048_576)
_PASS_BOUNDS = (1, 16)
_LANE_BOUNDS = (1, 16)
_SALT_BYTES = 16
_NONCE_BYTES = 12
_KEY_BYTES = 32
_MEMBERS = frozenset(
    ("check", "cipher", "ciphertext", "format", "kdf", "lanes", "memory_kib", "nonce", "passes", "purpose", "salt")
)


def seal_with_passphrase(plaintext: bytes, passphrase: str, purpose: str) -> bytes:
    """Return a file that opens with this passphrase for this purpose; it takes 128 MiB and a fifth of a second.

    Raises:
        InvalidValue: the passphrase is empty or longer than 1,024 characters, or the plaintext is over 1 MiB.

    """
    if len(plaintext) > MAX_PLAINTEXT:
        raise InvalidValue(f"a file holds at most {MAX_PLAINTEXT} bytes", field="plaintext")
    salt, nonce = urandom(_SALT_BYTES), urandom(_NONCE_BYTES)
    key, check = _derive(passphrase, salt, MEMORY_KIB, PASSES, LANES)
    header = {
        "check": _text(check),
        "cipher": "AES-256-GCM",
        "format": FORMAT,
        "kdf": "Argon2id",
        "lanes": str(LANES),
        "memory_kib": str(MEMORY_KIB),
        "nonce": _text(nonce),
        "passes": str(PASSES),
        "purpose": purpose,
        "salt": _text(salt),
    }
    ciphertext = AESGCM(key).encrypt(nonce, plaintext, canonical_json(header))
    return canonical_json({**header, "ciphertext": _text(ciphertext)})


def open_with_passphrase(sealed: bytes, passphrase: str, purpose: str) -> bytes:
    """Return what was sealed with this passphrase for this purpose.

    Raises:
        InvalidValue: the passphrase is empty or longer than 1,024 characters.
        PassphraseWrong: the passphrase is another, or the salt or the parameters were changed.
        SealBroken: this is no such file, is for another purpose, asks for more work than the bank does, or was changed.

    """
    members = _read(sealed)
    if members["purpose"] != purpose:
        raise SealBroken(f"the file is for {members['purpose'][:80]!a}, not for {purpose!a}")
    memory = _number(members, "memory_kib", _MEMORY_BOUNDS)
    passes = _number(members, "passes", _PASS_BOUNDS)
    lanes = _number(members, "lanes", _LANE_BOUNDS)
    salt, nonce = _decode(members, "salt", _SALT_BYTES), _decode(members, "nonce", _NONCE_BYTES)
    key, check = _derive(passphrase, salt, memory, passes, lanes)
    if not compare_digest(check, _decode(members, "check", _KEY_BYTES)):
        raise PassphraseWrong("the file does not open with this passphrase", hint="check the passphrase and the file")
    ciphertext = _decode(members, "ciphertext", None)
    header = canonical_json({name: text for name, text in members.items() if name != "ciphertext"})
    try:
        return AESGCM(key).decrypt(nonce, ciphertext, header)
    except InvalidTag as error:
        raise SealBroken("the file was changed after it was sealed", hint="restore it from a copy") from error


def _derive(passphrase: str, salt: bytes, memory_kib: int, passes: int, lanes: int) -> tuple[bytes, bytes]:
    """Return the key and the check."""
    if not 1 <= len(passphrase) <= MAX_PASSPHRASE:
        raise InvalidValue(f"a passphrase has 1 to {MAX_PASSPHRASE} characters", field="passphrase")
    secret = normalize("NFC", passphrase).encode()
    derived = hash_secret_raw(secret, salt, passes, memory_kib, lanes, 2 * _KEY_BYTES, Type.ID)
    return derived[:_KEY_BYTES], derived[_KEY_BYTES:]


def _read(sealed: bytes) -> dict[str, str]:
    try:
        parsed = parse_canonical(sealed, _MAX_FILE)
    except NotCanonical as error:
        raise SealBroken(f"this is no file sealed by a passphrase: {error}") from error
    members = {name: text for name, text in parsed.items() if isinstance(text, str)}
    if len(members) != len(parsed) or members.keys() != _MEMBERS:
        raise SealBroken("this is no file sealed by a passphrase: its members are others")
    if (members["format"], members["kdf"], members["cipher"]) != (FORMAT, "Argon2id", "AES-256-GCM"):
        raise SealBroken("the file has a format that this version of the bank does not open")
    return members


def _number(members: dict[str, str], name: str, bounds: tuple[int, int]) -> int:
    text = members[name]
    least, most = bounds
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and least <= int(text) <= most):
        raise SealBroken(f"{name} is not a number from {least} to {most}")
    return int(text)


def _decode(members: dict[str, str], name: str, length: int | None) -> bytes:
    try:
        decoded = b64decode(members[name], validate=True)
    except ValueError as error:
        raise SealBroken(f"{name} is not base64") from error
    if length is not None and len(decoded) != length:
        raise SealBroken(f"{name} has not {length} bytes")
    return decoded


def _text(value: bytes) -> str:
    return b64encode(value).decode()
