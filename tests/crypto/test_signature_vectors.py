"""Signatures agree with the published vectors, the good ones and the bad ones.

Not among them: `mldsa_*_sign_noseed` of Wycheproof (expanded private keys; the bank knows a key by its seed only), the
tests that start from a precomputed mu (the bank signs messages), and the other composites of the draft. Signing is hedged
with fresh randomness (FIPS 204, 3.4), so a signature is compared by verifying it.
"""

import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.mldsa import (
    MLDSA44PrivateKey,
    MLDSA44PublicKey,
    MLDSA65PrivateKey,
    MLDSA65PublicKey,
    MLDSA87PrivateKey,
    MLDSA87PublicKey,
)
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from latticebank.crypto.errors import InvalidKey, InvalidSignature
from latticebank.crypto.signatures import SigningKey, VerifyingKey
from latticebank.values.errors import InvalidValue
from tests.crypto.vectors import unhex, wycheproof

COMPOSITE = "MLDSA65-Ed25519-SHA512"
SIZES = ("44", "65", "87")


@pytest.fixture(scope="module")
def composite(shared_data: Path) -> dict[str, Any]:
    file = json.loads((shared_data / "vectors" / "composite-sigs" / "src" / "testvectors.json").read_text())
    vector = next(test for test in file["tests"] if test["tcId"] == f"id-{COMPOSITE}")
    texts = {**vector, "m": file["m"], "ctx": file["ctx"]}
    return {name: b64decode(text) for name, text in texts.items() if name != "tcId"}


def test_the_composite_of_the_draft_verifies_with_and_without_context(composite: dict[str, bytes]) -> None:
    key = VerifyingKey(COMPOSITE, composite["pk"])

    key.verify(composite["s"], composite["m"], b"")
    key.verify(composite["sWithContext"], composite["m"], composite["ctx"])


def test_the_seed_of_the_draft_gives_its_public_key_and_signs_for_it(composite: dict[str, bytes]) -> None:
    key = SigningKey.from_seed(COMPOSITE, composite["sk"])

    assert key.public_bytes == composite["pk"]
    VerifyingKey(COMPOSITE, composite["pk"]).verify(key.sign(b"ten pounds", b"c"), b"ten pounds", b"c")


def test_the_composite_of_the_draft_fails_when_a_byte_anywhere_changes(composite: dict[str, bytes]) -> None:
    key = VerifyingKey(COMPOSITE, composite["pk"])
    signature = composite["s"]

    for place in (0, 31, 1000, 3308, 3309, 3340, 3372):
        altered = bytearray(signature)
        altered[place] ^= 0x40
        with pytest.raises(InvalidSignature):
            key.verify(bytes(altered), composite["m"], b"")
    for message, context in ((composite["m"] + b"!", b""), (composite["m"], composite["ctx"])):
        with pytest.raises(InvalidSignature):
            key.verify(signature, message, context)


def test_the_certificate_of_the_draft_is_signed_with_its_composite_key(composite: dict[str, bytes]) -> None:
    certificate = x509.load_der_x509_certificate(composite["x5c"])

    VerifyingKey(COMPOSITE, composite["pk"]).verify(certificate.signature, certificate.tbs_certificate_bytes, b"")


@pytest.mark.parametrize("size", SIZES)
def test_ml_dsa_verifies_and_refuses_as_wycheproof_says(shared_data: Path, size: str) -> None:
    for group, test in wycheproof(shared_data, f"mldsa_{size}_verify"):
        try:
            key = VerifyingKey(f"ML-DSA-{size}", unhex(group["publicKey"]))
            key.verify(unhex(test["sig"]), unhex(test["msg"]), unhex(test.get("ctx", "")))
            verified = True
        except (InvalidKey, InvalidSignature):
            verified = False
        assert verified == (test["result"] == "valid"), test["tcId"]


@pytest.mark.parametrize("size", SIZES)
def test_ml_dsa_seeds_give_the_keys_of_wycheproof_and_sign_for_them(shared_data: Path, size: str) -> None:
    algorithm = f"ML-DSA-{size}"
    signed = refused = 0
    for group, test in wycheproof(shared_data, f"mldsa_{size}_sign_seed"):
        if "msg" not in test:
            continue
        message, context = unhex(test["msg"]), unhex(test.get("ctx", ""))
        if test["result"] == "invalid":
            with pytest.raises((InvalidKey, InvalidValue)):
                SigningKey.from_seed(algorithm, unhex(group["privateSeed"])).sign(message, context)
            refused += 1
            continue
        key = SigningKey.from_seed(algorithm, unhex(group["privateSeed"]))
        assert key.public_bytes == unhex(group["publicKey"])
        verifying = VerifyingKey(algorithm, key.public_bytes)
        verifying.verify(unhex(test["sig"]), message, context)
        verifying.verify(key.sign(message, context), message, context)
        signed += 1

    assert signed > 20
    assert refused > 0


def test_ed25519_verifies_and_refuses_as_wycheproof_says(shared_data: Path) -> None:
    for group, test in wycheproof(shared_data, "ed25519"):
        key = VerifyingKey("Ed25519", unhex(group["publicKey"]["pk"]))
        try:
            key.verify(unhex(test["sig"]), unhex(test["msg"]), b"")
            verified = True
        except InvalidSignature:
            verified = False
        assert verified == (test["result"] == "valid"), test["tcId"]


ML_DSA_PRIVATE = MLDSA44PrivateKey | MLDSA65PrivateKey | MLDSA87PrivateKey
ML_DSA_PUBLIC = MLDSA44PublicKey | MLDSA65PublicKey | MLDSA87PublicKey


@pytest.mark.parametrize("size", SIZES)
def test_the_keys_and_certificates_of_rfc_9881_fit_the_keys_of_the_bank(shared_data: Path, size: str) -> None:
    folder = shared_data / "vectors" / "rfc9881" / "examples"
    private = load_pem_private_key((folder / f"ML-DSA-{size}-seed.priv").read_bytes(), password=None)
    public = load_pem_public_key((folder / f"ML-DSA-{size}.pub").read_bytes())
    certificate = x509.load_pem_x509_certificate((folder / f"ML-DSA-{size}.crt").read_bytes())
    assert isinstance(private, ML_DSA_PRIVATE)
    assert isinstance(public, ML_DSA_PUBLIC)

    key = SigningKey.from_seed(f"ML-DSA-{size}", private.private_bytes_raw())

    assert key.public_bytes == public.public_bytes_raw()
    VerifyingKey(key.algorithm, key.public_bytes).verify(certificate.signature, certificate.tbs_certificate_bytes, b"")


@pytest.mark.parametrize("name", ["bad-ML-DSA-44-1", "bad-ML-DSA-44-2", "bad-ML-DSA-44-3"])
def test_the_bad_keys_of_rfc_9881_are_refused(shared_data: Path, name: str) -> None:
    pem = (shared_data / "vectors" / "rfc9881" / "examples" / f"{name}.priv").read_bytes()

    with pytest.raises((ValueError, UnsupportedAlgorithm)):
        load_pem_private_key(pem, password=None)
