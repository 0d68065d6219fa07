"""Cash: taken in and handed out by a teller's signature."""

import msgspec

from latticebank.banking.ledger.wire import AccountOpening
from tests.banking.payments.counter import Counter, ok
from tests.banking.payments.test_authority import staff_of
from tests.security.identity.people import signed, told


async def test_a_teller_takes_cash_in_and_hands_it_out(counter: Counter) -> None:
    tessa, _, _ = await counter.teller()
    ada = await counter.customer("ada", "10.00")
    account = counter.account(ada)
    for direction, amount, after in (("deposit", "30.00", "40.00"), ("withdrawal", "25.00", "15.00")):
        order = signed(tessa.device.key, counter.cash_order(tessa, account, direction, amount))
        view = ok(await counter.at("/cash", order, who=tessa))
        assert (view["kind"], view["state"]) == ("cash", "posted")
        assert await counter.balance(ada) == (after, "0.00")
        assert ok(await counter.at("/cash", order, who=tessa)) == view
    debits = (await counter.ledger.customer_debits()).items
    assert [(d.evidence_class, d.purpose, d.amount) for d in debits] == [("cash", "cash", "25.00")]
    assert counter.payments_rows("SELECT 1 FROM limit_uses") == []


async def test_cash_that_cannot_be_is_refused_and_changes_nothing(counter: Counter) -> None:
    tessa, max_, _ = await counter.teller()
    ada, bob = await counter.customer("ada", "10.00"), await counter.customer("bob", "0.00")
    account = counter.account(ada)
    before = counter.everything()

    async def cash(direction: str, to: str = account, **other: str) -> tuple[int, str]:
        order = signed(tessa.device.key, counter.cash_order(tessa, to, direction, **other))
        return told(await counter.at("/cash", order, who=tessa))

    assert await cash("deposit", to=counter.cash) == (422, "unfit-account")
    assert await cash("deposit", till=counter.account(bob)) == (422, "unfit-account")
    assert await cash("deposit", to="1000009998") == (409, "credit-account-unknown")
    assert await cash("withdrawal", to="1000009998") == (409, "debit-account-unknown")
    assert await cash("withdrawal", reference="4111111111111111") == (422, "card-number-in-text")
    by_max = signed(max_.device.key, counter.cash_order(tessa, account, "deposit"))
    assert told(await counter.at("/cash", by_max, who=tessa)) == (403, "invalid-signature")
    assert told(await counter.at("/cash", by_max, who=max_)) == (403, "forbidden")
    assert counter.everything() == before
    assert await cash("withdrawal", amount="10.01") == (409, "insufficient-funds")
    assert await counter.balance(ada) == ("10.00", "0.00")


async def test_much_cash_waits_for_a_manager_who_is_not_the_teller(counter: Counter) -> None:
    tessa, max_, anna = await counter.teller()
    ada = await counter.customer("ada", "100.00")
    order = signed(tessa.device.key, counter.cash_order(tessa, counter.account(ada), "withdrawal", "60.00"))
    held = ok(await counter.at("/cash", order, who=tessa), 202)
    assert await counter.balance(ada) == ("100.00", "60.00")
    yes = signed(max_.device.key, counter.payment_decision(max_, held))
    assert ok(await counter.at(f"/{held['id']}/decision", yes, who=max_), 200)["state"] == "posted"
    assert await counter.balance(ada) == ("40.00", "0.00")
    assert anna.user != max_.user


async def test_a_teller_who_is_none_any_more_orders_no_cash(counter: Counter) -> None:
    tessa, _, anna = await counter.teller()
    ada = await counter.customer("ada", "10.00")
    bearer = {"Authorization": f"Bearer {await counter.bearer(tessa, 'payments')}", "Content-Type": "application/json"}
    counter.write("DELETE FROM rights WHERE user_id = %s AND name = 'teller'", tessa.user)
    before = counter.everything()
    order = signed(tessa.device.key, counter.cash_order(tessa, counter.account(ada), "deposit"))
    refused = await counter.send("payments", "POST", "/api/transactions/cash", order, bearer)
    assert told(refused) == (403, "role-needed")
    assert counter.everything() == before
    assert anna.user != tessa.user


async def test_no_teller_orders_cash_for_an_account_of_their_own(counter: Counter) -> None:
    tessa, max_, anna, axel = await staff_of(counter)
    tom, ada = await counter.register("tom"), await counter.customer("ada", "10.00")
    await counter.grant(tom, "teller", anna, axel)
    counter.accounts[tessa.user] = (await counter.ledger.accounts(party=f"user:{tessa.user}")).items[0].account
    await counter.fund(tessa, "20.00")
    opening = msgspec.convert(
        {"kind": "checking", "currency": "EUR", "owners": ["berka:client/1"], "mandates": [f"user:{tom.user}"]},
        AccountOpening,
    )
    old = (await counter.ledger.open_account(counter.ids(), opening)).account
    bearer = {"Authorization": f"Bearer {await counter.bearer(tessa, 'payments')}", "Content-Type": "application/json"}
    before = counter.everything()
    for direction in ("deposit", "withdrawal"):
        for who, account in ((tessa, counter.account(tessa)), (tom, old)):
            order = signed(who.device.key, counter.cash_order(who, account, direction))
            assert told(await counter.at("/cash", order, who=who)) == (403, "own-payment")
    assert counter.everything() == before
    before_the_grant = signed(tessa.device.key, counter.cash_order(tessa, old, "deposit"))
    view = ok(await counter.at("/cash", before_the_grant, who=tessa))
    await counter.grant(tessa, "party:berka:client/1", tom, max_)
    before = counter.everything()
    order = signed(tessa.device.key, counter.cash_order(tessa, old, "withdrawal"))
    refused = await counter.send("payments", "POST", "/api/transactions/cash", order, bearer)
    assert told(refused) == (403, "own-payment"), "what counts is what identity says now, not the token"
    assert ok(await counter.at("/cash", before_the_grant, who=tessa)) == view
    assert counter.everything() == before
    ok(
        await counter.at(
            "/cash", signed(tom.device.key, counter.cash_order(tom, counter.account(tessa), "deposit")), who=tom
        )
    )
    ok(
        await counter.at(
            "/cash", signed(tessa.device.key, counter.cash_order(tessa, counter.account(ada), "deposit")), who=tessa
        )
    )
