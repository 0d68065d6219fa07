"""The key of keys (KEK): a file that only a passphrase opens, which is kept neither in the data folder nor in a backup.

A bank to play with may have the key in a keyless file. Nothing ever takes the place of what is missing: a wrong
passphrase, a missing file or one of the wrong kind keeps the service closed, and no new KEK is made over keys that an
older one has wrapped.
"""

import os
import stat
from base64 import b64decode, b64encode
from contextlib import suppress
from pathlib import Path
from secrets import token_bytes, token_hex
from typing import Final
from uuid import UUID

from latticebank.crypto.canonical import canonical_json, parse_canonical
from latticebank.crypto.envelope import FieldKey
from latticebank.crypto.errors import InvalidKey, NotCanonical, PassphraseWrong, SealBroken
from latticebank.crypto.passphrase import open_with_passphrase, seal_with_passphrase
from latticebank.kernel.settings import Settings
from latticebank.values.errors import BankError, Fault, InvalidValue
from latticebank.values.ids import parse_uuid

SEALED_FILE = "kek.sealed"
DEMO_FILE = "kek.demo"
PURPOSE: Final = "latticebank/kek/v1"
_FORMAT: Final = "latticebank-kek/1"
_DEMO_WARNING: Final = "not sealed: whoever reads this file reads everything in this demo bank"
_MAX_FILE = 1 << 16
_SECRET_BYTES = 32
_SET_IT = "set LATTICEBANK_KEK_PASSPHRASE"


class KekRefused(BankError):
    """The key of keys cannot be had, and the service does not start without it."""

    code = "kek-refused"
    title = "The key of keys cannot be opened"
    fault = Fault.INTERNAL


def open_kek(settings: Settings, wrapped_under: UUID | None) -> FieldKey:
    """Return the KEK, made at the first start; `wrapped_under` is the KEK of the keys in the database, if it has any.

    Raises:
        KekRefused: no passphrase, a wrong one, a file that is missing, damaged, open to others, keyless where that is
            not allowed, or that of another tree.

    """
    kek = present_kek(settings)
    if kek is None:
        if wrapped_under is not None:
            raise KekRefused(
                f"{_place(settings)} is missing, and the database has keys that only the KEK {wrapped_under} opens",
                hint="bring the file back, or restore it with `latticebank keys restore`",
            )
        install_kek(settings, FieldKey(UUID(bytes=token_bytes(16), version=4), 1, token_bytes(_SECRET_BYTES)))
        kek = present_kek(settings)
        assert kek is not None
    if wrapped_under not in (None, kek.key_id):
        raise KekRefused(
            f"{_place(settings)} holds the KEK {kek.key_id}, and the keys in the database are under {wrapped_under}",
            hint="use the file that belongs to this database",
        )
    return kek


def present_kek(settings: Settings) -> FieldKey | None:
    """Return the KEK of the file, or None where there is no file and one may be made.

    Raises:
        KekRefused: as `open_kek`.

    """
    path = _place(settings)
    if settings.kek_passphrase is not None:
        return _open_sealed(path, settings.kek_passphrase.get_secret_value()) if os.path.lexists(path) else None
    sealed, keyless = _sealed_place(settings), settings.data / DEMO_FILE
    if os.path.lexists(sealed):
        raise KekRefused(f"{sealed} opens with a passphrase only", hint=_SET_IT)
    if not settings.demo:
        found = f"{keyless} is the keyless file of a demo bank" if os.path.lexists(keyless) else "no passphrase is set"
        raise KekRefused(f"{found}, and only a demo bank runs without a passphrase", hint=_SET_IT)
    return _read_keyless(keyless) if os.path.lexists(keyless) else None


def install_kek(settings: Settings, kek: FieldKey) -> None:
    """Write a KEK into the file that the settings ask for, durably; a file that is already there stays as it is.

    Raises:
        KekRefused: the file cannot be written.

    """
    path = _place(settings)
    if settings.kek_passphrase is not None:
        try:
            content = seal_with_passphrase(_written(kek), settings.kek_passphrase.get_secret_value(), PURPOSE)
        except InvalidValue as error:
            raise KekRefused(error.detail, field="kek_passphrase", hint=f"{_SET_IT} to a longer one") from error
    else:
        content = _written(kek, demo=_DEMO_WARNING)
    try:
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_once(path, content)
    except OSError as error:
        raise KekRefused(f"{path} cannot be written: {error.strerror}", hint="see LATTICEBANK_KEK_FILE") from error


def _place(settings: Settings) -> Path:
    return settings.data / DEMO_FILE if settings.kek_passphrase is None else _sealed_place(settings)


def _sealed_place(settings: Settings) -> Path:
    return settings.kek_file or settings.data / SEALED_FILE


def _open_sealed(path: Path, passphrase: str) -> FieldKey:
    content = _read(path, stat.S_IWGRP | stat.S_IWOTH)
    try:
        return _parsed(open_with_passphrase(content, passphrase, PURPOSE), path)
    except PassphraseWrong as error:
        raise KekRefused(f"LATTICEBANK_KEK_PASSPHRASE does not open {path}", hint="set the right one") from error
    except (SealBroken, InvalidValue) as error:
        raise KekRefused(f"{path} does not open: {error.detail}", hint="bring back an undamaged copy") from error


def _read_keyless(path: Path) -> FieldKey:
    return _parsed(_read(path, stat.S_IRWXG | stat.S_IRWXO), path, demo=_DEMO_WARNING)


def _written(kek: FieldKey, **more: str) -> bytes:
    secret = b64encode(kek.secret).decode()
    return canonical_json(
        {"format": _FORMAT, "key_id": str(kek.key_id), "secret": secret, "version": str(kek.version)} | more
    )


def _parsed(content: bytes, path: Path, **more: str) -> FieldKey:
    """Return the KEK that `_written` wrote with the same further members."""
    try:
        members = parse_canonical(content)
        kek = FieldKey(
            parse_uuid(str(members.get("key_id")), "key_id"),
            int(str(members.get("version"))),
            b64decode(str(members.get("secret")), validate=True),
        )
        if _written(kek, **more) != content:
            raise ValueError("another form")
    except (NotCanonical, InvalidKey, InvalidValue, ValueError):
        raise KekRefused(
            f"{path} does not hold a KEK as this bank writes it", hint="bring back an undamaged copy"
        ) from None
    return kek


def _read(path: Path, forbidden: int) -> bytes:
    """Return the content of a plain file on which others do not have these rights."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            content = file.read(_MAX_FILE + 1) if stat.S_ISREG(status.st_mode) else b""
    except OSError as error:
        raise KekRefused(f"{path} cannot be read: {error.strerror}", hint="give it to the user of the bank") from error
    if not content or len(content) > _MAX_FILE:
        raise KekRefused(f"{path} is no file with a KEK", hint="bring back an undamaged copy")
    if os.name == "posix" and status.st_mode & forbidden:
        raise KekRefused(f"others than the user of the bank have rights on {path}", hint=f"chmod 600 {path}")
    return content


def _write_once(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; of two processes that start at once, one makes it."""
    draft = path.with_name(f".{path.name}.{token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
