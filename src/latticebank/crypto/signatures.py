"""Keys that sign and keys that verify, of any registered algorithm.

The algorithm belongs to the key, never to the message: whoever verifies takes it from the record of the key. Everything
that the bank signs in its own formats has a context such as `latticebank/payment/v1`, so that a signature for one purpose
is worth nothing for another.
"""

from collections.abc import Callable
from secrets import token_bytes
from typing import TypeAlias

from cryptography.exceptions import InvalidSignature as SignatureMismatch
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import (
    MLDSA44PrivateKey,
    MLDSA44PublicKey,
    MLDSA65PrivateKey,
    MLDSA65PublicKey,
    MLDSA87PrivateKey,
    MLDSA87PublicKey,
)
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from latticebank.crypto.composite import CompositePrivateKey, CompositePublicKey
from latticebank.crypto.errors import (
    AlgorithmNotPermitted,
    AlgorithmUnavailable,
    InvalidKey,
    InvalidSignature,
    UnknownAlgorithm,
)
from latticebank.crypto.registry import (
    DEFAULT_SIGNATURE,
    ED25519,
    ML_DSA_44,
    ML_DSA_65,
    ML_DSA_87,
    RSA_PSS_3072,
    SignatureAlgorithm,
    signature_algorithm,
)
from latticebank.values.errors import InvalidValue

_Sign: TypeAlias = Callable[[bytes, bytes], bytes]
_Verify: TypeAlias = Callable[[bytes, bytes, bytes], None]

_MlDsaPair: TypeAlias = (
    tuple[type[MLDSA44PrivateKey], type[MLDSA44PublicKey]]
    | tuple[type[MLDSA65PrivateKey], type[MLDSA65PublicKey]]
    | tuple[type[MLDSA87PrivateKey], type[MLDSA87PublicKey]]
)

_ML_DSA: dict[str, _MlDsaPair] = {
    ML_DSA_44: (MLDSA44PrivateKey, MLDSA44PublicKey),
    ML_DSA_65: (MLDSA65PrivateKey, MLDSA65PublicKey),
    ML_DSA_87: (MLDSA87PrivateKey, MLDSA87PublicKey),
}
_PSS = PSS(mgf=MGF1(SHA256()), salt_length=PSS.DIGEST_LENGTH)


class SigningKey:
    """A private key. It holds its seed, which is all that is ever stored of it, and shows it to nobody who prints it."""

    __slots__ = ("_sign", "algorithm", "public_bytes", "seed")

    algorithm: str
    seed: bytes
    public_bytes: bytes
    _sign: _Sign

    @classmethod
    def generate(cls, algorithm: str = DEFAULT_SIGNATURE) -> "SigningKey":
        """Return a fresh key from the randomness of the operating system.

        Raises:
            UnknownAlgorithm: the name is not registered.
            AlgorithmNotPermitted: the algorithm is there to verify only.

        """
        return cls.from_seed(algorithm, token_bytes(_signing(algorithm).seed_bytes))

    @classmethod
    def from_seed(cls, algorithm: str, seed: bytes) -> "SigningKey":
        """Return the key of a seed: 32 bytes for ML-DSA, the ML-DSA and the Ed25519 seed for the composite.

        Raises:
            UnknownAlgorithm: the name is not registered.
            AlgorithmNotPermitted: the algorithm is there to verify only.
            InvalidKey: the seed has another length.
            AlgorithmUnavailable: the library lacks the algorithm.

        """
        expected = _signing(algorithm).seed_bytes
        if len(seed) != expected:
            raise InvalidKey(f"a seed of {algorithm} has {expected} bytes, not {len(seed)}", field="seed")
        key = cls()
        key.algorithm, key.seed = algorithm, bytes(seed)
        try:
            key._sign, key.public_bytes = _expand(algorithm, key.seed)
        except UnsupportedAlgorithm as error:
            raise _unavailable(algorithm) from error
        return key

    def sign(self, message: bytes, context: bytes) -> bytes:
        """Return the signature of a message in a context of at most 255 bytes.

        Raises:
            InvalidValue: the context is longer.

        """
        try:
            return self._sign(message, context)
        except ValueError as error:
            raise InvalidValue("a context has at most 255 bytes", field="context") from error

    def __repr__(self) -> str:
        return f"SigningKey({self.algorithm}, public key {self.public_bytes[:8].hex()}...)"


