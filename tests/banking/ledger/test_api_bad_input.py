"""Bad input gets a clear 4xx that names the field, and changes nothing; no request at all makes the ledger fail."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import hypothesis
import msgspec
import psycopg
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings

from tests.banking.ledger.callers import PAYMENTS
from tests.banking.ledger.counter import Counter, key, pay, said
from tests.banking.ledger.test_api import books_of

Auditor = psycopg.Connection[Any]

TEXTS: list[Any] = [
    "",
    " ",
    "\t",
    "x" * 5_000,
    "\u0661\u0662",
    "EUR ",
    "eur",
    "1",
    "-1",
    "null",
    None,
    1,
    1.5,
    True,
    [],
    {},
]
AMOUNTS: list[Any] = [
    *TEXTS, "0.00", "-1.00", "+1.00", "1.0", "1.000", "1", "01.00", "1,00", "1e2", "NaN", "Infinity", "1.00 ", " 1.00",
    "1.00\n", "\uff11.00", ".00", "10000000000000000.01", "9" * 30 + ".00", "0x1.00", "1_0.00",
]  # fmt: skip
ACCOUNTS: list[Any] = [*TEXTS, "1000000006", "0000000000", "100000001", "10000000055", "1000000005 ", "\uff11000000005"]
IDS: list[Any] = ["", "x", "{0}", 1, None, "00000000-0000-0000-0000-00000000000", "urn:uuid:x"]
DAYS: list[Any] = [
    "",
    "2026-02-30",
    "2026-13-01",
    "03/02/2026",
    "10000-01-01",
    "0000-01-01",
    20260302,
    True,
    [],
    "today",
]
TIMES: list[Any] = [
    "", "2026-03-02", "2026-03-02T12:00:00", "2026-03-02T25:00:00Z", "9999-12-31T23:59:59-14:00", 1, True, "tomorrow",
]  # fmt: skip
EVIDENCES: list[Any] = ["", "ab", "g" * 64, "0" * 63, "0" * 65, " " * 64, "00 " * 21 + "0", 1, [], "\u0661" * 64]
CLASSES: list[Any] = ["", "operator", "import", "rule", "none", "PAYMENT", 4, [], True]

ORDER_FIELDS = [
    ("post", "amount", AMOUNTS), ("post", "currency", [*TEXTS, "XXX", "EURO", "BGN"]), ("post", "debit", ACCOUNTS),
    ("post", "credit", ACCOUNTS), ("post", "id", IDS), ("post", "booking_date", DAYS), ("post", "value_date", DAYS),
    ("post", "evidence", EVIDENCES), ("post", "evidence_class", CLASSES), ("post", "purpose", ["", "theft", "reversal", None, 1]),
    ("post", "linked", ["", "true", 1, None]), ("post", "kind", ["", "expire", None, 1, []]),
    ("post", "surprise", ["x"]), ("reserve", "expires_at", TIMES), ("reserve", "amount", AMOUNTS),
    ("reserve", "evidence", EVIDENCES), ("post-reserved", "reservation", IDS), ("post-reserved", "amount", AMOUNTS),
    ("post-reserved", "account", ACCOUNTS), ("void", "reservation", IDS), ("void", "account", ACCOUNTS),
    ("reverse", "transfer", IDS), ("reverse", "evidence", EVIDENCES),
    ("reserve", "evidence_class", CLASSES), ("reverse", "evidence_class", CLASSES),
]  # fmt: skip
MAY_BE_LEFT_OUT = {"booking_date", "value_date", "evidence", "evidence_class", "expires_at", "account"}


def order_of(kind: str, anna: str, bert: str) -> dict[str, Any]:
    """A good order of a kind."""
    order: dict[str, Any] = {"kind": kind, "id": str(key("good"))}
    if kind in ("post", "reserve"):
        return order | {"debit": anna, "credit": bert, "amount": "1.00", "currency": "EUR"}
    if kind == "reverse":
        return order | {"transfer": str(key("a"))}
    return (
        order
        | {"reservation": str(key("a"))}
        | ({"amount": "1.00", "currency": "EUR"} if kind == "post-reserved" else {})
    )


@pytest.mark.parametrize(
    ("kind", "field", "values"), ORDER_FIELDS, ids=lambda value: value if isinstance(value, str) else ""
)
async def test_an_order_with_a_bad_field_is_refused_by_its_name(
    kind: str, field: str, values: list[Any], counter: Counter, auditor: Auditor
) -> None:
    anna, bert, _ = await counter.customers()
    before = books_of(auditor)
    good = msgspec.to_builtins(pay("neighbour", anna, bert))

    for value in values:
        if value is None and (field in MAY_BE_LEFT_OUT or kind == "post-reserved"):
            continue
        bad = order_of(kind, anna, bert) | {field: value}
        response = await counter.ask(
            "POST", "/transfers", json.dumps({"orders": [good, bad]}).encode(), caller=PAYMENTS
        )
        problem = said(response)
        assert response.status == 400, (value, problem)
        assert problem["field"].startswith("/orders/1"), (value, problem)
        assert field in problem["field"] or field in problem["detail"] or problem["field"] == f"/orders/1/{field}", (
            value,
            problem,
        )
    assert books_of(auditor) == before


OPENING_FIELDS: list[tuple[str, list[Any]]] = [
    ("kind", ["", "gold", "CASH", None, 1, []]),
    ("currency", [*TEXTS, "XXX", "BGN", "XAU"]),
    ("overdraft_limit", [each for each in AMOUNTS if each not in (None, "0.00", "")]),
    ("reference", ["", " ", "-x", "a b", "x" * 65, "a\n", "\u00e9", 1, []]),
    ("owners", ["x", [1], [""], ["a b"], ["x"] * 21, [None], {}, None, ["same", "same"]]),
    ("mandates", ["x", [1], ["x"] * 21]),
    ("shard", [-1, 1, 89, 90, 10**30, "0x", 1.5, []]),
    ("surprise", ["x"]),
]


@pytest.mark.parametrize(("field", "values"), OPENING_FIELDS, ids=[field for field, _ in OPENING_FIELDS])
async def test_an_opening_with_a_bad_field_is_refused_by_its_name(
    field: str, values: list[Any], counter: Counter, auditor: Auditor
) -> None:
    before = books_of(auditor)
    for n, value in enumerate(values):
        body = {"kind": "checking", "currency": "EUR", field: value}
        response = await counter.act("/accounts", body, ("bad", n))
        problem = said(response)
        assert response.status == 400, (value, problem)
        assert problem["field"].lstrip("/").startswith(field), (value, problem)
    assert books_of(auditor) == before


PATHS: list[tuple[str, str]] = [
    ("/accounts?limit=0", "limit"), ("/accounts?limit=201", "limit"), ("/accounts?limit=x", "limit"),
    ("/accounts?cursor=x", "cursor"), ("/accounts?cursor=WyJ4Il0", "cursor"), ("/accounts?cursor=W10", "cursor"),
    ("/accounts?kind=gold", "kind"), ("/accounts?currency=eur", "currency"), ("/accounts?currency=%00", "query"),
    ("/accounts?party=%00", "query"), ("/accounts?party=" + "x" * 65, "party"),
    ("/accounts/1", "account"), ("/accounts/1000000006", "account"), ("/accounts/%00", "path"),
    ("/accounts/{anna}/balance?as_of=yesterday", "as_of"), ("/accounts/{anna}/balance?as_of=2026-02-30", "as_of"),
    ("/accounts/{anna}/balance?basis=gold", "basis"), ("/accounts/{anna}/entries?from=x", "from"),
    ("/accounts/{anna}/entries?to=10000-01-01", "to"), ("/accounts/{anna}/entries?from=2026-02-02&to=2026-02-01", "from"),
    ("/accounts/{anna}/entries?cursor=WzFd!", "cursor"), ("/transfers/x", "id"), ("/transfers/%00", "path"),
    ("/transfers/" + str(key("a")).upper(), "id"),
]  # fmt: skip


async def test_a_question_with_a_bad_parameter_is_refused_by_its_name(counter: Counter) -> None:
    anna, _, _ = await counter.customers()
    for path, field in PATHS:
        response = await counter.ask("GET", path.replace("{anna}", anna))
        problem = said(response)
        assert (response.status, problem.get("field")) == (400, field), (path, problem)


async def test_a_bad_idempotency_key_or_none_at_all_is_refused(counter: Counter, auditor: Auditor) -> None:
    for sent in ({}, {"Idempotency-Key": ""}, {"Idempotency-Key": "1"}, {"Idempotency-Key": str(key("k")).upper()}):
        response = await counter.ask("POST", "/accounts", {"kind": "checking", "currency": "EUR"}, headers=sent)
        assert (response.status, said(response)["field"]) == (400, "Idempotency-Key")
    assert auditor.execute("SELECT count(*) FROM accounts").fetchall() == [(0,)]


async def test_no_naughty_string_in_any_place_makes_the_ledger_fail_or_changes_anything(
    counter: Counter, auditor: Auditor, shared_data: Path
) -> None:
    anna, bert, _ = await counter.customers()
    before = books_of(auditor)
    strings: list[str] = json.loads((shared_data / "bad-input" / "blns.json").read_text("utf-8"))
    for n, text in enumerate(text for text in strings if text != "1.00"):  # which is a good amount
        fields = ("amount", "currency", "debit", "evidence", "purpose", "value_date", "id")
        field = fields[n % len(fields)]
        order = order_of("post", anna, bert) | {field: text}
        answers = [
            await counter.ask("POST", "/transfers", json.dumps({"orders": [order]}).encode(), caller=PAYMENTS),
            await counter.act("/accounts", {"kind": text, "currency": "EUR", "reference": text}, ("naughty", n)),
            await counter.ask("GET", f"/accounts/{quote(text, safe='')}/balance?as_of={quote(text, safe='')}"),
        ]
        assert all(400 <= answer.status < 500 for answer in answers), (text, field, answers)
        found = await counter.ask("GET", f"/accounts?party={quote(text, safe='')}&currency=EUR")
        assert found.status in (200, 400), (text, found)
    assert books_of(auditor) == before


async def test_no_request_of_any_shape_makes_the_ledger_fail(counter: Counter, depth: int) -> None:
    document = counter.bank.openapi()
    anna, _, _ = await counter.customers()
    schema = schemathesis.openapi.from_dict(document)
    cases: list[Any] = []

    for result in schema.get_all_operations():
        operation: Any = result.ok()  # type: ignore[union-attr]
        if not operation.path.startswith("/api/ledger/"):
            continue

        @settings(
            max_examples=20 * depth, database=None, deadline=None, derandomize=True, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @hypothesis.given(case=operation.as_strategy())
        def collect(case: Any) -> None:
            cases.append(case)

        collect()

    assert len(cases) > 100
    for case in cases:
        status, body = await _send(counter, case, anna)
        assert status < 500, (case.method, case.path, body)


async def _send(counter: Counter, case: Any, anna: str) -> tuple[int, bytes]:
    """Send a case of Schemathesis, half of them about an account that exists."""
    sent = case.as_transport_kwargs(base_url="http://bank")
    parameters = sent.get("params") or {}
    query = "&".join(f"{quote(str(k))}={quote(str(v))}" for k, v in parameters.items())
    path = "/" + sent["url"].split("/", 3)[3].removeprefix("api/ledger/")
    if "{account}" in case.path and len(query) % 2 == 0:
        path = case.path.removeprefix("/api/ledger").replace("{account}", anna).replace("{act}", "freeze")
    body = None
    if "json" in sent:
        body = json.dumps(sent["json"]).encode()
    given = {name: str(value) for name, value in (case.headers or {}).items() if str(value).isascii()}
    headers = {name: value for name, value in given.items() if name.lower() == "idempotency-key"}
    response = await counter.ask(case.method, path + (f"?{query}" if query else ""), body, headers=headers)
    return response.status, response.body


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("as-of=2020-01-01", "as-of"),
        ("as_of=2020-01-01&as_of=2021-01-01", "as_of"),
        ("basis=value&colour=red", "colour"),
    ],
)
async def test_a_parameter_that_would_be_passed_over_is_refused(counter: Counter, query: str, field: str) -> None:
    anna, _, _ = await counter.customers()
    told = await counter.ask("GET", f"/accounts/{anna}/balance?{query}")
    assert (told.status, said(told)["field"]) == (400, field)
