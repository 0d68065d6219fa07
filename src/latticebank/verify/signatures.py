"""Whether a key signed a message: the algorithms of devices, and those of notes. Nothing falls back."""

from hashlib import sha512
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey, MLDSA65PublicKey, MLDSA87PublicKey

from latticebank.verify.strict import Fault

_ML_DSA: dict[str, Any] = {"ML-DSA-44": MLDSA44PublicKey, "ML-DSA-65": MLDSA65PublicKey, "ML-DSA-87": MLDSA87PublicKey}
_COMPOSITE = "MLDSA65-Ed25519-SHA512"
DEVICE_ALGORITHMS = (_COMPOSITE, "ML-DSA-65", "ML-DSA-87")


def is_signed(algorithm: str, public_key: bytes, signature: bytes, message: bytes, context: bytes = b"") -> bool:
    """Whether a public key, in raw bytes, verifies this signature of a message in a context (FIPS 204, 5.3)."""
    try:
        if algorithm == _COMPOSITE:
            _verify_composite(public_key, signature, message, context)
        elif algorithm in _ML_DSA:
            _ML_DSA[algorithm].from_public_bytes(public_key).verify(signature, message, context)
        elif algorithm == "Ed25519" and not context:
            Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
        else:
            raise Fault(f"algorithm: {algorithm[:40]} is not known here")
    except (InvalidSignature, ValueError):
        return False
    except UnsupportedAlgorithm:
        raise Fault(f"algorithm: the cryptographic library of this computer lacks {algorithm}") from None
    return True


def _verify_composite(public_key: bytes, signature: bytes, message: bytes, context: bytes) -> None:
    """Verify both halves (draft-ietf-lamps-pq-composite-sigs-19, 3.3); errors as of the library."""
    label = b"COMPSIG-MLDSA65-Ed25519-SHA512"
    signed = b"CompositeAlgorithmSignatures2025" + label + bytes([len(context)]) + context + sha512(message).digest()
    MLDSA65PublicKey.from_public_bytes(public_key[:1952]).verify(signature[:3309], signed, label)
    Ed25519PublicKey.from_public_bytes(public_key[1952:]).verify(signature[3309:], signed)
