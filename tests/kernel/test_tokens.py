"""A service knows a caller by a token of 60 seconds for itself, and by nothing that only looks like one."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from latticebank.crypto.signatures import SigningKey
from latticebank.crypto.tokens import TokenKey, sign_token, to_jwk
from latticebank.kernel.authentication import CredentialAuthenticator, credentials_in
from latticebank.kernel.caller import ANONYMOUS, OPERATOR, Caller, CallerKind, CredentialRefused, service_caller
from latticebank.kernel.credential_file import read_operator_token
from latticebank.kernel.tokens import TOKEN_SECONDS, IssuedToken, ServiceTokens, TokenAuthenticator

BANK = "latticebank.localhost"
NOW = datetime(2026, 3, 31, 8, tzinfo=UTC)
USER, SESSION = "019a0b1c-7d2e-7f3a-8b4c-5d6e7f8a9b0c", "019a0b1c-7d2e-7f3a-8b4c-000000000000"


class StoppedClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        return self.time


class Issuer:
    """An issuer with one key of its own; it counts what it is asked."""

    def __init__(self) -> None:
        self.key = SigningKey.generate("ML-DSA-65")
        self.published = ["key-1"]
        self.asked_keys = 0
        self.asked_tokens = 0

    async def token_keys(self) -> list[dict[str, str]]:
        self.asked_keys += 1
        return [to_jwk(TokenKey(name, self.key.algorithm, self.key.public_bytes)) for name in self.published]

    async def service_token(self, audience: str) -> IssuedToken:
        self.asked_tokens += 1
        await asyncio.sleep(0)
        return IssuedToken(f"{audience}-{self.asked_tokens}", TOKEN_SECONDS)

    def token(self, key_id: str = "key-1", **changed: Any) -> str:
        issued = int(NOW.timestamp())
        claims: Mapping[str, Any] = {
            "iss": BANK,
            "sub": f"user:{USER}",
            "aud": "ledger",
            "iat": issued,
            "exp": issued + TOKEN_SECONDS,
            "jti": str(uuid4()),
            "sid": SESSION,
            "roles": ["customer"],
            "parties": [f"user:{USER}", "berka:client/1"],
            "act": {"sub": "gateway"},
        }
        return sign_token(self.key, key_id, {**claims, **changed})


class Gate:
    """A service's way of knowing callers."""

    def __init__(self, folder: Path) -> None:
        self.issuer, self.clock = Issuer(), StoppedClock()
        self.refused: list[int] = []
        known = CredentialAuthenticator(credentials_in(folder, ()), lambda: self.refused.append(1))
        self.knows = TokenAuthenticator(known, self.issuer, BANK, self.clock)

    async def caller(self, token: str, audience: str = "ledger") -> Caller:
        return await self.knows.authenticate(f"Bearer {token}", audience)


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


async def test_a_user_is_known_with_roles_parties_and_session(gate: Gate) -> None:
    caller = await gate.caller(gate.issuer.token())
    parties = (f"user:{USER}", "berka:client/1")
    assert caller == Caller(CallerKind.USER, USER, ("customer",), parties, UUID(SESSION), "gateway")
    assert caller.user == UUID(USER)


async def test_a_service_is_known_by_its_name(gate: Gate) -> None:
    assert await gate.caller(gate.issuer.token(sub="service:payments")) == service_caller("payments")


async def test_other_credentials_are_known_as_before(gate: Gate, tmp_path: Path) -> None:
    assert await gate.knows.authenticate(None, "ledger") == ANONYMOUS
    assert await gate.caller(read_operator_token(tmp_path)) == OPERATOR


async def test_a_token_counts_for_its_audience_alone_also_when_it_is_remembered(gate: Gate) -> None:
    token = gate.issuer.token()
    await gate.caller(token)
    with pytest.raises(CredentialRefused):
        await gate.caller(token, "payments")
    assert gate.refused


async def test_a_remembered_token_ends_with_its_time(gate: Gate) -> None:
    token = gate.issuer.token()
    await gate.caller(token)
    gate.clock.time = NOW + timedelta(seconds=TOKEN_SECONDS - 1)
    await gate.caller(token)
    gate.clock.time = NOW + timedelta(seconds=TOKEN_SECONDS + 3)
    with pytest.raises(CredentialRefused):
        await gate.caller(token)


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "other.bank"},
        {"aud": ["ledger", "payments"]},
        {"sub": "root"},
        {"sub": "user:ada"},
        {"sub": f"user:{USER.upper()}"},
        {"sid": None},
        {"sid": "x"},
        {"roles": "admin"},
        {"exp": int(NOW.timestamp()) - 10},
        {"exp": int(NOW.timestamp()) + 3_600},
        {"iat": int(NOW.timestamp()) + 30, "exp": int(NOW.timestamp()) + 60},
    ],
)
async def test_a_token_that_says_what_it_must_not_is_refused(gate: Gate, claims: dict[str, Any]) -> None:
    with pytest.raises(CredentialRefused):
        await gate.caller(gate.issuer.token(**claims))


async def test_a_token_of_another_key_is_refused(gate: Gate) -> None:
    forged = Issuer().token()
    with pytest.raises(CredentialRefused):
        await gate.caller(forged)
    head, body, signature = gate.issuer.token().split(".")
    for broken in (f"{head}.{body}.", f"{head}..{signature}", f".{body}.{signature}", "..", f"{head}.{body}.é"):
        with pytest.raises(CredentialRefused):
            await gate.caller(broken)


async def test_unknown_key_ids_do_not_make_the_bank_ask_again_and_again(gate: Gate) -> None:
    for number in range(20):
        with pytest.raises(CredentialRefused):
            await gate.caller(gate.issuer.token(f"key-of-nobody-{number}"))
    assert gate.issuer.asked_keys == 1


async def test_a_service_asks_for_a_token_once_for_an_audience_until_it_nears_its_end() -> None:
    issuer, seconds = Issuer(), 0.0
    tokens = ServiceTokens(issuer, lambda: seconds)
    ledger, keys = tokens.for_audience("ledger"), tokens.for_audience("keys")
    assert set(await asyncio.gather(*(ledger() for _ in range(10)))) == {"Bearer ledger-1"}
    assert await keys() == "Bearer keys-2"
    seconds = TOKEN_SECONDS - 20.0
    assert await ledger() == "Bearer ledger-1"
    seconds = TOKEN_SECONDS - 10.0
    assert await ledger() == "Bearer ledger-3"
