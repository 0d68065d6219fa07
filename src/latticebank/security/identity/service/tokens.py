"""Internal tokens: for services in their own name, and for users in exchange for the token of their session."""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from latticebank.crypto.tokens import sign_token, to_jwk
from latticebank.kernel.tokens import TOKEN_SECONDS
from latticebank.security.identity.model.rights import is_verified, parties_of, roles_of
from latticebank.security.identity.model.sessions import SessionEnded
from latticebank.security.identity.model.standing import Verdict, verdict
from latticebank.security.identity.service.foundation import Foundation
from latticebank.security.identity.service.sessions import token_hash
from latticebank.security.identity.store import sessions
from latticebank.security.identity.store.sessions import Seen
from latticebank.security.identity.wire import Check, Exchanged, Standing, TokenAnswer

REUSED_SECONDS = 45
"""How long a signed token is given out again to the same session."""
REMEMBERED = 5_000
_SESSION_TOKEN = re.compile(r"lbs_[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True, repr=False)
class _Signed:
    token: str
    epoch: int
    key_id: str
    issued_at: datetime


class Tokens:
    """Issues tokens, and tells payments what it may rely on. A token for a user names `exchanger` as its actor."""

    def __init__(self, foundation: Foundation, exchanger: str) -> None:
        self._base = foundation
        self._exchanger = exchanger
        self._signed: OrderedDict[tuple[UUID, str], _Signed] = OrderedDict()

    def keys(self) -> list[dict[str, str]]:
        """Return the public keys of tokens as JWKs."""
        return [to_jwk(key) for key in self._base.own_keys.public]

    async def for_service(self, service: str, audience: str) -> TokenAnswer:
        """Return a token with which a service speaks in its own name."""
        signed = await self._sign({"sub": f"service:{service}", "aud": audience}, epoch=0)
        return TokenAnswer(signed.token, TOKEN_SECONDS)

    async def exchange(self, token: str, audience: str) -> Exchanged:
        """Return a token of the user of a session, and keep the session awake.

        Raises:
            SessionEnded: it is over, or never was.

        """
        if not _SESSION_TOKEN.fullmatch(token):
            raise SessionEnded
        base, now = self._base, self._base.now()
        async with base.database.begin() as unit:
            seen = await sessions.touch(unit.connection, base.book, token_hash(token), now)
        if seen is None:
            raise SessionEnded
        signed = self._remembered(seen, audience, now) or await self._for_user(seen, audience)
        left = TOKEN_SECONDS - int((now - signed.issued_at).total_seconds())
        return Exchanged(signed.token, left, seen.session, seen.user)

    async def standings(self, checks: list[Check]) -> list[Standing]:
        """Return whether sessions, users and devices count at this instant; nothing is changed by it."""
        base, now = self._base, self._base.now()
        answers = []
        found = await sessions.standings(base.database, base.book, checks) if checks else []
        for (_, user, _), (session, known, device) in zip(checks, found, strict=True):
            said = verdict(user, session, known, device, now)
            answers.append(_standing(user, said, known[1] if known is not None and said is Verdict.GOOD else None))
        return answers

    def _remembered(self, seen: Seen, audience: str, now: datetime) -> _Signed | None:
        signed = self._signed.get((seen.session, audience))
        if signed is None or signed.epoch != seen.epoch or signed.key_id != self._base.own_keys.signing[1]:
            return None
        age = (now - signed.issued_at).total_seconds()
        return signed if 0 <= age < REUSED_SECONDS else None

    async def _for_user(self, seen: Seen, audience: str) -> _Signed:
        claims = {
            "sub": f"user:{seen.user}",
            "aud": audience,
            "sid": str(seen.session),
            "roles": roles_of(seen.rights),
            "parties": parties_of(seen.user, seen.rights),
            "act": {"sub": self._exchanger},
        }
        signed = await self._sign(claims, epoch=seen.epoch)
        self._signed[(seen.session, audience)] = signed
        self._signed.move_to_end((seen.session, audience))
        while len(self._signed) > REMEMBERED:
            self._signed.popitem(last=False)
        return signed

    async def _sign(self, claims: Mapping[str, object], *, epoch: int) -> _Signed:
        """Sign a token; it takes a millisecond, in a thread."""
        base, now = self._base, self._base.now()
        key, key_id = base.own_keys.signing
        issued = int(now.timestamp())
        times = {"iss": base.bank, "iat": issued, "exp": issued + TOKEN_SECONDS, "jti": str(base.ids())}
        token = await asyncio.to_thread(sign_token, key, key_id, {**claims, **times})
        return _Signed(token, epoch, key_id, now)


def _standing(user: UUID, found: Verdict, rights: Collection[str] | None) -> Standing:
    if rights is None:
        return Standing(user, found.value, verified=False, parties=[], roles=[])
    return Standing(user, found.value, is_verified(rights), parties_of(user, rights), list(roles_of(rights)))
