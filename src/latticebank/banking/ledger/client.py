"""How other services, the importer and the command line call the ledger."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from latticebank.banking.ledger.wire import (
    MAX_ORDERS,
    AccountFacts,
    AccountNumbers,
    AccountOpening,
    AccountPage,
    AccountsByReference,
    AccountView,
    BalanceView,
    Basis,
    BatchAnswer,
    CustomerDebitsAfter,
    CustomerDebitsPage,
    EntryPage,
    KnownAccounts,
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
_INTERNAL = "/internal/ledger"


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

    async def own_accounts(self, *, cursor: str | None = None, limit: int = 200) -> AccountPage:
        """Return a page of the accounts that are the caller's, or for which the caller may act."""
        query = _given(cursor=cursor, limit=limit)
        return await self.call("GET", f"{_ROOT}/own/accounts", AccountPage, query=query)

    async def own_balance(self, account: str, *, as_of: date | None = None, basis: Basis = "booking") -> BalanceView:
        """Return the balance of an account of the caller, as `balance` does."""
        query = _given(as_of=_day(as_of), basis=basis)
        return await self.call("GET", f"{_ROOT}/own/accounts/{account}/balance", BalanceView, query=query)

    async def own_entries(
        self,
        account: str,
        *,
        since: date | None = None,
        until: date | None = None,
        basis: Basis = "booking",
        cursor: str | None = None,
        limit: int = 200,
    ) -> EntryPage:
        """Return a page of the entries of an account of the caller, as `entries` does."""
        days = {"from": _day(since), "to": _day(until)}
        query = _given(**days, basis=basis, cursor=cursor, limit=limit)
        return await self.call("GET", f"{_ROOT}/own/accounts/{account}/entries", EntryPage, query=query)

    async def known_accounts(self, accounts: Sequence[str]) -> list[AccountFacts]:
        """Return what is fixed of those of these accounts that exist, in order of their numbers; for other services."""
        body = AccountNumbers(list(accounts))
        return (await self.call("POST", f"{_INTERNAL}/accounts", KnownAccounts, body=body)).accounts

    async def customer_debits(
        self, *, after: tuple[int, int] | None = None, limit: int = MAX_ORDERS
    ) -> CustomerDebitsPage:
        """Return a page of the transfers that took money from customers; for whoever checks their evidence."""
        body = CustomerDebitsAfter(after, limit)
        return await self.call("POST", f"{_INTERNAL}/customer-debits", CustomerDebitsPage, body=body)

    async def transfer(self, identifier: UUID) -> TransferView:
        """Return the ledger's record of one order."""
        return await self.call("GET", f"{_ROOT}/transfers/{identifier}", TransferView)


def _given(**query: str | int | None) -> dict[str, str | int]:
    return {name: value for name, value in query.items() if value is not None}


def _day(day: date | None) -> str | None:
    return None if day is None else day.isoformat()
