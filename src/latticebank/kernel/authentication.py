"""Who presents a long-lived credential of `credential_file`."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from latticebank.kernel.caller import ANONYMOUS, OPERATOR, Caller, CredentialRefused, service_caller
from latticebank.kernel.credential_file import is_token, operator_token_digest, service_token_digest

_REFUSALS_AT_ONCE = 50.0
_REFUSALS_PER_SECOND = 5.0

TOKEN_ISSUER = "identity"  # noqa: S105 - the name of a service
KEY_KEEPER = "keys"


@dataclass(frozen=True, slots=True)
class KnownCredential:
    """A credential by its SHA-256, whose it is, and where it counts; everywhere if `audiences` is None."""

    digest: bytes
    caller: Caller
    audiences: frozenset[str] | None = None


def own_audiences(service: str) -> frozenset[str]:
    """Return where a service presents its own credential; everywhere else it carries a token that identity issued.

    Identity cannot issue itself the token with which it fetches its signing key.
    """
    return frozenset({TOKEN_ISSUER, KEY_KEEPER} if service == TOKEN_ISSUER else {TOKEN_ISSUER})


def credentials_in(folder: Path, services: Iterable[str]) -> list[KnownCredential]:
    """Return the operator's credential in a data folder and those of these services, making what is missing.

    Raises:
        UnsafeCredentialFile: a file is open to others.

    """
    return [
        KnownCredential(operator_token_digest(folder), OPERATOR),
        *(
            KnownCredential(service_token_digest(folder, name), service_caller(name), own_audiences(name))
            for name in services
        ),
    ]


class CredentialAuthenticator:
    """Knows callers by tokens of which it keeps only the SHA-256.

    `refused` is told of every refused credential. A bucket tells when refusals come too fast, and never stands in the
    way of a right token; `monotonic` gives its time in seconds.
    """

    def __init__(
        self,
        known: Iterable[KnownCredential],
        refused: Callable[[], None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._known = {each.digest: each for each in known}
        self._refused = refused
        self._monotonic = monotonic
        self._allowance = _REFUSALS_AT_ONCE
        self._measured_at = monotonic()

    async def authenticate(self, authorization: str | None, audience: str) -> Caller:
        """Return whose token this is at this audience, anonymous for no header field at all."""
        if authorization is None:
            return ANONYMOUS
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() == "bearer" and is_token(token):
            # Looking up a digest of 32 random bytes tells nothing by its time.
            known = self._known.get(sha256(token.encode("ascii")).digest())
            if known is not None and (known.audiences is None or audience in known.audiences):
                return known.caller
        raise self.refusal()

    def refusal(self) -> CredentialRefused:
        """Return the error for a refused credential, counted; slow if they come faster than an honest caller errs."""
        self._refused()
        return CredentialRefused(slow=self._faster_than_honest())

    def _faster_than_honest(self) -> bool:
        now = self._monotonic()
        earned = (now - self._measured_at) * _REFUSALS_PER_SECOND
        self._measured_at = now
        self._allowance = min(_REFUSALS_AT_ONCE, self._allowance + earned)
        if self._allowance < 1:
            return True
        self._allowance -= 1
        return False
