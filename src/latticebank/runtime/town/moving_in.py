"""Moving into the town: registration, staff and rights under four eyes, the first account, and cash at the teller's.

Every step may be repeated: what was done before is found done.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256
from uuid import UUID

from latticebank.banking.payments.wire import PaymentView
from latticebank.client import BankClient, RemoteProblem, Signatory
from latticebank.documents.rights import PARTY, VERIFIED
from latticebank.runtime.town.acting import AT_ONCE, Actor, Ways, all_of
from latticebank.runtime.town.papers import Papers, Planned, Resident, Town, enrolment_of
from latticebank.runtime.town.people import FIRST_ADMIN, MANAGER, SECOND_ADMIN, TELLER
from latticebank.security.identity.wire import ProposalView
from latticebank.values.account_number import parse_account_number, shard_of
from latticebank.values.errors import BankError, Fault

DEVICE_NAME = "demo"
_PAGE = 200
_MAX_PAGES = 100
_EXPIRED = "document-expired"
_PARTY_TAKEN = "party-taken"
_LOST = frozenset({"enough-admins", "user-unknown"})


class TownLost(BankError):
    """The bank has people of a demo town whose papers are no longer here, or admins of its own."""

    code = "demo-town-lost"
    title = "The demo town cannot move into this bank"
    fault = Fault.CONFLICT


class Staff:
    """The people of the town who work at the bank, at work."""

    def __init__(self, town: Town, ways: Ways) -> None:
        self.first_admin = Actor(town.resident(FIRST_ADMIN), ways)
        self.second_admin = Actor(town.resident(SECOND_ADMIN), ways)
        self.teller = Actor(town.resident(TELLER), ways)
        self.manager = Actor(town.resident(MANAGER), ways)


async def register_all(
    papers: Papers, town: Town, residents: Sequence[Resident], ways: Ways, at_once: int = AT_ONCE
) -> None:
    """Register residents at the bank in their order, with the enrolments that were written down before they were first sent.

    At most `at_once` are under way together: only one by one do their accounts come in that order for certain.
    """
    new = [resident for resident in residents if not resident.enrolment]
    if new:
        for resident in new:
            _enrol(resident, ways)
        await asyncio.to_thread(papers.keep, town)

    async def register(resident: Resident) -> None:
        try:
            await _register(resident, ways)
        except RemoteProblem as problem:
            if problem.code != _EXPIRED:
                raise
            # The bank never heard of it, or it would not have looked at the time.
            _enrol(resident, ways)
            await asyncio.to_thread(papers.keep, town)
            await _register(resident, ways)

    await all_of(residents, register, at_once)


async def appoint(town: Town, staff: Staff, ways: Ways) -> None:
    """Name the first two admins by the operator's word, and have them name the others.

    Raises:
        TownLost: the bank has other admins, or knows the people of the town by other keys.

    """
    for admin in (staff.first_admin, staff.second_admin):
        try:
            await ways.operator_bank().bootstrap_admin(admin.resident.user)
        except RemoteProblem as problem:
            if problem.code not in _LOST:
                raise
            raise TownLost(
                "this bank has staff whose passwords and keys are not in the folder `demo` of its data folder",
                hint="start it with --no-demo, or use another data folder for a demo",
            ) from problem
    others = [each for each in town.residents if each.is_staff and each.role != "admin"]
    await grant(staff.first_admin, staff.second_admin, [(each.user, each.role) for each in others])


async def settle_in(staff: Staff, residents: Sequence[Resident]) -> None:
    """Prove the identity of customers by teller and manager, link them to their party, and note their accounts."""
    wanted = [(each.user, VERIFIED) for each in residents if not each.is_staff]
    wanted += [(each.user, f"{PARTY}{each.party}") for each in residents if each.party]
    await grant(staff.teller, staff.manager, wanted)

    async def note_account(resident: Resident) -> None:
        party = f"user:{resident.user}"
        page = await staff.teller.asks(lambda _: staff.teller.books().accounts(party=party, limit=1))
        resident.account = page.items[0].account

    await all_of([each for each in residents if not each.account], note_account)


async def deposit_all(staff: Staff, tills: dict[int, str], residents: Sequence[Resident], currency: str) -> None:
    """Have the teller take in the cash that residents bring."""
    brought = [(resident.account, planned) for resident in residents for planned in resident.deposits]

    async def deposit(account: str, planned: Planned) -> None:
        till = tills[shard_of(parse_account_number(account))]
        signed = staff.teller.signs_as(planned.id).cash("deposit", account, till, planned.amount, currency)
        await order_once(staff.teller, planned.id, lambda bank: bank.cash(signed))

    await all_of(brought, lambda each: deposit(*each))


async def order_once(
    actor: Actor, identifier: UUID, order: Callable[[BankClient], Awaitable[PaymentView]]
) -> PaymentView:
    """Return the payment of this id as it stands once the bank is done with it; order it if the bank has none."""

    async def do(bank: BankClient) -> PaymentView:
        try:
            payment = await bank.payment(identifier)
        except RemoteProblem as problem:
            if problem.fault is not Fault.NOT_FOUND:
                raise
            payment = await order(bank)
        return await bank.settled(identifier) if payment.state == "received" else payment

    return await actor.asks(do)


async def grant(proposer: Actor, approver: Actor, wanted: Sequence[tuple[UUID, str]]) -> None:
    """Give people rights that they do not have yet: each proposed by one and approved by the other."""
    if not wanted:
        return
    known = await _proposals(approver)

    async def one(subject: UUID, right: str) -> None:
        proposal = known.get((subject, right))
        if proposal is None:
            signed = proposer.signs.rights("grant", right, subject)
            proposal = await proposer.asks(lambda bank: bank.propose(signed))
        if proposal.state == "open":
            identity = sha256(proposal.document.encode()).hexdigest()
            decision = approver.signs.proposal_decision(proposal.id, identity, "approve")
            identifier = proposal.id
            try:
                await approver.asks(lambda bank: bank.decide_proposal(identifier, decision))
            except RemoteProblem as problem:
                if problem.code != _PARTY_TAKEN:  # the owner is a customer already, and pays without the town
                    raise

    await all_of(wanted, lambda each: one(*each))


async def _proposals(member: Actor) -> dict[tuple[UUID, str], ProposalView]:
    """Return the proposals that gave, or may still give, a right, by subject and right."""
    known: dict[tuple[UUID, str], ProposalView] = {}

    async def read(bank: BankClient) -> None:
        cursor: str | None = None
        for _ in range(_MAX_PAGES):
            page = await bank.proposals(cursor=cursor, limit=_PAGE)
            for proposal in page.items:
                if proposal.action == "grant" and proposal.state in ("open", "approved"):
                    known.setdefault((proposal.subject, proposal.right), proposal)
            cursor = page.next_cursor
            if cursor is None:
                return

    await member.asks(read)
    return known


def _enrol(resident: Resident, ways: Ways) -> None:
    signed = Signatory(ways.bank, resident.key(), ways.clock, ways.ids).enrolment(resident.user)
    resident.enrolment, resident.enrolment_signature = signed.document, signed.signature


async def _register(resident: Resident, ways: Ways) -> None:
    await ways.anyone().register(
        user=resident.user,
        email=resident.email,
        password=resident.password,
        full_name=resident.full_name,
        phone=resident.phone,
        device_name=DEVICE_NAME,
        enrolment=enrolment_of(resident),
    )
