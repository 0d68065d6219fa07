"""An internal token is believed only if the bank's own key signed it, for this service, just now.

The COSE examples of RFC 9964 do not concern the bank, nor does ML-DSA-44, with which it signs no tokens.
"""

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latticebank.crypto.errors import AlgorithmNotPermitted, InvalidKey, InvalidToken, UnknownKeyId
from latticebank.crypto.signatures import SigningKey
from latticebank.crypto.tokens import TokenKey, from_jwk, sign_token, to_jwk, verify_token

NOW = datetime(2026, 3, 31, 12, 0, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
CLAIMS: dict[str, object] = {
    "iss": "https://bank.example/identity",
    "aud": "payments",
    "sub": "018f3a5e-0000-7000-8000-000000000001",
    "iat": SECONDS,
    "exp": SECONDS + 60,
    "jti": "018f3a5e-0000-7000-8000-000000000002",
    "act": {"sub": "gateway"},
}
KEY = SigningKey.generate("ML-DSA-65")
KEYS = {"k1": TokenKey("k1", KEY.algorithm, KEY.public_bytes)}
TOKEN = sign_token(KEY, "k1", CLAIMS)


def verify(token: str, now: datetime = NOW, keys: dict[str, TokenKey] = KEYS) -> dict[str, object]:
    return verify_token(token, keys, issuer="https://bank.example/identity", audience="payments", now=now)


def encoded(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def forged(header: dict[str, object] | bytes, payload: dict[str, object] | bytes = CLAIMS) -> str:
    """A token with any header and payload, rightly signed with the bank's key."""
    parts = [encoded(part if isinstance(part, bytes) else json.dumps(part).encode()) for part in (header, payload)]
    return ".".join([*parts, encoded(KEY.sign(".".join(parts).encode(), b""))])


HEADER: dict[str, object] = {"alg": "ML-DSA-65", "kid": "k1", "typ": "at+jwt"}


@pytest.mark.parametrize("algorithm", ["ML-DSA-65", "ML-DSA-87"])
def test_a_token_carries_its_claims(algorithm: str) -> None:
    key = SigningKey.generate(algorithm)
    keys = {"other": KEYS["k1"], "k2": TokenKey("k2", algorithm, key.public_bytes)}

    assert verify(sign_token(key, "k2", CLAIMS), keys=keys) == CLAIMS


def test_a_token_built_by_hand_is_the_same_as_one_of_the_library() -> None:
    assert verify(forged(HEADER)) == CLAIMS


def test_the_examples_of_rfc_9964_verify_and_altered_ones_do_not(shared_data: Path) -> None:
    folder = shared_data / "vectors" / "rfc9964" / "examples" / "jose" / "examples"
    for size in ("65", "87"):
        example: dict[str, Any] = json.loads((folder / f"ML_DSA_{size}.jose.json").read_text())
        jwk = {name: text for name, text in example["jwk"].items() if name != "priv"}
        key = from_jwk(jwk)
        seed = bytes.fromhex(example["priv"])

        assert key.public_bytes == bytes.fromhex(example["raw_public_key"])
        assert SigningKey.from_seed(f"ML-DSA-{size}", seed).public_bytes == key.public_bytes
        assert to_jwk(key) == {**jwk, "use": "sig"}
        assert key.verify(example["jws"])
        with pytest.raises(InvalidToken):
            key.verify(example["jws"][:-4] + "AAAA")
        with pytest.raises(InvalidKey):
            from_jwk(example["jwk"])


def test_the_key_of_the_other_examples_of_rfc_9964_is_not_for_tokens(shared_data: Path) -> None:
    path = shared_data / "vectors" / "rfc9964" / "examples" / "jose" / "examples" / "ML_DSA_44.jose.json"
    jwk = {name: text for name, text in json.loads(path.read_text())["jwk"].items() if name != "priv"}

    with pytest.raises(AlgorithmNotPermitted):
        from_jwk(jwk)


@given(st.integers(0, len(TOKEN) - 1), st.characters(min_codepoint=33, max_codepoint=126))
def test_a_changed_character_is_noticed_wherever_it_is(place: int, character: str) -> None:
    altered = TOKEN[:place] + character + TOKEN[place + 1 :]
    if altered == TOKEN:
        return

    with pytest.raises(InvalidToken):
        verify(altered)


@given(st.text(max_size=60) | st.lists(st.binary(max_size=20).map(encoded), max_size=4).map(".".join))
def test_what_is_no_token_is_an_invalid_token_and_nothing_else(token: str) -> None:
    with pytest.raises(InvalidToken):
        verify(token)


def test_a_token_signed_with_the_public_key_as_a_password_is_refused() -> None:
    for key_bytes in (KEY.public_bytes, encoded(KEY.public_bytes).encode(), b""):
        for algorithm in ("HS256", "hs256", "ML-DSA-65"):
            signed = (
                f"{encoded(json.dumps({**HEADER, 'alg': algorithm}).encode())}.{encoded(json.dumps(CLAIMS).encode())}"
            )
            mac = hmac.new(key_bytes, signed.encode(), hashlib.sha256).digest()
            with pytest.raises(InvalidToken):
                verify(f"{signed}.{encoded(mac)}")


def test_a_token_without_a_signature_is_refused() -> None:
    head, payload, _ = TOKEN.split(".")
    for algorithm in ("none", "None", "ML-DSA-65"):
        header = encoded(json.dumps({**HEADER, "alg": algorithm}).encode())
        for token in (f"{header}.{payload}.", f"{header}.{payload}", f"{head}.{payload}.AA"):
            with pytest.raises(InvalidToken):
                verify(token)


@pytest.mark.parametrize(
    "header",
    [
        {**HEADER, "alg": "ML-DSA-87"},
        {**HEADER, "alg": "EdDSA"},
        {**HEADER, "alg": None},
        {**HEADER, "typ": "JWT"},
        {**HEADER, "typ": "application/at+jwt"},
        {**HEADER, "crit": ["exp"]},
        {**HEADER, "crit": []},
        {**HEADER, "b64": False},
        {**HEADER, "jwk": to_jwk(KEYS["k1"])},
        {**HEADER, "jku": "https://evil.example/keys"},
        {**HEADER, "x5u": "https://evil.example/certificate"},
        {**HEADER, "x5c": []},
        {**HEADER, "cty": "JWT"},
        {**HEADER, "kid": 1},
        {"alg": "ML-DSA-65", "kid": "k1"},
        {"alg": "ML-DSA-65", "typ": "at+jwt"},
        {"kid": "k1", "typ": "at+jwt"},
        {},
        b'{"alg":"none","alg":"ML-DSA-65","kid":"k1","typ":"at+jwt"}',
        b'["ML-DSA-65"]',
        b"\xff",
    ],
)
def test_a_header_says_which_key_and_nothing_else(header: dict[str, object] | bytes) -> None:
    with pytest.raises(InvalidToken):
        verify(forged(header))


def test_the_algorithm_is_the_one_of_the_key_and_a_token_that_names_another_is_not_even_tried() -> None:
    for algorithm in ("ML-DSA-87", "HS256", "none"):
        with pytest.raises(InvalidToken, match="another algorithm than its key"):
            verify(forged({**HEADER, "alg": algorithm}))


def test_an_unknown_key_id_is_told_apart_so_that_the_keys_can_be_read_again() -> None:
    with pytest.raises(UnknownKeyId):
        verify(sign_token(KEY, "k2", CLAIMS))
    with pytest.raises(InvalidToken) as refused:
        verify(sign_token(SigningKey.generate("ML-DSA-65"), "k1", CLAIMS))
    assert not isinstance(refused.value, UnknownKeyId)


def test_a_token_of_a_key_of_another_size_is_refused() -> None:
    large = SigningKey.generate("ML-DSA-87")

    with pytest.raises(InvalidToken):
        verify(sign_token(large, "k1", CLAIMS))


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "https://evil.example"},
        {"iss": ["https://bank.example/identity"]},
        {"aud": "ledger"},
        {"aud": ["payments"]},
        {"aud": ["payments", "ledger"]},
        {"aud": ""},
        {"sub": ""},
        {"sub": 1},
        {"jti": None},
        {"exp": SECONDS},
        {"exp": SECONDS - 3},
        {"exp": SECONDS + 301},
        {"exp": float(SECONDS + 60)},
        {"exp": str(SECONDS + 60)},
        {"exp": True},
        {"iat": SECONDS + 3, "exp": SECONDS + 60},
        {"iat": SECONDS - 300, "exp": SECONDS + 60},
        {"iat": SECONDS - 60, "exp": SECONDS - 2},
        {"nbf": SECONDS + 3},
        {"nbf": "now"},
    ],
)
def test_a_token_with_other_claims_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(InvalidToken):
        verify(sign_token(KEY, "k1", {**CLAIMS, **changed}))


