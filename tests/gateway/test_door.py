"""The door exchanges session tokens, drops forged header fields, and lets no internal token in from outside."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import pytest
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from latticebank.gateway.api.door import Door
from latticebank.gateway.api.forwarding import Forwarding
from latticebank.gateway.service import REMEMBERED_SECONDS, PhantomTokens
from latticebank.kernel.caller import Caller, CredentialRefused
from latticebank.kernel.http import Router, permit
from latticebank.kernel.transports import HttpTransport, Response
from latticebank.kernel.transports import Request as Asked
from latticebank.kernel.transports.memory import MemoryTransport
from latticebank.values.errors import BankError, Fault
from tests.kernel.serving import context_in, problem, served, service_of

SESSION = "lbs_" + "A" * 43
ENDED = "lbs_" + "B" * 43


@dataclass(frozen=True)
class Internal:
    token: str
    expires_in: float


class SessionEnded(BankError):
    code = "session-ended"
    title = "The session is over"
    fault = Fault.UNAUTHENTICATED


class Sessions:
    """Knows one session, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.ended = False

    async def exchange(self, token: str, audience: str) -> Internal:
        self.asked.append(audience)
        await asyncio.sleep(0.01)
        if token != SESSION or self.ended:
            raise SessionEnded("this session is over", hint="log in again")
        return Internal(f"internal-for-{audience}", 50.0)


class Entrance:
    """A service behind a door."""

    def __init__(self, folder: Path) -> None:
        router = Router(prefix="/api/ledger")

        @router.get("/seen")
        async def seen(request: Request, caller: Annotated[Caller, permit("ledger:Read")]) -> dict[str, str]:
            return dict(request.headers)

        service = service_of(router)
        self.app = service.build(context_in(folder, service))
        self.sessions, self.seconds = Sessions(), 0.0
        self.tokens = PhantomTokens(self.sessions, lambda: self.seconds)
        self.heard: list[tuple[bytes, bytes]] = []
        self.door = Door(self._bank, self.tokens, lambda path: "ledger" if path.startswith("/api/ledger/") else None)

    async def _bank(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.heard = [(name, value) for name, value in scope["headers"] if name == b"authorization"]
        without = [(name, value) for name, value in scope["headers"] if name != b"authorization"]
        await self.app({**scope, "headers": without}, receive, send)

    async def ask(self, target: str = "/api/ledger/seen", **headers: str) -> Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await MemoryTransport(self.door).send(Asked("GET", target, named))


@pytest.fixture
def entrance(tmp_path: Path) -> Entrance:
    return Entrance(tmp_path)


async def test_a_session_token_is_exchanged_and_goes_no_further(entrance: Entrance) -> None:
    answer = await entrance.ask(authorization=f"Bearer {SESSION}")
    assert answer.status == 200
    assert entrance.heard == [(b"authorization", b"Bearer internal-for-ledger")]
    assert SESSION.encode() not in answer.body


async def test_many_requests_of_a_session_cost_one_exchange_for_seconds(entrance: Entrance) -> None:
    for _ in range(2):
        await asyncio.gather(*(entrance.ask(authorization=f"Bearer {SESSION}") for _ in range(20)))
    assert len(entrance.sessions.asked) == 1
    entrance.seconds = REMEMBERED_SECONDS + 0.1
    await entrance.ask(authorization=f"Bearer {SESSION}")
    assert len(entrance.sessions.asked) == 2


async def test_a_session_that_ended_is_refused_within_five_seconds(entrance: Entrance) -> None:
    assert (await entrance.ask(authorization=f"Bearer {SESSION}")).status == 200
    entrance.sessions.ended = True
    entrance.seconds = 5.0
    refused = await entrance.ask(authorization=f"Bearer {SESSION}")
    assert (refused.status, problem_code(refused.body)) == (401, "session-ended")


async def test_one_who_gives_up_waiting_takes_the_answer_from_nobody(entrance: Entrance) -> None:
    first = asyncio.create_task(entrance.tokens.internal(SESSION, "ledger"))
    second = asyncio.create_task(entrance.tokens.internal(SESSION, "ledger"))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == "internal-for-ledger"
    assert len(entrance.sessions.asked) == 1


@pytest.mark.parametrize(
    "authorization",
    [
        f"Bearer {ENDED}",
        "Bearer lbs_short",
        f"Bearer {SESSION}x",
        "Bearer eyJhbGciOiJNTC1EU0EtNjUifQ.e30.c2ln",
        "Bearer lbo_.a.b",
        "Bearer lbv_" + "A" * 43,
        "Basic YTpi",
        "",
        "é",
    ],
)
async def test_whatever_else_comes_from_outside_is_refused(entrance: Entrance, authorization: str) -> None:
    refused = await entrance.ask(authorization=authorization)
    assert refused.status == 401
    assert entrance.heard == []


async def test_the_operators_token_and_anyone_pass_to_be_judged_by_the_service(entrance: Entrance) -> None:
    token = "Bearer lbo_" + "A" * 43
    assert (await entrance.ask(authorization=token)).status == 200
    assert entrance.heard == [(b"authorization", token.encode())]
    assert (await entrance.ask()).status == 200


async def test_a_session_is_no_hindrance_where_the_bank_itself_answers(entrance: Entrance) -> None:
    answer = await entrance.ask(target="/health", authorization=f"Bearer {SESSION}")
    assert answer.status == 404, "there is no such route in this little bank, and nobody asked who calls"
    assert entrance.heard == []
    assert entrance.sessions.asked == []


async def test_header_fields_of_the_bank_itself_are_dropped(entrance: Entrance) -> None:
    answer = await entrance.ask(x_latticebank_caller="admin", X_LatticeBank_Roles="admin", x_other="kept")
    seen = msgspec.json.decode(answer.body, type=dict[str, str])
    assert seen["x-other"] == "kept"
    assert not [name for name in seen if name.startswith("x-latticebank")]


async def test_a_malformed_session_token_costs_no_question(entrance: Entrance) -> None:
    with pytest.raises(CredentialRefused):
        await entrance.tokens.internal("lbs_" + "A" * 42 + "=", "ledger")
    assert entrance.sessions.asked == []


async def test_what_is_forwarded_arrives_as_it_was_sent(entrance: Entrance, tmp_path: Path) -> None:
    async with served(entrance.app) as address:
        transport = HttpTransport(address)
        way = MemoryTransport(Forwarding(transport, 5.0))
        headers = {"x-correlation-id": "payment-4711"}
        answer = await way.send(Asked("GET", "/api/ledger/seen", headers))
        assert answer.status == 200
        assert answer.headers["x-correlation-id"] == "payment-4711"
        assert problem(await way.send(Asked("GET", "/api/ledger/seen?no=1"))).code == "invalid-value"
    gone = await way.send(Asked("GET", "/api/ledger/seen"))
    await transport.aclose()
    assert gone.status == 503


def problem_code(body: bytes) -> str:
    return str(msgspec.json.decode(body)["type"]).rpartition(":")[2].rpartition("/")[2]
