"""Who may do what in the ledger: nobody but payments speaks of signatures, and customers see what is theirs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest

from latticebank.banking.ledger.wire import AccountFacts, CustomerDebit, PostReservedOrder, ReserveOrder, ReverseOrder
from latticebank.kernel.caller import OPERATOR, Caller
from latticebank.kernel.client import RemoteProblem
from latticebank.kernel.transports import Request
from latticebank.values.account_number import format_account_number
from tests.banking.ledger.audit import broken_promises
from tests.banking.ledger.callers import (
    ADA,
    AUDITOR,
    BOB,
    CALLERS,
    IDENTITY,
    MANAGER,
    NOBODY,
    PAYMENTS,
    TELLER,
)
from tests.banking.ledger.counter import Counter, key, open_counter, pay, said
from tests.banking.ledger.samples import EVIDENCE, STRANGER, TODAY
from tests.banking.ledger.test_api import books_of
from tests.clocks import MovingClock

Auditor = psycopg.Connection[Any]
UNKNOWN = format_account_number(STRANGER)
CASHED: Any = {"evidence": EVIDENCE.hex(), "evidence_class": "cash"}

CLERKS = {OPERATOR, PAYMENTS, IDENTITY, TELLER, MANAGER, AUDITOR}
MAY: list[tuple[str, object, set[Caller]]] = [
    ("GET /api/ledger/accounts", None, CLERKS),
    ("GET /api/ledger/accounts/{anna}", None, CLERKS),
    ("POST /api/ledger/accounts/by-reference", {"references": ["x"]}, CLERKS),
    ("POST /internal/ledger/accounts", {"accounts": [UNKNOWN]}, CLERKS),
    ("GET /api/ledger/accounts/{anna}/balance", None, {OPERATOR, MANAGER, AUDITOR}),
    ("GET /api/ledger/accounts/{anna}/entries", None, {OPERATOR, MANAGER, AUDITOR}),
    (f"GET /api/ledger/transfers/{key('a')}", None, {OPERATOR, PAYMENTS, MANAGER, AUDITOR}),
    ("GET /api/ledger/own/accounts", None, {OPERATOR, ADA, BOB, NOBODY}),
    ("POST /internal/ledger/customer-debits", {}, {OPERATOR, PAYMENTS}),
    ("POST /api/ledger/accounts", {"kind": "checking", "currency": "EUR"}, {OPERATOR, IDENTITY}),
    ("POST /api/ledger/accounts/batch", {"openings": []}, {OPERATOR, IDENTITY}),
    ("POST /api/ledger/accounts/{anna}/freeze", {"reason": "error"}, {OPERATOR}),
    ("POST /api/ledger/accounts/{anna}/overdraft-limit", {"overdraft_limit": "9.00"}, {OPERATOR}),
    ("POST /api/ledger/transfers", {"orders": [pay("word", UNKNOWN, UNKNOWN, evidence_class=None)]},
     {OPERATOR, PAYMENTS}),
    ("POST /api/ledger/transfers", {"orders": [pay("signed", UNKNOWN, UNKNOWN)]}, {PAYMENTS}),
]  # fmt: skip


@pytest.mark.parametrize("caller", CALLERS, ids=lambda each: f"{each.kind} {each.id} {' '.join(each.roles)}")
async def test_a_caller_may_do_what_it_is_for_and_nothing_else(caller: Caller, counter: Counter) -> None:
    anna = await counter.open("anna")
    inside = counter.bank.context.transport("ledger")
    permitted = []
    for place, (request, body, _) in enumerate(MAY):
        method, path = request.replace("{anna}", anna).split()
        headers = {"Authorization": counter.callers.header(caller), "Idempotency-Key": str(uuid4())}
        if body is not None:
            headers["Content-Type"] = "application/json"
        answer = await inside.send(Request(method, path, headers, b"" if body is None else msgspec.json.encode(body)))
        assert answer.status < 500
        if answer.status != 403:
            permitted.append(place)

    assert permitted == [place for place, (_, _, callers) in enumerate(MAY) if caller in callers]


@pytest.mark.parametrize("signed", ["payment", "batch", "cash"])
async def test_the_operator_cannot_say_that_an_order_was_signed(
    signed: str, counter: Counter, auditor: Auditor
) -> None:
    anna, bert, cash = await counter.customers()
    before = books_of(auditor)
    claim: Any = {"evidence": EVIDENCE.hex(), "evidence_class": signed}
    claims: list[Any] = [
        pay("p", anna, bert, **claim),
        ReserveOrder(id=key("r"), debit=anna, credit=bert, amount="1.00", currency="EUR", **claim),
        ReverseOrder(id=key("back"), transfer=key("a"), **claim),
    ]

    for order in claims:
        with pytest.raises(RemoteProblem) as refused:
            await counter.client.order([pay("in", cash, anna, evidence_class=None), order])
        assert (refused.value.status, refused.value.code) == (403, "forbidden")
    assert books_of(auditor) == before


async def test_the_operator_moves_the_banks_money_and_no_customers(counter: Counter) -> None:
    anna, bert, cash = await counter.customers()
    await counter.payments.order([pay("fee", anna, cash, "5.00")])
    word: Any = {"evidence_class": None}
    hold = ReserveOrder(id=key("hold"), debit=anna, credit=bert, amount="1.00", currency="EUR")

    answers = await counter.client.order(
        [
            pay("in", cash, anna, **word),
            pay("out", anna, cash, **word),
            pay("past", anna, cash, purpose="import", **word),
            hold,
            ReverseOrder(id=key("take back"), transfer=key("in")),
            ReverseOrder(id=key("give back"), transfer=key("fee")),
        ]
    )

    refused = "evidence-not-signed"
    assert [answer.outcome for answer in answers] == ["done", refused, refused, refused, refused, "done"]
    assert await counter.balance(anna) == "101.00"


async def test_a_class_of_evidence_without_the_evidence_is_refused(counter: Counter, auditor: Auditor) -> None:
    anna, bert, _ = await counter.customers()
    before = books_of(auditor)
    orders: list[Any] = [
        pay("p", anna, bert, evidence=None),
        ReserveOrder(id=key("r"), debit=anna, credit=bert, amount="1.00", currency="EUR", evidence_class="batch"),
        ReverseOrder(id=key("v"), transfer=key("a"), evidence_class="cash"),
    ]

    for order in orders:
        with pytest.raises(RemoteProblem) as refused:
            await counter.payments.order([order])
        assert (refused.value.status, refused.value.field) == (400, "/orders/0/evidence")
    assert books_of(auditor) == before


async def households(counter: Counter) -> dict[str, str]:
    """Ada's account, Bob's for which Ada may act, Bob's alone, and the cash of the bank; each but the last with 10.00."""
    ada, bob = ADA.parties[0], BOB.parties[0]
    accounts = {
        "ada": await counter.open("ada", owners=[ada]),
        "shared": await counter.open("shared", owners=[bob], mandates=[ada]),
        "bob": await counter.open("bob", owners=[bob]),
        "cash": await counter.open("cash", "cash"),
    }
    customers = [name for name in accounts if name != "cash"]
    await counter.payments.order([pay(name, accounts["cash"], accounts[name], "10.00") for name in customers])
    return accounts


