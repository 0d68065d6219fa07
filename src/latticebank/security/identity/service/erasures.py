"""Erasure: accounts are closed, the key of a profile is destroyed, and with it goes what the customer was let in by.

An erasure is stored before anything is erased, and from then on its user can do nothing. Each step can be done again: a
crash anywhere is made good by the background work, and an old copy of the database by what is kept apart from it. Until the
key is destroyed an erasure can be taken back, for money or for a hold that came meanwhile; an account that was closed by
then stays closed, so all that can be known before is asked before the first one is.
"""

import asyncio
from collections.abc import Collection
from datetime import timedelta
from secrets import token_bytes
from uuid import UUID

from latticebank.banking.ledger.client import LedgerClient
from latticebank.banking.ledger.wire import AccountView
from latticebank.kernel.client import RemoteProblem
from latticebank.kernel.database import UnitOfWork
from latticebank.kernel.kept_apart import KeptApart
from latticebank.security.identity.events import (
    DEVICE_REVOKED,
    PROFILE_ERASED,
    RIGHTS_CHANGED,
    SESSION_ENDED,
    Happening,
)
from latticebank.security.identity.model.erasure import (
    Erasure,
    HeldByLaw,
    MoneyLeft,
    Ownership,
    accounts_to_close,
    erasure_of,
    money_left,
    require_no_role,
    require_settled,
)
from latticebank.security.identity.model.people import UserUnknown
from latticebank.security.identity.model.rights import parties_of, users_among
from latticebank.security.identity.service.foundation import Foundation
from latticebank.security.identity.store import erasures, sessions, users
from latticebank.security.identity.wire import ErasureView
from latticebank.security.keys.client import KeysClient
from latticebank.security.keys.wire import CustomerKeyRequest
from latticebank.values.errors import BankError, Fault
from latticebank.values.ids import derived_id

KEPT = "erasures"
RESUMED_AFTER = timedelta(seconds=15)
"""An erasure that was broken off is carried out by the bank itself after so long."""
RESUMED_AT_ONCE = 50
REPLAYED_AT_ONCE = 1_000
_HASH_BYTES = 32
_CLOSED_BEFORE = "account-closed"


