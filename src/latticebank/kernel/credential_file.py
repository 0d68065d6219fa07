"""Long-lived credentials lie in files that only the bank's own user can read: the operator's, and one for each service.

A credential is a bearer token (RFC 6750) of 32 random bytes. It is made at the first start; who checks it keeps its
SHA-256 only.
"""

import base64
import os
import re
import secrets
import stat
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from latticebank.kernel.caller import Credential
from latticebank.values.errors import BankError, Fault

TOKEN_FILE = "operator.token"  # noqa: S105 - the name of the file, not a token
SERVICES_FOLDER = "services"
OPERATOR_PREFIX = "lbo_"
SERVICE_PREFIX = "lbv_"
TOKEN_LENGTH = 47
_TOKEN = re.compile(r"lb[ov]_[A-Za-z0-9_-]{43}")


class UnsafeCredentialFile(BankError):
    """The file of a credential, or its folder, is open to others; the bank does not start on it."""

    code = "unsafe-credential-file"
    title = "A credential file is open to others"
    fault = Fault.INTERNAL


def operator_token_digest(folder: Path) -> bytes:
    """Return the SHA-256 of the operator's token in the data folder, making the token at the first start.

    Raises:
        UnsafeCredentialFile: the folder can be written, or the file read, by others, or the file is not a token.

    """
    return sha256(read_operator_token(folder).encode()).digest()


def read_operator_token(folder: Path) -> str:
    """Return the operator's token, for a command line that acts as the operator.

    Raises:
        UnsafeCredentialFile: as `operator_token_digest`.

    """
    return _read(folder, TOKEN_FILE, OPERATOR_PREFIX)


def operator_credential(folder: Path) -> Credential:
    """Return what presents the operator's token of a data folder."""

    async def credential() -> str:
        return f"Bearer {read_operator_token(folder)}"

    return credential


def service_credential(folder: Path, service: str) -> Credential:
    """Return what presents the credential of a service that lies in a data folder."""

    async def credential() -> str:
        return f"Bearer {read_service_token(folder, service)}"

    return credential


def service_token_digest(folder: Path, service: str) -> bytes:
    """Return the SHA-256 of the credential of a service, as `operator_token_digest`."""
    return sha256(read_service_token(folder, service).encode()).digest()


def read_service_token(folder: Path, service: str) -> str:
    """Return the credential of a service from the data folder, as `read_operator_token`."""
    return _read(folder / SERVICES_FOLDER, f"{service}.token", SERVICE_PREFIX)


def is_token(text: str) -> bool:
    """Whether a text has the form of such a credential."""
    return len(text) == TOKEN_LENGTH and _TOKEN.fullmatch(text) is not None


def _read(folder: Path, name: str, prefix: str) -> str:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _refuse_open_folder(folder)
    path = folder / name
    if not os.path.lexists(path):
        _make_token(path, prefix)
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise UnsafeCredentialFile(f"{path} cannot be read by the bank's user, or is a link") from error
    try:
        _refuse_open_file(path, os.fstat(descriptor))
        token = os.read(descriptor, TOKEN_LENGTH + 2).decode("ascii", "replace").removesuffix("\n")
    finally:
        os.close(descriptor)
    if not is_token(token) or not token.startswith(prefix):
        raise UnsafeCredentialFile(
            f"{path} does not hold a token of the bank", hint="remove it, and the next start makes a new one"
        )
    return token


def _make_token(path: Path, prefix: str) -> None:
    """Write a new token whole or not at all; of two banks that start at once, one makes it."""
    token = prefix + base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()
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
