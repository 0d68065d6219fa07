"""What every exchange gets and every request must be, whatever service it is for."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any
from urllib.parse import quote, unquote

import pytest
from fastapi import Query
from hypothesis import given
from hypothesis import strategies as st

from latticebank.kernel.http import Router, permit
from latticebank.kernel.http.admission import MAX_HEADER_BYTES, MAX_HEADERS, MAX_TARGET_BYTES
from latticebank.kernel.telemetry import correlation_id
from latticebank.kernel.transports import Request
from latticebank.kernel.transports.memory import MemoryTransport
from tests.kernel.serving import Desk, context_in, desk_of, problem, service_of


class Diary:
    """What the routes of the test service lived through."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.cancelled: list[str] = []


HEADER_NAMES = [
    b"authorization", b"content-type", b"content-length", b"idempotency-key", b"x-correlation-id",
    b"x-request-timeout-ms", b"host", b"accept", b"cookie", b"forwarded", b"transfer-encoding",
]  # fmt: skip


def as_json(value: object) -> bytes:
    """JSON with whatever Python lets through: NaN, lone surrogates, NUL."""
    return json.dumps({"body": value}).encode()


@pytest.fixture
def diary() -> Diary:
    return Diary()


@pytest.fixture
def desk(tmp_path: Path, diary: Diary) -> Desk:
    return desk_of(service_of(everything(diary)), tmp_path, max_body_bytes=2000, request_timeout_seconds=5)


def everything(diary: Diary) -> Router:
    """Routes that take whatever a request can carry."""
    router = Router(prefix="/api/ledger", dependencies=[permit("ledger:Read")])

    @router.get("/correlation")
    async def correlation() -> str | None:
        return correlation_id.get()

    @router.get("/slow")
    async def slow() -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            diary.cancelled.append("slow")
            raise

    @router.get("/search")
    async def search(
        name: Annotated[str | None, Query()] = None, tag: Annotated[list[str] | None, Query()] = None
    ) -> Any:
        return [name, tag]

    @router.get("/named/{name}")
    async def named(name: str) -> str:
        return name

    @router.post("/postings")
    async def post(body: dict[str, Any]) -> int:
        diary.done.append("posted")
        return len(body)

    return router


async def test_every_answer_carries_the_security_headers(desk: Desk) -> None:
    for target in ("/api/ledger/correlation", "/api/ledger/nothing", "/api/ledger/search?name=%ff"):
        headers = (await desk.ask("GET", target)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "no-referrer"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]


async def test_a_safe_correlation_id_is_kept_and_any_other_replaced(desk: Desk) -> None:
    kept = await desk.ask("GET", "/api/ledger/correlation", x_correlation_id="payment-2026.1_a")
    assert kept.headers["x-correlation-id"] == "payment-2026.1_a"
    assert kept.body == b'"payment-2026.1_a"'
    for odd in (
        "short",
        "x" * 65,
        "a b c d e f g",
        '"quoted-text"',
        "new\x0bline-here",
        "<script>alert(1)",
        "../../../etc",
    ):
        made = (await desk.ask("GET", "/api/ledger/correlation", x_correlation_id=odd)).headers["x-correlation-id"]
        assert made != odd
        assert len(made) == 36


async def test_one_request_does_not_see_the_correlation_id_of_another(desk: Desk) -> None:
    answers = await asyncio.gather(
        *(desk.ask("GET", "/api/ledger/correlation", x_correlation_id=f"payment-{n:04}") for n in range(20))
    )
    assert [answer.body.decode() for answer in answers] == [f'"payment-{n:04}"' for n in range(20)]
    assert correlation_id.get() is None


async def test_head_is_get_without_the_body(desk: Desk) -> None:
    got = await desk.ask("GET", "/api/ledger/named/ada")
    head = await desk.ask("HEAD", "/api/ledger/named/ada")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == got.headers["content-length"]


async def test_work_that_passes_its_deadline_is_cancelled(desk: Desk, diary: Diary) -> None:
    response = await desk.ask("GET", "/api/ledger/slow", x_request_timeout_ms="2000")
    told = problem(response)
    assert (told.status, told.code) == (504, "deadline-exceeded")
    assert diary.cancelled == ["slow"]


async def test_a_caller_cannot_have_more_time_than_the_bank_gives(tmp_path: Path) -> None:
    router = Router(prefix="/api/ledger", dependencies=[permit("ledger:Read")])

    @router.get("/slow")
    async def slow() -> None:
        await asyncio.sleep(30)

    impatient = desk_of(service_of(router), tmp_path, request_timeout_seconds=0.1)
    response = await impatient.ask("GET", "/api/ledger/slow", x_request_timeout_ms="600000")
    assert response.status == 504


@pytest.mark.parametrize("odd", ["0", "-1", "1.5", "soon", "", "9" * 30, "١"])
async def test_an_odd_deadline_is_a_bad_request(desk: Desk, odd: str) -> None:
    raw = odd.encode().decode("latin-1")
    told = problem(await desk.ask("GET", "/api/ledger/correlation", x_request_timeout_ms=raw))
    assert (told.status, told.field) == (400, "X-Request-Timeout-Ms")


async def test_a_body_that_announces_too_much_is_not_read(desk: Desk, diary: Diary) -> None:
    response = await desk.ask("POST", "/api/ledger/postings", b'{"a": "' + b"x" * 2000 + b'"}')
    assert problem(response).status == 413
    assert diary.done == []


