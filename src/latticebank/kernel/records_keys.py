"""Customers' records keys, opened by keys and remembered for a minute: under them lies what proves the bank's acts.

The service that wants them gives the question; the kernel knows no service.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Protocol
from uuid import UUID

from latticebank.crypto.envelope import FieldKey, sealed_under
from latticebank.crypto.errors import SealBroken
from latticebank.documents.document import from_base64url
from latticebank.kernel.remembered import Remembered

_REMEMBERED = 20_000
_SECONDS = 60.0
_AT_ONCE = 1_000
_FIRST_VERSION = 1

Owner = tuple[UUID, int | None]
"""Whose key, and which version of it; None is the active one."""


class OpenedKey(Protocol):
    """A customer's key as keys gives it."""

    @property
    def owner(self) -> UUID: ...
    @property
    def key_id(self) -> UUID: ...
    @property
    def version(self) -> int: ...
    @property
    def secret(self) -> str: ...
    @property
    def state(self) -> str: ...


class RecordsKeys:
    """Opens what is sealed for customers, and gives the keys to seal it.

    `ask` is the question to keys: which of these records keys there are, at most 1,000.
    """

    def __init__(self, ask: Callable[[list[Owner]], Awaitable[Sequence[OpenedKey]]]) -> None:
        async def load(wanted: list[Owner]) -> Mapping[Owner, FieldKey]:
            found: dict[Owner, FieldKey] = {}
            for each in await ask(wanted):
                key = FieldKey(each.key_id, each.version, from_base64url(each.secret, "secret"))
                found[(each.owner, each.version)] = key
                if each.state == "active":
                    found[(each.owner, None)] = key
            return found

        self._keys = Remembered(load, at_most=_REMEMBERED, seconds=_SECONDS, at_once=_AT_ONCE)

    async def active(self, owners: Collection[UUID]) -> dict[UUID, FieldKey]:
        """Return the key under which each owner's new records are sealed; an owner without one is left out."""
        found = await self._keys.get_all([(owner, None) for owner in owners])
        return {owner: key for (owner, _), key in found.items()}

    async def open(self, owner: UUID, sealed: bytes, place: bytes) -> bytes | None:
        """Return what was sealed for this owner at a place; None once the key is destroyed.

        Raises:
            SealBroken: it was changed, or comes from another place or owner.

        """
        key_id, version = sealed_under(sealed)
        if version < _FIRST_VERSION:
            raise SealBroken("no customer's key has this version")
        key = await self._keys.get((owner, version))
        if key is None:
            return None
        if key.key_id != key_id:
            raise SealBroken("the value was sealed under another customer's key")
        return key.open(sealed, place)

    async def aclose(self) -> None:
        """Stop asking for keys."""
        await self._keys.aclose()
