"""How the other services call identity."""

from collections.abc import Sequence
from uuid import UUID

from latticebank.kernel.client import ServiceClient
from latticebank.kernel.tokens import IssuedToken
from latticebank.security.identity.wire import (
    Check,
    DeviceRecord,
    DeviceRecords,
    DevicesWanted,
    Exchanged,
    ExchangeOrder,
    Standing,
    StandingAnswer,
    StandingChecks,
    TokenAnswer,
    TokenKeys,
    TokenOrder,
    UserRecords,
    UsersWanted,
)
from latticebank.values.ids import derived_id

_INTERNAL = "/internal/identity"


class IdentityClient(ServiceClient):
    """A typed client of identity, and the `TokenIssuer` of the kernel.

    All calls are safe to repeat, and are repeated while identity is not available. Lists are of 1 to 8,192.
    """

    async def token_keys(self) -> list[dict[str, str]]:
        """Return the public keys of tokens as JWKs (RFC 7517, RFC 9964)."""
        return (await self.call("GET", f"{_INTERNAL}/keys", TokenKeys)).keys

    async def service_token(self, audience: str) -> IssuedToken:
        """Return a token with which the calling service speaks in its own name to this audience."""
        name = derived_id("service-token", audience)
        answer = await self.call(
            "POST", f"{_INTERNAL}/tokens", TokenAnswer, body=TokenOrder(audience), idempotency_key=name
        )
        return IssuedToken(answer.token, answer.expires_in)

    async def exchange(self, token: str, audience: str) -> Exchanged:
        """Return a token of the user of a session for this audience; the session is kept awake by it.

        Raises:
            RemoteProblem: with the code `session-ended` if the session is over or never was.

        """
        body = ExchangeOrder(token, audience)
        name = derived_id("exchange", audience)
        return await self.call("POST", f"{_INTERNAL}/exchange", Exchanged, body=body, idempotency_key=name)

    async def standing(self, checks: Sequence[Check]) -> list[Standing]:
        """Return whether each session, user and device counts now, in their order; nothing is changed by it."""
        body = StandingChecks(list(checks))
        path = f"{_INTERNAL}/standing"
        return (await self.call("POST", path, StandingAnswer, body=body, idempotency_key=checks[0][0])).standings

    async def devices(self, devices: Sequence[UUID]) -> list[DeviceRecord]:
        """Return those of these devices that exist, in their order."""
        body = DevicesWanted(list(devices))
        path = f"{_INTERNAL}/devices"
        return (await self.call("POST", path, DeviceRecords, body=body, idempotency_key=devices[0])).devices

    async def evidence(self, users: Sequence[UUID]) -> UserRecords:
        """Return what proves the rights and devices of those of these users who exist; at most 500, and perhaps none."""
        body, name = UsersWanted(list(users)), derived_id("evidence", "users")
        return await self.call("POST", f"{_INTERNAL}/evidence", UserRecords, body=body, idempotency_key=name)
