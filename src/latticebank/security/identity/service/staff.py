"""Rights under four eyes: one member of staff proposes, another decides, and a third person gets the right."""

from uuid import UUID

from latticebank.documents.decision import PROPOSAL_DECISION, Decision
from latticebank.documents.document import identity, judge, read
from latticebank.documents.enrolment import DeviceEnrolment
from latticebank.documents.rights import DEVICE, PARTY, RightsProposal
from latticebank.kernel.database import UnitOfWork
from latticebank.security.identity.events import RIGHTS_CHANGED, Happening
from latticebank.security.identity.model.devices import Signed, own_key, signed
from latticebank.security.identity.model.people import UserUnknown
from latticebank.security.identity.model.rights import (
    ADMIN,
    FIRST_ADMINS,
    PROPOSAL_LIFE,
    EnoughAdmins,
    OtherProposal,
    PartyTaken,
    Proposal,
    ProposalIdReused,
    ProposalState,
    ProposalUnknown,
    Role,
    require_approver,
    require_open,
    require_proposer,
    roles_of,
)
from latticebank.security.identity.service.devices import (
    active_device,
    device_name,
    new_device,
    require_of_user,
    seal_name,
    store_new,
)
from latticebank.security.identity.service.foundation import Foundation
from latticebank.security.identity.store import evidence, proposals, users
from latticebank.security.identity.store.users import UserRow
from latticebank.security.identity.wire import DecisionOrder, ProposalOrder, ProposalView, ProposedEnrolment
from latticebank.values.errors import InvalidValue

_STATE = {"approve": ProposalState.APPROVED, "reject": ProposalState.REJECTED}


