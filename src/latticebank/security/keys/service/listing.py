"""What the operator is shown of the tree: the keys of services one by one, those of customers counted."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from latticebank.kernel.database import Database
from latticebank.security.keys import store
from latticebank.security.keys.model import KINDS, Key, customer_owner


@dataclass(frozen=True, slots=True)
class KeyLine:
    """One key, or so many keys of customers that have purpose and state in common.

    `held` names the reasons of the legal holds that stand over the customer whose key it is.
    """

    owner: str
    purpose: str
    state: str
    keys: int = 1
    id: UUID | None = None
    version: int | None = None
    algorithm: str | None = None
    held: list[str] | None = None


async def services_keys(database: Database, book: int) -> list[KeyLine]:
    """Return a line for each version of each key of a service."""
    async with database.read() as connection:
        return _lines(await store.keys_of_services(connection, book))


async def customers_keys(database: Database, book: int, customer: UUID) -> list[KeyLine]:
    """Return a line for each version of each key of a customer."""
    owner = customer_owner(customer)
    async with database.read() as connection:
        keys = await store.keys_of(connection, book, [owner], KINDS)
        holds = await store.holds_of(connection, book, [owner])
    standing = [hold.reason for hold in holds if hold.lifted_at is None]
    return [replace(line, held=standing) for line in _lines(keys)]


async def counted_keys(database: Database, book: int) -> list[KeyLine]:
    """Return how many keys customers have of each kind in each state."""
    async with database.read() as connection:
        counted = await store.count_of_customers(connection, book)
    return [KeyLine("customers", purpose, state.word, count) for purpose, state, count in counted]


def _lines(keys: Sequence[Key]) -> list[KeyLine]:
    return [KeyLine(key.owner, key.purpose, key.state.word, 1, key.id, key.version, key.algorithm) for key in keys]
