"""Legal holds: placed and lifted over a customer, one for each reason; while one stands, no key is destroyed."""

from uuid import UUID

from latticebank.kernel.database import Database, UnitOfWork
from latticebank.security.keys import store
from latticebank.security.keys.model import KINDS, Hold, KeyNotFound, KeyState, LegalHold, customer_owner
from latticebank.security.keys.service import messages
from latticebank.security.keys.service.tombstones import Tombstones, complete
from latticebank.security.keys.wire import HoldReason
from latticebank.values.clock import Clock
from latticebank.values.ids import Uuid7Source


class Holds:
    """The holds of one book."""

    def __init__(self, database: Database, book: int, tombstones: Tombstones, clock: Clock, ids: Uuid7Source) -> None:
        self._database = database
        self._book = book
        self._tombstones = tombstones
        self._clock = clock
        self._ids = ids

    async def of_customer(self, customer: UUID) -> list[Hold]:
        """Return all holds over a customer in the order of time.

        Raises:
            KeyNotFound: the customer never had a key.

        """
        owner = customer_owner(customer)
        async with self._database.read() as connection:
            keys = await store.keys_of(connection, self._book, [owner], KINDS)
            holds = await store.holds_of(connection, self._book, [owner])
        if not keys:
            raise KeyNotFound("this user has no keys", field="user_id")
        return holds

    async def place(self, customer: UUID, reason: HoldReason, actor: str) -> list[Hold]:
        """Place a hold, nothing where one of this reason stands; return all holds over the customer.

        Raises:
            KeyNotFound: the customer has no key left that could be held.

        """
        owner = customer_owner(customer)
        async with self._database.begin() as unit:
            connection = unit.connection
            await store.lock_owners(connection, self._book, [owner])
            # A destruction that was begun is done first: a hold comes too late for it, and a start would not ask.
            await complete(unit, self._book, await self._tombstones.graves(), [owner], self._clock, self._ids)
            keys = await store.keys_of(connection, self._book, [owner], KINDS)
            if all(key.state is KeyState.DESTROYED for key in keys):
                raise KeyNotFound("this user has no keys that could be held", field="user_id")
            hold = Hold(self._ids(), owner, reason, self._clock.now(), actor)
            if await store.place_hold(connection, self._book, hold):
                unit.publish(messages.placed(self._ids, hold))
            return await store.holds_of(connection, self._book, [owner])

    async def lift(self, customer: UUID, reason: HoldReason | None, actor: str) -> list[Hold]:
        """Lift the hold of a reason, or all that stand; nothing where there is none. Return all holds over the customer.

        Raises:
            KeyNotFound: the customer never had a key.

        """
        owner, now = customer_owner(customer), self._clock.now()
        async with self._database.begin() as unit:
            connection = unit.connection
            await store.lock_owners(connection, self._book, [owner])
            for hold in await store.holds_of(connection, self._book, [owner]):
                wanted = hold.lifted_at is None and reason in (None, hold.reason)
                if wanted and await store.lift_hold(connection, self._book, hold.id, actor, now):
                    unit.publish(messages.lifted(self._ids, hold, actor, now))
        return await self.of_customer(customer)


async def refuse_if_held(unit: UnitOfWork, book: int, owner: str) -> None:
    """Return if no hold stands over an owner, who is locked: none is placed until the transaction ends.

    Raises:
        LegalHold: one does.

    """
    if await store.held(unit.connection, book, [owner]):
        raise LegalHold("a legal hold stands over the keys of this customer", hint="they stay until it is lifted")