class VerifyingKey:
    """A public key, parsed once; it verifies from many threads at a time."""

    __slots__ = ("_verify", "algorithm", "public_bytes")

    def __init__(self, algorithm: str, public_bytes: bytes) -> None:
        """Parse a public key: raw bytes, or for RSA-PSS-3072 the DER of a SubjectPublicKeyInfo.

        Raises:
            UnknownAlgorithm: the name is not registered.
            InvalidKey: these bytes are no key of the algorithm.
            AlgorithmUnavailable: the library lacks the algorithm.

        """
        expected = signature_algorithm(algorithm).public_key_bytes
        if len(public_bytes) != expected:
            detail = f"a public key of {algorithm} has {expected} bytes, not {len(public_bytes)}"
            raise InvalidKey(detail, field="public_key")
        self.algorithm = algorithm
        self.public_bytes = bytes(public_bytes)
        self._verify = _parse(algorithm, self.public_bytes)

    def verify(self, signature: bytes, message: bytes, context: bytes) -> None:
        """Return if this key signed this message in this context.

        Ed25519 and RSA-PSS have no contexts: with one that is not empty nothing verifies.

        Raises:
            InvalidSignature: it did not, whatever the bytes are.

        """
        try:
            self._verify(signature, message, context)
        except (SignatureMismatch, ValueError) as error:
            raise InvalidSignature(f"this is no signature of the key ({self.algorithm})", field="signature") from error

    def __repr__(self) -> str:
        return f"VerifyingKey({self.algorithm}, {self.public_bytes[:8].hex()}...)"


def _signing(name: str) -> SignatureAlgorithm:
    algorithm = signature_algorithm(name)
    if not algorithm.signs:
        detail = f"{name} is there to verify old signatures, not to make new ones"
        raise AlgorithmNotPermitted(detail, field="algorithm", hint=f"use {DEFAULT_SIGNATURE}")
    return algorithm


def _expand(algorithm: str, seed: bytes) -> tuple[_Sign, bytes]:
    """Return what signs with the key of a seed, and its public key."""
    if algorithm == DEFAULT_SIGNATURE:
        composite = CompositePrivateKey(seed)
        return composite.sign, composite.public_bytes()
    if algorithm in _ML_DSA:
        private = _ML_DSA[algorithm][0].from_seed_bytes(seed)
        return private.sign, private.public_key().public_bytes_raw()
    raise _unimplemented(algorithm)


def _parse(algorithm: str, public_bytes: bytes) -> _Verify:
    """Return what verifies with a public key."""
    try:
        if algorithm == DEFAULT_SIGNATURE:
            return CompositePublicKey(public_bytes).verify
        if algorithm in _ML_DSA:
            return _ML_DSA[algorithm][1].from_public_bytes(public_bytes).verify
        if algorithm == ED25519:
            return _ed25519(public_bytes)
        if algorithm == RSA_PSS_3072:
            return _rsa_pss(public_bytes)
    except ValueError as error:
        raise InvalidKey(f"these bytes are no public key of {algorithm}: {error}", field="public_key") from error
    except UnsupportedAlgorithm as error:
        raise _unavailable(algorithm) from error
    raise _unimplemented(algorithm)


def _ed25519(public_bytes: bytes) -> _Verify:
    key = Ed25519PublicKey.from_public_bytes(public_bytes)

    def verify(signature: bytes, message: bytes, context: bytes) -> None:
        _require_no_context(context)
        key.verify(signature, message)

    return verify


def _rsa_pss(public_bytes: bytes) -> _Verify:
    key = _rsa_key(public_bytes)

    def verify(signature: bytes, message: bytes, context: bytes) -> None:
        _require_no_context(context)
        key.verify(signature, message, _PSS, SHA256())

    return verify


def _rsa_key(public_bytes: bytes) -> RSAPublicKey:
    try:
        key = load_der_public_key(public_bytes)
    except UnsupportedAlgorithm as error:
        raise ValueError("the key is of another algorithm") from error
    if not isinstance(key, RSAPublicKey) or key.key_size != 3072:
        raise ValueError("the key is not RSA with 3072 bits")
    if key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != public_bytes:
        raise ValueError("the key is not in the one DER form of its value")
    return key


def _require_no_context(context: bytes) -> None:
    if context:
        raise ValueError("the algorithm has no contexts")


def _unavailable(algorithm: str) -> AlgorithmUnavailable:
    return AlgorithmUnavailable(
        f"the library that cryptography is built on lacks {algorithm}",
        hint="install the published wheel of cryptography",
    )


def _unimplemented(algorithm: str) -> UnknownAlgorithm:
    return UnknownAlgorithm(f"{algorithm} is registered, and no code computes it")
