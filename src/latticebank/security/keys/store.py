"""All SQL of the keys. Every statement names the book first, as every key of a table does."""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from latticebank.security.keys.model import Change, Hold, Key, KeyState

Connection = AsyncConnection

_COLUMNS = "id, owner, purpose, version, algorithm, state, changes, parent, wrapped, public_key, created_at"
_NAMES = _COLUMNS.split(", ")
_HISTORY = "key, number, from_state, to_state, actor, reason, at"

_LOCK_OWNERS = text(
    """
    SELECT pg_advisory_xact_lock(hashtextextended(owner, :book))
    FROM (SELECT unnest(CAST(:owners AS text[])) AS owner ORDER BY 1) wanted
    """
)
_OF_OWNERS = text(
    f"""
    SELECT {_COLUMNS} FROM keys
    WHERE book = :book AND owner = ANY(:owners) AND purpose = ANY(:purposes)
    ORDER BY owner, purpose, version DESC
    """  # noqa: S608 - only column names are put in
)
_BY_ID = text(f"SELECT {_COLUMNS} FROM keys WHERE book = :book AND id = ANY(:ids) ORDER BY id")  # noqa: S608 - as above
_OF_SERVICES = text(
    f"""
    SELECT {_COLUMNS} FROM keys WHERE book = :book AND owner LIKE 'service:%' ORDER BY owner, purpose, version DESC
    """  # noqa: S608 - as above
)
_COUNTED = text(
    """
    SELECT purpose, state, count(*) FROM keys WHERE book = :book AND owner LIKE 'customer:%'
    GROUP BY purpose, state ORDER BY purpose, state
    """
)
_AFTER = text(
    f"""
    SELECT {_COLUMNS} FROM keys WHERE book = :book AND (owner, purpose, version) > (:owner, :purpose, :version)
    ORDER BY owner, purpose, version LIMIT :limit
    """  # noqa: S608 - as above
)
_ROOTS = text("SELECT DISTINCT parent FROM keys WHERE book = :book AND owner LIKE 'service:%' LIMIT 2")
_ANY_OPEN = text("SELECT EXISTS (SELECT FROM keys WHERE book = :book AND owner LIKE 'customer:%' AND state <> 6)")
_DESTROYED = text(
    """
    SELECT owner, purpose, version FROM keys WHERE book = :book AND state = 6 AND owner LIKE 'customer:%'
    ORDER BY owner, purpose, version
    """
)
_INSERT = text(
    f"""
    INSERT INTO keys (book, {_COLUMNS})
    VALUES (:book, :id, :owner, :purpose, :version, :algorithm, :state, :changes, :parent, :wrapped, :public_key,
            :created_at)
    ON CONFLICT DO NOTHING
    """  # noqa: S608 - as above
)
_LOCKED = text(f"SELECT {_COLUMNS} FROM keys WHERE book = :book AND id = :id FOR UPDATE")  # noqa: S608 - as above
_SET_STATE = text(
    """
    UPDATE keys SET state = :state, changes = :changes, wrapped = CASE WHEN :gone THEN NULL ELSE wrapped END
    WHERE book = :book AND id = :id
    """
)
_SET_WRAPPED = text("UPDATE keys SET wrapped = :wrapped WHERE book = :book AND id = :id AND wrapped IS NOT NULL")
_TELL = text(
    f"""
    INSERT INTO key_history (book, {_HISTORY}) VALUES (:book, :key, :number, :from_state, :to_state, :actor, :reason, :at)
    """  # noqa: S608 - as above
)
_HISTORY_OF_OWNER = text(
    f"""
    SELECT h.{_HISTORY.replace(", ", ", h.")}, k.purpose, k.version
    FROM key_history h JOIN keys k ON (k.book, k.id) = (h.book, h.key)
    WHERE k.book = :book AND k.owner = :owner AND (h.at, h.key, h.number) > (:at, :key, :number)
    ORDER BY h.at, h.key, h.number LIMIT :limit
    """  # noqa: S608 - as above
)
_HISTORY_OF = text(
    f"SELECT {_HISTORY} FROM key_history WHERE book = :book AND key = ANY(:keys) ORDER BY key, number"  # noqa: S608
)
_HOLD_COLUMNS = "id, owner, reason, placed_at, placed_by, lifted_at, lifted_by"
_HOLDS_OF = text(
    f"""
    SELECT {_HOLD_COLUMNS} FROM legal_holds WHERE book = :book AND owner = ANY(:owners)
    ORDER BY owner, placed_at, id
    """  # noqa: S608 - only column names are put in
)
_HELD = text("SELECT DISTINCT owner FROM legal_holds WHERE book = :book AND owner = ANY(:owners) AND lifted_at IS NULL")
_PLACE = text(
    f"""
    INSERT INTO legal_holds (book, {_HOLD_COLUMNS})
    VALUES (:book, :id, :owner, :reason, :placed_at, :placed_by, :lifted_at, :lifted_by)
    ON CONFLICT DO NOTHING RETURNING id
    """  # noqa: S608 - as above
)
_LIFT = text(
    """
    UPDATE legal_holds SET lifted_at = greatest(placed_at, :at), lifted_by = :by
    WHERE book = :book AND id = :id AND lifted_at IS NULL RETURNING id
    """
)


