"""A signature is of one key, one message and one purpose, and both halves of a hybrid one count."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from latticebank.crypto import known_answers
from latticebank.crypto.composite import message_representative
from latticebank.crypto.errors import AlgorithmNotPermitted, InvalidKey, InvalidSignature, UnknownAlgorithm
from latticebank.crypto.registry import DEFAULT_SIGNATURE, SIGNATURES, authorising
from latticebank.crypto.signatures import SigningKey, VerifyingKey
from latticebank.values.errors import InvalidValue

SIGNING = [name for name, algorithm in SIGNATURES.items() if algorithm.signs]
VERIFY_ONLY = [name for name, algorithm in SIGNATURES.items() if not algorithm.signs]
MESSAGE, CONTEXT = b'{"amount":"12.34"}', b"latticebank/payment/v1"
ML_DSA = 3309  # bytes of the first half of a composite signature

KEY = SigningKey.generate()
PUBLIC = VerifyingKey(KEY.algorithm, KEY.public_bytes)
SIGNATURE = KEY.sign(MESSAGE, CONTEXT)


def test_a_device_key_is_hybrid_unless_somebody_says_otherwise() -> None:
    assert SigningKey.generate().algorithm == DEFAULT_SIGNATURE == "MLDSA65-Ed25519-SHA512"


@pytest.mark.parametrize("algorithm", SIGNING)
def test_a_key_signs_and_is_found_again_from_its_seed(algorithm: str) -> None:
    key = SigningKey.generate(algorithm)
    again = SigningKey.from_seed(algorithm, key.seed)
    signature = again.sign(MESSAGE, CONTEXT)

    assert again.public_bytes == key.public_bytes
    assert len(signature) == SIGNATURES[algorithm].signature_bytes
    assert len(key.public_bytes) == SIGNATURES[algorithm].public_key_bytes
    assert len(key.seed) == SIGNATURES[algorithm].seed_bytes
    VerifyingKey(algorithm, key.public_bytes).verify(signature, MESSAGE, CONTEXT)


@pytest.mark.parametrize("algorithm", SIGNING)
def test_a_signature_is_worth_nothing_for_another_message_purpose_or_key(algorithm: str) -> None:
    key, other = SigningKey.generate(algorithm), SigningKey.generate(algorithm)
    verifying = VerifyingKey(algorithm, key.public_bytes)
    signature = key.sign(MESSAGE, CONTEXT)

    for message, context in ((MESSAGE + b" ", CONTEXT), (MESSAGE, b"latticebank/enrolment/v1"), (MESSAGE, b"")):
        with pytest.raises(InvalidSignature):
            verifying.verify(signature, message, context)
    with pytest.raises(InvalidSignature):
        VerifyingKey(algorithm, other.public_bytes).verify(signature, MESSAGE, CONTEXT)


@pytest.mark.parametrize("algorithm", [*SIGNATURES])
@pytest.mark.parametrize("length", [0, 1, 63, 64, 384, 2420, 3309, 3372, 3373, 3374, 4627, 100_000])
def test_hostile_bytes_of_any_length_are_an_invalid_signature_and_nothing_else(algorithm: str, length: int) -> None:
    if algorithm in SIGNING:
        key = VerifyingKey(algorithm, SigningKey.generate(algorithm).public_bytes)
    else:
        key = VerifyingKey(algorithm, known_answers.VERIFYING[algorithm].public_key)

    for filling in (b"\x00", b"\xff"):
        with pytest.raises(InvalidSignature):
            key.verify(filling * length, MESSAGE, b"")


@given(st.integers(0, len(SIGNATURE) - 1), st.integers(1, 255))
def test_every_changed_byte_of_a_hybrid_signature_is_noticed(place: int, by: int) -> None:
    altered = bytearray(SIGNATURE)
    altered[place] ^= by

    with pytest.raises(InvalidSignature):
        PUBLIC.verify(bytes(altered), MESSAGE, CONTEXT)


def test_half_of_a_hybrid_signature_is_none() -> None:
    ml_dsa, ed25519 = SIGNATURE[:ML_DSA], SIGNATURE[ML_DSA:]

    for stripped in (ml_dsa, ed25519, ml_dsa + bytes(64), bytes(ML_DSA) + ed25519, ed25519 + ml_dsa):
        with pytest.raises(InvalidSignature):
            PUBLIC.verify(stripped, MESSAGE, CONTEXT)


def test_the_halves_of_two_keys_or_of_two_messages_do_not_combine() -> None:
    others = SigningKey.generate().sign(MESSAGE, CONTEXT)
    of_another_message = KEY.sign(b"another", CONTEXT)

    for foreign in (others, of_another_message):
        for mixed in (SIGNATURE[:ML_DSA] + foreign[ML_DSA:], foreign[:ML_DSA] + SIGNATURE[ML_DSA:]):
            with pytest.raises(InvalidSignature):
                PUBLIC.verify(mixed, MESSAGE, CONTEXT)


def test_a_half_does_not_verify_by_itself_under_its_component_key() -> None:
    ml_dsa = VerifyingKey("ML-DSA-65", KEY.public_bytes[:1952])
    ed25519 = VerifyingKey("Ed25519", KEY.public_bytes[1952:])

    for context in (CONTEXT, b""):
        with pytest.raises(InvalidSignature):
            ml_dsa.verify(SIGNATURE[:ML_DSA], MESSAGE, context)
    with pytest.raises(InvalidSignature):
        ed25519.verify(SIGNATURE[ML_DSA:], MESSAGE, b"")


def test_signatures_of_the_component_keys_over_the_message_are_no_hybrid_signature() -> None:
    ml_dsa = MLDSA65PrivateKey.from_seed_bytes(KEY.seed[:32])
    ed25519 = Ed25519PrivateKey.from_private_bytes(KEY.seed[32:])
    representative = message_representative(MESSAGE, CONTEXT)

    # The label is the context of the ML-DSA half: without it even the right representative is worth nothing.
    for signed in (MESSAGE, representative):
        with pytest.raises(InvalidSignature):
            PUBLIC.verify(ml_dsa.sign(signed) + ed25519.sign(signed), MESSAGE, CONTEXT)


@given(st.binary(max_size=4), st.binary(max_size=4), st.binary(max_size=4), st.binary(max_size=4))
def test_no_two_pairs_of_message_and_context_are_signed_alike(a: bytes, b: bytes, c: bytes, d: bytes) -> None:
    assert (message_representative(a, b) == message_representative(c, d)) == ((a, b) == (c, d))


@pytest.mark.parametrize("algorithm", SIGNING)
def test_a_context_has_at_most_255_bytes(algorithm: str) -> None:
    key = SigningKey.generate(algorithm)
    verifying = VerifyingKey(algorithm, key.public_bytes)

    verifying.verify(key.sign(MESSAGE, b"c" * 255), MESSAGE, b"c" * 255)
    with pytest.raises(InvalidValue):
        key.sign(MESSAGE, b"c" * 256)
    with pytest.raises(InvalidSignature):
        verifying.verify(key.sign(MESSAGE, b"c" * 255), MESSAGE, b"c" * 256)


@pytest.mark.parametrize("algorithm", [*SIGNATURES])
def test_a_key_of_another_length_is_refused(algorithm: str) -> None:
    length = SIGNATURES[algorithm].public_key_bytes

    for wrong in (b"", bytes(length - 1), bytes(length + 1)):
        with pytest.raises(InvalidKey):
            VerifyingKey(algorithm, wrong)
    for wrong in (b"", bytes(31), bytes(33), bytes(63), bytes(65)):
        with pytest.raises((InvalidKey, AlgorithmNotPermitted)):
            SigningKey.from_seed(algorithm, wrong)


@pytest.mark.parametrize("algorithm", VERIFY_ONLY)
def test_a_classical_key_verifies_what_is_old_and_makes_nothing_new(algorithm: str) -> None:
    answer = known_answers.VERIFYING[algorithm]
    key = VerifyingKey(algorithm, answer.public_key)

    key.verify(answer.signature, answer.message, b"")
    with pytest.raises(InvalidSignature):
        key.verify(answer.signature, answer.message, CONTEXT)
    with pytest.raises(AlgorithmNotPermitted):
        SigningKey.generate(algorithm)
    with pytest.raises(AlgorithmNotPermitted):
        SigningKey.from_seed(algorithm, bytes(32))
    with pytest.raises(AlgorithmNotPermitted):
        authorising(algorithm)


def test_only_hybrid_and_large_lattice_keys_authorise() -> None:
    permitted = []
    for name in SIGNATURES:
        try:
            permitted.append(authorising(name).name)
        except AlgorithmNotPermitted:
            assert name in ("ML-DSA-44", "Ed25519", "RSA-PSS-3072")

    assert permitted == ["MLDSA65-Ed25519-SHA512", "ML-DSA-65", "ML-DSA-87"]
    assert all(SIGNATURES[name].post_quantum for name in permitted)


@pytest.mark.parametrize("name", ["", "none", "HS256", "ml-dsa-65", "ML-DSA-65 ", "Falcon-512", "SHA3-256"])
def test_an_unknown_algorithm_is_an_error_wherever_it_is_named(name: str) -> None:
    for act in (SigningKey.generate, authorising):
        with pytest.raises(UnknownAlgorithm):
            act(name)
    with pytest.raises(UnknownAlgorithm):
        SigningKey.from_seed(name, bytes(32))
    with pytest.raises(UnknownAlgorithm):
        VerifyingKey(name, bytes(1952))


def test_an_rsa_key_has_3072_bits_and_one_encoding() -> None:
    small = generate_rsa_key(65537, 2048).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    curve = generate_ec_key(SECP256R1()).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    longer_exponent = RSAPublicNumbers(0x01000001, (1 << 3063) + 1).public_key()
    shorter_modulus = longer_exponent.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert len(shorter_modulus) == 422

    for wrong in (
        small,
        curve,
        shorter_modulus,
        small + bytes(422 - len(small)),
        curve + bytes(422 - len(curve)),
        bytes(422),
    ):
        with pytest.raises(InvalidKey):
            VerifyingKey("RSA-PSS-3072", wrong)


def test_an_rsa_signature_with_another_length_of_salt_is_refused() -> None:
    private = generate_rsa_key(65537, 3072)
    public = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    key = VerifyingKey("RSA-PSS-3072", public)

    key.verify(private.sign(MESSAGE, PSS(MGF1(SHA256()), 32), SHA256()), MESSAGE, b"")
    with pytest.raises(InvalidSignature):
        key.verify(private.sign(MESSAGE, PSS(MGF1(SHA256()), 20), SHA256()), MESSAGE, b"")


def test_whoever_prints_a_key_sees_no_secret() -> None:
    printed = f"{KEY!r} {KEY}"

    assert KEY.seed.hex()[:16] not in printed
    assert repr(KEY.seed)[2:12] not in printed
    assert KEY.public_bytes[:8].hex() in printed
