"""What proves the rights and devices of users, told to payments for the check of what was signed.

Nothing here is judged, but for one thing that identity alone can tell: whether a first device is the one of the
registration. Its message authentication code takes a key that no database has.
"""

from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from latticebank.crypto.envelope import sealed_under
from latticebank.crypto.errors import SealBroken
from latticebank.documents.document import base64url, identity
from latticebank.security.identity.model.people import Profile
from latticebank.security.identity.model.rights import Proposal
from latticebank.security.identity.service.foundation import Foundation
from latticebank.security.identity.service.profile_keys import FIRST_VERSION, ProfileErased
from latticebank.security.identity.service.registration import said_at_registration
from latticebank.security.identity.store import evidence
from latticebank.security.identity.store.evidence import Enrolled, Registered
from latticebank.security.identity.wire import EnrolledDevice, FirstAdmin, ProposalRecord, UserRecord, UserRecords


class Evidence:
    """Tells what is stored as evidence, as it is stored."""

    def __init__(self, foundation: Foundation) -> None:
        self._base = foundation

    async def of_users(self, users: Sequence[UUID]) -> UserRecords:
        """Return what proves the rights and devices of those of these users who exist, in the order asked."""
        base = self._base
        async with base.database.read() as connection:
            known = {each.user: each for each in await evidence.registered(connection, base.book, users)}
            devices = await evidence.devices(connection, base.book, users)
            proposals = await evidence.approved(connection, base.book, users)
            named = await evidence.first_admins(connection, base.book)
        devices_of: dict[UUID, list[Enrolled]] = defaultdict(list)
        for device in devices:
            devices_of[device.user].append(device)
        proposals_of: dict[UUID, list[Proposal]] = defaultdict(list)
        for proposal in proposals:
            proposals_of[proposal.subject].append(proposal)
        await base.profile_keys.fetch({key for each in known.values() if (key := _key_of(each)) is not None})
        told = [
            await self._of_user(known[user], devices_of[user], proposals_of[user])
            for user in dict.fromkeys(users)
            if user in known
        ]
        return UserRecords(told, [FirstAdmin(user, at) for user, at in named])

    async def _of_user(self, known: Registered, devices: list[Enrolled], proposals: list[Proposal]) -> UserRecord:
        firsts = [device for device in devices if device.sponsor is None and device.proposal is None]
        erased = False
        try:
            registered = await self._registered_device(known, firsts)
        except ProfileErased:
            registered, erased = None, await self._is_erased(known.user)
        return UserRecord(
            known.user,
            registered,
            erased,
            [EnrolledDevice(each.device, each.enrolled_at, each.sponsor, each.proposal) for each in devices],
            [_record(proposal) for proposal in proposals],
        )

    async def _registered_device(self, known: Registered, firsts: list[Enrolled]) -> UUID | None:
        """Return which of these devices a user registered with.

        Raises:
            ProfileErased: what was said at registration cannot be opened any more.

        """
        base, user = self._base, known.user
        for device in firsts:
            try:
                profile = await base.profile_keys.open(user, known.profile, "users", "profile", user)
                name = await base.profile_keys.open(user, device.name, "devices", "name", device.device)
            except SealBroken:
                continue
            told = said_at_registration(user, Profile.from_bytes(profile), name.decode(), identity(device.document))
            if known.request_mac in base.own_keys.request_macs(told):
                return device.device
        return None

    async def _is_erased(self, user: UUID) -> bool:
        """Whether a user has no profile key at all; one that is merely named wrongly is no erasure."""
        try:
            await self._base.profile_keys.key(user)
        except ProfileErased:
            return True
        return False


def _key_of(known: Registered) -> tuple[UUID, int] | None:
    try:
        _, version = sealed_under(known.profile)
    except SealBroken:
        return None
    return (known.user, version) if version >= FIRST_VERSION else None


def _record(proposal: Proposal) -> ProposalRecord:
    """Return an approved proposal as it travels; what is no text in UTF-8 was never signed, and is not hidden."""
    assert proposal.decided_by is not None
    assert proposal.decided_at is not None
    assert proposal.decision is not None
    assert proposal.decision_signature is not None
    return ProposalRecord(
        proposal=proposal.id,
        subject=proposal.subject,
        action=proposal.action,
        right=proposal.right,
        proposer=proposal.proposer,
        device=proposal.device,
        document=proposal.document.decode(errors="replace"),
        signature=base64url(proposal.signature),
        proposed_at=proposal.proposed_at,
        approver=proposal.decided_by,
        decision=proposal.decision.decode(errors="replace"),
        decision_signature=base64url(proposal.decision_signature),
        decided_at=proposal.decided_at,
    )
