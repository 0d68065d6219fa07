"""Sessions, and what payments asks of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from latticebank.kernel.database import Database
from latticebank.security.identity.model.sessions import IDLE, Session
from latticebank.security.identity.model.standing import KnownDevice, KnownUser

Connection = AsyncConnection


@dataclass(frozen=True, slots=True)
class Seen:
    """A session that was just spoken in, with what a token says of its user."""

    session: UUID
    user: UUID
    epoch: int
    ends_at: datetime
    rights: list[str]


_INSERT = text(
    """
    INSERT INTO sessions (book, id, user_id, token_hash, device, started_at, last_seen, ends_at)
    VALUES (:book, :id, :user, :token_hash, :device, :now, :now, :ends_at)
    """
)
_END_OLDEST = text(
    """
    UPDATE sessions SET ended_at = :now
    WHERE book = :book AND id IN (
        SELECT id FROM sessions WHERE book = :book AND user_id = :user AND ended_at IS NULL AND ends_at > :now
        ORDER BY started_at DESC, id DESC OFFSET :keep)
    RETURNING id
    """
)
_END = text(
    "UPDATE sessions SET ended_at = :now WHERE book = :book AND id = :id AND ended_at IS NULL RETURNING user_id"
)
_END_OTHERS = text(
    """
    UPDATE sessions SET ended_at = :now
    WHERE book = :book AND user_id = :user AND id <> :kept AND ended_at IS NULL AND ends_at > :now
    RETURNING id
    """
)
_END_ALL = text(
    """
    UPDATE sessions SET ended_at = :now
    WHERE book = :book AND user_id = :user AND ended_at IS NULL AND ends_at > :now
    RETURNING id
    """
)
_TOUCH = text(
    """
    UPDATE sessions s SET last_seen = greatest(s.last_seen, :now)
    FROM users u
    WHERE s.book = :book AND s.token_hash = :token_hash AND s.ended_at IS NULL AND s.ends_at > :now
      AND s.last_seen > :idle_since AND u.book = s.book AND u.id = s.user_id AND u.state = 2
    RETURNING s.id, s.user_id, u.epoch, s.ends_at,
              array(SELECT r.name FROM rights r WHERE (r.book, r.user_id) = (s.book, s.user_id))
    """
)
_SESSIONS = text("SELECT id, user_id, last_seen, ends_at, ended_at FROM sessions WHERE book = :book AND id = ANY(:ids)")
_STANDING = """
    SELECT s.user_id, s.last_seen, s.ends_at, s.ended_at, u.state,
           array(SELECT r.name FROM rights r WHERE r.book = u.book AND r.user_id = u.id),
           d.user_id, d.active_from, d.revoked_at
    FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[]) WITH ORDINALITY AS n (session, "user", device, place)
    LEFT JOIN sessions s ON s.book = %s AND s.id = n.session AND s.id = ANY(%s::uuid[])
    LEFT JOIN users u ON u.book = %s AND u.id = n."user" AND u.id = ANY(%s::uuid[])
    LEFT JOIN devices d ON d.book = %s AND d.id = n.device AND d.id = ANY(%s::uuid[])
    ORDER BY n.place
"""
"""The lists stand twice so that the indexes find the rows, also while the tables were never analysed."""
_FORGET = text(
    """
    DELETE FROM sessions WHERE book = :book AND id IN (
        SELECT id FROM sessions WHERE book = :book AND ends_at < :before ORDER BY ends_at LIMIT :limit)
    """
)


async def insert(
    connection: Connection,
    book: int,
    *,
    session: UUID,
    user: UUID,
    token_hash: bytes,
    device: UUID | None,
    now: datetime,
    ends_at: datetime,
) -> None:
    """Store a new session."""
    values = {"id": session, "user": user, "token_hash": token_hash, "device": device, "now": now, "ends_at": ends_at}
    await connection.execute(_INSERT, {"book": book, **values})


async def end_oldest(connection: Connection, book: int, user: UUID, keep: int, now: datetime) -> list[UUID]:
    """End the sessions of a user but for so many of the newest; return which were ended."""
    ended = await connection.execute(_END_OLDEST, {"book": book, "user": user, "keep": keep, "now": now})
    return list(ended.scalars())


async def end(connection: Connection, book: int, session: UUID, now: datetime) -> bool:
    """End a session; False if there is no such, or it was ended."""
    result = await connection.execute(_END, {"book": book, "id": session, "now": now})
    return result.one_or_none() is not None


async def end_others(connection: Connection, book: int, user: UUID, kept: UUID, now: datetime) -> list[UUID]:
    """End all sessions of a user but one; return which were ended."""
    ended = await connection.execute(_END_OTHERS, {"book": book, "user": user, "kept": kept, "now": now})
    return list(ended.scalars())


async def end_all(connection: Connection, book: int, user: UUID, now: datetime) -> list[UUID]:
    """End all sessions of a user; return which were ended."""
    return list((await connection.execute(_END_ALL, {"book": book, "user": user, "now": now})).scalars())


async def touch(connection: Connection, book: int, token_hash: bytes, now: datetime) -> Seen | None:
    """Keep a session awake and return it; None if it is over or never was."""
    values = {"token_hash": token_hash, "now": now, "idle_since": now - IDLE}
    row = (await connection.execute(_TOUCH, {"book": book, **values})).one_or_none()
    return None if row is None else Seen(*row)


async def sessions_by_id(connection: Connection, book: int, ids: list[UUID]) -> dict[UUID, Session]:
    """Return those of these sessions that exist."""
    return {row[0]: Session(*row) for row in await connection.execute(_SESSIONS, {"book": book, "ids": ids})}


async def standings(
    database: Database, book: int, checks: Sequence[tuple[UUID, UUID, UUID]]
) -> list[tuple[Session | None, KnownUser | None, KnownDevice | None]]:
    """Return the session, user and device of each check, in order, all of one instant; None for what does not exist."""
    there, known, devices = (_array(column) for column in zip(*checks, strict=True))
    rows = await database.fetch(_STANDING, (there, known, devices, book, there, book, known, book, devices))
    found = []
    for row, (session, _, _) in zip(rows, checks, strict=True):
        found.append(
            (
                None if row[0] is None else Session(session, *row[:4]),
                None if row[4] is None else (row[4], row[5]),
                None if row[6] is None else (row[6], row[7], row[8]),
            )
        )
    return found


def _array(ids: Iterable[UUID]) -> str:
    """Return an array of UUIDs in the text form of PostgreSQL, which costs less to make than what the driver does with a list."""
    return "{" + ",".join(map(str, ids)) + "}"


async def forget(connection: Connection, book: int, before: datetime, limit: int) -> int:
    """Delete sessions that ended before an instant, at most so many; how many they were."""
    result = await connection.execute(_FORGET, {"book": book, "before": before, "limit": limit})
    return result.rowcount
