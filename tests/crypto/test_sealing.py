"""What is sealed to a key opens with that key, for that purpose, and agrees with the published vectors.

Of Wycheproof, `mlkem_*_semi_expanded_decaps` does not concern the bank (expanded private keys; the bank knows a key by its
seed only), and `mlkem_*_encaps` only by its bad keys, as encapsulation takes its own randomness. The HPKE vectors have a
sequence of ten messages with associated data; the bank seals single messages, so the first of each is opened, and as the
library's public interface has no associated data, through the function beneath it.
"""

from hashlib import shake_256
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidKey as DerivedKeyMismatch
from cryptography.hazmat.bindings._rust import openssl as rust_openssl
from cryptography.hazmat.primitives.asymmetric.mlkem import (
    MLKEM768PrivateKey,
    MLKEM768PublicKey,
    MLKEM1024PrivateKey,
    MLKEM1024PublicKey,
)
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from hypothesis import given
from hypothesis import strategies as st

from latticebank.crypto import sealing
from latticebank.crypto.errors import InvalidKey, SealBroken, UnknownAlgorithm
from latticebank.crypto.registry import DEFAULT_SEALING, ML_KEM_1024_P384, SEALING, X_WING_CHACHA
from latticebank.crypto.sealing import SealingKey, seal, sealing_info
from tests.crypto.vectors import hpke, unhex, wycheproof

SUITES = [*SEALING]
INFO = sealing_info("profile key", "user:1", "keys", UUID(int=7), 1)
KEY = SealingKey.generate()
BOX = seal(KEY.suite, KEY.public_bytes, b"a seed", INFO)
ML_KEM_PRIVATE: dict[str, Any] = {"768": MLKEM768PrivateKey, "1024": MLKEM1024PrivateKey}


@pytest.mark.parametrize(("suite", "kem", "kdf"), [(X_WING_CHACHA, 0x647A, 1), (ML_KEM_1024_P384, 0x0051, 2)])
def test_keys_and_boxes_agree_with_the_vectors_of_the_draft(shared_data: Path, suite: str, kem: int, kdf: int) -> None:
    (vector,) = hpke(shared_data, kem, kdf)
    key = SealingKey.from_seed(suite, unhex(vector["skRm"]))
    first = vector["encryptions"][0]
    box, info, aad = unhex(vector["enc"] + first["ct"]), unhex(vector["info"]), unhex(first["aad"])

    assert key.public_bytes == unhex(vector["pkRm"])
    # What is inside the bank's own key and suite, so that it is what the vector tests.
    private, inner = key._private, sealing._IMPLEMENTATIONS[suite].suite
    assert rust_openssl.hpke._decrypt_with_aad(inner, box, private, info, aad) == unhex(first["pt"])


def test_the_seeds_of_all_x_wing_vectors_give_their_public_keys(shared_data: Path) -> None:
    for kdf in (1, 0x11):
        (vector,) = hpke(shared_data, 0x647A, kdf)
        for suite in (DEFAULT_SEALING, X_WING_CHACHA):
            assert SealingKey.from_seed(suite, unhex(vector["skRm"])).public_bytes == unhex(vector["pkRm"])


@pytest.mark.parametrize("suite", SUITES)
def test_what_is_sealed_to_a_key_opens_with_it_and_with_its_seed(suite: str) -> None:
    key = SealingKey.generate(suite)
    box = seal(suite, key.public_bytes, b"a seed", INFO)

    assert key.open(box, INFO) == SealingKey.from_seed(suite, key.seed).open(box, INFO) == b"a seed"
    assert len(key.public_bytes) == SEALING[suite].public_key_bytes
    assert len(box) == SEALING[suite].encapsulation_bytes + len(b"a seed") + 16
    assert seal(suite, key.public_bytes, b"a seed", INFO) != box


@pytest.mark.parametrize("suite", SUITES)
def test_a_box_opens_with_no_other_key_info_or_suite(suite: str) -> None:
    key = SealingKey.generate(suite)
    box = seal(suite, key.public_bytes, b"a seed", INFO)

    with pytest.raises(SealBroken):
        SealingKey.generate(suite).open(box, INFO)
    with pytest.raises(SealBroken):
        key.open(box, sealing_info("profile key", "user:2", "keys", UUID(int=7), 1))
    for other in SUITES:
        if other != suite:
            with pytest.raises(SealBroken):
                SealingKey.from_seed(other, key.seed).open(box, INFO)


@given(st.integers(0, len(BOX) - 1), st.integers(1, 255))
def test_every_changed_byte_of_a_box_is_noticed(place: int, by: int) -> None:
    altered = bytearray(BOX)
    altered[place] ^= by

    with pytest.raises(SealBroken):
        KEY.open(bytes(altered), INFO)


@pytest.mark.parametrize("suite", SUITES)
def test_hostile_bytes_of_any_length_are_a_broken_seal_and_nothing_else(suite: str) -> None:
    key = SealingKey.generate(suite)

    for length in (0, 1, 15, 16, 1119, 1120, 1136, 1665, 1681, 100_000):
        for filling in (b"\x00", b"\xff", b"\x04"):
            with pytest.raises(SealBroken):
                key.open(filling * length, INFO)


@pytest.mark.parametrize("suite", SUITES)
def test_bytes_that_are_no_public_key_are_refused(suite: str) -> None:
    good = SealingKey.generate(suite).public_bytes
    overflowing = b"\xff" * 1184 + good[1184:]
    small_order = good[:-32] + bytes(32)

    for wrong in (b"", good[:-1], good + b"\0", overflowing, small_order):
        with pytest.raises(InvalidKey):
            seal(suite, wrong, b"a seed", INFO)
    for seed in (b"", bytes(31), bytes(33)):
        with pytest.raises(InvalidKey):
            SealingKey.from_seed(suite, seed)


