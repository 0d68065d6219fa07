"""The life of the town: payments at a chosen rate, as they come (a Poisson process), until somebody says stop."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from random import SystemRandom

from latticebank.runtime.town.acting import Actor, Ways, all_of
from latticebank.runtime.town.books import open_own_accounts
from latticebank.runtime.town.founding import add, found, new_town, welcome
from latticebank.runtime.town.moving_in import Staff, register_all
from latticebank.runtime.town.owners import owners_in
from latticebank.runtime.town.papers import Papers, Resident, Town
from latticebank.runtime.town.paying import Market, purses_of
from latticebank.runtime.town.people import MAX_TOWNSPEOPLE, STAFF, townsperson
from latticebank.runtime.town.tally import Tally
from latticebank.values.errors import BankError, Fault

MOST_IN_FLIGHT = 64
"""How many payments wait for their answers at once: what is due beyond that waits, and is given up in the end."""
MOST_BEHIND_SECONDS = 2.0
PATIENCE_SECONDS = 5.0
UNANSWERED = "unanswered"
"""Counted among the failures: what the bank had not answered when the run was over."""
_TELL_SECONDS = 0.5
_LAST_ANSWERS_SECONDS = 15.0


class NobodyToPay(BankError):
    """Nobody is there to pay anybody."""

    code = "nobody-to-pay"
    title = "There are not two accounts in the town between which money moves"
    fault = Fault.CONFLICT


@dataclass(frozen=True)
class Wish:
    """What a run is to be: orders a second, how many pay, for how long (None: until it is stopped).

    With `imported` that many owners of imported accounts pay, and nobody else.
    """

    rate: float
    people: int
    seconds: float | None = None
    imported: int = 0


async def live(
    papers: Papers,
    ways: Ways,
    wish: Wish,
    stop: asyncio.Event,
    *,
    progress: Callable[[str], None],
    tell: Callable[[Tally], None],
) -> Tally:
    """Have the people of the town pay at the wished rate, until the time is over or `stop` is set.

    `progress` is told of each slow step before that, `tell` how things stand, twice a second.

    Raises:
        NoTown: the bank has no town, and there are no imported accounts to be asked for.
        TownLost, NoImportedAccounts, NobodyToPay: there is nobody to pay.

    """
    with papers.alone():
        town, residents = await _assemble(papers, ways, wish, progress)
    staff = Staff(town, ways)
    progress(f"Logging in {len(residents)} people")
    actors = [Actor(resident, ways, PATIENCE_SECONDS) for resident in residents]
    purses = [purse for those in await all_of(actors, purses_of) for purse in those]
    tally = Tally(wish.rate)
    market = Market(purses, staff, await open_own_accounts(ways), tally, ways.currency)
    if market.is_empty:
        raise NobodyToPay("ask for more people", field="people")
    await _Run(market, tally, wish, stop).until_over(tell)
    return tally


async def _assemble(
    papers: Papers, ways: Ways, wish: Wish, progress: Callable[[str], None]
) -> tuple[Town, list[Resident]]:
    """Return the town and those of it who pay, moved in."""
    if wish.imported:
        town = await asyncio.to_thread(papers.town) or new_town(STAFF, ways)
    else:
        town = await asyncio.to_thread(papers.existing_town)
    if not town.complete:
        await found(papers, town, ways, progress)
    if wish.imported:
        progress("Looking for owners of imported accounts")
        newcomers = await owners_in(ways, town, wish.imported)
        names = {newcomer.name for newcomer in newcomers}
    else:
        there = [each for each in town.residents if not each.is_staff and not each.party]
        more = (each for each in map(townsperson, range(MAX_TOWNSPEOPLE)) if not town.has(each.name))
        newcomers = list(islice(more, max(0, wish.people - len(there))))
        names = {each.name for each in there[: wish.people]} | {each.name for each in newcomers}
    add(town, newcomers, ways)
    residents = [each for each in town.residents if each.name in names]
    if strangers := [each for each in residents if not each.account]:
        progress(f"{len(strangers)} people move into the town")
        await register_all(papers, town, strangers, ways)
        await welcome(Staff(town, ways), strangers, ways)
        await asyncio.to_thread(papers.keep, town)
    return town, residents


class _Run:
    """One run: when the next payment is due, and which wait for their answers."""

    def __init__(self, market: Market, tally: Tally, wish: Wish, stop: asyncio.Event) -> None:
        self._market = market
        self._tally = tally
        self._wish = wish
        self._stop = stop
        self._random = SystemRandom()
        self._under_way: set[asyncio.Task[None]] = set()
        self._began = self._now()

    async def until_over(self, tell: Callable[[Tally], None]) -> None:
        """Pay until the time is over, then wait for the last answers."""
        async with asyncio.TaskGroup() as group:
            others = [group.create_task(self._tell(tell)), group.create_task(self._decide())]
            try:
                await self._arrive(group)
                if self._under_way:
                    _, unanswered = await asyncio.wait(self._under_way, timeout=_LAST_ANSWERS_SECONDS)
                    self._tally.failed.update([UNANSWERED] * len(unanswered))
                self._tally.seconds = self._now() - self._began
            finally:
                for task in (*others, *self._under_way):
                    task.cancel()

    async def _arrive(self, group: asyncio.TaskGroup) -> None:
        """Start each payment when it is due; what cannot be started in time is given up, and counted."""
        due = self._began
        ends = None if self._wish.seconds is None else self._began + self._wish.seconds
        while not self._stop.is_set():
            due += self._random.expovariate(self._wish.rate)
            await self._sleep_until(due if ends is None else min(due, ends))
            if ends is not None and self._now() >= ends:
                return
            while len(self._under_way) >= MOST_IN_FLIGHT:
                await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
            if (behind := self._now() - due) > MOST_BEHIND_SECONDS:
                self._tally.given_up += round(behind * self._wish.rate)
                due = self._now()
            task = group.create_task(self._market.act())
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _sleep_until(self, due: float) -> None:
        """Sleep until then or until the run is stopped; others have their turn in any case."""
        try:
            async with asyncio.timeout_at(max(due, self._now())):
                await self._stop.wait()
        except TimeoutError:
            return

    async def _decide(self) -> None:
        """Bring the manager what has waited long enough."""
        while True:
            await asyncio.sleep(_TELL_SECONDS)
            due = [held for held in self._market.held if held.due <= self._now()]
            self._market.held = [held for held in self._market.held if held not in due]
            for held in due:
                await self._market.decide(held)

    async def _tell(self, tell: Callable[[Tally], None]) -> None:
        while True:
            self._tally.seconds = self._now() - self._began
            tell(self._tally)
            await asyncio.sleep(_TELL_SECONDS)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
