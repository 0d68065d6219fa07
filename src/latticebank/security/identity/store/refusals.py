"""Registrations that were refused since their address was taken: what a customer in their place would hold."""

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from latticebank.security.identity.model.people import UserState

Connection = AsyncConnection


@dataclass(frozen=True, slots=True, repr=False)
class Refusal:
    """A refused registration as stored; the repr shows nothing."""

    state: int
    request_mac: bytes
    password: str

    @property
    def is_active(self) -> bool:
        """Whether a user in its place would have finished registration."""
        return self.state == UserState.ACTIVE


_BY_USER = text("SELECT state, request_mac, password FROM refused_registrations WHERE book = :book AND user_id = :user")
_HAS_DEVICE = text("SELECT EXISTS (SELECT FROM refused_registrations WHERE book = :book AND device = :device)")
_IS_TAKEN = text(
    """
    SELECT EXISTS (
        SELECT FROM refused_registrations WHERE book = :book AND (device = :device OR key_hash = :key_hash))
    """
)
_HOLD = text("SELECT pg_advisory_xact_lock(:number)")
_INSERT = text(
    """
    INSERT INTO refused_registrations (book, user_id, device, key_hash, request_mac, password, created_at)
    VALUES (:book, :user, :device, :key_hash, :request_mac, :password, :now)
    """
)
_ACTIVATE = text("UPDATE refused_registrations SET state = 2 WHERE book = :book AND user_id = :user AND state = 1")
_FORGET = text(
    """
    DELETE FROM refused_registrations WHERE (book, user_id) IN (
        SELECT book, user_id FROM refused_registrations
        WHERE book = :book AND created_at < :before ORDER BY created_at LIMIT :limit)
    """
)


async def by_user(connection: Connection, book: int, user: UUID) -> Refusal | None:
    """Return the refused registration of a user id, or None."""
    row = (await connection.execute(_BY_USER, {"book": book, "user": user})).one_or_none()
    return None if row is None else Refusal(*row)


async def has_device(connection: Connection, book: int, device: UUID) -> bool:
    """Whether a device id was used in a refused registration."""
    return bool((await connection.execute(_HAS_DEVICE, {"book": book, "device": device})).scalar_one())


async def is_taken(connection: Connection, book: int, device: UUID, public_key: bytes) -> bool:
    """Whether a device id or a key was used in a refused registration."""
    values = {"device": device, "key_hash": sha256(public_key).digest()}
    return bool((await connection.execute(_IS_TAKEN, {"book": book, **values})).scalar_one())


async def hold(connection: Connection, book: int, *names: bytes) -> None:
    """Keep others who hold one of these names waiting until the transaction ends.

    No unique index spans two tables: who stores a user or a device, or that one was refused, holds ids and key before.
    """
    numbers = {int.from_bytes(sha256(b"%d:" % book + name).digest()[:8], signed=True) for name in names}
    for number in sorted(numbers):
        await connection.execute(_HOLD, {"number": number})


async def insert(
    connection: Connection,
    book: int,
    user: UUID,
    *,
    device: UUID,
    public_key: bytes,
    request_mac: bytes,
    password: str,
    now: datetime,
) -> None:
    """Store that a registration was refused; its ids and its key are held and free."""
    values = {"device": device, "key_hash": sha256(public_key).digest(), "request_mac": request_mac}
    await connection.execute(_INSERT, {"book": book, "user": user, "password": password, "now": now, **values})


async def activate(connection: Connection, book: int, user: UUID) -> None:
    """Store that a user in the place of a refused registration would be active."""
    await connection.execute(_ACTIVATE, {"book": book, "user": user})


async def forget(connection: Connection, book: int, before: datetime, limit: int) -> int:
    """Delete refused registrations of before an instant, at most so many; how many they were."""
    return (await connection.execute(_FORGET, {"book": book, "before": before, "limit": limit})).rowcount
