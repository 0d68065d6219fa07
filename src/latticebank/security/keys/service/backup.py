"""The tree of keys in one file, apart from the data that the keys protect, under a passphrase of its own.

The first line is sealed by the passphrase and holds the KEK and a key made for this file. Each further line is a part of
the tree, wrapped as it is in the database, sealed under the file's key and bound to its place; the last says that it is.

Restoring adds what is missing and repairs what was changed, and never takes anything back: of two histories of a key
the longer one counts, a key that is destroyed in the database, in the file or by its tombstone is destroyed afterwards,
and a legal hold that stands in one and was lifted in the other was lifted.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from secrets import token_bytes
from typing import BinaryIO, Final
from uuid import UUID

from msgspec import DecodeError, Struct, ValidationError, field, json

from latticebank.crypto.canonical import canonical_json, parse_canonical
from latticebank.crypto.envelope import FieldKey, field_place
from latticebank.crypto.errors import InvalidKey, NotCanonical, SealBroken
from latticebank.crypto.passphrase import open_with_passphrase, seal_with_passphrase
from latticebank.kernel.database import Database, UnitOfWork
from latticebank.kernel.settings import Settings
from latticebank.security.keys import store
from latticebank.security.keys.model import TRANSITIONS, Change, Hold, Key, KeyDamaged, KeyState
from latticebank.security.keys.service.kek import install_kek, present_kek
from latticebank.security.keys.service.messages import event_of
from latticebank.security.keys.service.tombstones import Graves, complete, replay, tombstones_of
from latticebank.security.keys.service.wrapping import open_own
from latticebank.values.clock import Clock
from latticebank.values.errors import BankError, Fault
from latticebank.values.ids import Uuid7Source, parse_uuid

PURPOSE: Final = "latticebank/keys-backup/v1"
KEYS_IN_A_PART = 500
_MAX_LINE = 64 << 20
_IN_BACKUP: Final = "destroyed-in-the-backup"
_RESTORER: Final = "Operator:restore"


class BackupBroken(BankError):
    """The file is no backup of keys, is cut short, or was changed; nothing was restored."""

    code = "keys-backup-broken"
    title = "The backup of the keys cannot be used"
    fault = Fault.INVALID


class DifferentKeyTree(BankError):
    """The bank has another tree of keys than the backup; nothing was restored."""

    code = "different-key-tree"
    title = "The bank has other keys than the backup"
    fault = Fault.CONFLICT


class KeysWentApart(BankError):
    """A key has gone one way in the bank and another in the backup: both made the same version of it, or stayed active."""

    code = "keys-went-apart"
    title = "The bank and the backup have gone different ways"
    fault = Fault.CONFLICT


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did, in numbers of keys."""

    in_backup: int = 0
    added: int = 0
    advanced: int = 0
    repaired: int = 0
    destroyed: int = 0


class _Part(Struct, frozen=True):
    """A part of the tree: keys, older versions before newer, their whole histories, and the holds over their owners."""

    keys: list[Key]
    history: list[Change]
    last: bool
    holds: list[Hold] = field(default_factory=list)


async def write_backup(
    database: Database, book: int, kek: FieldKey, passphrase: str, out: BinaryIO, at: datetime
) -> int:
    """Write the tree of a book as it is at one instant; return the number of keys.

    Raises:
        InvalidValue: the passphrase is empty or too long.

    """
    own = FieldKey(UUID(bytes=token_bytes(16), version=4), 1, token_bytes(32))
    header = {"book": str(book), "made_at": at.isoformat(), "file": _told(own), "kek": _told(kek)}
    out.write(seal_with_passphrase(canonical_json(header), passphrase, PURPOSE) + b"\n")
    written, after, number = 0, ("", "", 0), 0
    async with database.read() as connection:
        while True:
            keys = await store.keys_after(connection, book, after, KEYS_IN_A_PART)
            history = await store.history_of(connection, book, [key.id for key in keys])
            holds = await store.holds_of(connection, book, {key.owner for key in keys})
            last = len(keys) < KEYS_IN_A_PART
            out.write(b64encode(own.seal(json.encode(_Part(keys, history, last, holds)), _place(number))) + b"\n")
            written, number = written + len(keys), number + 1
            if last:
                return written
            after = (keys[-1].owner, keys[-1].purpose, keys[-1].version)


