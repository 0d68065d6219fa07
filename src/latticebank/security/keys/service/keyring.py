"""The use cases of keys: a service gets its own, customers' keys are made, opened, rotated and destroyed."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from latticebank.crypto.envelope import FieldKey
from latticebank.crypto.registry import require_algorithms
from latticebank.kernel.database import Database, UnitOfWork
from latticebank.kernel.settings import Settings
from latticebank.security.keys import store
from latticebank.security.keys.model import (
    CUSTOMER_ALGORITHM,
    GUARD_ALGORITHM,
    GUARD_PURPOSE,
    KEEPER,
    KINDS,
    SEALING_ALGORITHM,
    SEALING_PURPOSE,
    Change,
    Key,
    KeyNotFound,
    KeyOfOtherAlgorithm,
    KeyState,
    Secret,
    Tombstone,
    TransitionRefused,
    active_of,
    customer_owner,
    new_secret,
    next_version,
    require_transition,
    service_owner,
)
from latticebank.security.keys.service.holds import refuse_if_held
from latticebank.security.keys.service.kek import KekRefused, open_kek
from latticebank.security.keys.service.messages import event_of
from latticebank.security.keys.service.tombstones import KEYS_AT_ONCE, Tombstones, replay, tombstones_of
from latticebank.security.keys.service.wrapping import (
    Keepers,
    add_keepers,
    keepers_of,
    open_customer,
    open_own,
    wrap_customer,
    wrap_own,
)
from latticebank.security.keys.wire import CustomerKeyRequest, KindWord, OwnKeyRequest, Reason
from latticebank.values.clock import Clock
from latticebank.values.errors import BankError, Fault
from latticebank.values.ids import Uuid7Source, derived_id

ROTATION_PAUSE = timedelta(hours=1)
_KEEPERS = (OwnKeyRequest(SEALING_PURPOSE, SEALING_ALGORITHM), OwnKeyRequest(GUARD_PURPOSE, GUARD_ALGORITHM))
_HELD = (KeyState.ACTIVE, KeyState.DEACTIVATED)


class RotatedJustNow(BankError):
    """The keys were rotated a short while ago."""

    code = "keys-rotated-just-now"
    title = "The keys were rotated just now"
    fault = Fault.CONFLICT


async def open_keyring(settings: Settings, database: Database, clock: Clock, ids: Uuid7Source) -> "Keyring":
    """Return the keyring of the settings' book: algorithms are proved, the KEK is open, what has a tombstone is destroyed.

    Raises:
        AlgorithmUnavailable: an algorithm is missing or answers wrongly.
        KekRefused: the KEK cannot be had.
        TombstoneDamaged, KeptApartUnavailable: the tombstones cannot be had.

    """
    await asyncio.to_thread(require_algorithms)
    kek, tombstones = await opened_kek(settings, database), tombstones_of(settings)
    await replay(database, settings.book, tombstones, clock, ids)
    return Keyring(database, settings.book, kek, tombstones, clock, ids)


async def opened_kek(settings: Settings, database: Database) -> FieldKey:
    """Return the KEK that belongs to the keys in this database.

    Raises:
        KekRefused: it cannot be had.

    """
    async with database.read() as connection:
        roots = await store.roots(connection, settings.book)
    if len(roots) > 1:
        raise KekRefused(f"the keys in the database are under several KEKs: {', '.join(map(str, roots))}")
    return await asyncio.to_thread(open_kek, settings, roots[0] if roots else None)


class Keyring:
    """The keys of one book. Secrets leave it to callers only, and are kept in memory only."""

    def __init__(
        self, database: Database, book: int, kek: FieldKey, tombstones: Tombstones, clock: Clock, ids: Uuid7Source
    ) -> None:
        self._database = database
        self._book = book
        self._kek = kek
        self._tombstones = tombstones
        self._clock = clock
        self._ids = ids
        self._keepers = Keepers()

    async def own_keys(self, service: str, wanted: Sequence[OwnKeyRequest]) -> list[tuple[Key, Secret]]:
        """Return a service's own keys, made where there is no version to protect with: the active first, then older ones.

        Raises:
            KeyOfOtherAlgorithm: the service has a key of another algorithm for this purpose.
            UnknownAlgorithm, AlgorithmNotPermitted: the bank makes no such keys.
            KeySuspended: the key is suspended.
            KeyDamaged: it was changed in the database.

        """
        owner = service_owner(service)
        purposes = [request.purpose for request in wanted]
        async with self._database.read() as connection:
            found = _by_purpose(await store.keys_of(connection, self._book, [owner], purposes))
        if any(active_of(found.get(purpose, ())) is None for purpose in purposes):
            found = await self._with_new(owner, wanted)
        held: list[tuple[Key, Secret]] = []
        for request in wanted:
            active, *older = sorted(
                (key for key in found[request.purpose] if key.state in _HELD), key=lambda key: (key.state, -key.version)
            )
            if active.algorithm != request.algorithm:
                raise KeyOfOtherAlgorithm(
                    f"the key for {request.purpose} is one of {active.algorithm}, not of {request.algorithm[:80]!a}"
                )
            held += [(key, open_own(self._book, self._kek, key)) for key in (active, *older)]
        return held

    async def create_customer_keys(self, customer: UUID, actor: str) -> None:
        """Make a customer's profile and records key, at most once: a kind that was ever there is not made again."""
        keepers = await self._active_keepers()
        owner = customer_owner(customer)
        async with self._database.begin() as unit:
            await store.lock_owners(unit.connection, self._book, [owner])
            there = _by_purpose(await store.keys_of(unit.connection, self._book, [owner], KINDS))
            for kind in KINDS:
                if kind not in there:
                    await self._insert_customer_key(unit, keepers, (owner, kind, 1, self._ids()), "first-use", actor)

    async def open_customer_keys(
        self, wanted: Sequence[CustomerKeyRequest]
    ) -> list[tuple[CustomerKeyRequest, Key, Secret]]:
        """Return the keys that are asked for and can be opened, in that order: the active, or the version that is named.

        Raises:
            KeyDamaged: one was changed in the database; none is returned.

        """
        owners = {customer_owner(request.owner) for request in wanted}
        async with self._database.read() as connection:
            keys = await store.keys_of(connection, self._book, owners, {request.kind for request in wanted})
        usable: dict[tuple[str, str, int | None], Key] = {}
        for key in keys:
            if key.state.opens:
                usable[key.owner, key.purpose, key.version] = key
            if key.state is KeyState.ACTIVE:
                usable[key.owner, key.purpose, None] = key
        asked = ((each, usable.get((customer_owner(each.owner), each.kind, each.version))) for each in wanted)
        chosen = [(request, found) for request, found in asked if found is not None]
        await self._fetch_keepers({keeper for _, key in chosen for keeper in keepers_of(key)})
        # Each takes a decapsulation, 0.1 ms: a thousand of them would hold up everything else in this process.
        secrets = await asyncio.to_thread(self._open_customers, [key for _, key in chosen])
        return [(request, key, secret) for (request, key), secret in zip(chosen, secrets, strict=True)]

    async def rotate(self, customer: UUID, command: UUID, actor: str) -> None:
        """Give a customer new active keys and deactivate the old: they still open. The same command does it once.

        Raises:
            KeyNotFound: the customer has no keys, or only destroyed ones.
            KeySuspended: one of them is suspended.
            RotatedJustNow: the last rotation was within `ROTATION_PAUSE`.

        """
        keepers = await self._active_keepers()
        owner = customer_owner(customer)
        async with self._database.begin() as unit:
            await store.lock_owners(unit.connection, self._book, [owner])
            there = _by_purpose(await store.keys_of(unit.connection, self._book, [owner], KINDS))
            living = {kind: keys for kind, keys in there.items() if any(key.state.opens for key in keys)}
            if not living:
                raise KeyNotFound("there are no keys to rotate")
            for kind, versions in living.items():
                identifier = derived_id("key-rotation", owner, kind, str(command))
                if any(key.id == identifier for key in versions):
                    return
                self._refuse_haste(versions)
                version = next_version(versions)
                if (active := active_of(versions)) is not None:
                    await self._change(unit, active, KeyState.DEACTIVATED, "rotation", actor)
                await self._insert_customer_key(unit, keepers, (owner, kind, version, identifier), "rotation", actor)

    async def destroy_customer_key(self, customer: UUID, kind: KindWord, reason: Reason, actor: str) -> None:
        """Destroy all versions of a customer's key, for ever; nothing where that has been done.

        Raises:
            KeyNotFound: the customer never had such a key.
            LegalHold: a legal hold stands over the customer.
            KeptApartUnavailable: the tombstone cannot be written, at least not everywhere; to be tried again.

        """
        while await self._destroy_some(customer_owner(customer), kind, reason, actor) == KEYS_AT_ONCE:
            pass

    async def change_state(self, identifier: UUID, wanted: KeyState, reason: Reason, actor: str) -> None:
        """Bring one key into another state; nothing where it is in it.

        Raises:
            KeyNotFound: there is no such key.
            TransitionRefused: NIST SP 800-57 does not let it, or customers' keys would be lost with it.
            LegalHold: it is to be destroyed, and a legal hold stands over its customer.
            KeptApartUnavailable: as `destroy_customer_key`.

        """
        async with self._database.begin() as unit:
            found = await store.keys_by_id(unit.connection, self._book, [identifier])
            await store.lock_owners(unit.connection, self._book, {each.owner for each in found})
            key = await store.locked_key(unit.connection, self._book, identifier)
            if key is None:
                raise KeyNotFound(f"there is no key {identifier}", field="key")
            if key.state is wanted:
                return
            require_transition(key.state, wanted)
            if wanted is KeyState.DESTROYED and key.owner == KEEPER:
                if await store.any_customer_key_left(unit.connection, self._book):
                    raise TransitionRefused("customers' keys are wrapped by this key", hint="destroy those first")
            if wanted is KeyState.DESTROYED and key.purpose in KINDS:
                await refuse_if_held(unit, self._book, key.owner)
                await self._tombstones.put(
                    Tombstone(self._book, key.owner, key.purpose, self._clock.now(), key.version)
                )
            await self._change(unit, key, wanted, reason, actor)
        self._keepers.forget(identifier)

    async def keys_of_customer(self, customer: UUID) -> list[Key]:
        """Return all versions of a customer's keys.

        Raises:
            KeyNotFound: the customer never had any.

        """
        async with self._database.read() as connection:
            keys = await store.keys_of(connection, self._book, [customer_owner(customer)], KINDS)
        if not keys:
            raise KeyNotFound("this user has no keys", field="user_id")
        return keys

    async def history(
        self, customer: UUID, after: tuple[datetime, UUID, int], limit: int
    ) -> list[tuple[Change, str, int]]:
        """Return a page of the history of a customer's keys, each entry with kind and version of its key."""
        async with self._database.read() as connection:
            return await store.history_of_owner(connection, self._book, customer_owner(customer), after, limit)

    async def _with_new(self, owner: str, wanted: Sequence[OwnKeyRequest]) -> dict[str, list[Key]]:
        """Make what a service lacks, and return all that it has of what is wanted."""
        async with self._database.begin() as unit:
            await store.lock_owners(unit.connection, self._book, [owner])
            found = _by_purpose(
                await store.keys_of(unit.connection, self._book, [owner], [request.purpose for request in wanted])
            )
            for request in wanted:
                versions = found.setdefault(request.purpose, [])
                if active_of(versions) is None:
                    secret = new_secret(request.algorithm)
                    key = self._new_key(
                        (owner, request.purpose, next_version(versions), self._ids()), request.algorithm
                    )
                    key = replace(key, parent=self._kek.key_id, public_key=secret.public)
                    key = replace(key, wrapped=wrap_own(self._book, self._kek, key, secret))
                    await self._insert(unit, key, "first-use", owner.replace("service:", "Service:"))
                    versions.append(key)
            return found

    async def _destroy_some(self, owner: str, kind: KindWord, reason: Reason, actor: str) -> int:
        """Destroy versions of a customer's key, at most `KEYS_AT_ONCE`; return how many."""
        async with self._database.begin() as unit:
            await store.lock_owners(unit.connection, self._book, [owner])
            versions = await store.keys_of(unit.connection, self._book, [owner], [kind])
            if not versions:
                raise KeyNotFound(f"the customer has no {kind} key")
            living = [key for key in versions if key.state is not KeyState.DESTROYED][:KEYS_AT_ONCE]
            if living:
                await refuse_if_held(unit, self._book, owner)
                await self._tombstones.put(Tombstone(self._book, owner, kind, self._clock.now()))
            for key in living:
                await self._change(unit, key, KeyState.DESTROYED, reason, actor)
        return len(living)

    async def _insert_customer_key(
        self, unit: UnitOfWork, keepers: tuple[Key, Key], named: tuple[str, str, int, UUID], reason: Reason, actor: str
    ) -> None:
        sealing, guard = (self._keepers.sealing[keepers[0].id], self._keepers.guards[keepers[1].id])
        key = replace(self._new_key(named, CUSTOMER_ALGORITHM), parent=keepers[0].id)
        wrapped = wrap_customer(self._book, sealing, guard, key, new_secret(CUSTOMER_ALGORITHM))
        await self._insert(unit, replace(key, wrapped=wrapped), reason, actor)

    def _new_key(self, named: tuple[str, str, int, UUID], algorithm: str) -> Key:
        """Return an active key of this owner, purpose, version and id, still without parent and secret."""
        owner, purpose, version, identifier = named
        now = self._clock.now()
        return Key(identifier, owner, purpose, version, algorithm, KeyState.ACTIVE, 1, identifier, None, b"", now)

    async def _insert(self, unit: UnitOfWork, key: Key, reason: Reason, actor: str) -> None:
        made = Change(key.id, 1, None, key.state, actor, reason, key.created_at)
        inserted = await store.insert(unit.connection, self._book, key, [made])
        assert inserted, "the lock on its owner keeps every other version away"
        unit.publish(event_of(self._ids, key, made))

    async def _change(self, unit: UnitOfWork, key: Key, wanted: KeyState, reason: Reason, actor: str) -> None:
        change = Change(key.id, key.changes + 1, key.state, wanted, actor, reason, self._clock.now())
        await store.change_state(unit.connection, self._book, change)
        unit.publish(event_of(self._ids, key, change))

    async def _active_keepers(self) -> tuple[Key, Key]:
        """Return the active sealing key and guard of the service, opened."""
        held = await self.own_keys(KEEPER.removeprefix("service:"), _KEEPERS)
        for key, secret in held:
            if not self._keepers.knows(key.id):
                self._keepers.add(key, secret)
        sealing, guard = (
            next(key for key, _ in held if key.purpose == request.purpose and key.state is KeyState.ACTIVE)
            for request in _KEEPERS
        )
        return sealing, guard

    async def _fetch_keepers(self, wanted: Collection[UUID]) -> None:
        """Open the keepers of these ids that are not known yet."""
        missing = [identifier for identifier in wanted if not self._keepers.knows(identifier)]
        if missing:
            async with self._database.read() as connection:
                found = {key.id: key for key in await store.keys_by_id(connection, self._book, missing)}
            add_keepers(self._book, self._kek, self._keepers, found)

    def _open_customers(self, keys: Sequence[Key]) -> list[Secret]:
        return [open_customer(self._book, self._keepers, key) for key in keys]

    def _refuse_haste(self, versions: Sequence[Key]) -> None:
        newest = max(versions, key=lambda key: key.version)
        if newest.version > 1 and self._clock.now() < newest.created_at + ROTATION_PAUSE:
            raise RotatedJustNow(
                f"keys are rotated once in {ROTATION_PAUSE.total_seconds() / 60:.0f} minutes", hint="try again later"
            )


def _by_purpose(keys: Sequence[Key]) -> dict[str, list[Key]]:
    found: dict[str, list[Key]] = {}
    for key in keys:
        found.setdefault(key.purpose, []).append(key)
    return found
