"""The counters against guessing."""

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from latticebank.security.identity.model.attempts import Attempts, CounterKind

Connection = AsyncConnection

# A row is made first, so that two first attempts at once wait for each other like any others.
_MAKE = text(
    """
    INSERT INTO login_attempts (book, kind, subject, failures, last_at) VALUES (:book, :kind, :subject, 0, :now)
    ON CONFLICT DO NOTHING
    """
)
_LOCK = text(
    """
    SELECT failures, last_at, locked_until, told_at FROM login_attempts
    WHERE book = :book AND kind = :kind AND subject = :subject FOR UPDATE
    """
)
_WRITE = text(
    """
    UPDATE login_attempts
    SET failures = :failures, last_at = :last_at, locked_until = :locked_until, told_at = :told_at
    WHERE book = :book AND kind = :kind AND subject = :subject
    """
)
_CLEAR = text(
    """
    UPDATE login_attempts SET failures = 0, locked_until = NULL
    WHERE book = :book AND kind = :kind AND subject = :subject
    """
)
_FORGET = text(
    """
    DELETE FROM login_attempts WHERE (book, kind, subject) IN (
        SELECT book, kind, subject FROM login_attempts WHERE book = :book AND last_at < :before LIMIT :limit)
    """
)


async def lock(connection: Connection, book: int, kind: CounterKind, subject: bytes, now: datetime) -> Attempts:
    """Return the attempts on a subject; nobody else counts there until the transaction ends."""
    key = {"book": book, "kind": int(kind), "subject": subject}
    await connection.execute(_MAKE, {**key, "now": now})
    return Attempts(*(await connection.execute(_LOCK, key)).one())


async def write(connection: Connection, book: int, kind: CounterKind, subject: bytes, attempts: Attempts) -> None:
    """Store the attempts on a subject that `lock` returned."""
    values = {
        "failures": attempts.failures,
        "last_at": attempts.last_at,
        "locked_until": attempts.locked_until,
        "told_at": attempts.told_at,
    }
    await connection.execute(_WRITE, {"book": book, "kind": int(kind), "subject": subject, **values})


async def clear(connection: Connection, book: int, kind: CounterKind, subject: bytes) -> None:
    """Forget the failures of a subject: the password was right."""
    await connection.execute(_CLEAR, {"book": book, "kind": int(kind), "subject": subject})


async def forget(connection: Connection, book: int, before: datetime, limit: int) -> int:
    """Delete counters on which nothing was counted since an instant, at most so many; how many they were."""
    result = await connection.execute(_FORGET, {"book": book, "before": before, "limit": limit})
    return result.rowcount
