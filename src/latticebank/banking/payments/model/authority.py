"""By what authority somebody acted: each right and each device traced back to what devices signed.

A device is proved if its user registered with it, if a proved device of the same user sponsored it, or if a proved
proposal brought it. A proposal is proved if it and its approval are signed by proved devices of two people who by proved
proposals held the roles that it takes. All ends at the admins whom the operator named: they are believed. What is proved
only grows, so the order in which things are looked at does not matter, and nothing can prove itself in a circle.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Literal
from uuid import UUID

from msgspec import Struct

from latticebank.banking.payments.model.evidence import STORED_WITHIN, Device
from latticebank.documents.decision import PROPOSAL_DECISION, Decision
from latticebank.documents.document import CLOCKS_APART, Document, identity, instant, read
from latticebank.documents.rights import DEVICE, RightsProposal, eyes_of
from latticebank.documents.signing import verify
from latticebank.values.errors import BankError

ADMIN = "admin"
FIRST_ADMINS = 2
"""So many admins a bank has by the operator's word alone."""
MAX_GENERATIONS = 64
"""The most steps from whoever is looked at to an admin whom the operator named."""


class Proposal(Struct, frozen=True):
    """An approved proposal as identity keeps it; `deciding` is the device that the approval names, if it can be read."""

    id: UUID
    subject: UUID
    action: str
    right: str
    proposer: UUID
    device: UUID
    document: bytes
    signature: bytes
    proposed_at: datetime
    approver: UUID
    deciding: UUID | None
    decision: bytes
    decision_signature: bytes
    decided_at: datetime


_Thing = tuple[Literal["device", "proposal"], UUID]
"""Of what something is proved: whoever writes ids could give a device that of a proposal."""


class Enrolled(Struct, frozen=True, gc=False):
    """How a device came to its user."""

    device: UUID
    enrolled_at: datetime
    sponsor: UUID | None
    proposal: UUID | None


class Person(Struct, frozen=True):
    """A user: all devices, and the one of the registration; of that nothing is known once the profile is `erased`."""

    user: UUID
    registered_device: UUID | None
    erased: bool
    devices: tuple[Enrolled, ...]


def proposal_faults(proposal: Proposal, proposing: Device | None, deciding: Device | None, bank: str) -> Iterator[str]:
    """Yield what is wrong with a proposal by itself, whatever its signers may."""
    if len({proposal.proposer, proposal.approver, proposal.subject}) != 3:
        yield "proposer, approver and subject are not three people"
    if proposing is None or deciding is None:
        yield "it was signed by a device that nobody knows"
        return
    try:
        document = read(RightsProposal, proposal.document)
        verify(proposing.key, proposal.document, proposal.signature, document.type)
    except BankError as error:
        yield f"nobody signed the proposal ({error.code})"
        return
    try:
        decision = read(Decision, proposal.decision)
        verify(deciding.key, proposal.decision, proposal.decision_signature, decision.type)
    except BankError as error:
        yield f"nobody signed the approval ({error.code})"
        return
    said = (UUID(document.id), UUID(document.subject), document.action, document.right)
    if said != (proposal.id, proposal.subject, proposal.action, proposal.right):
        yield "the proposal that was signed is another one"
    chosen = (decision.type, decision.decision, UUID(decision.subject), decision.subject_hash)
    if chosen != (PROPOSAL_DECISION, "approve", proposal.id, identity(proposal.document).hex()):
        yield "the approval that was signed is about something else"
    yield from _signer_faults("proposal", document, proposing, proposal.proposer, proposal.proposed_at, bank)
    yield from _signer_faults("approval", decision, deciding, proposal.approver, proposal.decided_at, bank)


def _signer_faults(
    what: str, document: Document, device: Device, signer: UUID, at: datetime, bank: str
) -> Iterator[str]:
    if document.bank != bank:
        yield f"the {what} was signed for another bank"
    if device.user != signer or UUID(document.device) != device.id:
        yield f"the {what} was signed by a device of somebody else"
    if not device.good_at(at):
        yield f"the {what} was signed by a device that was not active"
    created, expires = instant(document.created, "created"), instant(document.expires, "expires")
    if not created - CLOCKS_APART <= at < expires + STORED_WITHIN:
        yield f"the {what} was not received in the time for which it was signed"


