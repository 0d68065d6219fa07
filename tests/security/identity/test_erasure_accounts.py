"""Whoever is erased leaves no account open to which money could be paid, and money that comes first stops the erasure."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from latticebank.banking.ledger.client import LedgerClient
from latticebank.banking.ledger.wire import AccountOpening, PostOrder, ReverseOrder
from latticebank.security.identity.model.erasure import MoneyLeft, Ownership, accounts_to_close, require_settled
from latticebank.security.identity.model.rights import users_among
from latticebank.security.identity.service.erasures import RESUMED_AFTER, Erasures
from tests.security.identity.erasing import erase, key_states, keys_of, let_happen_after, lights_go_out, stored
from tests.security.identity.people import Branch, Person, told


async def account_of(branch: Branch, person: Person) -> str:
    """The first account of a person."""
    return (await branch.ledger.accounts(party=f"user:{person.user}")).items[0].account


async def opened_for(branch: Branch, *people: Person) -> str:
    """A further account, which these people own."""
    owners = [f"user:{person.user}" for person in people]
    return (await branch.ledger.open_account(branch.ids(), AccountOpening("savings", "EUR", owners=owners))).account


async def paid_in(branch: Branch, account: str, amount: str, order: UUID | None = None) -> str:
    """What becomes of money that the operator pays in, by an order of this id."""
    till = (await branch.ledger.open_account(branch.ids(), AccountOpening("cash", "EUR"))).account
    [answer] = await branch.ledger.order(
        [PostOrder(id=order or branch.ids(), debit=till, credit=account, amount=amount, currency="EUR")]
    )
    return answer.outcome


async def taken_back(branch: Branch, account: str, paid: UUID) -> str:
    """What becomes of money that is paid back by a signed act, of which payments tells."""
    context = branch.bank.context
    payments = LedgerClient(context.transport("ledger"), context.credential("payments", "ledger"))
    [answer] = await payments.order(
        [ReverseOrder(id=branch.ids(), transfer=paid, account=account, evidence="5e" * 32, evidence_class="payment")]
    )
    return answer.outcome


async def status_of(branch: Branch, account: str) -> str:
    """Whether an account is open, frozen or closed."""
    return (await branch.ledger.account(account)).status


async def test_whoever_is_erased_is_paid_no_more(branch: Branch) -> None:
    ada = await branch.register("ada")
    accounts = [await account_of(branch, ada), await opened_for(branch, ada)]
    assert (await erase(branch, ada)).status == 200
    for account in accounts:
        assert await paid_in(branch, account, "1.00") == "account-closed"
    closings = branch.rows(
        "SELECT DISTINCT actor, details ->> 'reason' FROM account_acts WHERE act = 4", database="ledger"
    )
    assert closings == [("Service:identity", "customer-request")]


async def test_a_joint_account_stays_open_until_its_last_owner_goes(branch: Branch) -> None:
    ada, bob = await branch.register("ada"), await branch.register("bob")
    shared, bobs = await opened_for(branch, ada, bob), await account_of(branch, bob)
    assert (await erase(branch, ada)).status == 200
    assert (await status_of(branch, shared), await status_of(branch, bobs)) == ("open", "open")
    assert (await erase(branch, bob)).status == 200
    assert (await status_of(branch, shared), await status_of(branch, bobs)) == ("closed", "closed")


async def test_an_account_that_was_closed_before_is_no_hindrance(branch: Branch) -> None:
    ada = await branch.register("ada")
    account = await account_of(branch, ada)
    await branch.ledger.restrict(branch.ids(), account, "close", "customer-request")
    assert (await erase(branch, ada)).status == 200


async def test_whose_account_is_frozen_is_not_erased_until_it_is_released(branch: Branch) -> None:
    ada = await branch.register("ada")
    account, before = await account_of(branch, ada), stored(branch, ada)
    await branch.ledger.restrict(branch.ids(), account, "freeze", "fraud-suspected")
    assert told(await erase(branch, ada)) == (409, "money-left")
    assert (stored(branch, ada), await status_of(branch, account)) == (before, "frozen")
    await branch.ledger.restrict(branch.ids(), account, "unfreeze", "error")
    assert (await erase(branch, ada)).status == 200


@pytest.mark.parametrize("step", ["_close_accounts", "_close"])
async def test_money_that_comes_while_an_erasure_begins_stops_it(
    branch: Branch, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    ada = await branch.register("ada")
    account, before, order = await account_of(branch, ada), stored(branch, ada), branch.ids()
    closing = getattr(Erasures, step)

    async def paid_before(self: Erasures, *given: Any) -> Any:
        assert await paid_in(branch, account, "13.57", order) == "done"
        return await closing(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(Erasures, step, paid_before)
        assert told(await erase(branch, ada)) == (409, "money-left")
    assert stored(branch, ada) == before
    assert branch.rows("SELECT count(*) FROM erasures") == [(0,)]
    assert await key_states(branch, ada) == {"profile": "active", "records": "active"}
    assert await status_of(branch, account) == "open"
    assert (await branch.ask("GET", f"/api/users/{ada.user}/profile", who=ada)).status == 200

    assert await taken_back(branch, account, order) == "done"
    branch.clock.advance(timedelta(seconds=1))
    assert (await erase(branch, ada)).status == 200
    assert await status_of(branch, account) == "closed"


async def test_a_hold_that_comes_in_time_keeps_the_accounts_open_too(
    branch: Branch, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await branch.register("ada")
    let_happen_after("_begin", lambda: keys_of(branch).place_hold(ada.user, "investigation"), monkeypatch)
    assert told(await erase(branch, ada)) == (409, "legal-hold")
    assert await status_of(branch, await account_of(branch, ada)) == "open"


@pytest.mark.parametrize("step", ["_close", "_destroy_key"])
async def test_an_erasure_that_breaks_off_around_the_closing_is_carried_out(
    branch: Branch, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    ada = await branch.register("ada")
    first, second = await account_of(branch, ada), await opened_for(branch, ada)
    with monkeypatch.context() as patch:
        let_happen_after(step, lights_go_out, patch)
        assert (await erase(branch, ada)).status == 503
    assert stored(branch, ada)[0] == 3
    assert await status_of(branch, min(first, second)) == "closed"
    branch.clock.advance(RESUMED_AFTER)
    assert await branch.rooms.erasures.resume() == 1
    assert [await status_of(branch, each) for each in (first, second)] == ["closed", "closed"]
    assert (await key_states(branch, ada))["profile"] == "destroyed"
    assert stored(branch, ada)[3] == "erased"


async def test_once_the_key_is_destroyed_a_hold_or_money_stops_nothing(
    branch: Branch, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await branch.register("ada")
    with monkeypatch.context() as patch:
        let_happen_after("_destroy_key", lights_go_out, patch)
        assert (await erase(branch, ada)).status == 503
    late = await opened_for(branch, ada)
    assert await paid_in(branch, late, "5.00") == "done"
    await keys_of(branch).place_hold(ada.user, "court-order")
    branch.clock.advance(RESUMED_AFTER)
    assert await branch.rooms.erasures.resume() == 1
    assert stored(branch, ada)[3] == "erased"
    assert await status_of(branch, late) == "open"


async def test_two_who_ask_at_once_close_the_account_once(branch: Branch) -> None:
    ada = await branch.register("ada")
    answers = await asyncio.gather(*(erase(branch, ada, "operator") for _ in range(3)))
    assert {answer.status for answer in answers} == {200}
    assert branch.rows("SELECT outcome FROM account_acts WHERE act = 4", database="ledger") == [(0,)]


def test_users_are_found_among_parties_and_nobody_is_taken_for_one() -> None:
    ada = UUID(int=7)
    others = ["C-1", "user:", "user:ada", f"user:{ada.hex}", f"USER:{ada}", f"user:{ada} ", f"x-user:{ada}"]
    assert users_among([*others, f"user:{ada}"]) == {f"user:{ada}": ada}


def test_only_open_accounts_without_another_owner_are_closed() -> None:
    mine = ["user:ada", "C-1"]
    owned = {
        "1": ["user:ada"],
        "2": ["C-1", "user:ada"],
        "3": ["user:ada", "user:bob"],
        "4": ["user:bob"],
        "5": [],
    }
    accounts = [Ownership(number, "open", owners, "0.00", "0.00") for number, owners in owned.items()]
    assert accounts_to_close(mine, accounts) == ["1", "2"]
    assert accounts_to_close(mine, [Ownership("6", "closed", ["C-1"], "0.00", "0.00")]) == []
    require_settled(mine, [Ownership("7", "frozen", ["C-1", "user:bob"], "0.00", "0.00")])
    with pytest.raises(MoneyLeft):
        require_settled(mine, [Ownership("8", "frozen", ["C-1"], "0.00", "0.00")])
