"""Whatever goes wrong, the caller reads one kind of document: it names the field, and gives nothing away."""

import json
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
from fastapi import HTTPException, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from latticebank.kernel.http import Router, permit, read_json
from latticebank.kernel.http.problems import problem_of
from latticebank.kernel.problem import STATUS_OF_FAULT
from latticebank.values.errors import BankError, Fault, InvalidValue
from latticebank.values.money import parse_amount
from tests.kernel.serving import Desk, desk_of, problem, service_of

POSTING = json.dumps({"account": "1000000010", "amount": "12.34"}).encode()


class Posting(BaseModel):
    model_config = ConfigDict(extra="forbid")
    account: str = Field(max_length=10)
    amount: str
    lines: list[dict[str, int]] = []


class Line(msgspec.Struct):
    account: int
    text: str


class InsufficientFunds(BankError):
    code = "insufficient-funds"
    title = "Not enough money"
    fault = Fault.REFUSED


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A service that can go wrong in every way."""
    router = Router(prefix="/api/ledger", dependencies=[permit("ledger:Read")])

    @router.post("/postings")
    async def post(posting: Posting) -> dict[str, int]:
        return {"minor": parse_amount(posting.amount, 2, field="/amount")}

    @router.post("/lines")
    async def lines(request: Request) -> int:
        return len(await read_json(request, list[Line]))

    @router.post("/anything")
    async def anything(request: Request, body: dict[str, Any]) -> int:
        return len(json.dumps(body).encode())

    @router.get("/accounts")
    async def accounts(limit: Annotated[int, Query(ge=1, le=9)] = 1) -> int:
        return limit

    @router.get("/faults/{name}")
    async def faults(name: str) -> None:
        if name == "defect":
            raise RuntimeError("postgresql://bank:hunter2@db/ledger refused")
        error = type("Some", (BankError,), {"code": "some", "title": "Some", "fault": Fault(name)})
        raise error("detail", field="field", hint="hint")

    @router.get("/funds")
    async def funds() -> None:
        raise InsufficientFunds("the balance is too low", field="/amount", hint="pay in first")

    return desk_of(service_of(router), tmp_path)


@pytest.mark.parametrize("fault", list(Fault))
async def test_every_fault_has_its_status(desk: Desk, fault: Fault) -> None:
    response = await desk.ask("GET", f"/api/ledger/faults/{fault.value}")
    assert response.status == STATUS_OF_FAULT[fault]
    assert problem(response).type == "/problems/some"


async def test_an_error_of_the_bank_says_what_where_and_what_to_do(desk: Desk) -> None:
    told = problem(await desk.ask("GET", "/api/ledger/funds"))
    assert (told.type, told.title, told.status) == ("/problems/insufficient-funds", "Not enough money", 422)
    assert (told.detail, told.field, told.hint) == ("the balance is too low", "/amount", "pay in first")


async def test_a_dependency_that_is_down_says_when_to_come_back(desk: Desk) -> None:
    response = await desk.ask("GET", "/api/ledger/faults/unavailable")
    assert response.status == 503
    assert int(response.headers["retry-after"]) > 0


async def test_a_defect_gives_nothing_away(desk: Desk) -> None:
    response = await desk.ask("GET", "/api/ledger/faults/defect")
    assert problem(response).status == 500
    assert b"hunter2" not in response.body
    assert b"RuntimeError" not in response.body


async def test_an_error_raised_by_a_rule_names_its_field(desk: Desk) -> None:
    told = problem(await desk.ask("POST", "/api/ledger/postings", POSTING.replace(b"12.34", b"12.3")))
    assert (told.status, told.type, told.field) == (400, "/problems/invalid-value", "/amount")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"account": "1"}, "/amount"),
        ({"account": "1", "amount": 5}, "/amount"),
        ({"account": "1" * 11, "amount": "1.00"}, "/account"),
        ({"account": "1", "amount": "1.00", "a/b~c": 1}, "/a~1b~0c"),
        ({"account": "1", "amount": "1.00", "lines": [{"a": 1}, {"b": "x"}]}, "/lines/1/b"),
        ([], "body"),
        (7, "body"),
        (None, "body"),
    ],
)
async def test_an_invalid_body_names_the_place_by_a_json_pointer(desk: Desk, body: object, field: str) -> None:
    told = problem(await desk.ask("POST", "/api/ledger/postings", json.dumps(body).encode()))
    assert (told.status, told.field) == (400, field)


async def test_several_invalid_fields_are_all_named(desk: Desk) -> None:
    told = problem(await desk.ask("POST", "/api/ledger/postings", b'{"account": 5, "lines": 7}'))
    assert [error.field for error in told.errors] == ["/account", "/amount", "/lines"]


async def test_an_invalid_parameter_is_named(desk: Desk) -> None:
    for query in ("limit=0", "limit=x", "limit=", "limit=" + "9" * 3000, "limit=1&limit=x", "limit=NaN"):
        told = problem(await desk.ask("GET", f"/api/ledger/accounts?{query}"))
        assert (told.status, told.field) == (400, "limit")


async def test_what_was_sent_is_never_repeated(desk: Desk) -> None:
    secret = "correct-horse-battery-staple"
    for body in (
        {"account": secret, "amount": "1.00"},
        {"account": "1", "amount": secret},
        {"account": "1", "amount": "1.00", "lines": [{"a": secret}]},
    ):
        response = await desk.ask("POST", "/api/ledger/postings", json.dumps(body).encode())
        assert response.status == 400
        assert secret.encode() not in response.body
    huge = await desk.ask("POST", "/api/ledger/postings", json.dumps({"x" * 100_000: 1}).encode())
    assert huge.status == 400
    assert len(huge.body) < 4000


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"{]",
        b'{"a": 1, "a": 2}',
        b'{"a": {"b": 1, "b": 2}}',
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": "\xff"}',
        b"\xef\xbb\xbf{}",
        b'{"a": "\\u0000"}',
        b'{"\\u0000": 1}',
        b'{"a": "\\ud800"}',
        b'{"a": "\\uDFFF\\ud800"}',
        b'{"a": "' + b"\0" + b'"}',
        b'{"a": ' + b"[" * 33 + b"]" * 33 + b"}",
        b'{"a": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b'{"a": ' + b'{"a":' * 50_000,
    ],
)
async def test_hostile_json_is_a_bad_request(desk: Desk, body: bytes) -> None:
    told = problem(await desk.ask("POST", "/api/ledger/anything", body))
    assert (told.status, told.code, told.field) == (400, "unreadable-body", "body")


async def test_a_body_may_speak_of_escapes_without_using_them(desk: Desk) -> None:
    for body in (b'{"a": "\\\\u0000"}', '{"a": "\\ud83d\\ude00 é"}'.encode(), b'{"a": ' + b"[" * 20 + b"]" * 20 + b"}"):
        assert (await desk.ask("POST", "/api/ledger/anything", body)).status == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'[{"account": 1, "text": "a"}, {"account": "x", "text": "a"}]', "/1/account"),
        (b'[{"account": 1}]', "/0"),
        (b"{}", "body"),
        (b'[{"account": ' + b"9" * 5000 + b', "text": "a"}]', "/0/account"),
        (b'[{"account": 1, "text": "\\u0000"}]', "body"),
        (b'[{"account": 1, "text": "\xff"}]', "body"),
        (b'[{"account": 1, "text": "a", "more": ' + b"[" * 100_000, "body"),
        (b"", "body"),
    ],
)
async def test_a_bulk_body_is_read_as_strictly(desk: Desk, body: bytes, field: str) -> None:
    told = problem(await desk.ask("POST", "/api/ledger/lines", body))
    assert told.status == 400
    assert told.field == field


async def test_a_path_that_is_not_there_and_a_method_that_is_not_known(desk: Desk) -> None:
    assert problem(await desk.ask("GET", "/api/ledger/nothing")).status == 404
    assert problem(await desk.ask("GET", "/api/ledger/funds/")).status == 404
    response = await desk.ask("DELETE", "/api/ledger/funds")
    assert problem(response).status == 405
    assert response.headers["allow"] == "GET, HEAD"


def test_a_problem_outside_of_a_request_has_no_instance() -> None:
    assert problem_of(InvalidValue("wrong")).instance is None


async def test_a_refusal_of_the_framework_keeps_its_status(tmp_path: Path) -> None:
    router = Router(prefix="/api/ledger", dependencies=[permit("ledger:Read")])

    @router.get("/teapot")
    async def teapot() -> None:
        raise HTTPException(418, "with a secret")

    response = await desk_of(service_of(router), tmp_path).ask("GET", "/api/ledger/teapot")
    assert problem(response).code == "not-accepted"
    assert response.status == 418
    assert b"secret" not in response.body
