"""The calls of a witness over HTTP: each status code of the protocol, and nothing that breaks it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latticebank.crypto.checkpoints import CosignerKey, cosigned_at
from latticebank.crypto.merkle import EMPTY_ROOT
from latticebank.crypto.notes import Note, parse_note
from latticebank.witness import api
from latticebank.witness.api import witness_app
from latticebank.witness.cosigning import Witness
from latticebank.witness.model import MAX_BODY
from latticebank.witness.record import Record, opened_record, origin_hash
from tests.clocks import FixedClock
from tests.witness.logs import AT, Log, lines

LOG = Log()
OTHER_HISTORY = Log(written="another ", key=LOG.key)
ADDRESS = f"/{origin_hash(LOG.origin)}/checkpoint"
PLAIN = "text/plain; charset=utf-8"


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    with opened_record(tmp_path / "witness") as opened:
        yield opened


@pytest.fixture
def key(record: Record) -> CosignerKey:
    return record.key("witness.example/w1", None)


@pytest.fixture
async def line(record: Record, key: CosignerKey) -> AsyncIterator[httpx.AsyncClient]:
    app = witness_app(Witness(LOG.policy, key, record, FixedClock(AT)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://witness.test") as client:
        yield client


async def test_a_checkpoint_is_answered_with_its_cosignature_and_then_served_with_it(
    line: httpx.AsyncClient, key: CosignerKey
) -> None:
    assert (await line.get(ADDRESS)).status_code == 404

    answer = await line.post("/add-checkpoint", content=LOG.submission(0, 50))

    assert (answer.status_code, answer.headers["content-type"]) == (200, PLAIN)
    assert answer.text.startswith("— witness.example/w1 ")
    assert answer.text.endswith("\n")
    assert cosigned_at(parse_note(LOG.signed(50) + answer.content), key.note_key()) == AT
    served = await line.get(ADDRESS)
    assert (served.status_code, served.headers["content-type"]) == (200, PLAIN)
    assert served.content.endswith(answer.content)
    assert parse_note(served.content).text == LOG.checkpoint(50).text()


async def test_another_size_is_answered_with_the_latest_alone(line: httpx.AsyncClient) -> None:
    first = await line.post("/add-checkpoint", content=LOG.submission(3, 10))
    assert (first.status_code, first.text, first.headers["content-type"]) == (409, "0\n", "text/x.tlog.size")
    await line.post("/add-checkpoint", content=LOG.submission(0, 50))

    answer = await line.post("/add-checkpoint", content=LOG.submission(0, 60))

    assert (answer.status_code, answer.text, answer.headers["content-type"]) == (409, "50\n", "text/x.tlog.size")


def refused() -> Iterator[tuple[str, bytes, int]]:
    """Submissions to a witness that knows 50 leaves, and the status that each is refused with."""
    note = parse_note(LOG.signed(60))
    yield "nothing", b"", 400
    yield "no old size", LOG.signed(60), 400
    yield "an old size above the checkpoint's", lines(61, []) + LOG.signed(60), 400
    yield "too many hashes", lines(50, [EMPTY_ROOT] * 64) + LOG.signed(60), 400
    yield "no note", lines(50, []) + b"text\n", 400
    yield "one signature", lines(50, LOG.proof(50, 60)) + Note(note.text, note.signatures[:1]).to_bytes(), 403
    yield "another key", lines(50, LOG.proof(50, 60)) + Log().signed(60), 403
    false = Note(OTHER_HISTORY.checkpoint(60).text(), note.signatures).to_bytes()
    yield "signatures of another checkpoint", lines(50, LOG.proof(50, 60)) + false, 403
    yield "an unknown log", Log("bank.example/log/2", key=LOG.key).submission(0, 60), 404
    yield "a smaller tree", LOG.submission(30, 40), 409
    yield "no proof", lines(50, []) + LOG.signed(60), 422
    yield "another's proof", lines(50, LOG.proof(49, 60)) + LOG.signed(60), 422
    yield "a fork that has grown", OTHER_HISTORY.submission(50, 60), 422
    yield "a fork of the same size", OTHER_HISTORY.submission(50, 50), 422
    yield "too much", lines(50, []) + b"x" * MAX_BODY, 413


@pytest.mark.parametrize(("body", "status"), [pytest.param(body, status, id=name) for name, body, status in refused()])
async def test_a_refusal_has_the_status_of_the_protocol_and_changes_nothing(
    line: httpx.AsyncClient, body: bytes, status: int
) -> None:
    await line.post("/add-checkpoint", content=LOG.submission(0, 50))
    before = (await line.get(ADDRESS)).content

    answer = await line.post("/add-checkpoint", content=body)

    assert answer.status_code == status
    assert answer.headers["content-type"] == ("text/x.tlog.size" if status == 409 else PLAIN)
    assert answer.text.endswith("\n")
    assert "— " not in answer.text
    assert (await line.get(ADDRESS)).content == before


async def test_nothing_else_is_answered(line: httpx.AsyncClient) -> None:
    for method, path, status in [
        ("GET", "/add-checkpoint", 405),
        ("PUT", "/add-checkpoint", 405),
        ("POST", ADDRESS, 405),
        ("GET", "/", 404),
        ("GET", "/key", 404),
        ("POST", "/sign-subtree", 404),
        ("GET", f"/{'0' * 64}/checkpoint", 404),
        ("GET", "/../key/checkpoint", 404),
        ("GET", "/%2e%2e%2fkey/checkpoint", 404),
        ("GET", f"/{'a' * 5000}/checkpoint", 404),
        ("GET", "/%00/checkpoint", 404),
    ]:
        assert (await line.request(method, path)).status_code == status, path


async def test_without_its_folder_the_witness_gives_no_word(line: httpx.AsyncClient, tmp_path: Path) -> None:
    await line.post("/add-checkpoint", content=LOG.submission(0, 50))
    (tmp_path / "witness").rename(tmp_path / "elsewhere")

    answer = await line.post("/add-checkpoint", content=LOG.submission(0, 60))

    assert (answer.status_code, answer.text) == (503, "the witness cannot reach its record\n")
    (tmp_path / "elsewhere").rename(tmp_path / "witness")
    assert (await line.post("/add-checkpoint", content=LOG.submission(50, 60))).status_code == 200


async def test_a_damaged_record_ends_the_cosigning(line: httpx.AsyncClient, tmp_path: Path) -> None:
    await line.post("/add-checkpoint", content=LOG.submission(0, 50))
    path = tmp_path / "witness" / f"{origin_hash(LOG.origin)}.checkpoint"
    path.write_bytes(path.read_bytes().replace(b"\n50\n", b"\n40\n"))

    assert (await line.post("/add-checkpoint", content=LOG.submission(40, 60))).status_code == 503


@given(st.one_of(st.binary(max_size=300), st.binary(max_size=200).map(lambda tail: lines(0, []) + tail)))
def test_no_bytes_whatever_break_the_witness(tmp_path_factory: pytest.TempPathFactory, body: bytes) -> None:
    async def status() -> int:
        with opened_record(tmp_path_factory.mktemp("fuzzed")) as opened:
            app = witness_app(Witness(LOG.policy, opened.key("w", None), opened, FixedClock(AT)))
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://witness.test") as client:
                return (await client.post("/add-checkpoint", content=body)).status_code

    assert asyncio.run(status()) == 400


async def test_a_body_that_does_not_come_is_not_waited_for(
    record: Record, key: CosignerKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "BODY_SECONDS", 0.05)
    app = witness_app(Witness(LOG.policy, key, record, FixedClock(AT)))
    said: list[Any] = []

    async def never() -> Any:
        await asyncio.Event().wait()

    async def tell(message: Any) -> None:
        said.append(message)

    async def hang_up() -> Any:
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "POST", "path": "/add-checkpoint", "headers": [], "query_string": b""}
    await asyncio.wait_for(app(scope, never, tell), 60)
    assert said[0]["status"] == 408
    said.clear()
    await asyncio.wait_for(app(scope, hang_up, tell), 60)
    assert said[0]["status"] == 400
