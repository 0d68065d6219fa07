"""The composite signature MLDSA65-Ed25519-SHA512 (draft-ietf-lamps-pq-composite-sigs-19).

    M' = prefix || label || length of context || context || SHA-512(message)
    signature = ML-DSA-65(M', context = label) || Ed25519(M')

It holds as long as one of its two halves does, and verifies only if both do. The label inside M' keeps either half from
verifying alone as a signature of anything else, so the component keys must be used nowhere else.
"""

from hashlib import sha512

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey

_LABEL = b"COMPSIG-MLDSA65-Ed25519-SHA512"
_PREFIX = b"CompositeAlgorithmSignatures2025" + _LABEL
_MAX_CONTEXT = 255
_ML_DSA_SEED = 32
_ML_DSA_PUBLIC = 1952
_ML_DSA_SIGNATURE = 3309


def message_representative(message: bytes, context: bytes) -> bytes:
    """Return M', what both halves sign (2.2 of the draft).

    Raises:
        ValueError: the context is longer than 255 bytes.

    """
    if len(context) > _MAX_CONTEXT:
        raise ValueError(f"a context has at most {_MAX_CONTEXT} bytes")
    return _PREFIX + len(context).to_bytes(1) + context + sha512(message).digest()


class CompositePrivateKey:
    """Both component keys, from `ML-DSA seed || Ed25519 seed`, 64 bytes (4.1 of the draft)."""

    __slots__ = ("_ed25519", "_ml_dsa")

    def __init__(self, seed: bytes) -> None:
        """Expand both keys; ValueError from the library if a seed has not its length."""
        self._ml_dsa = MLDSA65PrivateKey.from_seed_bytes(seed[:_ML_DSA_SEED])
        self._ed25519 = Ed25519PrivateKey.from_private_bytes(seed[_ML_DSA_SEED:])

    def public_bytes(self) -> bytes:
        """Return `ML-DSA public key || Ed25519 public key`, 1984 bytes."""
        return self._ml_dsa.public_key().public_bytes_raw() + self._ed25519.public_key().public_bytes_raw()

    def sign(self, message: bytes, context: bytes) -> bytes:
        """Return the signature, 3373 bytes; ValueError if the context is longer than 255 bytes."""
        representative = message_representative(message, context)
        return self._ml_dsa.sign(representative, _LABEL) + self._ed25519.sign(representative)


class CompositePublicKey:
    """Both component public keys."""

    __slots__ = ("_ed25519", "_ml_dsa")

    def __init__(self, public_bytes: bytes) -> None:
        """Parse both keys; ValueError from the library if a key has not its length."""
        self._ml_dsa = MLDSA65PublicKey.from_public_bytes(public_bytes[:_ML_DSA_PUBLIC])
        self._ed25519 = Ed25519PublicKey.from_public_bytes(public_bytes[_ML_DSA_PUBLIC:])

    def verify(self, signature: bytes, message: bytes, context: bytes) -> None:
        """Return if both halves verify; otherwise the library's InvalidSignature. ValueError: an overlong context."""
        representative = message_representative(message, context)
        self._ed25519.verify(signature[_ML_DSA_SIGNATURE:], representative)
        self._ml_dsa.verify(signature[:_ML_DSA_SIGNATURE], representative, _LABEL)
