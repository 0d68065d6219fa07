"""The ledger over its routes: the walk of money, the same answer to the same key, and refusals that change nothing."""

import asyncio
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from latticebank.banking.ledger.model.reasons import REASONS
from latticebank.banking.ledger.model.transfers import Rejection
from latticebank.banking.ledger.wire import (
    MAX_ORDERS,
    AccountOpening,
    PostReservedOrder,
    ReserveOrder,
    ReverseOrder,
    VoidOrder,
)
from latticebank.kernel.caller import ANONYMOUS
from latticebank.kernel.client import RemoteProblem
from tests.banking.ledger.audit import broken_promises
from tests.banking.ledger.callers import PAYMENTS
from tests.banking.ledger.counter import Counter, key, open_counter, pay, said
from tests.banking.ledger.samples import EVIDENCE, SOON, TODAY
from tests.clocks import NOON, MovingClock

Auditor = psycopg.Connection[Any]
SIGNED: Any = {"evidence": EVIDENCE.hex(), "evidence_class": "cash"}


def hold_of(debit: str, credit: str) -> ReserveOrder:
    """A hold of 40.00 that ends soon."""
    facts: Any = {"debit": debit, "credit": credit, "amount": "40.00", "currency": "EUR", "expires_at": SOON}
    return ReserveOrder(id=key("r"), **facts, **SIGNED)


async def outcomes(counter: Counter, *orders: Any) -> list[str]:
    return [answer.outcome for answer in await counter.payments.order(orders)]


async def test_money_walks_through_the_ledger(counter: Counter, auditor: Auditor) -> None:
    anna, bert, cash = await counter.customers()

    [paid] = await counter.payments.order([pay("rent", anna, bert, "30.50")])

    assert (paid.outcome, paid.booking_date) == ("done", TODAY)
    assert (paid.debit_balance, paid.credit_balance) == ("69.50", "80.50")
    assert [await counter.balance(each) for each in (anna, bert, cash)] == ["69.50", "80.50", "-150.00"]
    page = await counter.client.entries(anna)
    assert [(entry.number, entry.amount, entry.balance, entry.counterparty) for entry in page.items] == [
        (1, "100.00", "100.00", cash),
        (2, "-30.50", "69.50", bert),
    ]
    record = await counter.client.transfer(key("rent"))
    assert (record.outcome, record.debit, record.credit, record.amount) == ("done", anna, bert, "30.50")
    assert broken_promises(auditor) == {}


async def test_a_reservation_is_posted_in_part_and_the_posting_reversed(counter: Counter) -> None:
    anna, bert, _ = await counter.customers()
    hold = hold_of(anna, bert)

    assert await outcomes(counter, hold) == ["done"]
    view = await counter.client.account(anna)
    assert (view.balance, view.held, view.available) == ("100.00", "40.00", "60.00")
    part = PostReservedOrder(id=key("p"), reservation=key("r"), amount="15.00", currency="EUR")
    assert await outcomes(counter, part, ReverseOrder(id=key("back"), transfer=key("p"), **SIGNED)) == ["done", "done"]
    view = await counter.client.account(anna)
    assert (view.balance, view.held) == ("100.00", "0.00")


async def test_a_reservation_is_released_soon_after_its_time_without_anybody_asking(
    counter: Counter, clock: MovingClock
) -> None:
    anna, bert, _ = await counter.customers()
    hold = hold_of(anna, bert)
    await counter.payments.order([hold])

    clock.set(SOON)
    async with asyncio.timeout(60):
        while (await counter.client.account(anna)).held != "0.00":  # noqa: ASYNC110 - nobody rings
            await asyncio.sleep(0.1)


async def test_linked_orders_are_done_together_or_not_at_all(counter: Counter) -> None:
    anna, bert, _ = await counter.customers()
    first, too_much = pay("x", anna, bert, "1.00", linked=True), pay("y", bert, anna, "500.00")

    assert await outcomes(counter, first, too_much, pay("z", anna, bert)) == [
        "chain-broken",
        "insufficient-funds",
        "done",
    ]
    assert await counter.balance(anna) == "99.00"


