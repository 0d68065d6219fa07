"""What a witness must not forget: its key, and the latest checkpoint of each log, in a folder of its own.

A checkpoint is a file of its own, whole and durable before anybody is given the cosignature in it. One process at a time
uses a folder. Whoever brings an old copy of it back lets the witness cosign what contradicts its own word.
"""

import os
import stat
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from secrets import token_bytes
from typing import ClassVar

from latticebank.crypto.canonical import canonical_json, parse_canonical
from latticebank.crypto.checkpoints import CosignerKey
from latticebank.crypto.errors import InvalidKey, NotCanonical
from latticebank.crypto.notes import MAX_NOTE
from latticebank.crypto.passphrase import FORMAT as SEALED_FORMAT
from latticebank.crypto.passphrase import open_with_passphrase, seal_with_passphrase
from latticebank.crypto.registry import ML_DSA_44, signature_algorithm
from latticebank.values.errors import BankError, Fault

KEY_FILE, LOCK_FILE = "key", "lock"
KEY_FORMAT = "latticebank-witness-key/1"
_PURPOSE = "the key of a witness"
_MAX_KEY_FILE = 65_536
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_OPEN_TO_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class FolderInUse(BankError):
    """Another process witnesses in this folder."""

    code = "witness-folder-in-use"
    title = "Another witness uses this folder"
    fault: ClassVar[Fault] = Fault.CONFLICT


class FolderUnusable(BankError):
    """The folder of a witness, or a file in it, cannot be read or written; the witness cosigns nothing."""

    code = "witness-folder-unusable"
    title = "The folder of the witness cannot be used"
    fault: ClassVar[Fault] = Fault.UNAVAILABLE


class KeyRefused(BankError):
    """The file of the witness's key is not what was asked for."""

    code = "witness-key-refused"
    title = "The key of the witness cannot be used"
    fault: ClassVar[Fault] = Fault.CONFLICT


class RecordDamaged(BankError):
    """A recorded checkpoint is not one that this witness cosigned."""

    code = "witness-record-damaged"
    title = "A record of the witness was changed"
    fault: ClassVar[Fault] = Fault.INTERNAL


class Record:
    """The latest checkpoints, as notes with the cosignature of this witness, in a folder held by `opened_record`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def latest(self, origin: str) -> bytes | None:
        """Return the note that was last kept for a log, None if there is none.

        Raises:
            FolderUnusable: it cannot be read.

        """
        return _read(self._path(origin, "checkpoint"), MAX_NOTE)

    def keep(self, origin: str, note: bytes) -> None:
        """Put a note in the place of the latest; it is durable when this returns.

        Raises:
            FolderUnusable: it cannot be written.

        """
        _write(self._path(origin, "checkpoint"), note)

    def keep_fork(self, origin: str, note: bytes) -> None:
        """Keep the first note that contradicts the latest: with it, anybody can show what the log has done.

        Raises:
            FolderUnusable: it cannot be written.

        """
        path = self._path(origin, "fork")
        if _read(path, MAX_NOTE) is None:
            _write(path, note)

    def key(self, name: str, passphrase: str | None) -> CosignerKey:
        """Return the key of the witness; a new one, sealed if there is a passphrase, in a folder without any record.

        Raises:
            KeyRefused: it is another witness's, open to others, no key, or gone; or it is sealed and no passphrase was
                given, or the reverse.
            PassphraseWrong, SealBroken: the passphrase is another, or the file was changed.
            MalformedNote: no key can have this name.
            FolderUnusable: it cannot be read or written.

        """
        path = self._folder / KEY_FILE
        content = _read(path, _MAX_KEY_FILE)
        if content is not None:
            if path.stat().st_mode & _OPEN_TO_OTHERS:
                raise KeyRefused(
                    f"others can read {path}", hint="make a new key in a new folder: this one may be known"
                )
            return _opened(path, content, name, passphrase)
        if any(self._folder.glob("*.checkpoint")):
            raise KeyRefused(f"{path} is gone, and records are there", hint="bring the file back, or use a new folder")
        seed = token_bytes(signature_algorithm(ML_DSA_44).seed_bytes)
        key = CosignerKey.from_seed(name, seed)
        members = {"format": KEY_FORMAT, "name": name, "seed": b64encode(seed).decode()}
        content = canonical_json(members)
        _write(path, content if passphrase is None else seal_with_passphrase(content, passphrase, _PURPOSE))
        return key

    def _path(self, origin: str, kind: str) -> Path:
        return self._folder / f"{origin_hash(origin)}.{kind}"


def origin_hash(origin: str) -> str:
    """Return how the protocol names a log in an address: SHA-256 of its origin, in hexadecimal."""
    return sha256(origin.encode()).hexdigest()


@contextmanager
def opened_record(folder: Path) -> Iterator[Record]:
    """Hold a folder, made 0700 if need be, for this process alone until the block ends, however that is.

    Raises:
        FolderInUse: another process holds it.
        FolderUnusable: it cannot be made or locked.

    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_mode & _WRITABLE_BY_OTHERS:
            raise FolderUnusable(f"others can write to {folder}", hint=f"chmod go-w {folder}, or use another folder")
        descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(folder, error) from error
    try:
        _lock(folder, descriptor)
        yield Record(folder)
    finally:
        os.close(descriptor)


def _lock(folder: Path, descriptor: int) -> None:
    import fcntl  # not on Windows, where this module must still be importable

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        hint = "a witness runs once; another one needs a folder and a key of its own"
        raise FolderInUse(f"{folder} is held by another process", field="--folder", hint=hint) from error


def _opened(path: Path, content: bytes, name: str, passphrase: str | None) -> CosignerKey:
    is_sealed = SEALED_FORMAT.encode() in content
    if is_sealed and passphrase is None:
        raise KeyRefused(f"{path} is sealed by a passphrase", hint="give it with --passphrase-file")
    if not is_sealed and passphrase is not None:
        raise KeyRefused(f"{path} is not sealed by a passphrase", hint="leave --passphrase-file out")
    if passphrase is not None:
        content = open_with_passphrase(content, passphrase, _PURPOSE)
    try:
        members = parse_canonical(content, _MAX_KEY_FILE)
        found, seed = str(members["name"]), b64decode(str(members["seed"]), validate=True)
        if members["format"] != KEY_FORMAT:
            raise KeyRefused(f"{path} has a format that this version does not read")
        key = CosignerKey.from_seed(found, seed)
    except (NotCanonical, KeyError, ValueError, InvalidKey) as error:
        raise KeyRefused(f"{path} holds no key of a witness", hint="bring a copy of the file back") from error
    if found != name:
        raise KeyRefused(f"{path} is the key of {found!a}, not of {name!a}", field="--name", hint=f"name it {found}")
    return key


def _read(path: Path, max_bytes: int) -> bytes | None:
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(path, error) from error
    if len(content) > max_bytes:
        raise RecordDamaged(f"{path} has more than {max_bytes} bytes")
    return content


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, readable by its owner alone, and there after a power cut."""
    draft = path.with_name(f"{path.name}.draft")
    try:
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        draft.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: OSError) -> FolderUnusable:
    return FolderUnusable(f"{path}: {error.strerror or error}", hint="look at the folder, its owner and its room")
