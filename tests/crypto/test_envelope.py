"""A sealed field opens in its own place under its own key, and nowhere else.

The vectors of Wycheproof choose their associated data, which a sealed field does not, so they test the ciphers beneath:
AES-GCM with 256-bit keys and 96-bit nonces, the only ones the bank uses, and ChaCha20-Poly1305.
"""

from pathlib import Path
from uuid import UUID

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from hypothesis import given
from hypothesis import strategies as st

from latticebank.crypto.envelope import FieldKey, field_place, sealed_under
from latticebank.crypto.errors import InvalidKey, SealBroken, UnknownAlgorithm
from latticebank.crypto.registry import FIELD_CIPHERS
from latticebank.values.errors import InvalidValue
from tests.crypto.vectors import unhex, wycheproof

CIPHERS = [*FIELD_CIPHERS]
KEY_ID = UUID("018f3a5e-0000-7000-8000-000000000001")
SECRET = bytes(range(32))
KEY = FieldKey(KEY_ID, 3, SECRET)
PLACE = field_place("users", "email", "42")
SEALED = KEY.seal(b"ada@example.org", PLACE)


@pytest.mark.parametrize("cipher", CIPHERS)
@pytest.mark.parametrize("plaintext", [b"", b"x", b"ada@example.org" * 1000])
def test_a_field_opens_to_what_was_sealed(cipher: str, plaintext: bytes) -> None:
    key = FieldKey(KEY_ID, 3, SECRET, cipher)
    sealed = key.seal(plaintext, PLACE)

    assert FieldKey(KEY_ID, 3, SECRET, cipher).open(sealed, PLACE) == plaintext
    assert len(sealed) == len(plaintext) + 48
    assert sealed_under(sealed) == (KEY_ID, 3)


def test_equal_values_are_sealed_differently() -> None:
    assert len({KEY.seal(b"ada@example.org", PLACE) for _ in range(100)}) == 100


def test_a_field_copied_to_another_row_column_or_table_does_not_open() -> None:
    for place in (("users", "email", "43"), ("users", "phone", "42"), ("staff", "email", "42"), ("", "", "")):
        with pytest.raises(SealBroken, match="another place"):
            KEY.open(SEALED, field_place(*place))


@pytest.mark.parametrize(
    "other",
    [
        FieldKey(KEY_ID, 4, SECRET),
        FieldKey(UUID(int=9), 3, SECRET),
        FieldKey(KEY_ID, 3, SECRET, "ChaCha20-Poly1305"),
        FieldKey(KEY_ID, 3, bytes(32)),
    ],
    ids=["other version", "other id", "other cipher", "other secret"],
)
def test_a_field_does_not_open_under_another_key(other: FieldKey) -> None:
    with pytest.raises(SealBroken):
        other.open(SEALED, PLACE)


def test_a_header_that_names_another_key_with_the_same_secret_is_still_broken() -> None:
    renamed = FieldKey(KEY_ID, 4, SECRET).seal(b"", PLACE)[:20] + SEALED[20:]

    with pytest.raises(SealBroken):
        FieldKey(KEY_ID, 4, SECRET).open(renamed, PLACE)


@given(st.integers(0, len(SEALED) - 1), st.integers(1, 255))
def test_every_changed_byte_is_noticed(place: int, by: int) -> None:
    altered = bytearray(SEALED)
    altered[place] ^= by

    with pytest.raises(SealBroken):
        KEY.open(bytes(altered), PLACE)


@given(st.one_of(st.binary(max_size=80), st.integers(0, len(SEALED) - 1).map(lambda end: SEALED[:end])))
def test_what_is_no_sealed_field_is_a_broken_seal_and_nothing_else(received: bytes) -> None:
    with pytest.raises(SealBroken):
        KEY.open(received, PLACE)


NAMES = st.text(max_size=4, alphabet="ab\x00\x01/")


@given(st.tuples(NAMES, NAMES, NAMES), st.tuples(NAMES, NAMES, NAMES))
def test_no_two_places_are_written_alike(a: tuple[str, str, str], b: tuple[str, str, str]) -> None:
    assert (field_place(*a) == field_place(*b)) == (a == b)


def test_a_key_encryption_key_wraps_the_seeds_of_others() -> None:
    kek = FieldKey(UUID(int=1), 1, SECRET)
    seed = bytes(range(64))
    place = field_place("keys", "seed", str(KEY_ID))

    assert kek.open(kek.seal(seed, place), place) == seed


@pytest.mark.parametrize("cipher", CIPHERS)
def test_a_secret_has_32_bytes_and_a_version_16_bits(cipher: str) -> None:
    for wrong in (b"", bytes(16), bytes(31), bytes(33)):
        with pytest.raises(InvalidKey):
            FieldKey(KEY_ID, 1, wrong, cipher)
    for version in (-1, 65_536):
        with pytest.raises(InvalidValue):
            FieldKey(KEY_ID, version, SECRET, cipher)


def test_an_unknown_cipher_is_an_error() -> None:
    with pytest.raises(UnknownAlgorithm):
        FieldKey(KEY_ID, 1, SECRET, "AES-128-GCM")


def test_whoever_prints_a_key_sees_no_secret() -> None:
    assert SECRET.hex()[:16] not in repr(KEY)
    assert str(KEY_ID) in repr(KEY)


def test_aes_gcm_agrees_with_wycheproof(shared_data: Path) -> None:
    _agrees(shared_data, "aes_gcm", AESGCM)


def test_chacha20_poly1305_agrees_with_wycheproof(shared_data: Path) -> None:
    _agrees(shared_data, "chacha20_poly1305", ChaCha20Poly1305)


def _agrees(shared_data: Path, name: str, cipher: type[AESGCM] | type[ChaCha20Poly1305]) -> None:
    tested = refused = 0
    for group, test in wycheproof(shared_data, name):
        if (group["keySize"], group["ivSize"], group["tagSize"]) != (256, 96, 128):
            continue
        aead = cipher(unhex(test["key"]))
        nonce, message, aad = unhex(test["iv"]), unhex(test["msg"]), unhex(test["aad"])
        sealed = unhex(test["ct"] + test["tag"])
        tested += 1
        if test["result"] == "valid":
            assert aead.encrypt(nonce, message, aad) == sealed, test["tcId"]
            assert aead.decrypt(nonce, sealed, aad) == message, test["tcId"]
        else:
            refused += 1
            with pytest.raises(InvalidTag):
                aead.decrypt(nonce, sealed, aad)
    assert tested > 50
    assert refused > 10
