"""Sealing to a public key: HPKE in base mode (RFC 9180) with the hybrid KEMs of draft-ietf-hpke-pq.

A sealed box says nothing of who made it: sign first, naming the recipient, then seal. What a box is for stands in its
`info` (`sealing_info`), and a box opens only under the info that it was made with.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import shake_256
from secrets import token_bytes
from typing import TypeAlias
from uuid import UUID

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePublicKey, derive_private_key
from cryptography.hazmat.primitives.asymmetric.mlkem import (
    MLKEM768PrivateKey,
    MLKEM768PublicKey,
    MLKEM1024PrivateKey,
    MLKEM1024PublicKey,
)
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    MLKEM1024P384PrivateKey,
    MLKEM1024P384PublicKey,
    Suite,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from latticebank.crypto.canonical import canonical_json
from latticebank.crypto.errors import AlgorithmUnavailable, InvalidKey, SealBroken, UnknownAlgorithm
from latticebank.crypto.registry import DEFAULT_SEALING, ML_KEM_1024_P384, X_WING_CHACHA, sealing_suite

_PrivateKey: TypeAlias = MLKEM768X25519PrivateKey | MLKEM1024P384PrivateKey
_PublicKey: TypeAlias = MLKEM768X25519PublicKey | MLKEM1024P384PublicKey

_ML_KEM_SEED = 64
_X25519_SCALAR = 32
_P384_SCALAR = 48
_ML_KEM_768_PUBLIC = 1184
_ML_KEM_1024_PUBLIC = 1568


@dataclass(frozen=True, slots=True)
class _Implementation:
    """How the library computes a suite."""

    suite: Suite
    expand: Callable[[bytes], tuple[_PrivateKey, bytes]]
    parse: Callable[[bytes], _PublicKey]


class SealingKey:
    """A private key that opens what was sealed to it. It holds its seed of 32 bytes, which is all that is ever stored."""

    __slots__ = ("_private", "public_bytes", "seed", "suite")

    suite: str
    seed: bytes
    public_bytes: bytes
    _private: _PrivateKey

    @classmethod
    def generate(cls, suite: str = DEFAULT_SEALING) -> "SealingKey":
        """Return a fresh key from the randomness of the operating system.

        Raises:
            UnknownAlgorithm: the suite is not registered.

        """
        return cls.from_seed(suite, token_bytes(sealing_suite(suite).seed_bytes))

    @classmethod
    def from_seed(cls, suite: str, seed: bytes) -> "SealingKey":
        """Return the key of a seed.

        Raises:
            UnknownAlgorithm: the suite is not registered.
            InvalidKey: the seed has not 32 bytes, or is the one in 2^191 that gives no key.
            AlgorithmUnavailable: the library lacks the suite.

        """
        expected = sealing_suite(suite).seed_bytes
        if len(seed) != expected:
            raise InvalidKey(f"a seed of {suite} has {expected} bytes, not {len(seed)}", field="seed")
        key = cls()
        key.suite, key.seed = suite, bytes(seed)
        try:
            key._private, key.public_bytes = _implementation(suite).expand(key.seed)
        except ValueError as error:
            raise InvalidKey("the seed gives no key: take another", field="seed") from error
        except UnsupportedAlgorithm as error:
            raise _unavailable(suite) from error
        return key

    def open(self, sealed: bytes, info: bytes) -> bytes:
        """Return what was sealed to this key with this info.

        Raises:
            SealBroken: it was sealed to another key, with other info, or changed since.

        """
        try:
            return _implementation(self.suite).suite.decrypt(sealed, self._private, info)
        except (InvalidTag, ValueError) as error:
            detail = f"the box is broken, or sealed to another key or with other info ({self.suite})"
            raise SealBroken(detail) from error

    def __repr__(self) -> str:
        return f"SealingKey({self.suite}, public key {self.public_bytes[:8].hex()}...)"


def seal(suite: str, public_bytes: bytes, plaintext: bytes, info: bytes) -> bytes:
    """Return a box that only the holder of the public key opens: encapsulation, then ciphertext with its tag.

    Raises:
        UnknownAlgorithm: the suite is not registered.
        InvalidKey: these bytes are no public key of the suite.
        AlgorithmUnavailable: the library lacks the suite.

    """
    expected = sealing_suite(suite).public_key_bytes
    if len(public_bytes) != expected:
        detail = f"a public key of {suite} has {expected} bytes, not {len(public_bytes)}"
        raise InvalidKey(detail, field="public_key")
    implementation = _implementation(suite)
    try:
        return implementation.suite.encrypt(plaintext, implementation.parse(public_bytes), info)
    except ValueError as error:
        raise InvalidKey(f"these bytes are no public key of {suite}: {error}", field="public_key") from error
    except UnsupportedAlgorithm as error:
        raise _unavailable(suite) from error


def sealing_info(purpose: str, owner: str, service: str, key_id: UUID, version: int) -> bytes:
    """Return the info that says what a box is for, whose it is, who opens it and with which version of which key."""
    return canonical_json(
        {"key_id": str(key_id), "owner": owner, "purpose": purpose, "service": service, "version": str(version)}
    )


def _expand_x_wing(seed: bytes) -> tuple[_PrivateKey, bytes]:
    """Expand a seed as draft-connolly-cfrg-xwing-kem, 5.2, does."""
    expanded = shake_256(seed).digest(_ML_KEM_SEED + _X25519_SCALAR)
    ml_kem = MLKEM768PrivateKey.from_seed_bytes(expanded[:_ML_KEM_SEED])
    x25519 = X25519PrivateKey.from_private_bytes(expanded[_ML_KEM_SEED:])
    public = ml_kem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
    return MLKEM768X25519PrivateKey(ml_kem, x25519), public


def _parse_x_wing(public_bytes: bytes) -> _PublicKey:
    return MLKEM768X25519PublicKey(
        MLKEM768PublicKey.from_public_bytes(public_bytes[:_ML_KEM_768_PUBLIC]),
        X25519PublicKey.from_public_bytes(public_bytes[_ML_KEM_768_PUBLIC:]),
    )


def _expand_ml_kem_1024_p384(seed: bytes) -> tuple[_PrivateKey, bytes]:
    """Expand a seed as draft-irtf-cfrg-concrete-hybrid-kems does; a scalar out of range is a ValueError."""
    expanded = shake_256(seed).digest(_ML_KEM_SEED + _P384_SCALAR)
    ml_kem = MLKEM1024PrivateKey.from_seed_bytes(expanded[:_ML_KEM_SEED])
    p384 = derive_private_key(int.from_bytes(expanded[_ML_KEM_SEED:]), SECP384R1())
    point = p384.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return MLKEM1024P384PrivateKey(ml_kem, p384), ml_kem.public_key().public_bytes_raw() + point


def _parse_ml_kem_1024_p384(public_bytes: bytes) -> _PublicKey:
    return MLKEM1024P384PublicKey(
        MLKEM1024PublicKey.from_public_bytes(public_bytes[:_ML_KEM_1024_PUBLIC]),
        EllipticCurvePublicKey.from_encoded_point(SECP384R1(), public_bytes[_ML_KEM_1024_PUBLIC:]),
    )


_IMPLEMENTATIONS = {
    DEFAULT_SEALING: _Implementation(
        Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM), _expand_x_wing, _parse_x_wing
    ),
    X_WING_CHACHA: _Implementation(
        Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305), _expand_x_wing, _parse_x_wing
    ),
    ML_KEM_1024_P384: _Implementation(
        Suite(KEM.MLKEM1024_P384, KDF.HKDF_SHA384, AEAD.AES_256_GCM),
        _expand_ml_kem_1024_p384,
        _parse_ml_kem_1024_p384,
    ),
}


def _implementation(suite: str) -> _Implementation:
    if suite not in _IMPLEMENTATIONS:
        raise UnknownAlgorithm(f"{suite} is registered, and no code computes it")
    return _IMPLEMENTATIONS[suite]


def _unavailable(suite: str) -> AlgorithmUnavailable:
    return AlgorithmUnavailable(
        f"the library that cryptography is built on lacks {suite}", hint="install the published wheel of cryptography"
    )
