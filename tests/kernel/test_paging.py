"""Lists come in bounded pages, and a cursor means something to the bank only."""

import base64
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latticebank.kernel.http import PageCursor, PageLimit, Router, decode_cursor, encode_cursor, permit
from latticebank.kernel.http.paging import DEFAULT_PAGE
from latticebank.values.errors import InvalidValue
from tests.kernel.serving import desk_of, problem, service_of

INT64 = st.integers(-(2**63), 2**63 - 1)


@given(INT64, st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20))
def test_a_cursor_leads_back_to_its_position(number: int, text: str) -> None:
    assert decode_cursor(encode_cursor((number, text)), tuple[int, str]) == (number, text)


def made(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "cursor",
    [
        "", "!", "é", "AAAA", "a" * 5000, made(b"[1"), made(b"1"), made(b'["a",1]'), made(b"[1]"), made(b'[1,"a",2]'),
        made(b'[9223372036854775808,"a"]'), made(b'[1,"\\u0000"]'), made(b"[" * 250), made(b'[1,"\xff"]'),
    ],
)  # fmt: skip
def test_anything_else_is_refused_by_name(cursor: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        decode_cursor(cursor, tuple[int, str])
    assert refused.value.field == "cursor"


async def test_a_page_has_a_bound(tmp_path: Path) -> None:
    router = Router(prefix="/api/ledger", dependencies=[permit("ledger:Read")])

    @router.get("/entries")
    async def entries(limit: PageLimit = DEFAULT_PAGE, cursor: PageCursor = None) -> Any:
        return [limit, cursor and decode_cursor(cursor, tuple[int])]

    desk = desk_of(service_of(router), tmp_path)
    assert (await desk.ask("GET", "/api/ledger/entries")).body == b"[50,null]"
    assert (await desk.ask("GET", f"/api/ledger/entries?limit=200&cursor={encode_cursor((7,))}")).body == b"[200,[7]]"
    for query, field in (
        ("limit=201", "limit"),
        ("limit=0", "limit"),
        ("cursor=x", "cursor"),
        ("cursor=" + "a" * 401, "cursor"),
    ):
        told = problem(await desk.ask("GET", f"/api/ledger/entries?{query}"))
        assert (told.status, told.field) == (400, field)