async def test_the_same_key_and_body_opens_one_account_and_another_body_none(
    counter: Counter, auditor: Auditor
) -> None:
    opening = AccountOpening("checking", "EUR", reference="berka/1", owners=["customer/1"])

    first = await counter.client.open_account(key("o"), opening)
    again = await counter.client.open_account(key("o"), opening)
    assert again == first
    other = AccountOpening("checking", "USD", reference="berka/1", owners=["customer/1"])
    with pytest.raises(RemoteProblem) as refused:
        await counter.client.open_account(key("o"), other)
    assert (refused.value.status, refused.value.code, refused.value.field) == (
        422,
        "idempotency-key-reused",
        "Idempotency-Key",
    )
    assert auditor.execute("SELECT count(*) FROM accounts").fetchall() == [(1,)]


async def test_the_same_key_and_restriction_get_the_same_answer_and_another_restriction_none(counter: Counter) -> None:
    anna, bert, _ = await counter.customers()

    first = await counter.client.restrict(key("f"), anna, "freeze", "court-order")
    again = await counter.client.restrict(key("f"), anna, "freeze", "court-order")
    assert first.status == again.status == "frozen"
    for path, reason in ((f"/accounts/{anna}/freeze", "error"), (f"/accounts/{anna}/unfreeze", "court-order"),
                         (f"/accounts/{bert}/freeze", "court-order")):  # fmt: skip
        response = await counter.act(path, {"reason": reason}, "f")
        assert (response.status, said(response)["type"]) == (422, "/problems/idempotency-key-reused")
    assert (await counter.client.account(bert)).status == "open"


async def test_an_order_repeated_gets_its_answer_and_one_changed_is_told_so(counter: Counter) -> None:
    anna, bert, _ = await counter.customers()
    [first] = await counter.payments.order([pay("p", anna, bert)])

    assert await counter.payments.order([pay("p", anna, bert)]) == [first]
    assert await outcomes(counter, pay("p", anna, bert, "2.00")) == ["id-reused"]
    assert await outcomes(counter, pay("p", anna, bert, value_date=TODAY - timedelta(1))) == ["id-reused"]
    assert await counter.balance(anna) == "99.00"


def books_of(auditor: Auditor) -> list[Any]:
    """All rows of money."""
    tables = ("accounts", "entries", "reservations", "transfers", "account_acts")
    return [auditor.execute(f"SELECT {table}::text FROM {table} ORDER BY 1").fetchall() for table in tables]


ACTS: list[tuple[str, str, dict[str, Any], int, str]] = [
    ("frozen", "freeze", {"reason": "error"}, 409, "already-so"),
    ("open", "unfreeze", {"reason": "error"}, 409, "already-so"),
    ("rich", "close", {"reason": "error"}, 409, "balance-not-zero"),
    ("closed", "freeze", {"reason": "error"}, 409, "account-closed"),
    ("frozen", "close", {"reason": "error"}, 409, "account-frozen"),
    ("frozen", "overdraft-limit", {"overdraft_limit": "1.00"}, 409, "account-frozen"),
    ("cash", "overdraft-limit", {"overdraft_limit": "1.00"}, 409, "limit-not-of-customer"),
    ("drawn", "overdraft-limit", {"overdraft_limit": "4.99"}, 409, "limit-below-use"),
    ("nobody's", "freeze", {"reason": "error"}, 404, "account-not-found"),
    ("nobody's", "overdraft-limit", {"overdraft_limit": "1.00"}, 404, "account-not-found"),
    ("of another shard", "freeze", {"reason": "error"}, 404, "account-not-found"),
    ("of another shard", "overdraft-limit", {"overdraft_limit": "1.00"}, 404, "account-not-found"),
]


