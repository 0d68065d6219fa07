"""Internal tokens: for one audience, for a minute, by identity alone, and renewed when rights change."""

import asyncio
import base64
import hmac
import json
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest

from latticebank.crypto.errors import InvalidToken
from latticebank.crypto.registry import ML_DSA_65, ML_DSA_87
from latticebank.crypto.signatures import SigningKey
from latticebank.crypto.tokens import from_jwk, sign_token, verify_token
from latticebank.kernel.client import RemoteProblem
from latticebank.kernel.credential_file import service_credential
from latticebank.security.identity.client import IdentityClient
from latticebank.security.identity.wire import Exchanged
from tests.security.identity.people import NAME, Branch, said, told

OWN = "/api/devices/"


def parts(token: str) -> list[dict[str, Any]]:
    """Header and claims of a token, unverified."""
    return [json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in token.split(".")[:2]]


def joined(header: dict[str, Any], claims: dict[str, Any], sign: Any) -> str:
    """A token made by hand."""
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, claims)]
    text = ".".join(encoded)
    return f"{text}.{base64.urlsafe_b64encode(sign(text.encode())).rstrip(b'=').decode()}"


async def answer(branch: Branch, token: str, path: str = OWN, service: str = "identity") -> int:
    """The status with which a service answers to a token."""
    return (await branch.send(service, "GET", path, headers={"Authorization": f"Bearer {token}"})).status


async def test_a_session_is_exchanged_for_a_token_that_says_who_and_nothing_personal(branch: Branch) -> None:
    ada = await branch.register("ada")
    exchanged = await branch.gateway.exchange(ada.token, "payments")
    assert (exchanged.user, exchanged.session, exchanged.expires_in) == (ada.user, ada.session, 60)
    header, claims = parts(exchanged.token)
    keys = {jwk["kid"]: from_jwk(jwk) for jwk in await branch.gateway.token_keys()}
    now = branch.clock.now()
    verified = verify_token(exchanged.token, keys, issuer=NAME, audience="payments", now=now)
    assert verified == claims
    assert header == {"alg": ML_DSA_65, "kid": next(iter(keys)), "typ": "at+jwt"}
    assert {name: claims[name] for name in ("sub", "sid", "roles", "parties", "act")} == {
        "sub": f"user:{ada.user}",
        "sid": str(ada.session),
        "roles": ["customer"],
        "parties": [f"user:{ada.user}"],
        "act": {"sub": "gateway"},
    }
    assert claims["exp"] - claims["iat"] == 60
    assert sorted(claims) == ["act", "aud", "exp", "iat", "iss", "jti", "parties", "roles", "sid", "sub"]


async def test_a_token_opens_one_service_for_a_minute(branch: Branch) -> None:
    ada = await branch.register("ada")
    token = await branch.bearer(ada)
    assert await answer(branch, token) == 200
    assert await answer(branch, token, "/api/ledger/own/accounts", "ledger") == 401
    assert await answer(branch, await branch.bearer(ada, "ledger"), "/api/ledger/own/accounts", "ledger") == 200
    assert await answer(branch, await branch.bearer(ada, "ledger")) == 401
    branch.clock.advance(seconds=63)
    assert await answer(branch, token) == 401


async def test_the_token_of_a_session_itself_opens_no_service(branch: Branch) -> None:
    ada = await branch.register("ada")
    assert await answer(branch, ada.token) == 401


