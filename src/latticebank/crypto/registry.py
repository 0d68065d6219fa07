"""The algorithms of the bank: every name that a signature, seal, key or token can carry, and what each may do.

Nothing falls back. A name that is not here raises `UnknownAlgorithm`; a name that is here and that the library cannot
compute raises `AlgorithmUnavailable`, at the start of the bank (`require_algorithms`) or where it is used.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

import cryptography

from latticebank.crypto.errors import AlgorithmNotPermitted, AlgorithmUnavailable, UnknownAlgorithm

LIBRARY_VERSION = 50
"""The least major version of `cryptography`: the first with ML-DSA, ML-KEM and hybrid HPKE as the bank uses them."""


@dataclass(frozen=True, slots=True)
class SignatureAlgorithm:
    """A signature algorithm; sizes in bytes.

    A key is stored as its seed. Without `signs` the bank verifies what others once signed and never signs or accepts
    anything new (`seed_bytes` is 0); without `authorises` it signs only what is no act, such as a checkpoint of the log.
    """

    name: str
    public_key_bytes: int
    seed_bytes: int
    signature_bytes: int
    post_quantum: bool
    signs: bool
    authorises: bool


@dataclass(frozen=True, slots=True)
class SealingSuite:
    """A suite of HPKE (RFC 9180) in base mode with a hybrid KEM; sizes in bytes. A private key is its seed."""

    name: str
    public_key_bytes: int
    seed_bytes: int
    encapsulation_bytes: int


@dataclass(frozen=True, slots=True)
class FieldCipher:
    """An AEAD for fields at rest; sizes in bytes. `code` stands for it in the header of a sealed field."""

    name: str
    code: int
    key_bytes: int
    nonce_bytes: int
    tag_bytes: int


@dataclass(frozen=True, slots=True)
class LogKeyPair:
    """The two keys, classical and post-quantum, by which a log signs each of its checkpoints twice; sizes in bytes."""

    name: str
    public_key_bytes: int
    seed_bytes: int


_Entry = TypeVar("_Entry", SignatureAlgorithm, LogKeyPair, SealingSuite, FieldCipher)


def _by_name(*entries: _Entry) -> Mapping[str, _Entry]:
    return MappingProxyType({entry.name: entry for entry in entries})


ML_DSA_44, ML_DSA_65, ML_DSA_87 = "ML-DSA-44", "ML-DSA-65", "ML-DSA-87"
ED25519, RSA_PSS_3072 = "Ed25519", "RSA-PSS-3072"

DEFAULT_SIGNATURE = "MLDSA65-Ed25519-SHA512"
SIGNATURES: Mapping[str, SignatureAlgorithm] = _by_name(
    SignatureAlgorithm(DEFAULT_SIGNATURE, 1984, 64, 3373, post_quantum=True, signs=True, authorises=True),
    SignatureAlgorithm(ML_DSA_65, 1952, 32, 3309, post_quantum=True, signs=True, authorises=True),
    SignatureAlgorithm(ML_DSA_87, 2592, 32, 4627, post_quantum=True, signs=True, authorises=True),
    SignatureAlgorithm(ML_DSA_44, 1312, 32, 2420, post_quantum=True, signs=True, authorises=False),
    SignatureAlgorithm(ED25519, 32, 0, 64, post_quantum=False, signs=False, authorises=False),
    SignatureAlgorithm(RSA_PSS_3072, 422, 0, 384, post_quantum=False, signs=False, authorises=False),
)
"""FIPS 204, draft-ietf-lamps-pq-composite-sigs-19, RFC 8032, RFC 8017 (SHA-256, salt of 32 bytes, key in RFC 5280 DER)."""

LOG_KEY = "Ed25519+ML-DSA-44"
LOG_KEYS: Mapping[str, LogKeyPair] = _by_name(LogKeyPair(LOG_KEY, 1344, 64))
"""C2SP tlog-checkpoint and tlog-cosignature (types 0x01 and 0x06). They sign checkpoints only: `crypto/checkpoints.py`."""

DEFAULT_SEALING = "MLKEM768-X25519/HKDF-SHA256/AES-256-GCM"
X_WING_CHACHA = "MLKEM768-X25519/HKDF-SHA256/ChaCha20-Poly1305"
ML_KEM_1024_P384 = "MLKEM1024-P384/HKDF-SHA384/AES-256-GCM"
SEALING: Mapping[str, SealingSuite] = _by_name(
    SealingSuite(DEFAULT_SEALING, 1216, 32, 1120),
    SealingSuite(X_WING_CHACHA, 1216, 32, 1120),
    SealingSuite(ML_KEM_1024_P384, 1665, 32, 1665),
)
"""RFC 9180 with the KEMs 0x647a (X-Wing) and 0x0051 of draft-ietf-hpke-pq."""

DEFAULT_FIELD_CIPHER = "AES-256-GCM"
CHACHA20_POLY1305 = "ChaCha20-Poly1305"
FIELD_CIPHERS: Mapping[str, FieldCipher] = _by_name(
    FieldCipher(DEFAULT_FIELD_CIPHER, code=1, key_bytes=32, nonce_bytes=12, tag_bytes=16),
    FieldCipher(CHACHA20_POLY1305, code=2, key_bytes=32, nonce_bytes=12, tag_bytes=16),
)
"""NIST SP 800-38D, RFC 8439."""


def signature_algorithm(name: str) -> SignatureAlgorithm:
    """Return the signature algorithm of this name.

    Raises:
        UnknownAlgorithm: none is registered under it.

    """
    return _registered(SIGNATURES, name, "signature algorithm")


def authorising(name: str) -> SignatureAlgorithm:
    """Return the signature algorithm of this name if a signature of it may authorise something new.

    Raises:
        UnknownAlgorithm: none is registered under it.
        AlgorithmNotPermitted: it is there to verify what is old, or to sign what is no act.

    """
    algorithm = signature_algorithm(name)
    if not algorithm.authorises:
        raise AlgorithmNotPermitted(
            f"{name} authorises nothing new", field="algorithm", hint=f"use a key of {DEFAULT_SIGNATURE}"
        )
    return algorithm


def log_key_pair(name: str) -> LogKeyPair:
    """Return the keys of a log of this name.

    Raises:
        UnknownAlgorithm: none are registered under it.

    """
    return _registered(LOG_KEYS, name, "pair of keys of a log")


def sealing_suite(name: str) -> SealingSuite:
    """Return the sealing suite of this name.

    Raises:
        UnknownAlgorithm: none is registered under it.

    """
    return _registered(SEALING, name, "sealing suite")


def field_cipher(name: str) -> FieldCipher:
    """Return the cipher for fields at rest of this name.

    Raises:
        UnknownAlgorithm: none is registered under it.

    """
    return _registered(FIELD_CIPHERS, name, "cipher for fields")


def _registered(entries: Mapping[str, _Entry], name: str, kind: str) -> _Entry:
    entry = entries.get(name)
    if entry is None:
        raise UnknownAlgorithm(f"{name[:80]!r} is no {kind} of the bank", hint=f"one of: {', '.join(entries)}")
    return entry


def require_algorithms() -> None:
    """Prove that everything registered here works in this installation; the first thing that a bank does.

    Raises:
        AlgorithmUnavailable: the library is too old, or an algorithm is missing, fails or answers wrongly.

    """
    if int(cryptography.__version__.partition(".")[0]) < LIBRARY_VERSION:
        raise AlgorithmUnavailable(
            f"the package cryptography is {cryptography.__version__}, at least {LIBRARY_VERSION} is needed",
            hint=f"install cryptography>={LIBRARY_VERSION}",
        )
    # An older library lacks what these modules import, so the version comes first. They all stand on this registry.
    from latticebank.crypto.self_test import prove_algorithms

    prove_algorithms()