class Staff:
    """The use cases around rights."""

    def __init__(self, foundation: Foundation) -> None:
        self._base = foundation

    async def propose(self, proposer: UUID, order: ProposalOrder) -> ProposalView:
        """Store a proposal that its proposer signed; to repeat it is safe.

        Raises:
            InvalidValue, InvalidDocument, InvalidSignature: the form is wrong.
            OtherBank, DocumentExpired, DocumentFromFuture: the document is not for here and now.
            UnknownDevice, DeviceRevoked, DeviceCooling: the device that signed does not count.
            FourEyes: the proposer may not.
            UserUnknown: there is no such subject.
            ProposalIdReused: the id names another proposal.

        """
        base = self._base
        proposal = signed(RightsProposal, order.document, order.signature)
        document = proposal.document
        subject = UUID(document.subject)
        enrolment = _enrolment_of(proposal, order.enrolment)
        async with base.database.read() as connection:
            known = await proposals.by_id(connection, base.book, UUID(document.id))
            there = await users.by_id(connection, base.book, subject)
        if known is not None:
            return _view(_same(known, proposal, proposer), base)
        judge(document, base.bank, base.now())
        if there is None or not there.is_active:
            raise UserUnknown("there is no such user", field="/document/subject")
        name = None
        if enrolment is not None and order.enrolment is not None:
            judge(enrolment.document, base.bank, base.now())
            told = device_name(order.enrolment.device_name, "/enrolment/device_name").encode()
            name = await base.profile_keys.seal(subject, told, "proposals", "device_name", UUID(document.id))
        async with base.database.begin() as unit:
            await self._require_signed(unit, proposal, proposer)
            require_proposer(document.right, proposer, subject, await self._roles(unit, proposer))
            stored = await self._store(unit, proposal, proposer, enrolment, name)
        return _view(_same(stored, proposal, proposer), base)

    async def decide(self, approver: UUID, identifier: UUID, order: DecisionOrder) -> ProposalView:
        """Store a decision that its approver signed, and do at once what it says; to repeat it is safe.

        Raises:
            InvalidValue, InvalidDocument, InvalidSignature: the form is wrong.
            OtherBank, DocumentExpired, DocumentFromFuture: the document is not for here and now.
            UnknownDevice, DeviceRevoked, DeviceCooling: the device that signed does not count.
            ProposalUnknown, OtherProposal: it is about nothing, or something else.
            FourEyes: the approver may not.
            AlreadyDecided, ProposalExpired: it is too late.
            PartyTaken, KeyAlreadyEnrolled, DeviceIdReused, TooManyDevices: the right cannot be given any more.

        """
        base = self._base
        decision = signed(Decision, order.document, order.signature)
        document = decision.document
        if document.type != PROPOSAL_DECISION:
            raise InvalidValue("this must be a decision about a proposal", field="/document/type")
        name = await self._name_of_device(identifier)
        async with base.database.begin() as unit:
            proposal = await proposals.by_id(unit.connection, base.book, identifier, lock=True)
            if proposal is None:
                raise ProposalUnknown("there is no such proposal", field="id")
            if proposal.state != ProposalState.OPEN and proposal.decision == decision.received:
                return _view(proposal, base)
            judge(document, base.bank, base.now())
            if document.subject != str(proposal.id) or document.subject_hash != identity(proposal.document).hex():
                raise OtherProposal("this decision is about another proposal", field="/document/subject_hash")
            await self._require_signed(unit, decision, approver)
            require_approver(proposal, approver, await self._roles(unit, approver))
            require_open(proposal, base.now())
            await proposals.decide(
                unit.connection,
                base.book,
                proposal.id,
                _STATE[document.decision],
                decided_by=approver,
                decision=decision.received,
                signature=decision.signature,
                now=base.now(),
            )
            if document.decision == "approve":
                await self._apply(unit, proposal, approver, name)
            decided = await proposals.by_id(unit.connection, base.book, proposal.id)
        assert decided is not None
        return _view(decided, base)

    async def page(self, *, before: UUID | None, limit: int, only_open: bool) -> list[ProposalView]:
        """Return a page of proposals, the newest first."""
        base, now = self._base, self._base.now()
        start = before or proposals.LAST
        async with base.database.read() as connection:
            found = await proposals.page(connection, base.book, before=start, limit=limit, only_open=only_open, now=now)
        return [_view(proposal, base) for proposal in found]

    async def bootstrap(self, user: UUID) -> list[Role]:
        """Make a user one of the first admins, by the operator's word; the roles of the user.

        Raises:
            UserUnknown: there is no such user.
            EnoughAdmins: there are admins enough to name further ones.

        """
        base = self._base
        async with base.database.begin() as unit:
            await users.lock_rights(unit.connection)
            admins = await users.holders(unit.connection, base.book, ADMIN)
            if user not in admins:
                if len(admins) >= FIRST_ADMINS:
                    raise EnoughAdmins(f"there are {len(admins)} admins", hint="let one propose and one approve")
                if not await users.begin_epoch(unit.connection, base.book, user):
                    raise UserUnknown("there is no such user", field="/user")
                await users.grant(unit.connection, base.book, user, ADMIN, base.now(), None)
                await evidence.name_first_admin(unit.connection, base.book, user, base.now())
                unit.publish(base.event(RIGHTS_CHANGED, user, Happening(user, right=ADMIN, action="grant")))
            known = await users.by_id(unit.connection, base.book, user)
        assert known is not None
        return roles_of(known.rights)

    async def _require_signed(
        self, unit: UnitOfWork, act: Signed[RightsProposal] | Signed[Decision], signer: UUID
    ) -> None:
        device = await active_device(unit, self._base, UUID(act.document.device), signer, "/document/device")
        act.require_signed_by(device.key())

    async def _roles(self, unit: UnitOfWork, user: UUID) -> list[Role]:
        """Return the roles of a user at this instant, whatever their token says."""
        known: UserRow | None = await users.by_id(unit.connection, self._base.book, user)
        return [] if known is None else roles_of(known.rights)

    async def _store(
        self,
        unit: UnitOfWork,
        proposal: Signed[RightsProposal],
        proposer: UUID,
        enrolment: Signed[DeviceEnrolment] | None,
        name: bytes | None,
    ) -> Proposal:
        base, document, now = self._base, proposal.document, self._base.now()
        made = Proposal(
            id=UUID(document.id),
            proposer=proposer,
            device=UUID(document.device),
            subject=UUID(document.subject),
            action=document.action,
            right=document.right,
            document=proposal.received,
            signature=proposal.signature,
            enrolment=None if enrolment is None else enrolment.received,
            enrolment_signature=None if enrolment is None else enrolment.signature,
            device_name=name,
            proposed_at=now,
            expires_at=now + PROPOSAL_LIFE,
        )
        if await proposals.insert(unit.connection, base.book, made):
            return made
        rival = await proposals.by_id(unit.connection, base.book, made.id)
        assert rival is not None
        return rival

    async def _name_of_device(self, identifier: UUID) -> bytes | None:
        """Return the name of the device that a proposal brings, sealed for where it will stand; None if it brings none."""
        base = self._base
        async with base.database.read() as connection:
            proposal = await proposals.by_id(connection, base.book, identifier)
        if proposal is None or proposal.device_name is None or proposal.enrolment is None:
            return None
        opened = await base.profile_keys.open(
            proposal.subject, proposal.device_name, "proposals", "device_name", proposal.id
        )
        device = UUID(read(DeviceEnrolment, proposal.enrolment).device)
        return await seal_name(base.profile_keys, proposal.subject, opened.decode(), device)

    async def _apply(self, unit: UnitOfWork, proposal: Proposal, approver: UUID, name: bytes | None) -> None:
        """Give or take the right, and begin a new epoch of its subject."""
        base, subject, right = self._base, proposal.subject, proposal.right
        if not await users.begin_epoch(unit.connection, base.book, subject):
            raise UserUnknown("there is no such user", field="/document/subject")
        if right.startswith(DEVICE):
            await self._enrol(unit, proposal, name)
            return
        if proposal.action == "withdraw":
            changed = await users.withdraw(unit.connection, base.book, subject, right)
        else:
            changed = await users.grant(unit.connection, base.book, subject, right, base.now(), proposal.id)
            if not changed and right.startswith(PARTY):
                if subject not in await users.holders(unit.connection, base.book, right):
                    raise PartyTaken("another user is this party", hint="withdraw it there first")
        if changed:
            happening = Happening(
                subject, proposal=proposal.id, by=approver, right=right.partition(":")[0], action=proposal.action
            )
            unit.publish(base.event(RIGHTS_CHANGED, proposal.id, happening))

    async def _enrol(self, unit: UnitOfWork, proposal: Proposal, name: bytes | None) -> None:
        """Enrol the device for which two members of staff vouch; it cools off like any other."""
        assert proposal.enrolment is not None
        assert proposal.enrolment_signature is not None
        assert name is not None
        document = read(DeviceEnrolment, proposal.enrolment)
        enrolment = Signed(document, proposal.enrolment, proposal.enrolment_signature)
        device = new_device(self._base, enrolment, name, proposal=proposal.id)
        await store_new(unit, self._base, device, enrolment)