async def test_a_forged_token_opens_nothing(branch: Branch) -> None:
    ada = await branch.register("ada")
    token = await branch.bearer(ada)
    header, claims = parts(token)
    [jwk] = await branch.gateway.token_keys()
    public = from_jwk(jwk).public_bytes
    ours, theirs = SigningKey.generate(ML_DSA_65), SigningKey.generate(ML_DSA_87)
    stolen = {**claims, "sub": f"user:{branch.ids()}"}
    head, _, signature = token.split(".")
    other_body = base64.urlsafe_b64encode(json.dumps(stolen).encode()).rstrip(b"=").decode()
    forged = {
        "another key under the right id": sign_token(ours, header["kid"], claims),
        "another algorithm under the right id": sign_token(theirs, header["kid"], claims),
        "an unknown key id": sign_token(ours, str(branch.ids()), claims),
        "other claims under the old signature": f"{head}.{other_body}.{signature}",
        "no algorithm": joined({**header, "alg": "none"}, stolen, lambda _: b""),
        "the public key as a shared secret": joined(
            {**header, "alg": "HS256"}, stolen, lambda text: hmac.digest(public, text, "sha256")
        ),
        "a key of its own in the header": joined(
            {
                **header,
                "jwk": {"kty": "AKP", "alg": ML_DSA_65, "pub": base64.urlsafe_b64encode(ours.public_bytes).decode()},
            },
            stolen,
            lambda text: ours.sign(text, b""),
        ),
        "a broken signature": token[:-6] + ("AAAAAA" if token[-6:] != "AAAAAA" else "BBBBBB"),
    }
    for name, bad in forged.items():
        assert (name, await answer(branch, bad)) == (name, 401)
    assert await answer(branch, token) == 200


async def test_unknown_key_ids_do_not_make_the_bank_ask_for_keys_over_and_over(branch: Branch) -> None:
    ada = await branch.register("ada")
    _, claims = parts(await branch.bearer(ada))
    key = SigningKey.generate(ML_DSA_65)

    def asked() -> float:
        lines = branch.bank.context.metrics.render().decode().splitlines()
        wanted = (
            'latticebank_requests_total{method="GET",route="/internal/identity/keys",service="identity",status="200"}'
        )
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(wanted))

    await answer(branch, await branch.bearer(ada))
    before = asked()
    assert before >= 1
    for _ in range(20):
        assert await answer(branch, sign_token(key, str(branch.ids()), claims)) == 401
    assert asked() - before <= 1


async def test_tokens_are_signed_once_and_given_out_again_until_rights_change(branch: Branch) -> None:
    anna, axel = await branch.first_admins()
    ada = await branch.register("ada")
    first, again = await branch.bearer(ada), await branch.bearer(ada)
    assert first == again
    assert first != await branch.bearer(ada, "ledger")
    branch.clock.advance(seconds=44)
    late = await branch.gateway.exchange(ada.token, "identity")
    assert (late.token, late.expires_in) == (first, 16)
    branch.clock.advance(seconds=1)
    renewed = await branch.bearer(ada)
    assert renewed != first

    await branch.grant(ada, "teller", anna, axel)
    assert parts(await branch.bearer(ada))[1]["roles"] == ["customer", "teller"]


async def test_the_answer_to_an_exchange_that_ended_is_the_same_for_every_reason(branch: Branch) -> None:
    ada = await branch.register("ada")
    await branch.ask("POST", "/api/users/logout", who=ada)
    for token in (ada.token, "lbs_" + "A" * 43):
        with pytest.raises(RemoteProblem) as refused:
            await branch.gateway.exchange(token, "identity")
        assert (refused.value.status, refused.value.code) == (401, "session-ended")
        assert refused.value.detail == "this session is over"


async def test_only_the_gateway_exchanges_and_only_payments_asks_what_counts(branch: Branch) -> None:
    ada = await branch.register("ada")
    exchange = {"token": ada.token, "audience": "ledger"}
    standing = {"checks": [[str(ada.session), str(ada.user), str(ada.device.id)]]}
    for who in (None, "operator", ada, "payments", "gateway", "ledger"):
        answers = (
            await branch.ask("POST", "/internal/identity/exchange", exchange, who=who),
            await branch.ask("POST", "/internal/identity/standing", standing, who=who),
            await branch.ask("POST", "/internal/identity/devices", {"devices": [str(ada.device.id)]}, who=who),
            await branch.ask("POST", "/internal/identity/evidence", {"users": [str(ada.user)]}, who=who),
            await branch.ask("POST", "/internal/identity/tokens", {"audience": "ledger"}, who=who),
        )
        refused = 401 if who is None else 403
        service = 200 if who in ("payments", "gateway", "ledger") else refused
        assert [answer.status for answer in answers] == [
            200 if who == "gateway" else refused,
            200 if who == "payments" else refused,
            200 if who == "payments" else refused,
            200 if who == "payments" else refused,
            service,
        ]


