"""A file sealed by a passphrase opens with that passphrase, for that purpose, and unchanged."""

import json
import time
from base64 import b64decode, b64encode

import pytest

from latticebank.crypto.canonical import canonical_json, parse_canonical
from latticebank.crypto.errors import PassphraseWrong, SealBroken
from latticebank.crypto.passphrase import open_with_passphrase, seal_with_passphrase
from latticebank.values.errors import InvalidValue

SECRET = bytes(range(32))
PASSPHRASE = "four words of caf\u00e9"
PURPOSE = "key-encryption key"
FILE = seal_with_passphrase(SECRET, PASSPHRASE, PURPOSE)


def altered(**members: str) -> bytes:
    return canonical_json({**parse_canonical(FILE), **members})


def flipped(name: str) -> bytes:
    value = bytearray(b64decode(json.loads(FILE)[name]))
    value[0] ^= 1
    return altered(**{name: b64encode(bytes(value)).decode()})


def test_a_file_opens_with_its_passphrase_however_its_accents_were_typed() -> None:
    assert open_with_passphrase(FILE, PASSPHRASE, PURPOSE) == SECRET
    assert open_with_passphrase(FILE, "four words of cafe\u0301", PURPOSE) == SECRET


def test_a_file_says_how_it_was_made_and_shows_nothing_of_what_it_holds() -> None:
    members = parse_canonical(FILE)

    assert (members["kdf"], members["memory_kib"], members["cipher"]) == ("Argon2id", "131072", "AES-256-GCM")
    assert members["purpose"] == PURPOSE
    assert b64encode(SECRET) not in FILE
    assert seal_with_passphrase(SECRET, PASSPHRASE, PURPOSE) != FILE


def test_another_passphrase_is_told_from_a_damaged_file() -> None:
    with pytest.raises(PassphraseWrong):
        open_with_passphrase(FILE, PASSPHRASE + "!", PURPOSE)
    with pytest.raises(SealBroken):
        open_with_passphrase(flipped("ciphertext"), PASSPHRASE, PURPOSE)
    with pytest.raises(SealBroken):
        open_with_passphrase(flipped("nonce"), PASSPHRASE, PURPOSE)


def test_a_changed_salt_check_or_parameter_does_not_open() -> None:
    for changed in (flipped("salt"), flipped("check"), altered(passes="4"), altered(lanes="2")):
        with pytest.raises(PassphraseWrong):
            open_with_passphrase(changed, PASSPHRASE, PURPOSE)


def test_a_file_for_another_purpose_does_not_open_even_if_it_is_renamed() -> None:
    with pytest.raises(SealBroken):
        open_with_passphrase(FILE, PASSPHRASE, "backup")
    with pytest.raises(SealBroken):
        open_with_passphrase(altered(purpose="backup"), PASSPHRASE, "backup")


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"{}",
        b"\xff",
        FILE[:-1],
        FILE + b"\n",
        altered(format="latticebank-passphrase-file/2"),
        altered(kdf="scrypt"),
        altered(cipher="none"),
        altered(extra="x"),
        altered(salt="c2hvcnQ="),
        altered(nonce="!!!!"),
        altered(memory_kib="99999999999"),
        altered(memory_kib="8"),
        altered(passes="0"),
        altered(passes="1000000"),
        altered(lanes="-1"),
        altered(lanes="\u0664"),
    ],
)
def test_a_file_that_is_not_one_of_ours_is_refused_before_any_work(broken: bytes) -> None:
    begun = time.process_time()

    with pytest.raises(SealBroken):
        open_with_passphrase(broken, PASSPHRASE, PURPOSE)

    assert time.process_time() - begun < 0.1


@pytest.mark.parametrize("passphrase", ["", "x" * 1025])
def test_a_passphrase_has_1_to_1024_characters(passphrase: str) -> None:
    with pytest.raises(InvalidValue):
        seal_with_passphrase(SECRET, passphrase, PURPOSE)
    with pytest.raises(InvalidValue):
        open_with_passphrase(FILE, passphrase, PURPOSE)


def test_a_file_holds_at_most_a_mebibyte() -> None:
    most = bytes(1 << 20)

    assert open_with_passphrase(seal_with_passphrase(most, PASSPHRASE, PURPOSE), PASSPHRASE, PURPOSE) == most
    with pytest.raises(InvalidValue):
        seal_with_passphrase(most + b"x", PASSPHRASE, PURPOSE)
