"""How other services call keys."""

from collections.abc import Sequence
from uuid import UUID

from latticebank.kernel.client import ServiceClient
from latticebank.security.keys.wire import (
    CustomerKey,
    CustomerKeyRequest,
    CustomerKeys,
    CustomerKeysWanted,
    DestructionOrder,
    HoldOrder,
    HoldReason,
    HoldsView,
    KeyHistoryPage,
    KeysView,
    KindWord,
    NewCustomer,
    OwnKey,
    OwnKeyRequest,
    OwnKeys,
    OwnKeysWanted,
    Reason,
    StateOrder,
    StateWord,
)
from latticebank.values.ids import derived_id

_ROOT = "/api/quantum/keys"
_INTERNAL = "/internal/keys"


class KeysClient(ServiceClient):
    """A typed client of keys; every call may raise `RemoteProblem` with the code that keys gave.

    All calls but `change_state` are safe to repeat, and are repeated while keys is not available.
    """

    async def own_keys(self, purposes: Sequence[OwnKeyRequest]) -> list[OwnKey]:
        """Return the calling service's own keys, made at the first call: for each purpose the active first, then older ones."""
        body = OwnKeysWanted(list(purposes))
        name = derived_id("own-keys", *(request.purpose for request in purposes))
        return (await self.call("POST", f"{_INTERNAL}/own", OwnKeys, body=body, idempotency_key=name)).keys

    async def create_customer_keys(self, owner: UUID) -> None:
        """Have a profile key and a records key made for a customer, unless they were made before."""
        body = NewCustomer(owner)
        await self.call("POST", f"{_INTERNAL}/customers", type(None), body=body, idempotency_key=owner)

    async def customer_keys(self, wanted: Sequence[CustomerKeyRequest]) -> list[CustomerKey]:
        """Return customers' keys, opened, in the order asked; unknown and destroyed ones are left out. At most 1,000."""
        if not wanted:
            return []
        body = CustomerKeysWanted(list(wanted))
        path = f"{_INTERNAL}/customers/open"
        return (await self.call("POST", path, CustomerKeys, body=body, idempotency_key=wanted[0].owner)).keys

    async def records_keys(self, wanted: Sequence[tuple[UUID, int | None]]) -> list[CustomerKey]:
        """Return those of these records keys, by owner and version (None is the active one), that open. At most 1,000."""
        return await self.customer_keys([CustomerKeyRequest(owner, "records", version) for owner, version in wanted])

    async def destroy_customer_key(self, owner: UUID, kind: KindWord, reason: Reason) -> None:
        """Destroy a customer's key in all its versions, for ever; with the code `legal-hold` if one stands."""
        path = f"{_INTERNAL}/customers/{owner}/{kind}/destroy"
        await self.call("POST", path, type(None), body=DestructionOrder(reason), idempotency_key=owner)

    async def change_state(self, key: UUID, state: StateWord, reason: Reason) -> None:
        """Bring one key into another state."""
        await self.call("POST", f"{_INTERNAL}/{key}/state", type(None), body=StateOrder(state, reason))

    async def holds(self, user: UUID) -> HoldsView:
        """Return the legal holds over a user."""
        return await self.call("GET", f"{_ROOT}/{user}/hold", HoldsView)

    async def place_hold(self, user: UUID, reason: HoldReason) -> HoldsView:
        """Place a legal hold over a user; return all there are."""
        return await self.call("PUT", f"{_ROOT}/{user}/hold", HoldsView, body=HoldOrder(reason), idempotency_key=user)

    async def lift_hold(self, user: UUID, reason: HoldReason | None = None) -> HoldsView:
        """Lift the legal hold of a reason over a user, or all that stand; return all there were."""
        query = None if reason is None else {"reason": reason}
        return await self.call("DELETE", f"{_ROOT}/{user}/hold", HoldsView, query=query, idempotency_key=user)

    async def info(self, user: UUID) -> KeysView:
        """Return what is known of a user's keys."""
        return await self.call("GET", f"{_ROOT}/{user}/info", KeysView)

    async def history(self, user: UUID, *, cursor: str | None = None, limit: int = 200) -> KeyHistoryPage:
        """Return a page of what happened to a user's keys, oldest first."""
        query: dict[str, str | int] = {"limit": limit} if cursor is None else {"limit": limit, "cursor": cursor}
        return await self.call("GET", f"{_ROOT}/{user}/history", KeyHistoryPage, query=query)

    async def rotate(self, key: UUID) -> KeysView:
        """Rotate the calling user's keys under an idempotency key; return them as they then are."""
        return await self.call("POST", f"{_ROOT}/rotate", KeysView, idempotency_key=key)