async def restore_backup(
    settings: Settings, database: Database, file: BinaryIO, passphrase: str, clock: Clock, ids: Uuid7Source
) -> Restored:
    """Bring the tree of a backup back, and the file of its KEK where that is missing.

    Parts are restored one after the other, and what has a tombstone is destroyed as it comes. A part that does not fit
    ends the work; what came before it stays, and to repeat it is safe.

    Raises:
        PassphraseWrong, BackupBroken: the file does not open, or is not whole.
        DifferentKeyTree: the database or the file of the KEK is of another tree.
        KekRefused: the present file of the KEK does not open, or the settings say neither how to seal one nor `demo`.
        KeysWentApart: bank and backup have each made a version of a key that the other does not know.
        KeyDamaged: a key of a service in the backup is not one of this tree, or a row here says of a key what it is not.
        TombstoneDamaged, KeptApartUnavailable: the tombstones cannot be had.

    """
    tombstones = tombstones_of(settings)
    graves = await tombstones.graves()
    kek, own = _open_header(settings, file.readline(_MAX_LINE), passphrase)
    beginning = file.tell()
    for part in _parts(file, own):
        for key in part.keys:
            if key.owner.startswith("service:") and key.wrapped is not None:
                open_own(settings.book, kek, key)
    async with database.read() as connection:
        roots = await store.roots(connection, settings.book)
    if any(root != kek.key_id for root in roots):
        raise DifferentKeyTree(f"the keys in the database are under the KEK {roots[0]}, the backup's are not")
    present = present_kek(settings)
    if present is None:
        install_kek(settings, kek)
    elif (present.key_id, present.secret) != (kek.key_id, kek.secret):
        raise DifferentKeyTree(
            f"the bank has the KEK {present.key_id}, the backup {kek.key_id}",
            hint="restore into an empty bank, or use the backup of this one",
        )
    file.seek(beginning)
    restored = Restored()
    for part in _parts(file, own):
        async with database.begin() as unit:
            restored = await _restore_part(unit, settings.book, part, restored, graves, clock, ids)
    left = await replay(database, settings.book, tombstones, clock, ids)
    return replace(restored, destroyed=restored.destroyed + left)


def _open_header(settings: Settings, line: bytes, passphrase: str) -> tuple[FieldKey, FieldKey]:
    """Return the KEK in the backup and the key of the file."""
    try:
        header = parse_canonical(open_with_passphrase(line.removesuffix(b"\n"), passphrase, PURPOSE))
        book, kek, own = header["book"], _kept(header["kek"]), _kept(header["file"])
    except (SealBroken, NotCanonical, InvalidKey, KeyError, ValueError, TypeError) as error:
        raise BackupBroken(f"the file is no backup of keys: {error}") from error
    if book != str(settings.book):
        raise DifferentKeyTree(f"this is the backup of book {book}, and the bank keeps book {settings.book}")
    return kek, own


def _parts(file: BinaryIO, own: FieldKey) -> Iterator[_Part]:
    """Yield the parts of a backup from here to its end, each proved to be whole and in its place."""
    number, last = 0, False
    while line := file.readline(_MAX_LINE):
        if last:
            raise BackupBroken("something was added to the end of the file")
        try:
            sealed = b64decode(line.removesuffix(b"\n"), validate=True)
            part = json.decode(own.open(sealed, _place(number)), type=_Part)
        except (SealBroken, ValueError, DecodeError, ValidationError) as error:
            raise BackupBroken(f"part {number + 1} of the file was changed, or is cut short") from error
        yield part
        number, last = number + 1, part.last
    if not last:
        raise BackupBroken(f"the file ends after {number} parts, before its end")