@pytest.mark.parametrize(("which", "act", "body", "status", "code"), ACTS)
async def test_an_act_that_is_refused_has_its_problem_type_and_changes_nothing(
    which: str, act: str, body: dict[str, Any], status: int, code: str, counter: Counter, auditor: Auditor
) -> None:
    cash = await counter.open("cash", "cash")
    accounts = {"cash": cash, "nobody's": "1000047115", "of another shard": "5500000007"}
    for name in ("open", "frozen", "closed", "rich"):
        accounts[name] = await counter.open(name)
    accounts["drawn"] = await counter.open("drawn", overdraft_limit="10.00")
    await counter.payments.order([pay("rich", cash, accounts["rich"]), pay("drawn", accounts["drawn"], cash, "5.00")])
    await counter.client.restrict(key("fr"), accounts["frozen"], "freeze", "error")
    await counter.client.restrict(key("cl"), accounts["closed"], "close", "error")
    before = books_of(auditor)[:4]

    response = await counter.act(f"/accounts/{accounts[which]}/{act}", body, "now")

    problem = said(response)
    assert (response.status, problem["type"]) == (status, f"/problems/{code}")
    assert problem["detail"]
    assert books_of(auditor)[:4] == before


async def test_a_reference_that_is_taken_has_its_problem_type(counter: Counter) -> None:
    await counter.open("a", reference="berka/1")

    with pytest.raises(RemoteProblem) as refused:
        await counter.open("b", reference="berka/1")

    assert (refused.value.status, refused.value.code) == (409, "reference-taken")
    assert refused.value.detail == REASONS[Rejection.REFERENCE_TAKEN]


def test_every_rejection_has_its_reason() -> None:
    assert set(REASONS) == set(Rejection)
    assert len(set(REASONS.values())) == len(REASONS)


async def test_a_record_that_does_not_exist_is_not_found(counter: Counter) -> None:
    for path in (f"/transfers/{key('nothing')}", "/accounts/1000047115", "/accounts/1000047115/entries"):
        response = await counter.ask("GET", path)
        assert response.status == 404, path


async def test_a_batch_larger_than_the_ledger_takes_is_refused_as_a_whole(counter: Counter, auditor: Auditor) -> None:
    anna, bert, _ = await counter.customers()
    before = books_of(auditor)
    orders = [msgspec.to_builtins(pay(n, anna, bert, "0.01")) for n in range(MAX_ORDERS + 1)]

    for body, status, field in (({"orders": orders}, 400, "/orders"), ({"orders": []}, 400, "/orders")):
        response = await counter.ask("POST", "/transfers", body, caller=PAYMENTS)
        assert (response.status, said(response)["field"]) == (status, field)
    huge = await counter.ask("POST", "/transfers", b'{"orders": [' + b" " * (4 * 2**20) + b"]}")
    assert huge.status == 413
    assert books_of(auditor) == before

    answers = await counter.payments.order([pay(n, anna, bert, "0.01") for n in range(MAX_ORDERS)])
    assert {answer.outcome for answer in answers} == {"done"}
    assert broken_promises(auditor) == {}


@pytest.mark.parametrize("size", [1_000, 1_001])
async def test_a_chain_has_a_thousand_links_at_most(size: int, counter: Counter) -> None:
    anna, bert, _ = await counter.customers()
    links = [pay(n, anna, bert, "0.01", linked=n < size - 1) for n in range(size)]

    if size == 1_000:
        assert set(await outcomes(counter, *links)) == {"done"}
    else:
        with pytest.raises(RemoteProblem) as refused:
            await counter.payments.order(links)
        assert (refused.value.status, refused.value.field) == (400, "/orders/1000/linked")
        assert await counter.balance(anna) == "100.00"


CREDENTIALS = [
    ({}, 401, "unauthenticated"),
    ({"Authorization": "Bearer lbo_" + "A" * 43}, 401, "credential-refused"),
    ({"Authorization": "Bearer "}, 401, "credential-refused"),
    ({"Authorization": "Basic b3BlcmF0b3I6"}, 401, "credential-refused"),
    ({"Authorization": "Bearer \u00e9"}, 401, "credential-refused"),
]


