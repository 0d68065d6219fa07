"""Learns from identity, in bulk, what proves devices and rights, and verifies each signature of it once."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from latticebank.banking.payments.model.authority import (
    MAX_GENERATIONS,
    Authority,
    Enrolled,
    Person,
    Proposal,
    proposal_faults,
)
from latticebank.banking.payments.model.evidence import Device, enrolment_faults
from latticebank.banking.payments.service.foundation import Foundation
from latticebank.crypto.signatures import VerifyingKey
from latticebank.documents.decision import Decision
from latticebank.documents.document import from_base64url, read
from latticebank.documents.rights import VERIFIED
from latticebank.security.identity.wire import DeviceRecord, ProposalRecord, UserRecord
from latticebank.values.errors import BankError

T = TypeVar("T")

_DEVICES_AT_ONCE = 1_000
_USERS_AT_ONCE = 100
_LOT = 64


class Learning:
    """What is known so far of devices and rights; it grows with whoever is looked at."""

    def __init__(self, foundation: Foundation, pool: Executor) -> None:
        self.authority = Authority()
        self._bank = foundation
        self._pool = pool
        self._asked_devices: set[UUID] = set()
        self._asked_users: set[UUID] = set()
        self._as_of = foundation.now()

    async def learn(self, devices: Iterable[UUID], users: Iterable[UUID], last: datetime) -> None:
        """Learn of these devices and users, and of whoever vouched for them, up to the admins named by the operator.

        They acted at the time `last` at the latest: what was learned of users before that is learned again, since the
        bank may go on meanwhile.
        """
        if last >= self._as_of:
            self._asked_users.clear()
            self._as_of = self._bank.now()
            await self.learn_roots()
        wanted_devices, wanted_users = set(devices), set(users)
        new_devices: list[Device] = []
        new_proposals: list[Proposal] = []
        for _ in range(MAX_GENERATIONS):
            found = await self._fetch_devices(wanted_devices - self._asked_devices)
            wanted_users |= {device.user for device in found}
            proposals = await self._fetch_people(wanted_users - self._asked_users)
            wanted_devices = {device.sponsor for device in found if device.sponsor is not None}
            wanted_devices |= {device for each in proposals for device in (each.device, each.deciding) if device}
            wanted_users = {user for each in proposals for user in (each.proposer, each.approver)}
            new_devices += found
            new_proposals += proposals
            if wanted_devices <= self._asked_devices and wanted_users <= self._asked_users:
                break
        await self._verify(new_devices, new_proposals)

    async def learn_roots(self) -> None:
        """Learn whom the operator named an admin."""
        records = await self._bank.identity.evidence([])
        self.authority.believe((named.user, named.named_at) for named in records.first_admins)

    async def _fetch_devices(self, wanted: Collection[UUID]) -> list[Device]:
        self._asked_devices |= set(wanted)
        found: list[Device] = []
        for some in _portions(list(wanted), _DEVICES_AT_ONCE):
            found += [device for record in await self._bank.identity.devices(some) if (device := _device(record))]
        return found

    async def _fetch_people(self, wanted: Collection[UUID]) -> list[Proposal]:
        """Take all devices of these users; return the proposals about them."""
        self._asked_users |= set(wanted)
        proposals: list[Proposal] = []
        for some in _portions(list(wanted), _USERS_AT_ONCE):
            for record in (await self._bank.identity.evidence(some)).users:
                self.authority.people[record.user] = _person(record)
                # Whether somebody is verified bounds what they pay, and moves nothing.
                proposals += [_proposal(each) for each in record.proposals if each.right != VERIFIED]
        return [each for each in proposals if not self.authority.knows(each)]

    async def _verify(self, devices: Sequence[Device], proposals: Sequence[Proposal]) -> None:
        """Take devices and proposals with what is wrong with each by itself, and find what follows."""
        authority, bank = self.authority, self._bank.bank
        known = authority.devices | {device.id: device for device in devices}

        def of_device(device: Device) -> list[str]:
            sponsor = known.get(device.sponsor) if device.sponsor is not None else None
            return list(enrolment_faults(device, sponsor, bank))

        def of_proposal(proposal: Proposal) -> list[str]:
            deciding = known.get(proposal.deciding) if proposal.deciding is not None else None
            return list(proposal_faults(proposal, known.get(proposal.device), deciding, bank))

        for device, faults in zip(devices, await self._in_threads(of_device, devices), strict=True):
            authority.learn_device(device, faults)
        for proposal, faults in zip(proposals, await self._in_threads(of_proposal, proposals), strict=True):
            authority.learn_proposal(proposal, faults)
        authority.settle()

    async def _in_threads(self, faults_of: Callable[[T], list[str]], things: Sequence[T]) -> list[list[str]]:
        loop = asyncio.get_running_loop()
        lots = [list(lot) for lot in _portions(things, _LOT)]

        def of_lot(lot: list[T]) -> list[list[str]]:
            return [faults_of(thing) for thing in lot]

        done = await asyncio.gather(*(loop.run_in_executor(self._pool, of_lot, lot) for lot in lots))
        return [faults for lot in done for faults in lot]


def _portions(things: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(things), size):
        yield things[start : start + size]


def _person(record: UserRecord) -> Person:
    devices = tuple(Enrolled(each.device, each.enrolled_at, each.sponsor, each.proposal) for each in record.devices)
    return Person(record.user, record.registered_device, record.erased, devices)


def _proposal(record: ProposalRecord) -> Proposal:
    decision = record.decision.encode()
    try:
        deciding = UUID(read(Decision, decision).device)
    except BankError:
        deciding = None
    return Proposal(
        record.proposal,
        record.subject,
        record.action,
        record.right,
        record.proposer,
        record.device,
        record.document.encode(),
        _signature(record.signature),
        record.proposed_at,
        record.approver,
        deciding,
        decision,
        _signature(record.decision_signature),
        record.decided_at,
    )


def _signature(text: str) -> bytes:
    """Return a signature; one that cannot be read is none, and verifies nothing."""
    try:
        return from_base64url(text, "signature")
    except BankError:
        return b""


def _device(record: DeviceRecord) -> Device | None:
    """Return a device as it is checked; None if what identity keeps of it cannot be read, as if nobody knew it."""
    try:
        return _readable_device(record)
    except BankError:
        return None


def _readable_device(record: DeviceRecord) -> Device:
    sponsored = record.sponsor_signature
    return Device(
        record.device,
        record.user,
        VerifyingKey(record.algorithm, from_base64url(record.public_key, "public_key")),
        record.enrolled_at,
        record.active_from,
        record.revoked_at,
        record.document.encode(),
        from_base64url(record.signature, "signature"),
        record.sponsor,
        None if sponsored is None else from_base64url(sponsored, "sponsor_signature"),
        record.proposal,
    )