async def test_a_service_speaks_in_its_own_name_to_one_service(branch: Branch) -> None:
    issued = await branch.payments.service_token("ledger")
    _, claims = parts(issued.token)
    assert (claims["sub"], claims["aud"], issued.expires_in) == ("service:payments", "ledger", 60)
    assert await answer(branch, issued.token, "/api/ledger/accounts", "ledger") == 200
    assert await answer(branch, issued.token, "/api/quantum/keys/x/info", "keys") == 401
    with pytest.raises(RemoteProblem):
        await branch.payments.service_token("not a service")


async def test_the_credential_of_a_service_is_no_token_elsewhere(branch: Branch) -> None:
    context = branch.bank.context
    own = await service_credential(context.settings.data, "payments")()
    refused = await branch.send("ledger", "GET", "/api/ledger/accounts", headers={"Authorization": own})
    assert refused.status == 401
    stranger = IdentityClient(context.transport("identity"), service_credential(context.settings.data, "stranger"))
    with pytest.raises(RemoteProblem) as unknown:
        await stranger.service_token("ledger")
    assert unknown.value.status == 401


async def test_many_exchanges_at_once_are_all_answered(branch: Branch) -> None:
    ada = await branch.register("ada")
    made = await asyncio.gather(*(branch.gateway.exchange(ada.token, "ledger") for _ in range(50)))
    assert {(one.session, one.user) for one in made} == {(ada.session, ada.user)}


async def test_a_token_outlives_neither_its_minute_nor_its_audience_in_any_reading(branch: Branch) -> None:
    ada = await branch.register("ada")
    token = await branch.bearer(ada)
    keys = {jwk["kid"]: from_jwk(jwk) for jwk in await branch.gateway.token_keys()}
    now = branch.clock.now()
    for issuer, audience, at in (
        ("demo.test", "identity", now),
        (NAME, "ledger", now),
        (NAME, "identity", now + timedelta(seconds=62)),
        (NAME, "identity", now - timedelta(seconds=3)),
    ):
        with pytest.raises(InvalidToken):
            verify_token(token, keys, issuer=issuer, audience=audience, now=at)


async def test_messages_with_tokens_do_not_show_them(branch: Branch) -> None:
    ada = await branch.register("ada")
    exchanged: Exchanged = await branch.gateway.exchange(ada.token, "ledger")
    assert exchanged.token not in repr(exchanged)
    assert ada.token not in branch.rows("SELECT token_hash::text FROM sessions")[0][0]
    assert branch.rows("SELECT token_hash FROM sessions") == [(sha256(ada.token.encode()).digest(),)]


async def test_everyone_sees_how_the_bank_protects_itself(branch: Branch) -> None:
    info = said(await branch.ask("GET", "/api/security/info"))
    assert (info["bank"], info["token_keys"]) == (NAME, [key["kid"] for key in await branch.gateway.token_keys()])
    defaults = {each["use"]: each["name"] for each in info["algorithms"] if each["default"]}
    assert defaults == {
        "signature": "MLDSA65-Ed25519-SHA512",
        "log": "Ed25519+ML-DSA-44",
        "sealing": "MLKEM768-X25519/HKDF-SHA256/AES-256-GCM",
        "field": "AES-256-GCM",
    }
    assert all(each["post_quantum"] for each in info["algorithms"] if each["authorises"])
    assert told(await branch.ask("GET", "/api/security/nothing")) == (404, "no-such-path")