@pytest.mark.parametrize(
    ("caller", "own"), [(ADA, ["ada", "shared"]), (BOB, ["shared", "bob"]), (NOBODY, [])], ids=["ada", "bob", "nobody"]
)
async def test_customers_see_the_accounts_that_are_theirs_or_for_which_they_may_act_and_no_others(
    caller: Caller, own: list[str], counter: Counter
) -> None:
    accounts = await households(counter)
    client = counter.client_of(caller)

    page = await client.own_accounts()
    assert ([view.account for view in page.items], page.next_cursor) == ([accounts[name] for name in own], None)
    for name in own:
        assert (await client.own_balance(accounts[name])).balance == "10.00"
        [entry] = (await client.own_entries(accounts[name])).items
        assert (entry.amount, entry.counterparty) == ("10.00", accounts["cash"])
    for name in set(accounts) - set(own):
        for path in (f"/own/accounts/{accounts[name]}/balance", f"/own/accounts/{accounts[name]}/entries"):
            theirs = await counter.ask("GET", path, caller=caller)
            unknown = await counter.ask("GET", path.replace(accounts[name], UNKNOWN), caller=caller)
            assert (theirs.status, said(theirs)["type"]) == (404, "/problems/account-not-found")
            assert _without_place(said(theirs), accounts[name]) == _without_place(said(unknown), UNKNOWN)


def _without_place(problem: dict[str, Any], account: str) -> dict[str, Any]:
    return {name: str(value).replace(account, "") for name, value in problem.items() if name != "instance"}


async def test_own_accounts_and_their_entries_are_read_page_by_page(counter: Counter) -> None:
    accounts = await households(counter)
    await counter.payments.order([pay(n, accounts["ada"], accounts["bob"], "0.01") for n in range(4)])
    ada = counter.client_of(ADA)

    first = await ada.own_accounts(limit=1)
    second = await ada.own_accounts(limit=1, cursor=first.next_cursor)
    assert [view.account for view in (*first.items, *second.items)] == [accounts["ada"], accounts["shared"]]
    assert (first.next_cursor is None, second.next_cursor) == (False, None)
    start = await ada.own_entries(accounts["ada"], limit=3)
    rest = await ada.own_entries(accounts["ada"], limit=3, cursor=start.next_cursor, until=TODAY)
    assert [entry.number for entry in (*start.items, *rest.items)] == [1, 2, 3, 4, 5]


async def test_services_are_told_what_is_fixed_of_the_accounts_that_exist(counter: Counter) -> None:
    accounts = await households(counter)
    await counter.client.restrict(key("f"), accounts["bob"], "freeze", "court-order")

    told = await counter.payments.known_accounts([accounts["bob"], UNKNOWN, accounts["shared"], accounts["cash"]])

    ada, bob = ADA.parties[0], BOB.parties[0]
    assert told == [
        AccountFacts(accounts["shared"], "checking", "EUR", "open", [bob], [ada]),
        AccountFacts(accounts["bob"], "checking", "EUR", "frozen", [bob], []),
        AccountFacts(accounts["cash"], "cash", "EUR", "open", [], []),
    ]
    for wanted, field in (([accounts["bob"], "1000000006"], "/accounts/1"), ([], "/accounts"), ([""], "/accounts/0")):
        with pytest.raises(RemoteProblem) as refused:
            await counter.payments.known_accounts(wanted)
        assert (refused.value.status, refused.value.field) == (400, field)


