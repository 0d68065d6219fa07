"""People who bank here: what they give of themselves, and which passwords are fit."""

import re
from dataclasses import dataclass
from unicodedata import normalize

import msgspec

from latticebank.crypto.passwords import MAX_LENGTH
from latticebank.documents.document import require_text
from latticebank.security.identity.model.common_passwords import COMMON_PASSWORDS
from latticebank.values.errors import BankError, Fault, InvalidValue
from latticebank.values.words import Word

MIN_PASSWORD = 12
MAX_EMAIL = 254
MAX_NAME = 140
_LEAST_DIFFERENT = 5
_SHORTEST_TELLING = 4
_EMAIL = re.compile(r"[^@\s]{1,64}@(?:[^@\s.]{1,63}\.)+[^@\s.]{2,63}")
_PHONE = re.compile(r"\+[1-9][0-9]{6,14}")


class UserState(Word):
    """A user is opening until the first account is there, and erased from when an erasure of the profile begins."""

    OPENING = 1
    ACTIVE = 2
    ERASED = 3


class PasswordRefused(BankError):
    """A password that others would guess (OWASP ASVS 5.0, 6.2)."""

    code = "password-refused"
    title = "This password is too easy to guess"
    fault = Fault.REFUSED


class PasswordWrong(BankError):
    """The present password was not the one given in a field, in a session that is there."""

    code = "password-wrong"
    title = "This is not your password"
    fault = Fault.REFUSED

    def __init__(self, field: str) -> None:
        super().__init__("this is not the present password", field=field)


class UserIdTaken(BankError):
    """The id of a new user names another one."""

    code = "user-id-taken"
    title = "This user id is taken"
    fault = Fault.CONFLICT


class UserUnknown(BankError):
    """There is no user of this id who has finished registration."""

    code = "user-unknown"
    title = "There is no such user"
    fault = Fault.NOT_FOUND


@dataclass(frozen=True, slots=True, repr=False)
class Profile:
    """What a customer tells of themselves; stored sealed as one value. Its repr shows nothing."""

    email: str
    full_name: str
    phone: str

    def to_bytes(self) -> bytes:
        """Return the profile as it is sealed."""
        return msgspec.json.encode(self)

    @classmethod
    def from_bytes(cls, opened: bytes) -> "Profile":
        """Return the profile that was sealed."""
        return msgspec.json.decode(opened, type=cls)


def profile_of(email: str, full_name: str, phone: str) -> Profile:
    """Return the profile of what a customer wrote.

    Raises:
        InvalidValue: a field is malformed; it is named by its JSON pointer.

    """
    fold_email(email)
    if not full_name.strip():
        raise InvalidValue("this must name a person", field="/full_name")
    require_text(full_name, "/full_name", MAX_NAME)
    if not _PHONE.fullmatch(phone):
        raise InvalidValue("a phone number is written like +4915112345678 (E.164)", field="/phone")
    return Profile(email, full_name, phone)


def fold_email(email: str) -> str:
    """Return the form of an e-mail address under which it is found, however it was typed.

    Raises:
        InvalidValue: it is none.

    """
    folded = normalize("NFC", normalize("NFC", email).casefold())
    require_text(folded, "/email", MAX_EMAIL)
    if not _EMAIL.fullmatch(folded):
        raise InvalidValue("an e-mail address is written like ada@example.org", field="/email")
    return folded


def require_fit_password(password: str, email: str, bank: str, field: str = "/password") -> None:
    """Check a new password: long enough, not a common one, and not made of what everyone knows.

    There are no rules of composition.

    Raises:
        InvalidValue: it is too short or too long.
        PasswordRefused: others would guess it.

    """
    if not MIN_PASSWORD <= len(password) <= MAX_LENGTH:
        raise InvalidValue(f"a password has {MIN_PASSWORD} to {MAX_LENGTH} characters", field=field)
    folded = normalize("NFKC", password).casefold()
    known = (*email.casefold().partition("@")[::2], bank)
    if folded in COMMON_PASSWORDS or folded.rstrip("0123456789!?.") in COMMON_PASSWORDS:
        reason = "this is one of the passwords that are tried first"
    elif len(set(folded)) < _LEAST_DIFFERENT:
        reason = f"this has fewer than {_LEAST_DIFFERENT} different characters"
    elif any(len(word) >= _SHORTEST_TELLING and word in folded for word in known):
        reason = "this holds your address or the name of the bank"
    else:
        return
    raise PasswordRefused(reason, field=field, hint="take a few words that have nothing to do with each other")
