"""The founding of the town: once, and gone on with by the next start if it was broken off."""

import asyncio
from collections.abc import Callable, Sequence

from latticebank.banking.ledger.client import LedgerClient
from latticebank.client import Payee, RemoteProblem, SystemClock, Uuid7Source
from latticebank.kernel.credential_file import operator_credential
from latticebank.kernel.settings import Settings
from latticebank.kernel.transports import Transport
from latticebank.runtime.town.acting import Actor, Ways, all_of, name_of_bank
from latticebank.runtime.town.books import has_demo_books, open_own_accounts
from latticebank.runtime.town.moving_in import Staff, appoint, deposit_all, order_once, register_all, settle_in
from latticebank.runtime.town.papers import Papers, Planned, Resident, Town, resident_of
from latticebank.runtime.town.people import EVERYONE, FIRST_PAYMENTS, Newcomer, amount_text
from latticebank.values.errors import Fault

_FINAL_REFUSALS = frozenset({Fault.CONFLICT, Fault.REFUSED})


async def ways_to(settings: Settings, transport: Transport) -> Ways:
    """Return the ways to the bank of these settings, once it answers."""
    clock = SystemClock()
    return Ways(
        transport,
        operator_credential(settings.data),
        clock,
        Uuid7Source(clock),
        await name_of_bank(transport),
        settings.currency,
        settings.shards,
    )


async def seed(settings: Settings, transport: Transport, progress: Callable[[str], None]) -> Town | None:
    """Found the town in the empty books of a bank, or go on with it; None where the books are not a demo's.

    A town that is complete costs the opening of its papers.

    Raises:
        TownLost: the bank has people of a town whose papers are gone.

    """
    books = LedgerClient(transport, operator_credential(settings.data))
    marked = await has_demo_books(books)
    if not marked and (await books.accounts(limit=1)).items:
        return None
    papers = Papers(settings.data)
    town = await asyncio.to_thread(papers.town)
    if town is not None and town.complete:
        if marked:
            return town
        town = None  # those were the people of books that are gone
        papers.without_wallets()
    ways = await ways_to(settings, transport)
    if town is None:
        town = new_town(EVERYONE, ways)
    await found(papers, town, ways, progress)
    return town


def new_town(newcomers: Sequence[Newcomer], ways: Ways) -> Town:
    """Return a town of these people, of whom the bank knows nothing yet."""
    town = Town(1, [], [])
    add(town, newcomers, ways)
    names = {newcomer.name for newcomer in newcomers}
    town.payments = [
        Planned(ways.ids(), amount_text(each.hundredths, ways.currency), each.payer, each.payee, each.reference)
        for each in FIRST_PAYMENTS
        if {each.payer, each.payee} <= names
    ]
    return town


def add(town: Town, newcomers: Sequence[Newcomer], ways: Ways) -> list[Resident]:
    """Add people to a town that do not live there yet, and return them."""
    added = []
    for newcomer in newcomers:
        if not town.has(newcomer.name):
            amounts = [amount_text(whole * 100, ways.currency) for whole in newcomer.cash]
            added.append(resident_of(newcomer, len(town.residents), amounts, ways.ids))
            town.residents.append(added[-1])
    return added


async def found(papers: Papers, town: Town, ways: Ways, progress: Callable[[str], None]) -> None:
    """Do whatever is still to be done until the town is complete.

    Raises:
        TownLost: the bank has other staff.

    """
    progress("Registering the people of the demo town")
    await open_own_accounts(ways)
    # One customer after the other: then each has the account number that the documentation shows.
    await register_all(papers, town, [each for each in town.residents if not each.is_staff], ways, at_once=1)
    await register_all(papers, town, [each for each in town.residents if each.is_staff], ways)
    progress("Appointing the staff of the demo town")
    staff = Staff(town, ways)
    await appoint(town, staff, ways)
    progress("Making the first payments of the demo town")
    await welcome(staff, town.residents, ways)
    await _pay_first(town, ways)
    town.complete = True
    await asyncio.to_thread(papers.keep, town)


async def welcome(staff: Staff, residents: Sequence[Resident], ways: Ways) -> None:
    """Let residents who are registered settle in, with the cash that they bring."""
    await settle_in(staff, residents)
    await deposit_all(staff, await open_own_accounts(ways), residents, ways.currency)


async def _pay_first(town: Town, ways: Ways) -> None:
    """Make the first payments, each once; one that the bank refuses for good is left at that."""
    payers = {planned.payer: Actor(town.resident(planned.payer), ways) for planned in town.payments}

    async def pay(planned: Planned) -> None:
        actor, payee = payers[planned.payer], town.resident(planned.payee)
        order = Payee(payee.account, payee.full_name, planned.amount, ways.currency, planned.reference)
        signed = actor.signs_as(planned.id).payment(actor.resident.account, order)
        try:
            await order_once(actor, planned.id, lambda bank: bank.transfer(signed))
        except RemoteProblem as problem:
            if problem.fault not in _FINAL_REFUSALS:
                raise

    await all_of(town.payments, pay)
