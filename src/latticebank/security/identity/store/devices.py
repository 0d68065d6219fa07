"""Devices and the evidence of their enrolment."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from latticebank.security.identity.model.devices import Device

Connection = AsyncConnection

_COLUMNS = """id, user_id, algorithm, public_key, name, document, signature, sponsor, sponsor_signature, proposal,
           enrolled_at, active_from, revoked_at"""
_BY_IDS = text(f"SELECT {_COLUMNS} FROM devices WHERE book = :book AND id = ANY(:ids)")  # noqa: S608 - column names
_OF_USER = text(
    f"SELECT {_COLUMNS} FROM devices WHERE book = :book AND user_id = :user ORDER BY enrolled_at, id LIMIT :limit"  # noqa: S608 - column names
)
_COUNT = text("SELECT count(*) FROM devices WHERE book = :book AND user_id = :user AND revoked_at IS NULL")
_IS_TAKEN = text(
    "SELECT EXISTS (SELECT FROM devices WHERE book = :book AND (id = :id OR sha256(public_key) = sha256(:public_key)))"
)
_LOCK_USER = text("SELECT id FROM users WHERE book = :book AND id = :user FOR UPDATE")
_SHARE = text("SELECT id FROM devices WHERE book = :book AND id = :id FOR SHARE")
_INSERT = text(
    """
    INSERT INTO devices (book, id, user_id, algorithm, public_key, name, document, signature, sponsor,
                         sponsor_signature, proposal, enrolled_at, active_from)
    VALUES (:book, :id, :user, :algorithm, :public_key, :name, :document, :signature, :sponsor,
            :sponsor_signature, :proposal, :enrolled_at, :active_from)
    ON CONFLICT DO NOTHING RETURNING id
    """
)
_REVOKE = text(
    """
    UPDATE devices SET revoked_at = :now, revoke_reason = :reason
    WHERE book = :book AND id = :id AND user_id = :user AND revoked_at IS NULL RETURNING id
    """
)

MAX_LISTED = 200


async def by_ids(connection: Connection, book: int, ids: Sequence[UUID]) -> dict[UUID, Device]:
    """Return those of these devices that exist."""
    rows = await connection.execute(_BY_IDS, {"book": book, "ids": list(ids)})
    return {row[0]: Device(*row) for row in rows}


async def by_id(connection: Connection, book: int, device: UUID) -> Device | None:
    """Return a device, or None where there is no such."""
    return (await by_ids(connection, book, [device])).get(device)


async def hold(connection: Connection, book: int, device: UUID) -> Device | None:
    """Return a device that nobody revokes until the transaction ends, or None where there is no such."""
    await connection.execute(_SHARE, {"book": book, "id": device})
    return await by_id(connection, book, device)


async def of_user(connection: Connection, book: int, user: UUID) -> list[Device]:
    """Return the devices of a user in the order of their enrolment."""
    rows = await connection.execute(_OF_USER, {"book": book, "user": user, "limit": MAX_LISTED})
    return [Device(*row) for row in rows]


async def count_of_user(connection: Connection, book: int, user: UUID) -> int:
    """Return how many devices of a user are not revoked; the user stays locked, so that the number holds."""
    await connection.execute(_LOCK_USER, {"book": book, "user": user})
    return int((await connection.execute(_COUNT, {"book": book, "user": user})).scalar_one())


async def is_taken(connection: Connection, book: int, device: UUID, public_key: bytes) -> bool:
    """Whether there is a device of this id or of this key."""
    result = await connection.execute(_IS_TAKEN, {"book": book, "id": device, "public_key": public_key})
    return bool(result.scalar_one())


async def insert(connection: Connection, book: int, device: Device) -> bool:
    """Store a device; False if its id or its key is there already, or it would be a second first device."""
    values = asdict(device)
    del values["revoked_at"]
    return (await connection.execute(_INSERT, {"book": book, **values})).one_or_none() is not None


async def revoke(connection: Connection, book: int, user: UUID, device: UUID, reason: str, now: datetime) -> bool:
    """Revoke a device of a user; False if there is no such, or it is revoked."""
    values = {"id": device, "user": user, "reason": reason, "now": now}
    return (await connection.execute(_REVOKE, {"book": book, **values})).one_or_none() is not None
