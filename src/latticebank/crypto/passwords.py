"""Passwords: Argon2id for every new one, older forms verified once and replaced.

A password is hashed in Unicode normalization form C, so that it is the same from every keyboard. Hashes that another bank
made were made of what was typed, so they are compared with that.
"""

import hmac
import re
from base64 import b64decode
from binascii import Error as Base64Error
from dataclasses import dataclass
from hashlib import pbkdf2_hmac
from unicodedata import normalize

import bcrypt
from argon2 import PasswordHasher, Type, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from latticebank.crypto.errors import UnknownAlgorithm
from latticebank.values.errors import InvalidValue

MAX_LENGTH = 256

# RFC 9106, 4, the second recommended option.
MEMORY_KIB = 65_536
PASSES = 3
LANES = 4

# What a stored hash may ask of this machine: an imported file must not be able to stop the bank.
_MAX_MEMORY_KIB = 262_144
_MAX_PASSES = 10
_MAX_LANES = 16
_MAX_BCRYPT_COST = 14
_MAX_PBKDF2_ITERATIONS = 2_000_000
_MAX_STORED = 512

_BCRYPT = re.compile(r"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}")
_PBKDF2 = re.compile(r"pbkdf2_sha256\$([1-9][0-9]{0,7})\$([^$]{1,128})\$([A-Za-z0-9+/]{43}=)")
_BCRYPT_READS = 72  # bytes of a password; what follows never counted

_HASHER = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES, type=Type.ID)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a password matches, and whether its hash should now be replaced by a new one."""

    matches: bool
    upgrade: bool


def hash_password(password: str) -> str:
    """Return the Argon2id hash (RFC 9106) of a password of 1 to 256 characters, with its parameters and a fresh salt.

    It takes 64 MiB and about a tenth of a second: call it from a thread.

    Raises:
        InvalidValue: the password is empty or longer, or is no text that UTF-8 can write.

    """
    return _HASHER.hash(_encoded(normalize("NFC", password)))


def verify_password(stored: str, password: str) -> Verdict:
    """Say whether a password is the one of a stored hash: Argon2id, bcrypt, or `pbkdf2_sha256$iterations$salt$base64`.

    Raises:
        InvalidValue: the password is empty or longer than 256 characters, or is no text that UTF-8 can write.
        UnknownAlgorithm: the stored text is no such hash, or asks for more work than the bank does.

    """
    typed = _encoded(password)
    if len(stored) <= _MAX_STORED:
        if stored.startswith("$argon2id$"):
            return _verify_argon2id(stored, _encoded(normalize("NFC", password)))
        if bcrypt_form := _BCRYPT.fullmatch(stored):
            return Verdict(_matches_bcrypt(stored, int(bcrypt_form[1]), typed), upgrade=True)
        if pbkdf2_form := _PBKDF2.fullmatch(stored):
            return Verdict(_matches_pbkdf2(pbkdf2_form, typed), upgrade=True)
    raise _unknown("it has no form that the bank verifies")


def _encoded(password: str) -> bytes:
    if not 1 <= len(password) <= MAX_LENGTH:
        raise InvalidValue(f"a password has 1 to {MAX_LENGTH} characters", field="password")
    try:
        return password.encode()
    except UnicodeEncodeError as error:
        raise InvalidValue("the password holds half a character", field="password") from error


def _verify_argon2id(stored: str, password: bytes) -> Verdict:
    try:
        asked = extract_parameters(stored)
        if asked.memory_cost > _MAX_MEMORY_KIB or asked.time_cost > _MAX_PASSES or asked.parallelism > _MAX_LANES:
            raise _unknown("its Argon2id parameters are over the bounds")
        _HASHER.verify(stored, password)
    except VerifyMismatchError:
        return Verdict(matches=False, upgrade=False)
    except (InvalidHashError, VerificationError, ValueError) as error:
        raise _unknown("it is no well-formed Argon2id hash") from error
    return Verdict(matches=True, upgrade=_HASHER.check_needs_rehash(stored))


def _matches_bcrypt(stored: str, cost: int, password: bytes) -> bool:
    if not 4 <= cost <= _MAX_BCRYPT_COST:
        raise _unknown(f"its bcrypt cost is not 4 to {_MAX_BCRYPT_COST}")
    return bcrypt.checkpw(password[:_BCRYPT_READS], stored.encode())


def _matches_pbkdf2(form: re.Match[str], password: bytes) -> bool:
    iterations, salt, digest = int(form[1]), form[2], form[3]
    if iterations > _MAX_PBKDF2_ITERATIONS:
        raise _unknown(f"it asks for more than {_MAX_PBKDF2_ITERATIONS} iterations")
    try:
        expected = b64decode(digest, validate=True)
    except Base64Error as error:
        raise _unknown("its digest is not base64") from error
    return hmac.compare_digest(pbkdf2_hmac("sha256", password, salt.encode(), iterations), expected)


def _unknown(why: str) -> UnknownAlgorithm:
    return UnknownAlgorithm(f"the stored hash of the password is unusable: {why}", hint="the password must be set anew")
