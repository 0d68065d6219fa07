"""What is left half-way: nothing that the bank accepted is lost, done twice, or answered in two ways."""

from datetime import timedelta

from tests.banking.payments.counter import Counter, ok
from tests.security.identity.people import signed


async def test_without_the_ledger_a_payment_is_received_and_made_later(counter: Counter) -> None:
    ada, bob = await counter.customer("ada"), await counter.customer("bob", "0.00")
    order = signed(ada.device.key, counter.instruction(ada, bob, "12.34"))
    with counter.out_of_order("ledger", "transfers"):
        assert ok(await counter.transfer(ada, order), 202)["state"] == "received"
        assert ok(await counter.transfer(ada, order), 202)["state"] == "received"
    assert await counter.service.recovery.step() == 0  # whoever accepted it may still be at it
    counter.wait(timedelta(seconds=16))
    await counter.is_settled()
    assert ok(await counter.transfer(ada, order))["state"] == "posted"
    assert await counter.balance(bob) == ("12.34", "0.00")


async def test_a_posting_whose_settlement_failed_is_settled_and_not_posted_again(counter: Counter) -> None:
    ada, bob = await counter.customer("ada"), await counter.customer("bob", "0.00")
    ok(await counter.pay(ada, bob, "1.00"))
    order = signed(ada.device.key, counter.instruction(ada, bob, "12.34"))
    refuse = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$"
    counter.write(refuse, database="payments")
    trigger = "CREATE TRIGGER refuse BEFORE UPDATE ON payments FOR EACH ROW EXECUTE FUNCTION refuse()"
    counter.write(trigger, database="payments")
    assert ok(await counter.transfer(ada, order), 202)["state"] == "received"
    assert await counter.balance(bob) == ("13.34", "0.00")
    counter.write("DROP TRIGGER refuse ON payments", database="payments")
    counter.wait(timedelta(seconds=16))
    await counter.is_settled()
    assert ok(await counter.transfer(ada, order))["state"] == "posted"
    assert await counter.balance(bob) == ("13.34", "0.00")


async def test_a_batch_left_half_way_is_completed_as_it_was_signed(counter: Counter) -> None:
    ada, bob = await counter.customer("ada"), await counter.customer("bob", "0.00")
    sent, _ = counter.batch(ada, [(counter.account(bob), "1.00"), (counter.account(bob), "60.00")])
    with counter.out_of_order("ledger", "transfers"):
        view = ok(await counter.at("/batch", sent, who=ada), 200)
        assert (view["state"], {a["state"] for a in view["answers"]}) == ("received", {"received"})
    counter.wait(timedelta(seconds=16))
    await counter.is_settled()
    view = ok(await counter.at("/batch", sent, who=ada), 200)
    assert (view["state"], [a["state"] for a in view["answers"]]) == ("completed", ["posted", "awaiting_approval"])
    assert await counter.balance(bob) == ("1.00", "0.00")


async def test_a_decision_left_half_way_is_carried_out_and_no_other(counter: Counter) -> None:
    ada, bob = await counter.customer("ada"), await counter.customer("bob", "0.00")
    held = ok(await counter.pay(ada, bob, "60.00"), 202)
    path = f"/{held['id']}/cancel"
    with counter.out_of_order("ledger", "transfers"):
        assert ok(await counter.at(path, who=ada, method="POST"), 200)["state"] == "awaiting_approval"
    assert await counter.balance(ada) == ("100.00", "60.00")
    counter.wait(timedelta(seconds=16))
    await counter.is_settled()
    assert ok(await counter.at(path, who=ada, method="POST"), 200)["state"] == "cancelled"
    assert await counter.balance(ada) == ("100.00", "0.00")


async def test_what_the_ledger_can_never_make_fails_and_gives_the_limit_back(counter: Counter) -> None:
    ada, bob = await counter.customer("ada"), await counter.customer("bob", "0.00")
    instruction = counter.instruction(ada, bob, "12.34")
    with counter.out_of_order("ledger", "transfers"):
        ok(await counter.transfer(ada, signed(ada.device.key, instruction)), 202)
    # Somebody has posted something else under this id.
    order = counter.posting(instruction.id, ada, "0.01")
    assert (await counter.ledger.order([order]))[0].outcome == "done"
    counter.wait(timedelta(seconds=16))
    await counter.is_settled()
    assert counter.payments_rows("SELECT state, reason FROM payments") == [(6, "id-reused")]
    assert counter.payments_rows("SELECT used FROM limit_uses") == [(0,)]
    assert await counter.balance(bob) == ("0.00", "0.00")


async def test_without_identity_or_the_database_nothing_is_accepted(counter: Counter) -> None:
    ada, bob = await counter.customer("ada"), await counter.customer("bob", "0.00")
    ok(await counter.pay(ada, bob, "1.00"))
    order = signed(ada.device.key, counter.instruction(ada, bob))
    bearer = {"Authorization": f"Bearer {await counter.bearer(ada, 'payments')}", "Content-Type": "application/json"}
    before = counter.everything()
    for database, table in (("identity", "sessions"), ("payments", "limit_uses")):
        with counter.out_of_order(database, table):
            refused = await counter.send("payments", "POST", "/api/transactions/transfer", order, bearer)
            assert refused.status >= 500
    assert counter.everything() == before
    ok(await counter.transfer(ada, order))