async def lock_owners(connection: Connection, book: int, owners: Collection[str]) -> None:
    """Let nobody else make or rotate keys of these owners until the transaction ends."""
    await connection.execute(_LOCK_OWNERS, {"book": book, "owners": sorted(set(owners))})


async def keys_of(connection: Connection, book: int, owners: Collection[str], purposes: Collection[str]) -> list[Key]:
    """Return all versions of the keys that these owners have for these purposes, newest first for each."""
    result = await connection.execute(_OF_OWNERS, {"book": book, "owners": [*owners], "purposes": [*purposes]})
    return [_key(row) for row in result]


async def keys_by_id(connection: Connection, book: int, ids: Collection[UUID]) -> list[Key]:
    """Return those of these keys that exist, in order of their ids."""
    return [_key(row) for row in await connection.execute(_BY_ID, {"book": book, "ids": [*ids]})]


async def keys_of_services(connection: Connection, book: int) -> list[Key]:
    """Return all keys of all services."""
    return [_key(row) for row in await connection.execute(_OF_SERVICES, {"book": book})]


async def count_of_customers(connection: Connection, book: int) -> list[tuple[str, KeyState, int]]:
    """Return how many keys customers have, by purpose and state."""
    return [(row[0], KeyState(row[1]), row[2]) for row in await connection.execute(_COUNTED, {"book": book})]


async def keys_after(connection: Connection, book: int, after: tuple[str, str, int], limit: int) -> list[Key]:
    """Return a page of the whole tree in order of owner, purpose and version, the oldest version first."""
    owner, purpose, version = after
    values = {"owner": owner, "purpose": purpose, "version": version, "limit": limit}
    return [_key(row) for row in await connection.execute(_AFTER, {"book": book, **values})]


async def roots(connection: Connection, book: int) -> list[UUID]:
    """Return the ids of the KEKs that the keys of services are wrapped by: one, none in an empty tree; two at most."""
    return [row[0] for row in await connection.execute(_ROOTS, {"book": book})]


async def any_customer_key_left(connection: Connection, book: int) -> bool:
    """Whether some customer has a key that is not destroyed."""
    return bool((await connection.execute(_ANY_OPEN, {"book": book})).scalar_one())


async def destroyed_keys_of_customers(connection: Connection, book: int) -> list[tuple[str, str, int]]:
    """Return owner, purpose and version of every key of a customer that is destroyed."""
    return [(row[0], row[1], row[2]) for row in await connection.execute(_DESTROYED, {"book": book})]


