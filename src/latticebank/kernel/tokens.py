"""Internal tokens: how a service knows a caller by one, and how it gets its own.

They are JWTs of 60 seconds for one audience, signed by identity with ML-DSA-65 (RFC 9964). Checking one costs 0.2 ms
and getting one 1 ms and a call, so both are remembered: by the token's hash, and by audience.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol
from uuid import UUID

import msgspec

from latticebank.crypto.errors import InvalidToken, UnknownKeyId
from latticebank.crypto.tokens import TokenKey, from_jwk, verify_token
from latticebank.kernel.authentication import CredentialAuthenticator
from latticebank.kernel.caller import Caller, CallerKind, Credential, service_caller
from latticebank.values.clock import Clock

TOKEN_SECONDS = 60
_RENEWED_SECONDS_BEFORE_END = 15.0
_KEYS_ASKED_AGAIN_SECONDS = 5.0
_REMEMBERED = 50_000
_USER = "user:"
_SERVICE = "service:"


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token and how long it is good for from now, in seconds."""

    token: str
    expires_in: float


class TokenIssuer(Protocol):
    """Identity, as the kernel needs it."""

    async def token_keys(self) -> list[dict[str, str]]:
        """Return the public keys of tokens as JWKs (RFC 7517, RFC 9964)."""
        ...

    async def service_token(self, audience: str) -> IssuedToken:
        """Return a token with which the calling service speaks in its own name to this audience."""
        ...


class Claims(msgspec.Struct, frozen=True):
    """What a token says besides what `verify_token` has checked; `sub` is `user:<uuid>` or `service:<name>`."""

    sub: str
    exp: int
    roles: list[str] = []
    parties: list[str] = []
    sid: UUID | None = None
    act: dict[str, str] = {}


class TokenAuthenticator:
    """Knows callers by internal tokens, and leaves every other credential to `credentials`."""

    def __init__(self, credentials: CredentialAuthenticator, issuer: TokenIssuer, bank: str, clock: Clock) -> None:
        self._credentials = credentials
        self._issuer = issuer
        self._bank = bank
        self._clock = clock
        self._keys: Mapping[str, TokenKey] = {}
        self._asked_at = -_KEYS_ASKED_AGAIN_SECONDS
        self._asking = asyncio.Lock()
        self._callers: dict[bytes, tuple[Caller, int]] = {}

    async def authenticate(self, authorization: str | None, audience: str) -> Caller:
        """Return who presents this token to this audience.

        Raises:
            CredentialRefused: it is forged, expired, for another audience, or no credential of the bank.

        """
        token = authorization[7:] if authorization is not None and authorization[:7].lower() == "bearer " else ""
        if token.count(".") != 2:
            return await self._credentials.authenticate(authorization, audience)
        digest = sha256(f"{audience} {token}".encode("utf-8", "surrogateescape")).digest()
        known = self._callers.get(digest)
        if known is not None and known[1] > self._clock.now().timestamp():
            return known[0]
        try:
            claims = msgspec.convert(await self._claims(token, audience), Claims, strict=True)
            caller = _caller(claims)
        except (InvalidToken, msgspec.ValidationError, ValueError):
            raise self._credentials.refusal() from None
        if len(self._callers) >= _REMEMBERED:
            self._callers.clear()
        self._callers[digest] = (caller, claims.exp)
        return caller

    async def _claims(self, token: str, audience: str) -> Mapping[str, object]:
        try:
            return self._verified(token, audience)
        except UnknownKeyId:
            await self._refresh_keys()
            return self._verified(token, audience)

    def _verified(self, token: str, audience: str) -> Mapping[str, object]:
        return verify_token(token, self._keys, issuer=self._bank, audience=audience, now=self._clock.now())

    async def _refresh_keys(self) -> None:
        """Ask identity for its keys, at most every few seconds whatever unknown key ids are thrown at the bank."""
        async with self._asking:
            if time.monotonic() - self._asked_at < _KEYS_ASKED_AGAIN_SECONDS:
                return
            keys = [from_jwk(jwk) for jwk in await self._issuer.token_keys()]
            self._keys = {key.key_id: key for key in keys}
            self._asked_at = time.monotonic()


def _caller(claims: Claims) -> Caller:
    act = claims.act.get("sub")
    if claims.sub.startswith(_SERVICE):
        return service_caller(claims.sub.removeprefix(_SERVICE))
    user = str(UUID(claims.sub.removeprefix(_USER)))
    if f"{_USER}{user}" != claims.sub or claims.sid is None:
        raise ValueError("neither a user in a session nor a service")
    return Caller(CallerKind.USER, user, tuple(claims.roles), tuple(claims.parties), claims.sid, act)


class ServiceTokens:
    """The credentials with which one service calls the others: its tokens, renewed before they end."""

    def __init__(self, issuer: TokenIssuer, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._issuer = issuer
        self._monotonic = monotonic
        self._issued: dict[str, tuple[str, float]] = {}
        self._asking = asyncio.Lock()

    def for_audience(self, audience: str) -> Credential:
        """Return what gives the Authorization header field for calls to this service."""

        async def credential() -> str:
            return f"Bearer {await self._token(audience)}"

        return credential

    async def _token(self, audience: str) -> str:
        if (token := self._current(audience)) is not None:
            return token
        async with self._asking:
            if (token := self._current(audience)) is not None:
                return token
            issued = await self._issuer.service_token(audience)
            good_until = self._monotonic() + issued.expires_in - _RENEWED_SECONDS_BEFORE_END
            self._issued[audience] = (issued.token, good_until)
            return issued.token

    def _current(self, audience: str) -> str | None:
        token, good_until = self._issued.get(audience, ("", 0.0))
        return token if self._monotonic() < good_until else None
