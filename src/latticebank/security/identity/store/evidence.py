"""What proves the rights and devices of users, in bulk."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from latticebank.security.identity.model.rights import Proposal
from latticebank.security.identity.store.proposals import COLUMNS

Connection = AsyncConnection

MAX_FIRST_ADMINS = 100
"""The most that are told; a bank has two."""

_REGISTERED = text("SELECT id, profile, request_mac FROM users WHERE book = :book AND id = ANY(:users)")
_DEVICES = text(
    """
    SELECT id, user_id, enrolled_at, sponsor, proposal, name, document
    FROM devices WHERE book = :book AND user_id = ANY(:users) ORDER BY enrolled_at, id
    """
)
_APPROVED = text(
    f"SELECT {COLUMNS} FROM proposals WHERE book = :book AND subject = ANY(:users) AND state = 2 "  # noqa: S608 - column names
    "ORDER BY decided_at, id"
)
_FIRST_ADMINS = text(
    "SELECT user_id, named_at FROM first_admins WHERE book = :book ORDER BY named_at, user_id LIMIT :limit"
)
_NAME = text(
    "INSERT INTO first_admins (book, user_id, named_at) VALUES (:book, :user, :now) ON CONFLICT DO NOTHING RETURNING user_id"
)


class Registered(NamedTuple):
    """What is stored of the registration of a user."""

    user: UUID
    profile: bytes
    request_mac: bytes


class Enrolled(NamedTuple):
    """A device of a user: how it came, its sealed name and its enrolment."""

    device: UUID
    user: UUID
    enrolled_at: datetime
    sponsor: UUID | None
    proposal: UUID | None
    name: bytes
    document: bytes


async def registered(connection: Connection, book: int, users: Sequence[UUID]) -> list[Registered]:
    """Return what is stored of the registrations of those of these users who exist."""
    return [Registered(*row) for row in await connection.execute(_REGISTERED, {"book": book, "users": list(users)})]


async def devices(connection: Connection, book: int, users: Sequence[UUID]) -> list[Enrolled]:
    """Return all devices of these users in the order of their enrolment."""
    return [Enrolled(*row) for row in await connection.execute(_DEVICES, {"book": book, "users": list(users)})]


async def approved(connection: Connection, book: int, users: Sequence[UUID]) -> list[Proposal]:
    """Return the approved proposals about these users in the order of their approval."""
    return [Proposal(*row) for row in await connection.execute(_APPROVED, {"book": book, "users": list(users)})]


async def first_admins(connection: Connection, book: int) -> list[tuple[UUID, datetime]]:
    """Return whom the operator named an admin, and when, in the order of time; whether they still are or not."""
    rows = await connection.execute(_FIRST_ADMINS, {"book": book, "limit": MAX_FIRST_ADMINS})
    return [(user, named_at) for user, named_at in rows]


async def name_first_admin(connection: Connection, book: int, user: UUID, now: datetime) -> None:
    """Keep that the operator named a user an admin."""
    await connection.execute(_NAME, {"book": book, "user": user, "now": now})