@pytest.mark.parametrize("name", ["iss", "aud", "sub", "iat", "exp", "jti"])
def test_a_token_that_lacks_a_claim_is_refused(name: str) -> None:
    with pytest.raises(InvalidToken, match=name):
        verify(sign_token(KEY, "k1", {claim: value for claim, value in CLAIMS.items() if claim != name}))


def test_a_payload_that_could_be_read_in_two_ways_is_refused() -> None:
    twice = json.dumps(CLAIMS).encode()[:-1] + b',"sub":"somebody else"}'

    for payload in (twice, b"[]", b"", b"\xff", b'"text"'):
        with pytest.raises(InvalidToken):
            verify(forged(HEADER, payload))


def test_a_token_lives_from_its_beginning_to_its_end_with_two_seconds_of_grace() -> None:
    for seconds in (-2, 0, 59, 61):
        assert verify(TOKEN, NOW + timedelta(seconds=seconds)) == CLAIMS
    for seconds in (-3, 62, 3600):
        with pytest.raises(InvalidToken):
            verify(TOKEN, NOW + timedelta(seconds=seconds))


def test_a_token_has_at_most_16384_characters() -> None:
    with pytest.raises(InvalidToken, match="16384"):
        verify(sign_token(KEY, "k1", {**CLAIMS, "note": "x" * 16_384}))


