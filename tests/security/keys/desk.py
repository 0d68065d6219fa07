"""Where services, users and the operator ask keys, each with a credential of their own; and what they ask for."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import UUID

from latticebank.bank import Bank, compose, open_context
from latticebank.kernel.caller import Caller
from latticebank.kernel.settings import Settings
from latticebank.kernel.transports import Request, Response
from latticebank.security.keys.api import SERVICE
from latticebank.security.keys.client import KeysClient
from latticebank.security.keys.service.keyring import Keyring
from latticebank.security.keys.wire import CustomerKeyRequest, KindWord, OwnKeyRequest
from latticebank.values.clock import Clock
from tests.banking.ledger.callers import ADA, BOB, Callers

ADA_ID, BOB_ID = ADA.user, BOB.user
TOKEN_SIGNING = OwnKeyRequest("token-signing", "ML-DSA-65")
EMAIL_INDEX = OwnKeyRequest("blind-index/email", "HMAC-SHA256")
SEALING = OwnKeyRequest("messages", "MLKEM768-X25519/HKDF-SHA256/AES-256-GCM")


class KeysDesk:
    """The routes of keys as different callers see them."""

    def __init__(self, bank: Bank, callers: Callers) -> None:
        self.bank = bank
        self._callers = callers

    def of(self, caller: Caller) -> KeysClient:
        """The client of a caller."""
        return KeysClient(self.bank.context.transport("keys"), self._callers.credential(caller))

    async def ask(self, caller: Caller | None, method: str, path: str, body: bytes = b"") -> Response:
        """Send one request as a caller, or as nobody known."""
        headers = {"content-type": "application/json"} if body else {}
        if caller is not None:
            headers["authorization"] = self._callers.header(caller)
        return await self.bank.context.transport("keys").send(Request(method, path, headers, body))


@asynccontextmanager
async def open_keys(settings: Settings, url: str, clock: Clock) -> AsyncIterator[KeysDesk]:
    """Run a bank of keys alone on this database."""
    async with open_context(settings, {"keys": url}, clock=clock) as context:
        callers = Callers()
        bank = compose(["keys"], replace(context, authenticator=callers), services={"keys": SERVICE})
        async with bank.running():
            yield KeysDesk(bank, callers)


def wanted(owner: UUID, kind: KindWord = "profile", version: int | None = None) -> CustomerKeyRequest:
    """A customer's key, to be opened."""
    return CustomerKeyRequest(owner, kind, version)


async def opened(keyring: Keyring, *requests: CustomerKeyRequest) -> list[bytes]:
    """The secrets that these requests open."""
    return [secret.value for _, _, secret in await keyring.open_customer_keys(requests)]


def decoded(text: str) -> bytes:
    """The bytes of base64url without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
