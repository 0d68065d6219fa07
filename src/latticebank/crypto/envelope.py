"""Fields at rest: one sealed value of one column of one row.

    format (1) || cipher (1) || key id (16) || key version (2) || nonce (12) || ciphertext || tag (16)

The header, up to the nonce, and the place of the field (table, column, row) are authenticated with the value, so a value
copied into another row or column does not open. A key that wraps other keys (a KEK) is a `FieldKey` as well: what it
seals is their seeds.
"""

from os import urandom
from struct import Struct
from uuid import UUID

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from latticebank.crypto.errors import AlgorithmUnavailable, InvalidKey, SealBroken, UnknownAlgorithm
from latticebank.crypto.registry import CHACHA20_POLY1305, DEFAULT_FIELD_CIPHER, field_cipher
from latticebank.values.errors import InvalidValue

_FORMAT = 1
_HEADER = Struct(">BB16sH")
_NONCE_END = _HEADER.size + 12
_OVERHEAD = _NONCE_END + 16
_MAX_VERSION = 0xFFFF

_AEADS: dict[str, type[AESGCM] | type[ChaCha20Poly1305]] = {
    DEFAULT_FIELD_CIPHER: AESGCM,
    CHACHA20_POLY1305: ChaCha20Poly1305,
}


class FieldKey:
    """A symmetric key that seals fields.

    Nonces are random, so one key seals at most 2^32 values (NIST SP 800-38D, 8.3): a key belongs to one customer, and is
    rotated long before that.
    """

    __slots__ = ("_aead", "_header", "cipher", "key_id", "secret", "version")

    def __init__(self, key_id: UUID, version: int, secret: bytes, cipher: str = DEFAULT_FIELD_CIPHER) -> None:
        """Take a secret of 32 bytes; its id and version, 0 to 65535, are written into everything it seals.

        Raises:
            UnknownAlgorithm: the cipher is not registered.
            InvalidKey: the secret has another length.
            InvalidValue: the version does not fit.
            AlgorithmUnavailable: the library lacks the cipher.

        """
        registered = field_cipher(cipher)
        if len(secret) != registered.key_bytes:
            raise InvalidKey(f"a key of {cipher} has {registered.key_bytes} bytes, not {len(secret)}", field="secret")
        if not 0 <= version <= _MAX_VERSION:
            raise InvalidValue(f"a version is 0 to {_MAX_VERSION}", field="version")
        if cipher not in _AEADS:
            raise UnknownAlgorithm(f"{cipher} is registered, and no code computes it")
        self.key_id = key_id
        self.version = version
        self.secret = bytes(secret)
        self.cipher = cipher
        self._header = _HEADER.pack(_FORMAT, registered.code, key_id.bytes, version)
        try:
            self._aead = _AEADS[cipher](self.secret)
        except UnsupportedAlgorithm as error:
            raise AlgorithmUnavailable(f"the library that cryptography is built on lacks {cipher}") from error

    def seal(self, plaintext: bytes, place: bytes) -> bytes:
        """Return the sealed value, 48 bytes longer; `place` is what `field_place` says of where it will be."""
        nonce = urandom(12)
        header = self._header
        return header + nonce + self._aead.encrypt(nonce, plaintext, header + place)

    def open(self, sealed: bytes, place: bytes) -> bytes:
        """Return the value that this key sealed for this place.

        Raises:
            SealBroken: it was sealed under another key or for another place, or changed since.

        """
        header = self._header
        if len(sealed) < _OVERHEAD or not sealed.startswith(header):
            key_id, version = sealed_under(sealed)
            detail = f"the value was sealed under key {key_id} version {version}, not {self.key_id} {self.version}"
            if (key_id, version) == (self.key_id, self.version):
                detail = f"the value was not sealed with {self.cipher}, or is cut short"
            raise SealBroken(detail)
        try:
            return self._aead.decrypt(sealed[_HEADER.size : _NONCE_END], sealed[_NONCE_END:], header + place)
        except InvalidTag as error:
            raise SealBroken("the value was changed, or sealed for another place") from error

    def __repr__(self) -> str:
        return f"FieldKey({self.key_id}, version {self.version}, {self.cipher})"


def sealed_under(sealed: bytes) -> tuple[UUID, int]:
    """Return the id and the version of the key that a value says it was sealed under; only opening proves it.

    Raises:
        SealBroken: this is no sealed value.

    """
    if len(sealed) < _OVERHEAD or sealed[0] != _FORMAT:
        raise SealBroken("this is no sealed value of a known format")
    _, _, key_id, version = _HEADER.unpack_from(sealed)
    return UUID(bytes=key_id), version


def field_place(table: str, column: str, row: str) -> bytes:
    """Return the place of a field as no other place is written: each name after its length."""
    names = [name.encode() for name in (table, column, row)]
    return b"".join(len(name).to_bytes(4) + name for name in names)
