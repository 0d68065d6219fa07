"""Customers' profile keys, opened by keys and remembered for a minute at most."""

import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from uuid import UUID

from latticebank.crypto.envelope import FieldKey, field_place, sealed_under
from latticebank.crypto.errors import SealBroken
from latticebank.documents.document import from_base64url
from latticebank.security.keys.client import KeysClient
from latticebank.security.keys.wire import CustomerKey, CustomerKeyRequest
from latticebank.values.errors import BankError, Fault

FIRST_VERSION = 1
REMEMBERED = 1_000
REMEMBERED_SECONDS = 60.0


class ProfileErased(BankError):
    """The profile key of a customer was destroyed: what it sealed is gone for good."""

    code = "profile-erased"
    title = "This profile was erased"
    fault = Fault.NOT_FOUND


class ProfileKeys:
    """Seals and opens the personal columns of identity. `monotonic` gives its time in seconds."""

    def __init__(self, keys: KeysClient, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._keys = keys
        self._monotonic = monotonic
        self._remembered: OrderedDict[tuple[UUID, int | None], tuple[FieldKey, float]] = OrderedDict()

    async def seal(self, owner: UUID, plaintext: bytes, table: str, column: str, row: UUID) -> bytes:
        """Return a value of a customer sealed for its place, under the active profile key.

        Raises:
            ProfileErased: the customer has no profile key.

        """
        return (await self.key(owner)).seal(plaintext, field_place(table, column, str(row)))

    async def open(self, owner: UUID, sealed: bytes, table: str, column: str, row: UUID) -> bytes:
        """Return a sealed value of a customer.

        Raises:
            ProfileErased: the key was destroyed.
            SealBroken: the value was changed, or moved from another row or customer.

        """
        key_id, version = sealed_under(sealed)
        if version < FIRST_VERSION:
            raise SealBroken("no customer's key has this version")
        key = await self.key(owner, version)
        if key.key_id != key_id:
            raise SealBroken("the value was sealed under another customer's key")
        return key.open(sealed, field_place(table, column, str(row)))

    async def key(self, owner: UUID, version: int | None = None) -> FieldKey:
        """Return a profile key of a customer: this version, or the active one.

        Raises:
            ProfileErased: there is none.

        """
        now = self._monotonic()
        known = self._remembered.get((owner, version))
        if known is not None and now < known[1]:
            self._remembered.move_to_end((owner, version))
            return known[0]
        opened = await self._keys.customer_keys([CustomerKeyRequest(owner, "profile", version)])
        if not opened:
            self._remembered.pop((owner, version), None)
            raise ProfileErased("this customer has no profile key", field="user")
        return self._remember(owner, version, opened[0])

    async def fetch(self, wanted: Collection[tuple[UUID, int]]) -> None:
        """Have keys of many customers, by owner and version, at hand; those that are gone are not. At most 1,000."""
        now = self._monotonic()
        missing = [each for each in wanted if each not in self._remembered or now >= self._remembered[each][1]]
        if missing:
            asked = [CustomerKeyRequest(owner, "profile", version) for owner, version in missing]
            for opened in await self._keys.customer_keys(asked):
                self._remember(opened.owner, opened.version, opened)

    def forget(self, owner: UUID) -> None:
        """Let go of a customer's keys: they were destroyed."""
        for known in [each for each in self._remembered if each[0] == owner]:
            del self._remembered[known]

    def _remember(self, owner: UUID, version: int | None, opened: CustomerKey) -> FieldKey:
        key = FieldKey(opened.key_id, opened.version, from_base64url(opened.secret, "secret"))
        self._remembered[(owner, version)] = (key, self._monotonic() + REMEMBERED_SECONDS)
        self._remembered.move_to_end((owner, version))
        while len(self._remembered) > REMEMBERED:
            self._remembered.popitem(last=False)
        return key
