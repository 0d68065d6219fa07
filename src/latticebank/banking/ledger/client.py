"""How other services, the importer and the command line call the ledger."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from latticebank.banking.ledger.wire import (
    AccountOpening,
    AccountPage,
    AccountsByReference,
    AccountView,
    BalanceView,
    Basis,
    BatchAnswer,
    EntryPage,
    OpeningAnswer,
    OpeningBatch,
    OpeningOrder,
    OpeningsAnswer,
    Order,
    OrderAnswer,
    OrderBatch,
    OverdraftLimit,
    Reason,
    References,
    Restriction,
    RestrictionWord,
    TransferView,
)
from latticebank.kernel.client import ServiceClient

_ROOT = "/api/ledger"


class LedgerClient(ServiceClient):
    """A typed client of the ledger; every call may raise `RemoteProblem` with the code that the ledger gave."""

    async def open_account(self, key: UUID, opening: AccountOpening) -> AccountView:
        """Open an account under an idempotency key."""
        return await self.call("POST", f"{_ROOT}/accounts", AccountView, body=opening, idempotency_key=key)

    async def open_accounts(self, openings: Sequence[OpeningOrder]) -> list[OpeningAnswer]:
        """Return the answers to openings, in their order; to repeat them is safe."""
        body = OpeningBatch(list(openings))
        path = f"{_ROOT}/accounts/batch"
        answer = await self.call("POST", path, OpeningsAnswer, body=body, idempotency_key=openings[0].id)
        return answer.answers

    async def account(self, account: str) -> AccountView:
        """Return an account as it stands."""
        return await self.call("GET", f"{_ROOT}/accounts/{account}", AccountView)

    async def accounts(
        self,
        *,
        cursor: str | None = None,
        limit: int = 200,
        kind: str | None = None,
        currency: str | None = None,
        party: str | None = None,
    ) -> AccountPage:
        """Return a page of accounts in order of their numbers."""
        query = _given(cursor=cursor, limit=limit, kind=kind, currency=currency, party=party)
        return await self.call("GET", f"{_ROOT}/accounts", AccountPage, query=query)

    async def accounts_by_reference(self, references: Sequence[str]) -> dict[str, str]:
        """Return the accounts that have these references; one that no account has is left out."""
        body = References(list(references))
        found = await self.call("POST", f"{_ROOT}/accounts/by-reference", AccountsByReference, body=body)
        return found.accounts

    async def restrict(self, key: UUID, account: str, act: RestrictionWord, reason: Reason) -> AccountView:
        """Freeze an account, unfreeze it, or close it for ever."""
        path = f"{_ROOT}/accounts/{account}/{act}"
        return await self.call("POST", path, AccountView, body=Restriction(reason), idempotency_key=key)

    async def set_overdraft_limit(self, key: UUID, account: str, limit: str) -> AccountView:
        """Let an account go below zero by at most this."""
        path = f"{_ROOT}/accounts/{account}/overdraft-limit"
        return await self.call("POST", path, AccountView, body=OverdraftLimit(limit), idempotency_key=key)

    async def balance(self, account: str, *, as_of: date | None = None, basis: Basis = "booking") -> BalanceView:
        """Return the balance at the end of a day, today if none is given."""
        query = _given(as_of=_day(as_of), basis=basis)
        return await self.call("GET", f"{_ROOT}/accounts/{account}/balance", BalanceView, query=query)

    async def entries(
        self,
        account: str,
        *,
        since: date | None = None,
        until: date | None = None,
        basis: Basis = "booking",
        cursor: str | None = None,
        limit: int = 200,
    ) -> EntryPage:
        """Return a page of an account's entries in the order of booking."""
        days = {"from": _day(since), "to": _day(until)}
        query = _given(**days, basis=basis, cursor=cursor, limit=limit)
        return await self.call("GET", f"{_ROOT}/accounts/{account}/entries", EntryPage, query=query)

    async def order(self, orders: Sequence[Order]) -> list[OrderAnswer]:
        """Return the answers to orders, in their order; to repeat them is safe, so it is done when the way fails."""
        batch = OrderBatch(list(orders))
        answer = await self.call("POST", f"{_ROOT}/transfers", BatchAnswer, body=batch, idempotency_key=orders[0].id)
        return answer.answers

    async def transfer(self, identifier: UUID) -> TransferView:
        """Return the ledger's record of one order."""
        return await self.call("GET", f"{_ROOT}/transfers/{identifier}", TransferView)


def _given(**query: str | int | None) -> dict[str, str | int]:
    return {name: value for name, value in query.items() if value is not None}


def _day(day: date | None) -> str | None:
    return None if day is None else day.isoformat()
