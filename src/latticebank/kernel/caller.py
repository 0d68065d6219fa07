"""Who calls, and the operator's credential by which the bank knows one caller before it knows any customer.

The operator is the break-glass principal: a bearer token (RFC 6750) in a file that only the bank's own user can read.
"""

import base64
import os
import re
import secrets
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from typing import Protocol

from latticebank.values.errors import BankError, Fault

TOKEN_FILE = "operator.token"  # noqa: S105 - the name of the file, not a token
_TOKEN = re.compile(r"lbo_[A-Za-z0-9_-]{43}")
_TOKEN_LENGTH = 47
_REFUSALS_AT_ONCE = 50.0
_REFUSALS_PER_SECOND = 5.0


class CallerKind(StrEnum):
    """The kinds of caller, each the name of its entity type in Cedar."""

    ANONYMOUS = "Anonymous"
    OPERATOR = "Operator"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request: the principal of its Cedar decision."""

    kind: CallerKind
    id: str


ANONYMOUS = Caller(CallerKind.ANONYMOUS, "anyone")
OPERATOR = Caller(CallerKind.OPERATOR, "break-glass")


class Unauthenticated(BankError):
    """The request needs a caller and names none."""

    code = "unauthenticated"
    title = "This needs to know who you are"
    fault = Fault.UNAUTHENTICATED


class CredentialRefused(BankError):
    """The credential is malformed, unknown, expired or revoked; it is never said which.

    `slow` is set when credentials are being refused faster than an honest caller errs: make this one wait.
    """

    code = "credential-refused"
    title = "This credential is not accepted"
    fault = Fault.UNAUTHENTICATED

    def __init__(self, *, slow: bool = False) -> None:
        super().__init__(
            "this credential is malformed or not known here",
            field="Authorization",
            hint="leave it out to call as anyone, or use a current one",
        )
        self.slow = slow


class UnsafeCredentialFile(BankError):
    """The file of a credential, or its folder, is open to others; the bank does not start on it."""

    code = "unsafe-credential-file"
    title = "A credential file is open to others"
    fault = Fault.INTERNAL


class Authenticator(Protocol):
    """Finds out who calls."""

    def authenticate(self, authorization: str | None) -> Caller:
        """Return who presents this Authorization header field (RFC 9110, 11.6.2); no field at all is anonymous.

        Raises:
            CredentialRefused: the field is there and does not prove a caller.

        """
        ...


class OperatorAuthenticator:
    """Knows the operator by a token of which it keeps only the SHA-256.

    `refused` is told of every refused credential. A bucket tells when refusals come too fast, and never stands in the
    way of the right token; `monotonic` gives its time in seconds.
    """

    def __init__(
        self,
        token_digest: bytes,
        refused: Callable[[], None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._digest = token_digest
        self._refused = refused
        self._monotonic = monotonic
        self._allowance = _REFUSALS_AT_ONCE
        self._measured_at = monotonic()

    def authenticate(self, authorization: str | None) -> Caller:
        """Return the operator for the operator's token, anonymous for no header field at all."""
        if authorization is None:
            return ANONYMOUS
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() == "bearer" and len(token) == _TOKEN_LENGTH and _TOKEN.fullmatch(token):
            if compare_digest(sha256(token.encode("ascii")).digest(), self._digest):
                return OPERATOR
        self._refused()
        raise CredentialRefused(slow=self._faster_than_honest())

    def _faster_than_honest(self) -> bool:
        now = self._monotonic()
        earned = (now - self._measured_at) * _REFUSALS_PER_SECOND
        self._measured_at = now
        self._allowance = min(_REFUSALS_AT_ONCE, self._allowance + earned)
        if self._allowance < 1:
            return True
        self._allowance -= 1
        return False


def operator_token_digest(folder: Path) -> bytes:
    """Return the SHA-256 of the operator's token in this folder, making the token at the first start.

    Raises:
        UnsafeCredentialFile: the folder can be written, or the file read, by others, or the file is not a token.

    """
    return sha256(read_operator_token(folder).encode()).digest()


def read_operator_token(folder: Path) -> str:
    """Return the operator's token, for a command line that acts as the operator.

    Raises:
        UnsafeCredentialFile: as `operator_token_digest`.

    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _refuse_open_folder(folder)
    path = folder / TOKEN_FILE
    if not os.path.lexists(path):
        _make_token(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise UnsafeCredentialFile(f"{path} cannot be read by the bank's user, or is a link") from error
    try:
        _refuse_open_file(path, os.fstat(descriptor))
        token = os.read(descriptor, _TOKEN_LENGTH + 2).decode("ascii", "replace").removesuffix("\n")
    finally:
        os.close(descriptor)
    if not _TOKEN.fullmatch(token):
        raise UnsafeCredentialFile(
            f"{path} does not hold an operator token", hint="remove it, and the next start makes a new one"
        )
    return token


def _make_token(path: Path) -> None:
    """Write a new token whole or not at all; of two banks that start at once, one makes it."""
    token = "lbo_" + base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(token + "\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()


def _refuse_open_folder(folder: Path) -> None:
    status = folder.stat()
    if hasattr(os, "geteuid") and status.st_uid not in (os.geteuid(), 0):
        raise UnsafeCredentialFile(f"{folder} belongs to another user", hint="give it to the user of the bank")
    if os.name == "posix" and status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UnsafeCredentialFile(f"others can write to {folder}", hint=f"chmod go-w {folder}")


def _refuse_open_file(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UnsafeCredentialFile(f"{path} is not a plain file")
    if hasattr(os, "geteuid") and status.st_uid != os.geteuid():
        raise UnsafeCredentialFile(f"{path} belongs to another user", hint="give it to the user of the bank")
    if os.name == "posix" and stat.S_IMODE(status.st_mode) & 0o077:
        raise UnsafeCredentialFile(f"others can read {path}", hint="remove it, and the next start makes a new one")