async def test_a_streamed_body_is_cut_off_where_it_becomes_too_large(desk: Desk, diary: Diary) -> None:
    sent = []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            sent.append(1)
            yield b" " * 500

    response = await desk.ask("POST", "/api/ledger/postings", endless(), content_type="application/json")
    assert problem(response).status == 413
    assert len(sent) <= 5
    assert diary.done == []


@pytest.mark.parametrize(
    "media_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "",
        "application/json;charset=latin-1",
    ],
)
async def test_a_body_of_another_type_is_not_read(desk: Desk, diary: Diary, media_type: str) -> None:
    told = problem(await desk.ask("POST", "/api/ledger/postings", b"{}", content_type=media_type))
    assert (told.status, told.field) == (415, "Content-Type")
    assert diary.done == []


@pytest.mark.parametrize(
    "media_type", ["application/json", "Application/JSON ; charset=UTF-8", 'application/json;charset="utf-8"']
)
async def test_json_is_read_however_it_is_spelt(desk: Desk, media_type: str) -> None:
    assert (await desk.ask("POST", "/api/ledger/postings", b"{}", content_type=media_type)).status == 200


async def test_a_service_that_reads_another_type_says_so(tmp_path: Path) -> None:
    router = Router(prefix="/api/ledger", dependencies=[permit("ledger:Read")])

    @router.post("/statements")
    async def take() -> str:
        return "taken"

    desk = desk_of(service_of(router, accepts=("application/xml",)), tmp_path)
    assert (await desk.ask("POST", "/api/ledger/statements", b"<a/>", content_type="application/xml")).status == 200
    assert (await desk.ask("POST", "/api/ledger/statements", b"{}")).status == 415


@pytest.mark.parametrize(
    ("target", "status", "field"),
    [
        ("/api/ledger/search?name=%00", 400, "query"),
        ("/api/ledger/search?name=%ff", 400, "query"),
        ("/api/ledger/search?name=%ed%a0%80", 400, "query"),
        ("/api/ledger/named/a%00b", 400, "path"),
        ("/api/ledger/named/%c3", 400, "path"),
        ("/api/ledger/named/" + "a" * MAX_TARGET_BYTES, 414, "path"),
        ("/api/ledger/search?" + "a" * MAX_TARGET_BYTES, 414, "path"),
    ],
)
async def test_an_address_that_no_honest_client_sends_is_refused(
    desk: Desk, target: str, status: int, field: str
) -> None:
    told = problem(await desk.ask("GET", target))
    assert (told.status, told.field) == (status, field)


async def test_odd_but_harmless_addresses_are_served(desk: Desk) -> None:
    for query in ("name=a", "name", "&&&", "name=%F0%9F%8F%A6", "name=%zz"):
        assert (await desk.ask("GET", f"/api/ledger/search?{query}")).status == 200
    for query in ("name=a&name=b", "=", "%", "%zz", "colour=red"):
        assert (await desk.ask("GET", f"/api/ledger/search?{query}")).status == 400
    assert (await desk.ask("GET", "/api/ledger/search?name=a+b%20c")).body == b'["a b c",null]'
    assert (await desk.ask("GET", "/api/ledger/named/%E2%82%AC")).body == '"€"'.encode()


async def test_header_fields_have_a_bound(desk: Desk) -> None:
    many = {f"x-{n}": "1" for n in range(MAX_HEADERS)}
    assert problem(await desk.ask("GET", "/api/ledger/correlation", b"", operator=False, **many)).status == 431
    large = await desk.ask("GET", "/api/ledger/correlation", x_large="x" * MAX_HEADER_BYTES)
    assert problem(large).status == 431


@pytest.mark.parametrize("name", [b"authorization", b"idempotency-key", b"content-type"])
async def test_a_header_field_that_stands_twice_is_refused(desk: Desk, name: bytes) -> None:
    async def twice(scope: Any, receive: Any, send: Any) -> None:
        scope["headers"] += [(name, b"a"), (name, b"b")]
        await desk.transport._app(scope, receive, send)

    told = problem(await MemoryTransport(twice).send(Request("GET", "/api/ledger/correlation")))
    assert (told.status, told.field) == (400, name.decode())


async def test_a_length_that_is_no_number_is_refused(desk: Desk) -> None:
    for odd in ("-1", "1e3", "+5", "", "9" * 40):
        response = await desk.ask("POST", "/api/ledger/postings", content_length=odd)
        assert response.status == 400


@given(
    path=st.binary(max_size=40),
    query=st.binary(max_size=60),
    headers=st.lists(st.tuples(st.sampled_from(HEADER_NAMES), st.binary(max_size=60)), max_size=6),
    body=st.binary(max_size=200)
    | st.recursive(st.none() | st.floats() | st.text(), st.lists, max_leaves=9).map(as_json),
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "OPTIONS", "TRACE", "QUERY"]),
)
async def test_nothing_that_can_be_sent_is_an_error_of_the_bank(
    path: bytes, query: bytes, headers: list[tuple[bytes, bytes]], body: bytes, method: str
) -> None:
    service = service_of(everything(Diary()))
    with TemporaryDirectory() as folder:
        app = service.build(context_in(Path(folder), service))

    async def hostile(scope: Any, receive: Any, send: Any) -> None:
        raw_path = b"/api/ledger/postings" if len(path) < 9 else b"/api/ledger/named/" + quote(path).encode()
        decoded = unquote(raw_path.decode(), errors="replace")
        await app(
            scope | {"raw_path": raw_path, "path": decoded, "query_string": query, "headers": headers}, receive, send
        )

    response = await MemoryTransport(hostile).send(Request(method, "/", body=body))
    assert response.status < 500
