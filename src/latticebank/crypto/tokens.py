"""Internal tokens: JSON Web Tokens (RFC 7519) as access tokens (RFC 9068), signed with ML-DSA (RFC 9964).

The algorithm is the one of the key's record. A token only says which key it means; that its header repeats the algorithm
is checked, never followed. A token lives at most five minutes and is for exactly one audience.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from datetime import datetime

from jwcrypto.common import JWException  # type: ignore[import-untyped]
from jwcrypto.jwk import JWK  # type: ignore[import-untyped]
from jwcrypto.jws import JWS  # type: ignore[import-untyped]

from latticebank.crypto.errors import AlgorithmNotPermitted, InvalidKey, InvalidToken, UnknownKeyId
from latticebank.crypto.registry import ML_DSA_65, ML_DSA_87, signature_algorithm
from latticebank.crypto.signatures import SigningKey

TOKEN_ALGORITHMS = (ML_DSA_65, ML_DSA_87)
TOKEN_TYPE = "at+jwt"  # noqa: S105 - a media type
MAX_TOKEN = 16_384
MAX_LIFE_SECONDS = 300

_HEADER_MEMBERS = frozenset(("alg", "kid", "typ"))
_REQUIRED_CLAIMS = ("iss", "aud", "sub", "iat", "exp", "jti")
_JWK_MEMBERS = frozenset(("kty", "alg", "kid", "pub", "use"))


class TokenKey:
    """A public key that tokens are verified with, under its id; parsed once."""

    __slots__ = ("_jwk", "algorithm", "key_id", "public_bytes")

    def __init__(self, key_id: str, algorithm: str, public_bytes: bytes) -> None:
        """Take a raw public key.

        Raises:
            AlgorithmNotPermitted: tokens are not signed with this algorithm.
            InvalidKey: these bytes are no key of the algorithm.

        """
        _require_token_algorithm(algorithm)
        expected = signature_algorithm(algorithm).public_key_bytes
        if len(public_bytes) != expected:
            detail = f"a public key of {algorithm} has {expected} bytes, not {len(public_bytes)}"
            raise InvalidKey(detail, field="pub")
        self.key_id = key_id
        self.algorithm = algorithm
        self.public_bytes = bytes(public_bytes)
        self._jwk = JWK(**to_jwk(self))

    def verify(self, token: str) -> bytes:
        """Return the payload of a compact JWS that this key signed.

        Raises:
            InvalidToken: it did not.

        """
        jws = JWS()
        jws.allowed_algs = [self.algorithm]
        try:
            jws.deserialize(token)
            jws.verify(self._jwk)
        except JWException as error:
            raise InvalidToken("the token is not signed by the key that it names") from error
        payload = jws.payload
        assert isinstance(payload, bytes)
        return payload


def sign_token(key: SigningKey, key_id: str, claims: Mapping[str, object]) -> str:
    """Return the claims as a token, signed.

    Raises:
        AlgorithmNotPermitted: the key is not of ML-DSA-65 or ML-DSA-87.

    """
    _require_token_algorithm(key.algorithm)
    jwk = JWK(kty="AKP", alg=key.algorithm, pub=_base64url(key.public_bytes), priv=_base64url(key.seed))
    header = {"alg": key.algorithm, "kid": key_id, "typ": TOKEN_TYPE}
    jws = JWS(json.dumps(dict(claims), separators=(",", ":"), allow_nan=False).encode())
    jws.add_signature(jwk, protected=json.dumps(header, separators=(",", ":")))
    token = jws.serialize(compact=True)
    assert isinstance(token, str)
    return token


def verify_token(
    token: str,
    keys: Mapping[str, TokenKey],
    *,
    issuer: str,
    audience: str,
    now: datetime,
    leeway_seconds: int = 2,
) -> dict[str, object]:
    """Return the claims of a token that one of these keys signed, by this issuer, for this audience, valid at `now`.

    Raises:
        UnknownKeyId: it names a key that is not among these; a newer set may hold it.
        InvalidToken: it is anything else than such a token.

    """
    if len(token) > MAX_TOKEN or not token.isascii():
        raise InvalidToken(f"a token has at most {MAX_TOKEN} characters, all of them ASCII")
    key = _named_key(token, keys)
    claims = _strict_object(key.verify(token), "payload")
    if missing := [name for name in _REQUIRED_CLAIMS if name not in claims]:
        raise InvalidToken(f"the token lacks {', '.join(missing)}")
    if claims["iss"] != issuer:
        raise InvalidToken("the token is of another issuer")
    if claims["aud"] != audience:
        raise InvalidToken("the token is for another audience, or for several")
    for name in ("sub", "jti"):
        if not isinstance(claims[name], str) or not claims[name]:
            raise InvalidToken(f"{name} is not a text")
    _require_in_time(claims, now, leeway_seconds)
    return claims


def to_jwk(key: TokenKey) -> dict[str, str]:
    """Return a public key as a JSON Web Key (RFC 9964, 4), a member of a JWKS."""
    return {
        "kty": "AKP",
        "alg": key.algorithm,
        "kid": key.key_id,
        "pub": _base64url(key.public_bytes),
        "use": "sig",
    }


def from_jwk(jwk: Mapping[str, object]) -> TokenKey:
    """Return the key of a JSON Web Key.

    Raises:
        AlgorithmNotPermitted: tokens are not signed with its algorithm.
        InvalidKey: it is no public key for signatures, or says more than one does.

    """
    texts = {name: text for name, text in jwk.items() if isinstance(text, str)}
    if len(texts) != len(jwk) or not {"kty", "alg", "kid", "pub"} <= texts.keys() <= _JWK_MEMBERS:
        raise InvalidKey("a public key for tokens has the members kty, alg, kid and pub, and may have use")
    if texts["kty"] != "AKP" or texts.get("use", "sig") != "sig":
        raise InvalidKey("this is no key for signatures with ML-DSA", field="kty")
    try:
        public_bytes = _from_base64url(texts["pub"])
    except ValueError as error:
        raise InvalidKey("this is not base64url", field="pub") from error
    return TokenKey(texts["kid"], texts["alg"], public_bytes)


def _named_key(token: str, keys: Mapping[str, TokenKey]) -> TokenKey:
    parts = token.split(".")
    if len(parts) != 3:
        raise InvalidToken("a token has three parts")
    try:
        header, _, _ = (_from_base64url(part) for part in parts)
    except ValueError as error:
        raise InvalidToken("a part of the token is not base64url") from error
    return _key_of_header(_strict_object(header, "header"), keys)


def _key_of_header(header: Mapping[str, object], keys: Mapping[str, TokenKey]) -> TokenKey:
    # `crit`, `jwk`, `jku`, `x5u` and the like would let the token say how it is to be verified.
    if header.keys() != _HEADER_MEMBERS:
        raise InvalidToken("a header has alg, kid and typ, and nothing else")
    key_id = header["kid"]
    if header["typ"] != TOKEN_TYPE or not isinstance(key_id, str):
        raise InvalidToken(f"the type is not {TOKEN_TYPE}, or kid is not a text")
    key = keys.get(key_id)
    if key is None:
        raise UnknownKeyId(f"no key {key_id[:80]!a} is known")
    if header["alg"] != key.algorithm:
        raise InvalidToken("the token names another algorithm than its key has")
    return key


def _require_in_time(claims: Mapping[str, object], now: datetime, leeway: int) -> None:
    issued, expires = _instant(claims, "iat"), _instant(claims, "exp")
    not_before = _instant(claims, "nbf") if "nbf" in claims else issued
    present = now.timestamp()
    if not 0 < expires - issued <= MAX_LIFE_SECONDS:
        raise InvalidToken(f"a token lives at most {MAX_LIFE_SECONDS} seconds")
    if max(issued, not_before) > present + leeway:
        raise InvalidToken("the token is from the future")
    if expires <= present - leeway:
        raise InvalidToken("the token has expired")


def _instant(claims: Mapping[str, object], name: str) -> int:
    value = claims[name]
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidToken(f"{name} is not in whole seconds")
    return value


def _strict_object(encoded: bytes, what: str) -> dict[str, object]:
    def members(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise InvalidToken(f"the {what} of the token has a name twice")
        return found

    try:
        value = json.loads(encoded.decode(), object_pairs_hook=members)
    except (ValueError, RecursionError) as error:
        raise InvalidToken(f"the {what} of the token is not JSON") from error
    if not isinstance(value, dict):
        raise InvalidToken(f"the {what} of the token is not an object")
    return value


def _require_token_algorithm(algorithm: str) -> None:
    if algorithm not in TOKEN_ALGORITHMS:
        raise AlgorithmNotPermitted(
            f"tokens are not signed with {algorithm[:80]!a}", field="alg", hint=f"one of: {', '.join(TOKEN_ALGORITHMS)}"
        )


def _base64url(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def _from_base64url(text: str) -> bytes:
    """Decode the one base64url form without padding (RFC 7515, 2); ValueError for every other."""
    value = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if _base64url(value) != text:
        raise ValueError("this is not base64url")
    return value
