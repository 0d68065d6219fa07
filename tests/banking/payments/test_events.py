"""What payments tells others: of what is accepted, of decisions, and of each end, once each and nothing personal."""

import asyncio
from collections import Counter as Count
from datetime import date, timedelta
from hashlib import sha256
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from latticebank.banking.payments.events import (
    PAYMENT_DECIDED,
    PAYMENTS_ACCEPTED,
    PAYMENTS_SETTLED,
    PaymentAccepted,
    PaymentDecided,
    PaymentsAccepted,
    PaymentSettled,
    PaymentsSettled,
)
from latticebank.kernel.configuration import event_type
from latticebank.kernel.events import Event
from latticebank.kernel.outbox import events_of
from tests.banking.payments.counter import Counter, ok
from tests.security.identity.people import signed

T = TypeVar("T")


def published(counter: Counter) -> list[Event]:
    """All that payments published, in order, but that it started."""
    rows = counter.payments_rows("SELECT events FROM outbox ORDER BY id")
    return [event for (row,) in rows for event in events_of(row) if event.type != event_type("payments")]


def told(counter: Counter, kind: str, form: type[T]) -> list[T]:
    """What the events of one kind say."""
    return [msgspec.msgpack.decode(event.data, type=form) for event in published(counter) if event.type == kind]


def accepted(counter: Counter) -> list[PaymentAccepted]:
    return [each for event in told(counter, PAYMENTS_ACCEPTED, PaymentsAccepted) for each in event.accepted]


def settled(counter: Counter) -> list[PaymentSettled]:
    return [each for event in told(counter, PAYMENTS_SETTLED, PaymentsSettled) for each in event.payments]


def decided(counter: Counter) -> list[PaymentDecided]:
    return told(counter, PAYMENT_DECIDED, PaymentDecided)


def sha(document: str) -> bytes:
    return sha256(document.encode()).digest()


async def test_each_payment_is_told_once_for_each_state_and_nothing_personal(counter: Counter) -> None:
    ada, bob = await counter.customer("ada"), await counter.customer("bob", "0.00")
    posted, held = ok(await counter.pay(ada, bob)), ok(await counter.pay(ada, bob, "60.00"), 202)
    await counter.pay(ada, bob, "1000.01")
    ok(await counter.at(f"/{held['id']}/cancel", who=ada, method="POST"), 200)
    sent, ids = counter.batch(ada, [(counter.account(bob), "1.00"), (counter.account(bob), "500.00")])
    ok(await counter.at("/batch", sent, who=ada), 200)
    events = published(counter)
    assert {event.type for event in events} == {PAYMENTS_ACCEPTED, PAYMENTS_SETTLED, PAYMENT_DECIDED}
    assert {event.topic for event in events} == {"latticebank.payments"}
    assert not any(b"Builder" in event.data for event in events)
    stories = [(str(UUID(bytes=each.id)), each.state, each.reason, each.booking_date) for each in settled(counter)]
    rejected = next(story for story in stories if story[2] == "over-payment-limit")
    today = date(2026, 3, 2)
    assert sorted(stories) == sorted(
        [
            (posted["id"], "posted", None, today),
            (held["id"], "awaiting_approval", None, None),
            (held["id"], "cancelled", None, None),
            rejected,
            (str(ids[0]), "posted", None, today),
            (str(ids[1]), "rejected", "insufficient-funds", None),
        ]
    )
    assert {each.received_at for each in settled(counter)} == {counter.clock.now()}


async def test_what_is_accepted_is_told_before_anything_follows_from_it_and_what_is_refused_at_once_is_not(
    counter: Counter,
) -> None:
    tessa, _, _ = await counter.teller()
    ada, bob = await counter.customer("ada"), await counter.customer("bob", "0.00")
    order = signed(ada.device.key, counter.instruction(ada, bob))
    cash = signed(tessa.device.key, counter.cash_order(tessa, counter.account(ada), "deposit"))
    sent, _ = counter.batch(ada, [(counter.account(bob), "1.00"), (counter.account(bob), "1000.01")])
    paid, taken = ok(await counter.transfer(ada, order)), ok(await counter.at("/cash", cash, who=tessa))
    paid_together = ok(await counter.at("/batch", sent, who=ada), 200)
    for _ in range(2):  # what is sent again is not told again
        ok(await counter.transfer(ada, order))
        ok(await counter.at("/cash", cash, who=tessa))
        ok(await counter.at("/batch", sent, who=ada), 200)
    assert (await counter.pay(ada, bob, "1000.01")).status == 409
    now = counter.clock.now()
    by_ada, by_tessa = (ada.user.bytes, ada.device.id.bytes), (tessa.user.bytes, tessa.device.id.bytes)
    assert accepted(counter) == [
        PaymentAccepted(UUID(paid["id"]).bytes, "payment", *by_ada, sha(order["document"]), now),
        PaymentAccepted(UUID(taken["id"]).bytes, "cash", *by_tessa, sha(cash["document"]), now),
        PaymentAccepted(UUID(paid_together["id"]).bytes, "batch", *by_ada, sha(sent["manifest"]), now, 2),
    ]
    kinds = [event.type for event in published(counter)]
    assert kinds[:2] == [PAYMENTS_ACCEPTED, PAYMENTS_SETTLED]
    assert Count(each.state for each in settled(counter)) == {"posted": 3, "rejected": 2}


async def test_what_is_accepted_by_a_bank_whose_ledger_is_away_is_told_once(counter: Counter) -> None:
    ada, bob = await counter.customer("ada"), await counter.customer("bob", "0.00")
    with counter.out_of_order("ledger", "transfers"):
        received = ok(await counter.pay(ada, bob), 202)
        assert [UUID(bytes=each.id) for each in accepted(counter)] == [UUID(received["id"])]
        assert settled(counter) == []
    counter.wait(timedelta(seconds=20))
    await counter.is_settled()
    assert (len(accepted(counter)), [each.state for each in settled(counter)]) == (1, ["posted"])


async def test_each_decision_is_told_once_by_whom_it_was_made_and_what_was_signed(counter: Counter) -> None:
    _, max_, _ = await counter.teller()
    ada, bob = await counter.customer("ada", "1000.00"), await counter.customer("bob", "0.00")
    orders: dict[str, dict[str, Any]] = {}
    for choice in ("approve", "reject"):
        held = ok(await counter.pay(ada, bob, "60.00"), 202)
        orders[choice] = signed(max_.device.key, counter.payment_decision(max_, held, choice)) | {"id": held["id"]}
    taken_back, left = [ok(await counter.pay(ada, bob, "50.00"), 202) for _ in range(2)]
    for order in orders.values():
        body = {name: order[name] for name in ("document", "signature")}
        path = f"/{order['id']}/decision"
        await asyncio.gather(*(counter.at(path, body, who=max_) for _ in range(3)))
    for _ in range(2):
        ok(await counter.at(f"/{taken_back['id']}/cancel", who=ada, method="POST"), 200)
    counter.wait(timedelta(hours=72))
    await counter.service.decisions.expire_due()
    await counter.is_settled()
    assert decided(counter) == [
        *(
            PaymentDecided(UUID(order["id"]), ada.user, choice, max_.user, max_.device.id, sha(order["document"]).hex())
            for choice, order in orders.items()
        ),
        PaymentDecided(UUID(taken_back["id"]), ada.user, "cancel", ada.user, None, None),
        PaymentDecided(UUID(left["id"]), ada.user, "expire", None, None, None),
    ]
    assert Count(each.state for each in settled(counter)) == {
        "awaiting_approval": 4,
        "posted": 1,
        "rejected": 2,
        "cancelled": 1,
    }
