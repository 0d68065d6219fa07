"""Callers of many kinds, each with a token of its own: what `identity` tells apart by the tokens that it issues."""

import base64
import secrets
from hashlib import sha256

from latticebank.kernel.authentication import CredentialAuthenticator, KnownCredential
from latticebank.kernel.caller import OPERATOR, Caller, CallerKind, Credential, service_caller
from latticebank.kernel.credential_file import SERVICE_PREFIX

PAYMENTS = service_caller("payments")
IDENTITY = service_caller("identity")
FRAUD = service_caller("fraud")
"""A service that has no business in the ledger."""


def user(number: int, *roles: str) -> Caller:
    """The user of this number; a customer without other roles."""
    identifier = f"00000000-0000-4000-8000-{number:012d}"
    return Caller(CallerKind.USER, identifier, roles or ("customer",), (f"user:{identifier}",))


ADA, BOB = user(1), user(2)
NOBODY = Caller(CallerKind.USER, user(3).id, ("customer",))
"""A customer whom the ledger knows under no reference."""
TELLER, MANAGER, AUDITOR, ADMIN = user(4, "teller"), user(5, "manager"), user(6, "auditor"), user(7, "admin")
CALLERS = (OPERATOR, PAYMENTS, IDENTITY, FRAUD, ADA, BOB, NOBODY, TELLER, MANAGER, AUDITOR, ADMIN)


class Callers(CredentialAuthenticator):
    """Knows each of `CALLERS` by a random token."""

    def __init__(self) -> None:
        self._tokens = {caller: _token() for caller in CALLERS}
        super().__init__(KnownCredential(_digest(token), caller) for caller, token in self._tokens.items())

    def header(self, caller: Caller) -> str:
        """The Authorization header field of a caller."""
        return f"Bearer {self._tokens[caller]}"

    def credential(self, caller: Caller) -> Credential:
        """What gives the header field of a caller."""

        async def credential() -> str:
            return self.header(caller)

        return credential


def _token() -> str:
    return SERVICE_PREFIX + base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()


def _digest(token: str) -> bytes:
    return sha256(token.encode()).digest()
