"""Proposals of rights and their decisions."""

from dataclasses import asdict
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from latticebank.security.identity.model.rights import Proposal, ProposalState

Connection = AsyncConnection

COLUMNS = """id, proposer, device, subject, action, name, document, signature, enrolment, enrolment_signature,
           device_name, proposed_at, expires_at, state, decided_by, decided_at, decision, decision_signature"""
_ONE = text(f"SELECT {COLUMNS} FROM proposals WHERE book = :book AND id = :id")  # noqa: S608 - column names
_LOCK = text(f"SELECT {COLUMNS} FROM proposals WHERE book = :book AND id = :id FOR UPDATE")  # noqa: S608 - column names
_PAGE = text(
    f"SELECT {COLUMNS} FROM proposals WHERE book = :book AND id < :before "  # noqa: S608 - column names
    "AND (NOT :open OR (state = 1 AND expires_at > :now)) ORDER BY id DESC LIMIT :limit"
)
_INSERT = text(
    """
    INSERT INTO proposals (book, id, proposer, device, subject, action, name, document, signature, enrolment,
                           enrolment_signature, device_name, proposed_at, expires_at)
    VALUES (:book, :id, :proposer, :device, :subject, :action, :right, :document, :signature, :enrolment,
            :enrolment_signature, :device_name, :proposed_at, :expires_at)
    ON CONFLICT DO NOTHING RETURNING id
    """
)
_DECIDE = text(
    """
    UPDATE proposals
    SET state = :state, decided_by = :decided_by, decided_at = :now, decision = :decision, decision_signature = :signature
    WHERE book = :book AND id = :id
    """
)
LAST = UUID(int=2**128 - 1)
"""After every id."""


async def by_id(connection: Connection, book: int, proposal: UUID, *, lock: bool = False) -> Proposal | None:
    """Return a proposal, or None where there is no such; locked, nobody else decides it until the transaction ends."""
    row = (await connection.execute(_LOCK if lock else _ONE, {"book": book, "id": proposal})).one_or_none()
    return None if row is None else Proposal(*row)


async def page(
    connection: Connection, book: int, *, before: UUID, limit: int, only_open: bool, now: datetime
) -> list[Proposal]:
    """Return a page of proposals, the newest first."""
    values = {"before": before, "limit": limit, "open": only_open, "now": now}
    return [Proposal(*row) for row in await connection.execute(_PAGE, {"book": book, **values})]


async def insert(connection: Connection, book: int, proposal: Proposal) -> bool:
    """Store an open proposal; False if its id is there already."""
    values = asdict(proposal)
    for name in ("state", "decided_by", "decided_at", "decision", "decision_signature"):
        del values[name]
    return (await connection.execute(_INSERT, {"book": book, **values})).one_or_none() is not None


async def decide(
    connection: Connection,
    book: int,
    proposal: UUID,
    state: ProposalState,
    *,
    decided_by: UUID,
    decision: bytes,
    signature: bytes,
    now: datetime,
) -> None:
    """Store the decision on a proposal that `by_id` locked."""
    values = {"state": int(state), "decided_by": decided_by, "decision": decision, "signature": signature, "now": now}
    await connection.execute(_DECIDE, {"book": book, "id": proposal, **values})