async def locked_key(connection: Connection, book: int, identifier: UUID) -> Key | None:
    """Return a key and let nobody else change it until the transaction ends."""
    row = (await connection.execute(_LOCKED, {"book": book, "id": identifier})).one_or_none()
    return None if row is None else _key(row)


async def insert(connection: Connection, book: int, key: Key, history: Sequence[Change]) -> bool:
    """Write a new key with its history; return whether there was room for it: no such version, and one active at most."""
    values = {name: getattr(key, name) for name in _NAMES}
    inserted = await connection.execute(_INSERT, {"book": book, **values, "state": int(key.state)})
    if inserted.rowcount == 0:
        return False
    await connection.execute(_TELL, [_told(book, change) for change in history])
    return True


async def change_state(connection: Connection, book: int, change: Change) -> None:
    """Bring a key into another state and tell so in its history; the secret of one that is destroyed goes."""
    values = {"id": change.key, "state": int(change.to_state), "changes": change.number}
    gone = change.to_state is KeyState.DESTROYED
    await connection.execute(_SET_STATE, {"book": book, **values, "gone": gone})
    await connection.execute(_TELL, _told(book, change))


async def set_wrapped(connection: Connection, book: int, identifier: UUID, wrapped: bytes) -> None:
    """Replace the wrapped secret of a key that is not destroyed."""
    await connection.execute(_SET_WRAPPED, {"book": book, "id": identifier, "wrapped": wrapped})


async def history_of_owner(
    connection: Connection, book: int, owner: str, after: tuple[datetime, UUID, int], limit: int
) -> list[tuple[Change, str, int]]:
    """Return a page of the history of an owner's keys, oldest first: each entry with purpose and version of its key."""
    at, key, number = after
    values = {"owner": owner, "at": at, "key": key, "number": number, "limit": limit}
    result = await connection.execute(_HISTORY_OF_OWNER, {"book": book, **values})
    return [(_change(row[:7]), row[7], row[8]) for row in result]


async def history_of(connection: Connection, book: int, keys: Collection[UUID]) -> list[Change]:
    """Return the history of these keys, in order of key and number."""
    return [_change(row) for row in await connection.execute(_HISTORY_OF, {"book": book, "keys": [*keys]})]


async def holds_of(connection: Connection, book: int, owners: Collection[str]) -> list[Hold]:
    """Return all legal holds over these customers, those that were lifted too, in the order of time for each."""
    return [Hold(*row) for row in await connection.execute(_HOLDS_OF, {"book": book, "owners": [*owners]})]


async def held(connection: Connection, book: int, owners: Collection[str]) -> set[str]:
    """Return those of these customers over whom a hold stands."""
    return {row[0] for row in await connection.execute(_HELD, {"book": book, "owners": [*owners]})}


async def place_hold(connection: Connection, book: int, hold: Hold) -> bool:
    """Write a hold; False if it is there already, or another of its reason stands."""
    return (await connection.execute(_PLACE, {"book": book, **asdict(hold)})).one_or_none() is not None


async def lift_hold(connection: Connection, book: int, identifier: UUID, by: str, at: datetime) -> bool:
    """Lift a hold; False if there is no such, or it was lifted."""
    values = {"id": identifier, "by": by, "at": at}
    return (await connection.execute(_LIFT, {"book": book, **values})).one_or_none() is not None


def _key(row: Row[Any]) -> Key:
    values = dict(zip(_NAMES, row, strict=True))
    return Key(**values | {"state": KeyState(values["state"])})


def _change(row: Sequence[Any]) -> Change:
    key, number, from_state, to_state, actor, reason, at = row
    present = None if from_state is None else KeyState(from_state)
    return Change(key, number, present, KeyState(to_state), actor, reason, at)


def _told(book: int, change: Change) -> dict[str, object]:
    from_state = None if change.from_state is None else int(change.from_state)
    return {"book": book, "key": change.key, "number": change.number, "from_state": from_state,
            "to_state": int(change.to_state), "actor": change.actor, "reason": change.reason, "at": change.at}  # fmt: skip
