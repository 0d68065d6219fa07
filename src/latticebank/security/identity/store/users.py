"""Users, their passwords and their rights."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from latticebank.security.identity.model.people import UserState

Connection = AsyncConnection


@dataclass(frozen=True, slots=True, repr=False)
class UserRow:
    """A user as stored; the repr shows nothing."""

    id: UUID
    state: int
    email_index: bytes
    request_mac: bytes
    password: str
    profile: bytes
    epoch: int
    rights: list[str]

    @property
    def is_active(self) -> bool:
        """Whether the user has finished registration."""
        return self.state == UserState.ACTIVE

    @property
    def is_erased(self) -> bool:
        """Whether the profile of the user was erased, or is about to be."""
        return self.state == UserState.ERASED


_USER = """
    SELECT u.id, u.state, u.email_index, u.request_mac, u.password, u.profile, u.epoch,
           array(SELECT r.name FROM rights r WHERE (r.book, r.user_id) = (u.book, u.id) ORDER BY r.name)
    FROM users u
"""
_BY_ID = text(_USER + "WHERE u.book = :book AND u.id = :id")
_BY_EMAIL = text(_USER + "WHERE u.book = :book AND u.email_index = ANY(:indexes)")
_INSERT = text(
    """
    INSERT INTO users (book, id, state, email_index, request_mac, password, profile, registered_at)
    VALUES (:book, :id, 1, :email_index, :request_mac, :password, :profile, :now)
    ON CONFLICT DO NOTHING RETURNING id
    """
)
_ACTIVATE = text("UPDATE users SET state = 2 WHERE book = :book AND id = :id AND state = 1 RETURNING id")
_OPENING = text(
    "SELECT id FROM users WHERE book = :book AND state = 1 AND registered_at <= :before ORDER BY registered_at LIMIT :limit"
)
_HOLD_PASSWORD = text(
    "SELECT id FROM users WHERE book = :book AND id = :id AND password = :password AND state = 2 FOR SHARE"
)
_UPGRADE_PASSWORD = text(
    "UPDATE users SET password = :new WHERE book = :book AND id = :id AND password = :old RETURNING id"
)
_CHANGE_PASSWORD = text(
    """
    UPDATE users SET password = :new, epoch = epoch + 1
    WHERE book = :book AND id = :id AND password = :old RETURNING id
    """
)
_BUMP = text("UPDATE users SET epoch = epoch + 1 WHERE book = :book AND id = :id AND state = 2 RETURNING epoch")
_GRANT = text(
    """
    INSERT INTO rights (book, user_id, name, granted_at, proposal) VALUES (:book, :user, :name, :now, :proposal)
    ON CONFLICT DO NOTHING RETURNING user_id
    """
)
_WITHDRAW = text("DELETE FROM rights WHERE book = :book AND user_id = :user AND name = :name RETURNING user_id")
_HOLDERS = text("SELECT user_id FROM rights WHERE book = :book AND name = :name")
_LOCK_RIGHTS = text("LOCK TABLE rights IN SHARE ROW EXCLUSIVE MODE")


async def by_id(connection: Connection, book: int, user: UUID) -> UserRow | None:
    """Return a user, or None where there is no such."""
    return _user((await connection.execute(_BY_ID, {"book": book, "id": user})).one_or_none())


async def by_email(connection: Connection, book: int, indexes: list[bytes]) -> UserRow | None:
    """Return the user whose address has one of these blind indexes, or None."""
    return _user((await connection.execute(_BY_EMAIL, {"book": book, "indexes": indexes})).first())


async def insert(
    connection: Connection,
    book: int,
    user: UUID,
    *,
    email_index: bytes,
    request_mac: bytes,
    password: str,
    profile: bytes,
    now: datetime,
) -> bool:
    """Store a user who is opening; False if the id or the address is there already."""
    values = {"email_index": email_index, "request_mac": request_mac, "password": password, "profile": profile}
    result = await connection.execute(_INSERT, {"book": book, "id": user, "now": now, **values})
    return result.one_or_none() is not None


async def activate(connection: Connection, book: int, user: UUID) -> bool:
    """Make an opening user active; False if it is no longer opening."""
    return (await connection.execute(_ACTIVATE, {"book": book, "id": user})).one_or_none() is not None


async def opening(connection: Connection, book: int, before: datetime, limit: int) -> list[UUID]:
    """Return users who registered before an instant and are still opening, the oldest first."""
    result = await connection.execute(_OPENING, {"book": book, "before": before, "limit": limit})
    return [row[0] for row in result]


async def hold_password(connection: Connection, book: int, user: UUID, password: str) -> bool:
    """Whether this is still the hash of an active user's password; it stays so until the transaction ends."""
    values = {"id": user, "password": password}
    return (await connection.execute(_HOLD_PASSWORD, {"book": book, **values})).one_or_none() is not None


async def upgrade_password(connection: Connection, book: int, user: UUID, old: str, new: str) -> None:
    """Replace the hash of a password by another of the same password, unless it changed meanwhile."""
    await connection.execute(_UPGRADE_PASSWORD, {"book": book, "id": user, "old": old, "new": new})


async def change_password(connection: Connection, book: int, user: UUID, old: str, new: str) -> bool:
    """Replace the hash of a password and begin a new epoch; False if it changed meanwhile."""
    result = await connection.execute(_CHANGE_PASSWORD, {"book": book, "id": user, "old": old, "new": new})
    return result.one_or_none() is not None


async def begin_epoch(connection: Connection, book: int, user: UUID) -> bool:
    """Begin a new epoch of an active user, whose row stays locked; False if there is no such."""
    return (await connection.execute(_BUMP, {"book": book, "id": user})).one_or_none() is not None


async def grant(
    connection: Connection, book: int, user: UUID, right: str, now: datetime, proposal: UUID | None
) -> bool:
    """Give a user a right; False if they have it, or if it is a party that another has."""
    values = {"user": user, "name": right, "now": now, "proposal": proposal}
    return (await connection.execute(_GRANT, {"book": book, **values})).one_or_none() is not None


async def withdraw(connection: Connection, book: int, user: UUID, right: str) -> bool:
    """Take a right from a user; False if they do not have it."""
    result = await connection.execute(_WITHDRAW, {"book": book, "user": user, "name": right})
    return result.one_or_none() is not None


async def holders(connection: Connection, book: int, right: str) -> set[UUID]:
    """Return the users who have a right."""
    return {row[0] for row in await connection.execute(_HOLDERS, {"book": book, "name": right})}


async def lock_rights(connection: Connection) -> None:
    """Keep others from granting or withdrawing until the transaction ends."""
    await connection.execute(_LOCK_RIGHTS)


def _user(row: Row[Any] | None) -> UserRow | None:
    if row is None:
        return None
    values = list(row)
    return UserRow(*values)