async def _restore_part(
    unit: UnitOfWork, book: int, part: _Part, restored: Restored, graves: Graves, clock: Clock, ids: Uuid7Source
) -> Restored:
    owners = {key.owner for key in part.keys}
    await store.lock_owners(unit.connection, book, owners)
    await _restore_holds(unit, book, part.holds)
    held = await store.held(unit.connection, book, owners)
    found = await store.keys_by_id(unit.connection, book, [key.id for key in part.keys])
    there = {key.id: key for key in found}
    told: dict[UUID, list[Change]] = {}
    for change in part.history:
        told.setdefault(change.key, []).append(change)
    added = advanced = repaired = 0
    for kept in part.keys:
        present = there.get(kept.id)
        if present is None:
            if not await store.insert(unit.connection, book, kept, told[kept.id]):
                raise KeysWentApart(
                    f"the {kept.purpose} key of {kept.owner} has gone another way here than version {kept.version}",
                    hint="restore the backup into an empty bank",
                )
            added += 1
            continue
        if _without_state(present) != _without_state(kept):
            raise KeyDamaged(f"the row of key {kept.id} is not what it is in the backup")
        missing = _missing(present, kept, told[kept.id], clock, held=present.owner in held)
        for change in missing:
            await store.change_state(unit.connection, book, change)
        if missing:
            unit.publish(event_of(ids, present, missing[-1]))
            advanced += 1
        elif present.wrapped not in (None, kept.wrapped) and kept.wrapped is not None:
            await store.set_wrapped(unit.connection, book, kept.id, kept.wrapped)
            repaired += 1
    destroyed = await complete(unit, book, graves, owners, clock, ids)
    return Restored(
        restored.in_backup + len(part.keys),
        restored.added + added,
        restored.advanced + advanced,
        restored.repaired + repaired,
        restored.destroyed + destroyed,
    )


async def _restore_holds(unit: UnitOfWork, book: int, holds: list[Hold]) -> None:
    """Place the holds that are missing, and lift those that were lifted."""
    for hold in holds:
        placed = await store.place_hold(unit.connection, book, hold)
        if not placed and hold.lifted_at is not None and hold.lifted_by is not None:
            await store.lift_hold(unit.connection, book, hold.id, hold.lifted_by, hold.lifted_at)


def _missing(present: Key, kept: Key, told: list[Change], clock: Clock, *, held: bool) -> list[Change]:
    """Return what happened to a key, as the backup knows, and has not happened to it in the database.

    A hold here came too late for what was destroyed there: the reason of the destruction says so.
    """
    if present.state is KeyState.DESTROYED:
        return []
    later = [change for change in told if change.number > present.changes]
    if later and later[0].from_state is present.state:
        *others, last = later
        if held and last.to_state is KeyState.DESTROYED:
            last = replace(last, reason=_IN_BACKUP)
        return [*others, last]
    if kept.state is KeyState.DESTROYED:
        assert KeyState.DESTROYED in TRANSITIONS[present.state]
        number = present.changes + 1
        now = clock.now()
        return [Change(present.id, number, present.state, KeyState.DESTROYED, _RESTORER, _IN_BACKUP, now)]
    return []


def _without_state(key: Key) -> Key:
    """Return what of a key never changes."""
    return replace(key, state=KeyState.ACTIVE, changes=1, wrapped=None)


def _place(number: int) -> bytes:
    return field_place("keys-backup", "part", str(number))


def _told(key: FieldKey) -> dict[str, str]:
    return {"key_id": str(key.key_id), "secret": b64encode(key.secret).decode(), "version": str(key.version)}


def _kept(told: object) -> FieldKey:
    """Return the key that `_told` wrote."""
    if not isinstance(told, dict):
        raise TypeError("this is no key")
    return FieldKey(
        parse_uuid(str(told["key_id"]), "key_id"), int(told["version"]), b64decode(told["secret"], validate=True)
    )
