"""Rights, and the four eyes without which nobody gets one: proposer, approver and subject are three people."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal
from uuid import UUID

from latticebank.documents.rights import PARTY, VERIFIED, eyes_of
from latticebank.values.errors import BankError, Fault
from latticebank.values.words import Word

Role = Literal["customer", "teller", "manager", "auditor", "admin"]
STAFF_ROLES: tuple[Role, ...] = ("admin", "auditor", "manager", "teller")
ADMIN = "admin"
PROPOSAL_LIFE = timedelta(hours=24)
_USER = "user:"
_REFERENCE_OF_USER = re.compile(_USER + "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
FIRST_ADMINS = 2
"""So many admins the operator may name; from then on they name each other."""


class FourEyes(BankError):
    """Proposer, approver and subject of a right are not three people, or not of the roles that it takes."""

    code = "four-eyes"
    title = "This takes other people"
    fault = Fault.FORBIDDEN


class ProposalUnknown(BankError):
    """There is no such proposal."""

    code = "proposal-unknown"
    title = "There is no such proposal"
    fault = Fault.NOT_FOUND


class ProposalExpired(BankError):
    """Nobody decided the proposal in time."""

    code = "proposal-expired"
    title = "This proposal has lapsed"
    fault = Fault.CONFLICT


class ProposalIdReused(BankError):
    """The id of a new proposal names another one."""

    code = "proposal-id-reused"
    title = "This proposal id was used for something else"
    fault = Fault.CONFLICT


class AlreadyDecided(BankError):
    """The proposal was decided before."""

    code = "already-decided"
    title = "This was decided already"
    fault = Fault.CONFLICT


class OtherProposal(BankError):
    """The decision was signed for another document than the proposal's."""

    code = "other-proposal"
    title = "This decision is about something else"
    fault = Fault.REFUSED


class PartyTaken(BankError):
    """The reference of the ledger belongs to another user."""

    code = "party-taken"
    title = "This party is another user"
    fault = Fault.CONFLICT


class EnoughAdmins(BankError):
    """There are admins who can name further ones."""

    code = "enough-admins"
    title = "The bank has its first admins"
    fault = Fault.CONFLICT


class ProposalState(Word):
    """What is stored of a proposal; an open one lapses after a day."""

    OPEN = 1
    APPROVED = 2
    REJECTED = 3


class ProposalStanding(StrEnum):
    """What a proposal is at an instant."""

    OPEN = "open"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Proposal:
    """A proposal as it is stored. The enrolment goes with the right to a device; `device_name` is sealed."""

    id: UUID
    proposer: UUID
    device: UUID
    subject: UUID
    action: str
    right: str
    document: bytes
    signature: bytes
    enrolment: bytes | None
    enrolment_signature: bytes | None
    device_name: bytes | None
    proposed_at: datetime
    expires_at: datetime
    state: int = ProposalState.OPEN
    decided_by: UUID | None = None
    decided_at: datetime | None = None
    decision: bytes | None = None
    decision_signature: bytes | None = None

    def standing(self, now: datetime) -> ProposalStanding:
        """Return what the proposal is at an instant."""
        if self.state == ProposalState.OPEN and now >= self.expires_at:
            return ProposalStanding.EXPIRED
        return ProposalStanding(ProposalState(self.state).word)


def require_proposer(right: str, proposer: UUID, subject: UUID, roles: Collection[str]) -> None:
    """Check that someone of these roles may propose a right for another.

    Raises:
        FourEyes: not for oneself, and not without the role that it takes.

    """
    _require(eyes_of(right)[0], roles, "propose", right)
    if proposer == subject:
        raise FourEyes("nobody proposes a right of their own", field="subject")


def require_approver(proposal: Proposal, approver: UUID, roles: Collection[str]) -> None:
    """Check that someone of these roles may decide a proposal.

    Raises:
        FourEyes: not one's own, not about oneself, and not without the role that it takes.

    """
    _require(eyes_of(proposal.right)[1], roles, "decide", proposal.right)
    if approver in (proposal.proposer, proposal.subject):
        raise FourEyes("nobody decides their own proposal, or one about themselves", hint="ask a third person")


def require_open(proposal: Proposal, now: datetime) -> None:
    """Check that a proposal can still be decided.

    Raises:
        AlreadyDecided, ProposalExpired: it cannot.

    """
    if proposal.state != ProposalState.OPEN:
        raise AlreadyDecided(f"this proposal was {ProposalState(proposal.state).word} already")
    if proposal.standing(now) is ProposalStanding.EXPIRED:
        raise ProposalExpired("nobody decided this proposal in time", hint="propose it again")


def roles_of(rights: Collection[str]) -> list[Role]:
    """Return the roles of a user with these rights: customer, and those of staff in the order of their names."""
    return ["customer", *(role for role in STAFF_ROLES if role in rights)]


def parties_of(user: UUID, rights: Iterable[str]) -> list[str]:
    """Return the references under which the ledger knows a user."""
    return [f"{_USER}{user}", *sorted(right.removeprefix(PARTY) for right in rights if right.startswith(PARTY))]


def users_among(parties: Iterable[str]) -> dict[str, UUID]:
    """Return the users of identity among references of the ledger, each with its reference."""
    return {party: UUID(party.removeprefix(_USER)) for party in parties if _REFERENCE_OF_USER.fullmatch(party)}


def is_verified(rights: Collection[str]) -> bool:
    """Whether a user's identity was proved."""
    return VERIFIED in rights


def _require(needed: frozenset[str], roles: Collection[str], act: str, right: str) -> None:
    if not needed & set(roles):
        what = right.partition(":")[0]
        raise FourEyes(f"to {act} {what} takes the role {' or '.join(sorted(needed))}", hint="ask someone who has it")
