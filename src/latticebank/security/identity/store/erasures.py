"""Erasures of profiles, and what they take away."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from latticebank.security.identity.model.attempts import CounterKind
from latticebank.security.identity.model.erasure import Erasure

Connection = AsyncConnection

_COLUMNS = """user_id, requested_by, requested_at, erased_at,
           coalesce(sessions_ended, 0), coalesce(devices_revoked, 0)"""
_OF_USER = text(f"SELECT {_COLUMNS} FROM erasures WHERE book = :book AND user_id = :user")  # noqa: S608 - column names
_LOCKED = text(
    f"SELECT {_COLUMNS} FROM erasures WHERE book = :book AND user_id = :user FOR UPDATE"  # noqa: S608 - column names
)
_BEGUN = text(
    f"SELECT {_COLUMNS} FROM erasures WHERE book = :book AND erased_at IS NULL AND requested_at <= :before "  # noqa: S608 - column names
    "ORDER BY requested_at LIMIT :limit"
)
_DONE = text("SELECT user_id FROM erasures WHERE book = :book AND user_id = ANY(:users) AND erased_at IS NOT NULL")
_LIVING = text("SELECT id FROM users WHERE book = :book AND id = ANY(:users) AND state < 3")
_BEGIN = text(
    """
    INSERT INTO erasures (book, user_id, requested_by, requested_at) VALUES (:book, :user, :by, :at)
    ON CONFLICT DO NOTHING RETURNING user_id
    """
)
_LOCK_USER = text("SELECT id FROM users WHERE book = :book AND id = :user FOR UPDATE")
_CLOSE_USER = text(
    "UPDATE users SET state = 3, epoch = epoch + 1 WHERE book = :book AND id = :user AND state < 3 RETURNING id"
)
_DROP = text("DELETE FROM erasures WHERE book = :book AND user_id = :user AND erased_at IS NULL RETURNING user_id")
_REOPEN_USER = text("UPDATE users SET state = 2, epoch = epoch + 1 WHERE book = :book AND id = :user AND state = 3")
_FORGET_USER = text(
    """
    UPDATE users SET email_index = :email_index, request_mac = :request_mac, password = 'erased', epoch = epoch + 1
    WHERE book = :book AND id = :user
    """
)
# A device keeps its sealed name: it is evidence, and nothing opens the name any more.
_REVOKE_DEVICES = text(
    """
    UPDATE devices SET revoked_at = :now, revoke_reason = 'erased'
    WHERE book = :book AND user_id = :user AND revoked_at IS NULL RETURNING id
    """
)
_WITHDRAW_RIGHTS = text("DELETE FROM rights WHERE book = :book AND user_id = :user RETURNING name")
_FORGET_ATTEMPTS = text(
    """
    DELETE FROM login_attempts a USING users u
    WHERE a.book = :book AND u.book = :book AND u.id = :user
      AND ((a.kind = :email AND a.subject = u.email_index) OR (a.kind = :person AND a.subject = uuid_send(u.id))
           OR (a.kind = :device AND a.subject IN (
               SELECT uuid_send(d.id) FROM devices d WHERE d.book = :book AND d.user_id = :user)))
    """
)
_FINISH = text(
    """
    UPDATE erasures SET erased_at = :now, sessions_ended = :sessions, devices_revoked = :devices
    WHERE book = :book AND user_id = :user
    """
)


async def of_user(connection: Connection, book: int, user: UUID, *, lock: bool = False) -> Erasure | None:
    """Return the erasure of a user, or None; locked, nobody else carries it out until the transaction ends."""
    row = (await connection.execute(_LOCKED if lock else _OF_USER, {"book": book, "user": user})).one_or_none()
    return None if row is None else Erasure(*row)


async def begun(connection: Connection, book: int, before: datetime, limit: int) -> list[Erasure]:
    """Return erasures that began before an instant and are not done, the oldest first."""
    rows = await connection.execute(_BEGUN, {"book": book, "before": before, "limit": limit})
    return [Erasure(*row) for row in rows]


async def done(connection: Connection, book: int, users: Sequence[UUID]) -> list[UUID]:
    """Return those of these users who are erased."""
    return list((await connection.execute(_DONE, {"book": book, "users": list(users)})).scalars())


async def living(connection: Connection, book: int, users: Sequence[UUID]) -> list[UUID]:
    """Return those of these users who are there and of whom no erasure began."""
    return list((await connection.execute(_LIVING, {"book": book, "users": list(users)})).scalars())


async def begin(connection: Connection, book: int, erasure: Erasure) -> bool:
    """Store an erasure that begins, and let its user do nothing more; False where there is one, or no such user.

    Until the transaction ends nobody else begins one, or finishes taking one back.
    """
    values = {"user": erasure.user, "by": erasure.requested_by, "at": erasure.requested_at}
    await connection.execute(_LOCK_USER, {"book": book, "user": erasure.user})
    if (await connection.execute(_CLOSE_USER, {"book": book, "user": erasure.user})).one_or_none() is None:
        return False
    return (await connection.execute(_BEGIN, {"book": book, **values})).one_or_none() is not None


async def drop(connection: Connection, book: int, user: UUID) -> None:
    """Take back an erasure that has erased nothing yet: its user is as before."""
    if (await connection.execute(_DROP, {"book": book, "user": user})).one_or_none() is not None:
        await connection.execute(_REOPEN_USER, {"book": book, "user": user})


async def revoke_devices(connection: Connection, book: int, user: UUID, now: datetime) -> list[UUID]:
    """Revoke all devices of a user; return which there were."""
    revoked = await connection.execute(_REVOKE_DEVICES, {"book": book, "user": user, "now": now})
    return list(revoked.scalars())


async def withdraw_rights(connection: Connection, book: int, user: UUID) -> list[str]:
    """Take all rights from a user; return which there were."""
    return sorted((await connection.execute(_WITHDRAW_RIGHTS, {"book": book, "user": user})).scalars())


async def forget(connection: Connection, book: int, user: UUID, email_index: bytes, request_mac: bytes) -> None:
    """Put values that say nothing in the place of what a user is found and let in by, and forget the attempts on it."""
    kinds = {"email": CounterKind.EMAIL, "device": CounterKind.DEVICE, "person": CounterKind.USER}
    values = {name: int(kind) for name, kind in kinds.items()}
    await connection.execute(_FORGET_ATTEMPTS, {"book": book, "user": user, **values})
    fresh = {"email_index": email_index, "request_mac": request_mac}
    await connection.execute(_FORGET_USER, {"book": book, "user": user, **fresh})


async def finish(
    connection: Connection, book: int, user: UUID, now: datetime, sessions: Sequence[UUID], devices: Sequence[UUID]
) -> None:
    """Store that an erasure is done, and how many sessions and devices ended with it."""
    counted = {"sessions": len(sessions), "devices": len(devices)}
    await connection.execute(_FINISH, {"book": book, "user": user, "now": now, **counted})