class Erasures:
    """Erases profiles; `kept` has those that no copy of the database brings back."""

    def __init__(self, foundation: Foundation, keys: KeysClient, ledger: LedgerClient, kept: KeptApart) -> None:
        self._base = foundation
        self._keys = keys
        self._ledger = ledger
        self._kept = kept

    async def erase(self, user: UUID, by: UUID | None) -> ErasureView:
        """Erase the profile of a user, asked for by the user or (None) by the operator; to repeat it is safe.

        Raises:
            UserUnknown: there is no such user.
            RolesLeft, MoneyLeft, HeldByLaw: it may not be erased; nothing was changed.
            RemoteProblem, ServiceUnavailable, KeptApartUnavailable: it is not finished, and goes on by itself.

        """
        done = await self._carry_out(await self._begin(user, by))
        assert done.erased_at is not None
        return ErasureView(user, done.requested_at, done.erased_at, done.sessions_ended, done.devices_revoked)

    async def replay(self) -> int:
        """Begin again what was done and is not known here: the database is a copy from before; how many there were.

        Raises:
            ErasureLineDamaged, KeptApartUnavailable: what is kept of erasures cannot be had.

        """
        base, kept = self._base, await asyncio.to_thread(self._kept.lines)
        told = {erasure.user: erasure for book, erasure in map(erasure_of, kept) if book == base.book}
        everyone, again = list(told), 0
        for first in range(0, len(everyone), REPLAYED_AT_ONCE):
            some = everyone[first : first + REPLAYED_AT_ONCE]
            async with base.database.begin() as unit:
                for user in await erasures.living(unit.connection, base.book, some):
                    again += await erasures.begin(unit.connection, base.book, told[user])
        return again

    async def resume(self) -> int:
        """Carry out erasures that were broken off; how many there were."""
        base = self._base
        async with base.database.read() as connection:
            left = await erasures.begun(connection, base.book, base.now() - RESUMED_AFTER, RESUMED_AT_ONCE)
        failed: BankError | None = None
        for erasure in left:
            try:
                await self._carry_out(erasure)
            except (HeldByLaw, MoneyLeft):
                continue
            except BankError as error:
                failed = error
        if failed is not None:
            raise failed
        return len(left)

    async def _begin(self, user: UUID, by: UUID | None) -> Erasure:
        """Begin the erasure of a user, or return the one that there is."""
        base = self._base
        async with base.database.read() as connection:
            erasure = await erasures.of_user(connection, base.book, user)
            known = await users.by_id(connection, base.book, user)
        if erasure is not None:
            return erasure
        if known is None or not known.is_active:
            raise UserUnknown("there is no such user", field="user_id")
        require_no_role(known.rights)
        await self._require_no_hold(user)
        parties = parties_of(known.id, known.rights)
        require_settled(parties, await self._accounts(parties))
        erasure = Erasure(user, by, base.now())
        async with base.database.begin() as unit:
            await erasures.begin(unit.connection, base.book, erasure)
            locked = await users.by_id(unit.connection, base.book, user)
            begun = await erasures.of_user(unit.connection, base.book, user)
            assert locked is not None
            assert begun is not None
            require_no_role(locked.rights)
        return begun

    async def _require_no_hold(self, user: UUID) -> None:
        if (await self._keys.holds(user)).held:
            raise _held()

    async def _accounts(self, parties: Collection[str]) -> list[Ownership]:
        """Return the accounts of these parties, without their owners who are erased."""
        base, found = self._base, dict[str, AccountView]()
        for party in parties:
            cursor = None
            while True:
                page = await self._ledger.accounts(party=party, cursor=cursor)
                for each in page.items:
                    found[each.account] = each
                if (cursor := page.next_cursor) is None:
                    break
        owners = users_among(owner for each in found.values() for owner in each.owners)
        async with base.database.read() as connection:
            erased = set(await erasures.done(connection, base.book, list(owners.values())))
        gone = {owner for owner, user in owners.items() if user in erased}
        return [
            Ownership(each.account, each.status, set(each.owners) - gone, each.balance, each.held)
            for each in found.values()
        ]

    async def _carry_out(self, erasure: Erasure) -> Erasure:
        """Do what is left of an erasure; return it as it then stands."""
        if erasure.erased_at is not None:
            return erasure
        base, user = self._base, erasure.user
        try:
            await self._close_accounts(erasure)
            await self._destroy_key(user)
        except (HeldByLaw, MoneyLeft):
            await self._take_back(user)
            raise
        base.profile_keys.forget(user)
        await asyncio.to_thread(self._kept.append, erasure.to_line(base.book))
        async with base.database.begin() as unit:
            begun = await erasures.of_user(unit.connection, base.book, user, lock=True)
            if begun is None:
                # Another took it back for a hold that was lifted again: the key is gone, so it begins anew.
                await erasures.begin(unit.connection, base.book, erasure)
            if begun is None or begun.erased_at is None:
                await self._forget(unit, erasure)
            done = await erasures.of_user(unit.connection, base.book, user)
        assert done is not None
        return done

    async def _close_accounts(self, erasure: Erasure) -> None:
        """Close the accounts that nobody else owns.

        Where the key is gone already, the erasure goes on whatever stands against it: accounts then are open only in an
        old copy of the ledger, and those with money on them stay so.

        Raises:
            HeldByLaw, MoneyLeft: the key is there, and the erasure is to be taken back.

        """
        base, user = self._base, erasure.user
        async with base.database.read() as connection:
            known = await users.by_id(connection, base.book, user)
        assert known is not None
        parties = parties_of(user, known.rights)
        accounts = await self._accounts(parties)
        has_key = bool(await self._keys.customer_keys([CustomerKeyRequest(user, "profile")]))
        if has_key:
            await self._require_no_hold(user)
            require_settled(parties, accounts)
        for account in accounts_to_close(parties, accounts):
            closed = await self._close(account, erasure)
            if has_key and not closed:
                raise money_left()

    async def _close(self, account: str, erasure: Erasure) -> bool:
        """Close an account; False where the ledger refuses since it is not settled, or frozen."""
        key = derived_id("erasure", str(erasure.user), erasure.requested_at.isoformat(), account)
        try:
            await self._ledger.restrict(key, account, "close", "customer-request")
        except RemoteProblem as problem:
            if problem.fault is not Fault.CONFLICT:
                raise
            return problem.code == _CLOSED_BEFORE
        return True

    async def _destroy_key(self, user: UUID) -> None:
        try:
            await self._keys.destroy_customer_key(user, "profile", "erasure-requested")
        except RemoteProblem as problem:
            if problem.code == HeldByLaw.code:
                raise _held() from problem
            raise

    async def _take_back(self, user: UUID) -> None:
        """Let the user be as before: money came, or a hold was placed, while the erasure began."""
        async with self._base.database.begin() as unit:
            await erasures.drop(unit.connection, self._base.book, user)

    async def _forget(self, unit: UnitOfWork, erasure: Erasure) -> None:
        """End and revoke all that the user acted with, and put nothing telling in the place of what told who it was."""
        base, user, by, now = self._base, erasure.user, erasure.requested_by, self._base.now()
        connection, book = unit.connection, base.book
        ended = await sessions.end_all(connection, book, user, now)
        for session in ended:
            unit.publish(base.event(SESSION_ENDED, session, Happening(user, session=session)))
        # Again, for a device that joined by one whose revocation waited for it.
        revoked = [device for _ in range(2) for device in await erasures.revoke_devices(connection, book, user, now)]
        for device in revoked:
            happening = Happening(user, device=device, revoked_at=now, reason="erased")
            unit.publish(base.event(DEVICE_REVOKED, device, happening))
        for right in await erasures.withdraw_rights(connection, book, user):
            name = right.partition(":")[0]
            happening = Happening(user, by=by, right=name, action="withdraw", by_operator=by is None)
            unit.publish(base.event(RIGHTS_CHANGED, user, happening))
        await erasures.forget(connection, book, user, token_bytes(_HASH_BYTES), token_bytes(_HASH_BYTES))
        await erasures.finish(connection, book, user, now, ended, revoked)
        unit.publish(base.event(PROFILE_ERASED, user, Happening(user, by=by, by_operator=by is None)))


def _held() -> HeldByLaw:
    return HeldByLaw("the law keeps the bank from erasing this profile now", hint="ask again when the hold is lifted")
