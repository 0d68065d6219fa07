"""Accounts opened in bulk: each once under its own id, none where one is malformed."""

import pytest

from latticebank.banking.ledger.wire import OpeningOrder
from tests.banking.ledger.counter import Counter, key, said


def opening(name: str, **more: object) -> OpeningOrder:
    return OpeningOrder(id=key(name), kind="checking", currency="EUR", **more)  # type: ignore[arg-type]


async def test_accounts_are_opened_in_bulk_once_each(counter: Counter) -> None:
    orders = [
        opening("a", reference="crm/a", owners=["customer:1"], mandates=["customer:2"], overdraft_limit="20.00"),
        opening("b", reference="crm/a"),
        opening("c"),
    ]
    answers = await counter.client.open_accounts(orders)
    assert [answer.outcome for answer in answers] == ["done", "reference-taken", "done"]
    assert answers[1].account is None
    view = await counter.client.account(answers[0].account or "")
    assert (view.reference, view.owners, view.mandates) == ("crm/a", ["customer:1"], ["customer:2"])
    assert view.available == "20.00"

    assert await counter.client.open_accounts(orders) == answers
    [reused] = await counter.client.open_accounts([opening("c", reference="crm/c")])
    assert reused.outcome == "id-reused"
    assert len((await counter.client.accounts()).items) == 2


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        ({"currency": "XYZ"}, "/openings/1/currency"),
        ({"kind": "gold"}, "/openings/1/kind"),
        ({"kind": "cash", "overdraft_limit": "1.00"}, "/openings/1/overdraft_limit"),
        ({"overdraft_limit": "1.0"}, "/openings/1/overdraft_limit"),
        ({"reference": "no blanks here"}, "/openings/1/reference"),
        ({"reference": "1000000056"}, "/openings/1/reference"),
        ({"kind": "cash", "owners": ["a"]}, "/openings/1/owners"),
        ({"owners": ["a", "a"]}, "/openings/1/owners"),
        ({"owners": [str(n) for n in range(21)]}, "/openings/1/owners"),
        ({"shard": 1}, "/openings/1/shard"),
        ({"shard": 90}, "/openings/1/shard"),
        ({"colour": "red"}, "/openings/1"),
        ({"id": "1"}, "/openings/1/id"),
    ],
)
async def test_a_malformed_opening_is_named_and_none_is_done(
    counter: Counter, bad: dict[str, object], field: str
) -> None:
    good = {"id": str(key("good")), "kind": "checking", "currency": "EUR"}
    told = await counter.ask("POST", "/accounts/batch", {"openings": [good, {**good, "id": str(key("bad")), **bad}]})
    assert (told.status, said(told)["field"]) == (400, field)
    assert (await counter.client.accounts()).items == []


async def test_an_empty_or_endless_bulk_is_refused(counter: Counter) -> None:
    for openings in ([], [{"id": str(key(n)), "kind": "checking", "currency": "EUR"} for n in range(8_193)]):
        told = await counter.ask("POST", "/accounts/batch", {"openings": openings})
        assert (told.status, said(told)["field"]) == (400, "/openings")