async def debits(counter: Counter, limit: int) -> list[CustomerDebit]:
    """All customers' debits, page by page."""
    found: list[CustomerDebit] = []
    after = None
    while True:
        page = await counter.payments.customer_debits(after=after, limit=limit)
        assert len(page.items) <= limit
        found += page.items
        if page.next is None:
            return found
        assert page.items
        assert page.next == (page.items[-1].shard, page.items[-1].seq)
        after = page.next


async def test_customers_debits_are_told_with_all_that_the_check_of_their_evidence_needs(
    counter: Counter, auditor: Auditor
) -> None:
    anna, bert, cash = await counter.customers()
    hold = ReserveOrder(id=key("h"), debit=anna, credit=bert, amount="9.00", currency="EUR", **CASHED)
    await counter.payments.order(
        [
            pay("rent", anna, bert, "2.00"),
            pay("too much", anna, bert, "900.00"),
            hold,
            PostReservedOrder(id=key("part"), reservation=key("h"), amount="3.00", currency="EUR"),
            ReverseOrder(id=key("to the bank"), transfer=key("b"), **CASHED),
            pay("out", cash, bert, "1.00"),
        ]
    )

    told = await debits(counter, 8_192)

    facts = [(each.id, each.kind, each.debit, each.credit, each.amount, each.evidence_class) for each in told]
    assert facts == [
        (key("rent"), "post", anna, bert, "2.00", "payment"),
        (key("part"), "post-reserved", anna, bert, "3.00", "cash"),
        (key("to the bank"), "reverse", bert, cash, "50.00", "cash"),
    ]
    recorded_at = (await counter.client.transfer(key("rent"))).recorded_at
    assert {(each.evidence, each.currency, each.recorded_at) for each in told} == {(EVIDENCE.hex(), "EUR", recorded_at)}
    assert [each.reference for each in told] == [None, key("h"), key("b")]
    assert [each.purpose for each in told] == ["transfer", "transfer", "reversal"]
    assert broken_promises(auditor) == {}


@pytest.mark.parametrize("limit", [1, 2, 7, 8_192])
async def test_the_pages_of_customers_debits_leave_none_out_and_tell_none_twice(
    limit: int, database_url: Callable[[str], str], tmp_path: Path, clock: MovingClock
) -> None:
    async with open_counter(database_url("ledger"), tmp_path / "bank", clock, shards=3) as counter:
        wanted: list[UUID] = []
        for shard in (2, 0):  # the one between them stays empty
            cash = await counter.open(("cash", shard), "cash", shard=shard)
            anna = await counter.open(("anna", shard), shard=shard)
            orders = [pay((shard, "in", n), cash, anna) for n in range(9)]
            taken = [pay((shard, "out", n), anna, cash, "0.50") for n in range(7)]
            await counter.payments.order([*orders[:5], *taken[:3], *orders[5:], *taken[3:]])
            wanted = [each.id for each in taken] + wanted

        assert [each.id for each in await debits(counter, limit)] == wanted


async def test_customers_debits_are_found_behind_many_records_that_are_none(counter: Counter) -> None:
    anna, _, cash = await counter.customers()
    for batch in range(3):
        await counter.payments.order([pay((batch, n), cash, anna, "0.01") for n in range(8_000)])
    await counter.payments.order([pay("last", anna, cash)])

    assert [each.id for each in await debits(counter, 10)] == [key("last")]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"limit": 0}, "/limit"),
        ({"limit": 8_193}, "/limit"),
        ({"after": [0]}, "/after"),
        ({"after": [0, -1]}, "/after/1"),
        ({"after": [90, 1]}, "/after/0"),
        ({"after": [0, 2**63]}, "/after/1"),
        ({"surprise": 1}, "body"),
    ],
)
async def test_a_bad_question_for_customers_debits_is_refused_by_its_field(
    body: dict[str, Any], field: str, counter: Counter
) -> None:
    headers = {"Authorization": counter.callers.header(PAYMENTS), "Content-Type": "application/json"}
    asked = Request("POST", "/internal/ledger/customer-debits", headers, msgspec.json.encode(body))

    answer = await counter.bank.context.transport("ledger").send(asked)

    assert (answer.status, said(answer)["field"]) == (400, field)


async def test_what_services_ask_each_other_is_not_answered_at_the_door(counter: Counter) -> None:
    for path in ("accounts", "customer-debits"):
        headers = {"Authorization": counter.callers.header(PAYMENTS), "Content-Type": "application/json"}
        answer = await counter.transport.send(Request("POST", f"/internal/ledger/{path}", headers, b"{}"))
        assert answer.status == 404