def test_tokens_are_not_signed_with_keys_for_other_things() -> None:
    for algorithm in ("MLDSA65-Ed25519-SHA512", "ML-DSA-44"):
        key = SigningKey.generate(algorithm)
        with pytest.raises(AlgorithmNotPermitted):
            sign_token(key, "k1", CLAIMS)
        with pytest.raises(AlgorithmNotPermitted):
            TokenKey("k1", algorithm, key.public_bytes)


@pytest.mark.parametrize(
    "changed",
    [
        {"kty": "oct"},
        {"use": "enc"},
        {"pub": "AAAA"},
        {"pub": "!"},
        {"pub": to_jwk(KEYS["k1"])["pub"] + "="},
        {"priv": encoded(KEY.seed)},
        {"d": "AA"},
        {"kid": 1},
    ],
)
def test_a_published_key_is_one_public_key_and_no_more(changed: dict[str, object]) -> None:
    jwk = to_jwk(KEYS["k1"])

    assert from_jwk(jwk).public_bytes == KEY.public_bytes
    with pytest.raises(InvalidKey):
        from_jwk({**jwk, **changed})


def test_a_published_key_never_holds_its_seed() -> None:
    assert set(to_jwk(KEYS["k1"])) == {"kty", "alg", "kid", "pub", "use"}
    assert encoded(KEY.seed) not in json.dumps(to_jwk(KEYS["k1"]))
