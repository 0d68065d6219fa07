"""The bank's own account of itself: one JSON line for each thing that happened, and no secret in any."""

import json
import logging
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import structlog

from latticebank.kernel.credential_file import read_operator_token
from latticebank.kernel.http import Router, permit
from latticebank.kernel.telemetry import configure_logs, correlation_id
from tests.kernel.serving import desk_of, problem, service_of


@pytest.fixture
def out() -> Iterator[StringIO]:
    """Where the logs go, as JSON; afterwards they go where they went before."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    lines = StringIO()
    configure_logs(lines)
    yield lines
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def lines_of(out: StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_has_its_time_level_event_and_correlation_id(out: StringIO) -> None:
    token = correlation_id.set("payment-4711")
    structlog.get_logger().bind(service="ledger").warning("hold expired", amount="12.34")
    correlation_id.reset(token)
    [line] = lines_of(out)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "warning",
        "event": "hold expired",
        "service": "ledger",
        "amount": "12.34",
        "correlation_id": "payment-4711",
    }


def test_other_libraries_log_in_the_same_form(out: StringIO) -> None:
    logging.getLogger("uvicorn.error").info("Started %s", "server")
    logging.getLogger("sqlalchemy.pool").error("lost postgresql://bank:hunter2@db.example/ledger")
    logging.getLogger("uvicorn.access").info("GET /api/ledger/accounts/1000000010")
    logging.getLogger("httpx").info("GET http://ledger/accounts/1000000010")
    first, second = lines_of(out)
    assert (first["event"], first["service"], first["level"]) == ("Started server", "uvicorn", "info")
    assert second["event"] == "lost postgresql://[redacted]@db.example/ledger"


def test_what_is_named_like_a_secret_is_not_logged(out: StringIO) -> None:
    structlog.get_logger().info(
        "started",
        operator_token="hunter2",
        Authorization="hunter2",
        headers={"Cookie": "hunter2", "accept": "all"},
        keys=[{"private_key": "hunter2"}],
        password=["hunter2"],
        pin_secret=b"hunter2",
        url="https://ada:hunter2@example.org/",
        said="Bearer hunter2hunter2",
        deep={"a": {"b": {"c": {"d": {"e": {"f": {"g": "hunter2"}}}}}}},
    )
    assert "hunter2" not in out.getvalue()
    [line] = lines_of(out)
    assert line["headers"] == {"Cookie": "[redacted]", "accept": "all"}


def test_a_secret_in_an_exception_is_not_logged(out: StringIO) -> None:
    try:
        raise ConnectionError("postgresql://bank:hunter2@db.example/ledger refused")
    except ConnectionError:
        structlog.get_logger().exception("no database")
        logging.getLogger("somewhere").exception("no database")
    assert "hunter2" not in out.getvalue()
    assert all("db.example/ledger refused" in line["exception"] for line in lines_of(out))


def test_a_terminal_gets_text(out: StringIO) -> None:
    configure_logs(out, pretty=True)
    structlog.get_logger().info("started", operator_token="hunter2")
    assert "started" in out.getvalue()
    assert "hunter2" not in out.getvalue()
    assert not out.getvalue().startswith("{")


async def test_a_request_is_one_line_that_names_the_route_and_no_account(out: StringIO, tmp_path: Path) -> None:
    router = Router(prefix="/api/ledger", dependencies=[permit("ledger:Read")])

    @router.get("/accounts/{number}")
    async def account(number: str, name: str) -> None: ...

    desk = desk_of(service_of(router), tmp_path)
    response = await desk.ask("GET", "/api/ledger/accounts/1000000010?name=Ada", operator=True)
    await desk.ask("BREW" * 20, "/api/ledger/coffee/1000000010")
    first, second = lines_of(out)
    assert (first["event"], first["method"], first["route"]) == ("request", "GET", "/api/ledger/accounts/{number}")
    assert (first["status"], first["caller"], first["service"]) == (200, "Operator", "ledger")
    assert first["correlation_id"] == response.headers["x-correlation-id"]
    assert (second["method"], second["route"], second["status"]) == ("OTHER", "(none)", 404)
    assert "1000000010" not in out.getvalue()
    assert "Ada" not in out.getvalue()


async def test_a_defect_is_logged_under_the_instance_that_the_caller_was_told(out: StringIO, tmp_path: Path) -> None:
    router = Router(prefix="/api/ledger", dependencies=[permit("ledger:Read")])

    @router.get("/defect")
    async def defect() -> None:
        raise RuntimeError("the ledger does not balance")

    told = problem(await desk_of(service_of(router), tmp_path).ask("GET", "/api/ledger/defect"))
    failed, request = lines_of(out)
    assert failed["correlation_id"] == request["correlation_id"] == told.instance
    assert "the ledger does not balance" in failed["exception"]
    assert failed["level"] == "error"


async def test_no_credential_reaches_the_log(out: StringIO, tmp_path: Path) -> None:
    router = Router(prefix="/api/ledger", dependencies=[permit("ledger:Open")])

    @router.get("/defect")
    async def defect() -> None:
        raise RuntimeError(f"could not use Bearer {read_operator_token(tmp_path)}")

    desk = desk_of(service_of(router), tmp_path)
    await desk.ask("GET", "/api/ledger/defect", operator=True)
    await desk.ask("GET", "/api/ledger/defect", authorization="Bearer lbo_" + "B" * 43)
    assert "request failed" in out.getvalue()
    assert desk.token not in out.getvalue()
    assert "B" * 43 not in out.getvalue()