def _enrolment_of(proposal: Signed[RightsProposal], given: ProposedEnrolment | None) -> Signed[DeviceEnrolment] | None:
    """Return the enrolment that goes with the right to a device.

    Raises:
        InvalidValue, InvalidDocument, InvalidSignature: it does not, or is missing, or there is no need for it.

    """
    right = proposal.document.right
    if given is None:
        if right.startswith(DEVICE):
            raise InvalidValue("the right to a device comes with its enrolment", field="/enrolment")
        return None
    if not right.startswith(DEVICE):
        raise InvalidValue("this right comes without an enrolment", field="/enrolment")
    enrolment = signed(DeviceEnrolment, given.document, given.signature, "/enrolment")
    if right.removeprefix(DEVICE) != enrolment.identity.hex():
        raise InvalidValue("the right names the SHA-256 of another enrolment", field="/enrolment/document")
    require_of_user(enrolment, UUID(proposal.document.subject), sponsored=False, place="/enrolment")
    enrolment.require_signed_by(own_key(enrolment.document))
    return enrolment


def _same(known: Proposal, proposal: Signed[RightsProposal], proposer: UUID) -> Proposal:
    if known.document != proposal.received or known.proposer != proposer:
        raise ProposalIdReused("this proposal id names another proposal", field="/document/id")
    return known


def _view(proposal: Proposal, base: Foundation) -> ProposalView:
    return ProposalView(
        id=proposal.id,
        subject=proposal.subject,
        action="grant" if proposal.action == "grant" else "withdraw",
        right=proposal.right,
        proposer=proposal.proposer,
        document=proposal.document.decode(),
        enrolment=None if proposal.enrolment is None else proposal.enrolment.decode(),
        proposed_at=proposal.proposed_at,
        expires_at=proposal.expires_at,
        state=proposal.standing(base.now()).value,
        decided_by=proposal.decided_by,
        decided_at=proposal.decided_at,
    )