def test_an_unknown_suite_is_an_error_wherever_it_is_named() -> None:
    for name in ("", "X25519/HKDF-SHA256/AES-256-GCM", DEFAULT_SEALING.lower()):
        with pytest.raises(UnknownAlgorithm):
            SealingKey.generate(name)
        with pytest.raises(UnknownAlgorithm):
            SealingKey.from_seed(name, bytes(32))
        with pytest.raises(UnknownAlgorithm):
            seal(name, KEY.public_bytes, b"", INFO)


NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
PLACES = st.tuples(NAMES, NAMES, NAMES, st.uuids(), st.integers(0, 9))


@given(PLACES, PLACES)
def test_no_two_purposes_have_the_same_info(
    a: tuple[str, str, str, UUID, int], b: tuple[str, str, str, UUID, int]
) -> None:
    assert (sealing_info(*a) == sealing_info(*b)) == (a == b)


def test_whoever_prints_a_key_sees_no_secret() -> None:
    assert KEY.seed.hex()[:16] not in repr(KEY)
    assert KEY.public_bytes[:8].hex() in repr(KEY)


@pytest.mark.parametrize("size", ["768", "1024"])
def test_ml_kem_gives_the_keys_of_wycheproof(shared_data: Path, size: str) -> None:
    for _, test in wycheproof(shared_data, f"mlkem_{size}_keygen_seed"):
        private = ML_KEM_PRIVATE[size].from_seed_bytes(unhex(test["seed"]))
        assert private.public_key().public_bytes_raw() == unhex(test["ek"]), test["tcId"]


@pytest.mark.parametrize("size", ["768", "1024"])
def test_ml_kem_decapsulates_and_refuses_as_wycheproof_says(shared_data: Path, size: str) -> None:
    results = set()
    for _, test in wycheproof(shared_data, f"mlkem_{size}"):
        try:
            private = ML_KEM_PRIVATE[size].from_seed_bytes(unhex(test["seed"]))
            shared = private.decapsulate(unhex(test["c"]))
        except ValueError:
            shared = None
        valid = test["result"] == "valid"
        assert shared == (unhex(test["K"]) if valid else None), test["tcId"]
        results.add(valid)
    assert True in results


@pytest.mark.parametrize(("suite", "size"), [(DEFAULT_SEALING, "768"), (ML_KEM_1024_P384, "1024")])
def test_nothing_is_sealed_to_the_bad_keys_of_wycheproof(shared_data: Path, suite: str, size: str) -> None:
    classical = SealingKey.generate(suite).public_bytes[1184 if size == "768" else 1568 :]
    refused = 0
    for _, test in wycheproof(shared_data, f"mlkem_{size}_encaps"):
        public = unhex(test["ek"]) + classical
        if test["result"] == "valid":
            assert seal(suite, public, b"a seed", INFO)
        else:
            with pytest.raises(InvalidKey):
                seal(suite, public, b"a seed", INFO)
            refused += 1
    assert refused > 100


def test_x25519_agrees_with_wycheproof_and_refuses_a_shared_secret_of_zero(shared_data: Path) -> None:
    for _, test in wycheproof(shared_data, "x25519"):
        expected = unhex(test["shared"])
        private = X25519PrivateKey.from_private_bytes(unhex(test["private"]))
        public = X25519PublicKey.from_public_bytes(unhex(test["public"]))
        if any(expected):
            assert private.exchange(public) == expected, test["tcId"]
        else:
            with pytest.raises(ValueError, match="shared key"):
                private.exchange(public)


def test_hkdf_agrees_with_wycheproof(shared_data: Path) -> None:
    for _, test in wycheproof(shared_data, "hkdf_sha256"):
        try:
            kdf = HKDF(SHA256(), test["size"], unhex(test["salt"]), unhex(test["info"]))
            kdf.verify(unhex(test["ikm"]), unhex(test["okm"]))
            agrees = True
        except (ValueError, DerivedKeyMismatch):
            agrees = False
        assert agrees == (test["result"] == "valid"), test["tcId"]


@pytest.mark.parametrize("size", ["768", "1024"])
def test_the_keys_and_certificates_of_rfc_9935_are_read(shared_data: Path, size: str) -> None:
    folder = shared_data / "vectors" / "rfc9935" / "example"
    private = load_pem_private_key((folder / f"ML-KEM-{size}-seed.priv").read_bytes(), password=None)
    public = load_pem_public_key((folder / f"ML-KEM-{size}.pub").read_bytes())
    certified = x509.load_pem_x509_certificate((folder / f"ML-KEM-{size}.crt").read_bytes()).public_key()
    assert isinstance(private, MLKEM768PrivateKey | MLKEM1024PrivateKey)
    assert isinstance(public, MLKEM768PublicKey | MLKEM1024PublicKey)
    assert isinstance(certified, MLKEM768PublicKey | MLKEM1024PublicKey)

    assert private.public_key().public_bytes_raw() == public.public_bytes_raw() == certified.public_bytes_raw()
    shared, encapsulated = certified.encapsulate()
    assert private.decapsulate(encapsulated) == shared


def test_an_x_wing_key_is_the_two_keys_that_its_seed_expands_to() -> None:
    expanded = shake_256(KEY.seed).digest(96)
    ml_kem = MLKEM768PrivateKey.from_seed_bytes(expanded[:64]).public_key().public_bytes_raw()
    x25519 = X25519PrivateKey.from_private_bytes(expanded[64:]).public_key().public_bytes_raw()

    assert ml_kem + x25519 == KEY.public_bytes
