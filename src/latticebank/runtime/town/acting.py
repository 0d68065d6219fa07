"""How the people of the town act at the bank: from outside, each in a session and with a device of their own."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from latticebank.banking.ledger.client import LedgerClient
from latticebank.client import BankClient, NoSession, RemoteProblem, Signatory
from latticebank.kernel.caller import Credential
from latticebank.kernel.transports import Transport
from latticebank.runtime.town.papers import Resident
from latticebank.values.clock import Clock
from latticebank.values.errors import BankError, Fault
from latticebank.values.ids import Uuid7Source

T = TypeVar("T")
V = TypeVar("V")

AT_ONCE = 16
"""How many things the town asks of the bank at once while it is made."""
PATIENCE_SECONDS = 30.0
"""How long the town waits for a bank that is not there yet, or too busy."""
_LOOK_AGAIN_SECONDS = 0.1


@dataclass(frozen=True)
class Ways:
    """The way to the bank's door, and what the town needs to go there. `bank` is the name that documents bear."""

    transport: Transport
    operator: Credential
    clock: Clock
    ids: Uuid7Source
    bank: str
    currency: str
    shards: int = 1

    def books(self) -> LedgerClient:
        """Return the ledger as the operator sees it."""
        return LedgerClient(self.transport, self.operator)

    def operator_bank(self) -> BankClient:
        """Return the bank as the operator sees it."""
        return BankClient(self.transport, credential=self.operator, patience=PATIENCE_SECONDS)

    def anyone(self) -> BankClient:
        """Return the bank as it is to those whom it does not know."""
        return BankClient(self.transport, patience=PATIENCE_SECONDS)


class Actor:
    """A resident at the bank; logs in when a session is needed and none is open any more."""

    def __init__(self, resident: Resident, ways: Ways, patience: float = PATIENCE_SECONDS) -> None:
        self.resident = resident
        self.signs = Signatory(ways.bank, resident.key(), ways.clock, ways.ids)
        self._ways = ways
        self._patience = patience
        self._bank = BankClient(ways.transport, patience=patience)
        self._entering = asyncio.Lock()

    def signs_as(self, identifier: UUID) -> Signatory:
        """Return what signs one document under an id that was chosen before."""
        return Signatory(self._ways.bank, self.signs.device, self._ways.clock, lambda: identifier)

    async def asks(self, do: Callable[[BankClient], Awaitable[T]]) -> T:
        """Return what `do` returns, given the bank as this resident's session sees it; it may be called twice."""
        session = self._bank.session
        if session is not None and not session.is_over(self._ways.clock.now()):
            try:
                return await do(self._bank)
            except RemoteProblem as problem:
                if problem.fault is not Fault.UNAUTHENTICATED:
                    raise
        async with self._entering:
            if self._bank.session is session:
                # The old one would present the token of the session that ended.
                bank = BankClient(self._ways.transport, patience=self._patience)
                await bank.login(self.resident.email, self.resident.password, self.signs.login_proof())
                self._bank = bank
        return await do(self._bank)

    def books(self) -> LedgerClient:
        """Return the ledger as this member of staff sees it."""
        return LedgerClient(self._ways.transport, self._credential)

    async def _credential(self) -> str:
        if self._bank.session is None:
            raise NoSession(f"{self.resident.name} is not logged in")
        return f"Bearer {self._bank.session.token}"


async def all_of(things: Iterable[T], do: Callable[[T], Awaitable[V]], at_once: int = AT_ONCE) -> list[V]:
    """Return what `do` returns for each thing, some at once; the first failure ends the others."""
    gate = asyncio.Semaphore(at_once)

    async def one(thing: T) -> V:
        async with gate:
            return await do(thing)

    tasks = [asyncio.ensure_future(one(thing)) for thing in things]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


async def name_of_bank(transport: Transport) -> str:
    """Return the name of the bank once it answers.

    Raises:
        BankError: it does not within `PATIENCE_SECONDS`.

    """
    anyone = BankClient(transport)
    ends = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while True:
        try:
            return (await anyone.security_info()).bank
        except BankError as error:
            if error.fault is not Fault.UNAVAILABLE or asyncio.get_running_loop().time() >= ends:
                raise
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)
