"""How staff give and take rights."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from latticebank.security.identity.wire.words import DocumentText, Message, ProposalStateWord, RoleWord, SignatureText


@dataclass(frozen=True, slots=True)
class ProposedEnrolment(Message):
    """The device of a customer who has none left: an enrolment without sponsor, signed by the new key."""

    device_name: Annotated[str, Field(max_length=60)] = field(repr=False)
    document: DocumentText
    signature: SignatureText


@dataclass(frozen=True, slots=True)
class ProposalOrder(Message):
    """A signed proposal of a right; `enrolment` goes with the right to a device, and only with that."""

    document: DocumentText
    signature: SignatureText
    enrolment: ProposedEnrolment | None = None


@dataclass(frozen=True, slots=True)
class DecisionOrder(Message):
    """A signed decision about a proposal."""

    document: DocumentText
    signature: SignatureText


@dataclass(frozen=True, slots=True)
class ProposalView(Message):
    """A proposal. A decision names the SHA-256 of `document`."""

    id: UUID
    subject: UUID
    action: Literal["grant", "withdraw"]
    right: str
    proposer: UUID
    document: str
    enrolment: str | None
    proposed_at: datetime
    expires_at: datetime
    state: ProposalStateWord
    decided_by: UUID | None
    decided_at: datetime | None


@dataclass(frozen=True, slots=True)
class ProposalPage(Message):
    """A page of proposals, the newest first; `next_cursor` is null on the last."""

    items: list[ProposalView]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class BootstrapOrder(Message):
    """Who becomes one of the first two admins."""

    user: UUID
    role: Literal["admin"]


@dataclass(frozen=True, slots=True)
class RolesView(Message):
    """The roles of a user."""

    user: UUID
    roles: list[RoleWord]
