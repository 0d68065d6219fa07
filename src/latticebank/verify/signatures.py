"""Whether a key signed a message: the algorithms of devices, and those of notes. Nothing falls back."""

from hashlib import sha512

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey, MLDSA65PublicKey, MLDSA87PublicKey

from latticebank.verify.findings import Fault

COMPOSITE = "MLDSA65-Ed25519-SHA512"
DEVICE_ALGORITHMS = (COMPOSITE, "ML-DSA-65", "ML-DSA-87")
"""What may authorise a payment."""

_ML_DSA: dict[str, type[MLDSA44PublicKey | MLDSA65PublicKey | MLDSA87PublicKey]] = {
    "ML-DSA-44": MLDSA44PublicKey,
    "ML-DSA-65": MLDSA65PublicKey,
    "ML-DSA-87": MLDSA87PublicKey,
}
_LABEL = b"COMPSIG-MLDSA65-Ed25519-SHA512"
_ML_DSA_65_KEY_BYTES = 1952
_ML_DSA_65_SIGNATURE_BYTES = 3309


def is_signed(algorithm: str, public_key: bytes, signature: bytes, message: bytes, context: bytes = b"") -> bool:
    """Whether a public key, in raw bytes, verifies this signature of a message in a context (FIPS 204, 5.3).

    Raises:
        Fault: the algorithm is not known, or this computer's library lacks it.

    """
    try:
        if algorithm == COMPOSITE:
            _verify_composite(public_key, signature, message, context)
        elif algorithm in _ML_DSA:
            _ML_DSA[algorithm].from_public_bytes(public_key).verify(signature, message, context)
        elif algorithm == "Ed25519" and not context:
            Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
        else:
            raise Fault("algorithm", f"{algorithm[:40]} is not known here")
    except (InvalidSignature, ValueError):
        return False
    except UnsupportedAlgorithm:
        raise Fault("algorithm", f"the cryptographic library of this computer lacks {algorithm}") from None
    return True


def _verify_composite(public_key: bytes, signature: bytes, message: bytes, context: bytes) -> None:
    """Verify both halves (draft-ietf-lamps-pq-composite-sigs-19, 3.3); errors as of the library."""
    if len(context) > 255:
        raise ValueError("a context has at most 255 bytes")
    signed = b"CompositeAlgorithmSignatures2025" + _LABEL + bytes([len(context)]) + context + sha512(message).digest()
    ml_dsa = MLDSA65PublicKey.from_public_bytes(public_key[:_ML_DSA_65_KEY_BYTES])
    ed25519 = Ed25519PublicKey.from_public_bytes(public_key[_ML_DSA_65_KEY_BYTES:])
    ml_dsa.verify(signature[:_ML_DSA_65_SIGNATURE_BYTES], signed, _LABEL)
    ed25519.verify(signature[_ML_DSA_65_SIGNATURE_BYTES:], signed)