class Authority:
    """Who held which right at which time, and whose devices are proved.

    What is learned comes with the faults that it has by itself; `settle` then finds all that follows.
    """

    def __init__(self) -> None:
        self.devices: dict[UUID, Device] = {}
        self.people: dict[UUID, Person] = {}
        self._named: dict[UUID, list[datetime]] = {}
        self._proposals: dict[UUID, Proposal] = {}
        self._about: dict[tuple[UUID, str], list[Proposal]] = defaultdict(list)
        self._faults: dict[_Thing, list[str]] = {}
        self._proved: set[_Thing] = set()
        self._waiting: list[tuple[_Thing, Callable[[], Iterable[str]]]] = []

    @property
    def roots(self) -> list[UUID]:
        """The admins by the operator's word, to whom all rights are traced back, in the order of their naming."""
        return sorted(self._named, key=lambda user: min(self._named[user]))

    def believe(self, named: Iterable[tuple[UUID, datetime]]) -> None:
        """Take whom the operator named an admin, and when, as the roots."""
        self._named = {}
        for user, at in named:
            self._named.setdefault(user, []).append(at)

    def learn_device(self, device: Device, faults: list[str]) -> None:
        """Take a device, with what is wrong with its enrolment by itself."""
        self.devices[device.id] = device
        self._take(("device", device.id), faults, lambda: self._entry_faults(device))

    def knows(self, proposal: Proposal) -> bool:
        """Whether this very proposal was learned before."""
        return self._proposals.get(proposal.id) == proposal

    def learn_proposal(self, proposal: Proposal, faults: list[str]) -> None:
        """Take an approved proposal, with what is wrong with it by itself; of two with one id neither counts."""
        if proposal.id in self._proposals:
            thing: _Thing = ("proposal", proposal.id)
            self._faults[thing] = ["another proposal has the same id"]
            self._proved.discard(thing)
            self._waiting = [each for each in self._waiting if each[0] != thing]
            return
        self._proposals[proposal.id] = proposal
        self._about[(proposal.subject, proposal.right)].append(proposal)
        self._take(("proposal", proposal.id), faults, lambda: self._mandate_faults(proposal))

    def settle(self) -> None:
        """Find all that is proved by what was learned."""
        for _ in range(MAX_GENERATIONS):
            left = []
            for waiting in self._waiting:
                if any(True for _ in waiting[1]()):
                    left.append(waiting)
                else:
                    self._proved.add(waiting[0])
            settled = len(left) == len(self._waiting)
            self._waiting = left
            if settled:
                return

    def device_faults(self, device: UUID) -> list[str]:
        """Return why a device that is known is not proved; nothing if it is."""
        if ("device", device) in self._proved:
            return []
        return self._faults[("device", device)] or list(self._entry_faults(self.devices[device]))

    def right_faults(self, user: UUID, right: str, at: datetime) -> list[str]:
        """Return why it is not proved that a user held a right at a time; nothing if it is."""
        if self._held(user, right, at):
            return []
        about = [each for each in self._about.get((user, right), []) if each.decided_at <= at + CLOCKS_APART]
        grants = [each for each in about if each.action == "grant"]
        if not grants:
            return ["nobody gave them this right"]
        last = max(grants, key=lambda each: each.decided_at)
        if ("proposal", last.id) in self._proved:
            return ["this right had been taken from them"]
        return self._proposal_faults(last)

    def _take(self, thing: _Thing, faults: list[str], further: Callable[[], Iterable[str]]) -> None:
        self._faults[thing] = faults
        if not faults:
            self._waiting.append((thing, further))

    def _proposal_faults(self, proposal: Proposal) -> list[str]:
        return self._faults[("proposal", proposal.id)] or list(self._mandate_faults(proposal))

    def _entry_faults(self, device: Device) -> Iterator[str]:
        """Yield what is missing for a device to have come to its user in a proved way."""
        if device.sponsor is not None:
            if ("device", device.sponsor) not in self._proved:
                yield "its sponsor is not proved"
        elif device.proposal is not None:
            yield from self._vouching_faults(device, self._proposals.get(device.proposal))
        else:
            yield from self._first_faults(device, self.people.get(device.user))

    def _vouching_faults(self, device: Device, proposal: Proposal | None) -> Iterator[str]:
        if proposal is None:
            yield "no two members of staff vouched for it"
            return
        vouched = (proposal.subject, proposal.action, proposal.right)
        if vouched != (device.user, "grant", DEVICE + identity(device.document).hex()):
            yield "two members of staff vouched for something else"
        if proposal.decided_at > device.enrolled_at + CLOCKS_APART:
            yield "it was enrolled before two members of staff vouched for it"
        if ("proposal", proposal.id) not in self._proved:
            for fault in self._proposal_faults(proposal):
                yield f"that staff vouched for it is not proved: {fault}"

    def _first_faults(self, device: Device, person: Person | None) -> Iterator[str]:
        if person is None:
            yield "nobody knows its user"
            return
        firsts = [each.device for each in person.devices if each.sponsor is None and each.proposal is None]
        if firsts != [device.id]:
            yield "nobody sponsored it, and it is not its user's only first device"
        if any(each.enrolled_at < device.enrolled_at for each in person.devices):
            yield "nobody sponsored it, and it is not its user's earliest"
        if not person.erased and person.registered_device != device.id:
            yield "nobody sponsored it, and its user did not register with it"

    def _mandate_faults(self, proposal: Proposal) -> Iterator[str]:
        """Yield what is missing for proposer and approver to have been who a proposal takes."""
        proposes, decides = eyes_of(proposal.right)
        acts = (
            ("proposed", proposal.device, proposal.proposer, proposes, proposal.proposed_at),
            ("approved", proposal.deciding, proposal.approver, decides, proposal.decided_at),
        )
        for act, device, signer, roles, at in acts:
            if device is None or ("device", device) not in self._proved:
                yield f"the device of whoever {act} it is not proved"
            if not any(self._held(signer, role, at) for role in roles):
                yield f"whoever {act} it was no {' or '.join(sorted(roles))}"

    def _held(self, user: UUID, right: str, at: datetime) -> bool:
        """Whether it is proved that a user held a right at a time.

        A withdrawal counts however it came about: that it was made up only takes something from its subject.
        """
        about = self._about.get((user, right), [])
        begins = [each.decided_at for each in about if each.action == "grant" and ("proposal", each.id) in self._proved]
        if right == ADMIN:
            begins += self._named.get(user, [])
        ended = max(
            (each.decided_at for each in about if each.action != "grant" and each.decided_at < at), default=None
        )
        return any(begin <= at + CLOCKS_APART and (ended is None or begin > ended) for begin in begins)