@pytest.mark.parametrize(("headers", "status", "code"), CREDENTIALS)
async def test_nobody_but_the_operator_sees_or_moves_anything(
    headers: dict[str, str], status: int, code: str, counter: Counter, auditor: Auditor
) -> None:
    anna, bert, _ = await counter.customers()
    before = books_of(auditor)
    restriction = {"reason": "error"}
    orders = {"orders": [msgspec.to_builtins(pay("theft", anna, bert))]}
    requests: list[tuple[str, str, object]] = [
        ("GET", "/accounts", None), ("GET", f"/accounts/{anna}", None), ("GET", f"/accounts/{anna}/balance", None),
        ("GET", f"/accounts/{anna}/entries", None), ("GET", f"/transfers/{key('a')}", None),
        ("POST", "/accounts", {"kind": "checking", "currency": "EUR"}), ("POST", "/transfers", orders),
        ("POST", f"/accounts/{anna}/freeze", restriction), ("POST", f"/accounts/{anna}/close", restriction),
        ("POST", f"/accounts/{anna}/overdraft-limit", {"overdraft_limit": "9.00"}),
        ("POST", "/accounts/by-reference", {"references": ["x"]}),
    ]  # fmt: skip
    for method, path, body in requests:
        named = headers | ({"Idempotency-Key": str(key(path))} if method == "POST" else {})
        response = await counter.ask(method, path, body, headers=named, caller=ANONYMOUS)
        assert (response.status, said(response)["type"]) == (status, f"/problems/{code}"), (method, path)
        assert "www-authenticate" in response.headers
    assert books_of(auditor) == before


async def test_lists_are_read_page_by_page_and_show_each_once(counter: Counter) -> None:
    anna, bert, cash = await counter.customers()
    await counter.payments.order([pay(n, anna, bert, "0.01") for n in range(23)])

    seen: list[int] = []
    cursor = None
    while True:
        page = await counter.client.entries(anna, limit=5, cursor=cursor)
        seen += [entry.number for entry in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == list(range(1, 25))
    first = await counter.client.accounts(limit=2)
    second = await counter.client.accounts(limit=2, cursor=first.next_cursor)
    assert [view.account for view in (*first.items, *second.items)] == [anna, bert, cash]
    assert second.next_cursor is None


async def test_balances_are_told_as_of_a_day(counter: Counter, clock: MovingClock) -> None:
    anna, bert, _ = await counter.customers()
    clock.set(NOON + timedelta(days=2))
    await counter.payments.order([pay("later", anna, bert, "5.00", value_date=TODAY - timedelta(3))])

    async def told(day: date | None, basis: Any = "booking") -> str:
        return (await counter.client.balance(anna, as_of=day, basis=basis)).balance

    assert [await told(TODAY), await told(None)] == ["100.00", "95.00"]
    assert await told(TODAY - timedelta(1)) == "0.00"
    assert await told(TODAY - timedelta(1), "value") == "-5.00"
    assert [await told(date.min, "value"), await told(date.max, "value")] == ["0.00", "95.00"]


async def test_a_bank_of_several_shards_keeps_each_payment_within_one(
    database_url: Callable[[str], str], tmp_path: Path, clock: MovingClock
) -> None:
    url = database_url("ledger")
    async with open_counter(url, tmp_path / "bank", clock, shards=3) as counter:
        cash = [await counter.open(("cash", n), "cash", shard=n) for n in range(3)]
        anna = [await counter.open(("anna", n), shard=n) for n in range(3)]
        assert [account[:2] for account in anna] == ["10", "11", "12"]

        done = await counter.payments.order([pay(n, cash[n], anna[n]) for n in (2, 0, 1)])
        assert [answer.outcome for answer in done] == ["done"] * 3
        with pytest.raises(RemoteProblem) as refused:
            await counter.payments.order([pay("x", anna[0], anna[1])])
        assert (refused.value.status, refused.value.field) == (400, "/orders/0/credit")
        with pytest.raises(RemoteProblem) as unnamed:
            await counter.payments.order([VoidOrder(id=key("v"), reservation=key("r"))])
        assert (unnamed.value.status, unnamed.value.field) == (400, "/orders/0/account")

        same_name = [pay("twice", cash[n], anna[n]) for n in (0, 1)]
        assert [answer.outcome for answer in await counter.payments.order(same_name)] == ["done"] * 2
        assert (await counter.client.transfer(key("twice"))).outcome == "done"
