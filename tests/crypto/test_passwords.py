"""A password is kept as Argon2id; older hashes are verified once, say so, and cannot stop the bank."""

import hashlib
import time
from base64 import b64encode

import bcrypt
import pytest
from argon2 import PasswordHasher
from argon2.low_level import Type, hash_secret

from latticebank.crypto.errors import UnknownAlgorithm
from latticebank.crypto.passwords import Verdict, hash_password, verify_password
from latticebank.values.errors import InvalidValue

PASSWORD = "correct horse battery staple"
STORED = hash_password(PASSWORD)
RIGHT, WRONG = Verdict(matches=True, upgrade=False), Verdict(matches=False, upgrade=False)
OLD_RIGHT, OLD_WRONG = Verdict(matches=True, upgrade=True), Verdict(matches=False, upgrade=True)


def pbkdf2(password: str, iterations: int = 1000, salt: str = "c2FsdA") -> str:
    digest = hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), iterations)
    return f"pbkdf2_sha256${iterations}${salt}${b64encode(digest).decode()}"


def test_a_password_matches_its_hash_and_no_other_does() -> None:
    assert STORED.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert verify_password(STORED, PASSWORD) == RIGHT
    assert verify_password(STORED, PASSWORD + " ") == WRONG
    assert hash_password(PASSWORD) != STORED


def test_a_password_is_the_same_however_its_accents_were_typed() -> None:
    composed, decomposed = "caf\u00e9 au lait", "cafe\u0301 au lait"

    assert verify_password(hash_password(composed), decomposed) == RIGHT
    assert verify_password(hash_password(decomposed), composed) == RIGHT


def test_an_argon2id_hash_with_older_parameters_is_to_be_replaced() -> None:
    older = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(PASSWORD)

    assert verify_password(older, PASSWORD) == OLD_RIGHT
    assert not verify_password(older, "another").matches


@pytest.mark.parametrize("prefix", ["$2a$", "$2b$", "$2y$"])
def test_a_bcrypt_hash_is_verified_and_to_be_replaced(prefix: str) -> None:
    stored = prefix + bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()[4:]

    assert verify_password(stored, PASSWORD) == OLD_RIGHT
    assert verify_password(stored, "another") == OLD_WRONG


def test_a_bcrypt_hash_of_a_long_password_counts_its_first_72_bytes() -> None:
    stored = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()

    assert verify_password(stored, "x" * 100) == OLD_RIGHT
    assert verify_password(stored, "x" * 71 + "y" * 29) == OLD_WRONG
    assert verify_password(stored, "\u00e9" * 36 + "x" * 36) == OLD_WRONG


def test_a_zero_byte_does_not_cut_a_password_short() -> None:
    stored = bcrypt.hashpw(b"short", bcrypt.gensalt(4)).decode()

    assert verify_password(stored, "short\0and more") == OLD_WRONG


def test_a_pbkdf2_hash_is_verified_and_to_be_replaced() -> None:
    assert verify_password(pbkdf2(PASSWORD), PASSWORD) == OLD_RIGHT
    assert verify_password(pbkdf2(PASSWORD), "another") == OLD_WRONG


@pytest.mark.parametrize(
    "stored",
    [
        "",
        PASSWORD,
        hashlib.sha256(PASSWORD.encode()).hexdigest(),
        hash_secret(b"x", b"salt" * 4, 1, 8192, 1, 32, Type.I).decode(),
        hash_secret(b"x", b"salt" * 4, 1, 8192, 1, 32, Type.D).decode(),
        "$argon2id$",
        "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ",
        "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$!!!!",
        "$argon2id$v=19$m=sixty,t=3,p=4$c2FsdHNhbHRzYWx0$aGFzaGhhc2g",
        "$2b$04$short",
        "$2x$04$" + "a" * 53,
        "pbkdf2_sha256$0$salt$" + "A" * 43 + "=",
        "pbkdf2_sha256$1000$salt$short",
        "pbkdf2_sha1$1000$salt$" + "A" * 43 + "=",
        "argon2id" + "x" * 100_000,
    ],
)
def test_a_stored_text_that_is_no_hash_of_ours_is_an_error_not_a_mismatch(stored: str) -> None:
    with pytest.raises(UnknownAlgorithm):
        verify_password(stored, PASSWORD)


@pytest.mark.parametrize(
    "stored",
    [
        "$argon2id$v=19$m=4194304,t=3,p=4$c2FsdHNhbHRzYWx0$" + "A" * 43,
        "$argon2id$v=19$m=65536,t=4000000,p=4$c2FsdHNhbHRzYWx0$" + "A" * 43,
        "$argon2id$v=19$m=65536,t=3,p=10000$c2FsdHNhbHRzYWx0$" + "A" * 43,
        "$2b$31$" + "a" * 53,
        "$2b$00$" + "a" * 53,
        "pbkdf2_sha256$99999999$salt$" + "A" * 43 + "=",
    ],
)
def test_a_stored_hash_cannot_ask_for_more_work_than_the_bank_does(stored: str) -> None:
    begun = time.process_time()

    with pytest.raises(UnknownAlgorithm):
        verify_password(stored, PASSWORD)

    assert time.process_time() - begun < 0.5


@pytest.mark.parametrize("password", ["", "x" * 257, "\ud800"])
def test_a_password_has_1_to_256_whole_characters(password: str) -> None:
    with pytest.raises(InvalidValue):
        hash_password(password)
    with pytest.raises(InvalidValue):
        verify_password(STORED, password)


def test_a_password_of_256_characters_counts_to_its_last() -> None:
    stored = hash_password("\u00e9" * 256)

    assert verify_password(stored, "\u00e9" * 256) == RIGHT
    assert verify_password(stored, "\u00e9" * 255 + "e") == WRONG
