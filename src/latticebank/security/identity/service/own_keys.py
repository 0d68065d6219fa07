"""The keys of identity itself: it signs tokens with one, and finds addresses again by another."""

from dataclasses import dataclass

import msgspec

from latticebank.crypto.blind_index import blind_index
from latticebank.crypto.registry import ML_DSA_65
from latticebank.crypto.signatures import SigningKey
from latticebank.crypto.tokens import TokenKey
from latticebank.documents.document import from_base64url
from latticebank.kernel.transports import ServiceUnavailable
from latticebank.security.identity.model.people import fold_email
from latticebank.security.keys.client import KeysClient
from latticebank.security.keys.wire import OwnKey, OwnKeyRequest

TOKEN_SIGNING = "token-signing"  # noqa: S105 - the purpose of a key
BLIND_INDEX = "blind-index/email"


@dataclass(frozen=True, slots=True, repr=False)
class _Loaded:
    signing: SigningKey
    signing_id: str
    public: list[TokenKey]
    index_keys: list[bytes]


class OwnKeys:
    """The own keys of identity; until keys has given them, nothing that needs one can be done."""

    def __init__(self, keys: KeysClient) -> None:
        self._keys = keys
        self._loaded: _Loaded | None = None

    async def load(self) -> None:
        """Fetch the keys; they are made at the first request of the first start.

        Raises:
            RemoteProblem, ServiceUnavailable: keys does not give them.

        """
        wanted = [OwnKeyRequest(TOKEN_SIGNING, ML_DSA_65), OwnKeyRequest(BLIND_INDEX, "HMAC-SHA256")]
        given = await self._keys.own_keys(wanted)
        signing = [key for key in given if key.purpose == TOKEN_SIGNING]
        index = [key for key in given if key.purpose == BLIND_INDEX]
        if not signing or not index or signing[0].state != "active" or index[0].state != "active":
            raise ServiceUnavailable("keys gave identity no active keys of its own")
        self._loaded = _Loaded(
            SigningKey.from_seed(signing[0].algorithm, _secret(signing[0])),
            str(signing[0].id),
            [TokenKey(str(key.id), key.algorithm, from_base64url(key.public, "public")) for key in signing],
            [_secret(key) for key in index],
        )

    async def check(self) -> None:
        """Tell the health of the bank whether the keys are there.

        Raises:
            ServiceUnavailable: they are not.

        """
        self._there()

    @property
    def is_loaded(self) -> bool:
        """Whether the keys are there."""
        return self._loaded is not None

    @property
    def signing(self) -> tuple[SigningKey, str]:
        """The key that signs tokens now, and its id."""
        loaded = self._there()
        return loaded.signing, loaded.signing_id

    @property
    def public(self) -> list[TokenKey]:
        """The public keys that tokens may still be signed with, the present one first."""
        return self._there().public

    def email_indexes(self, email: str) -> list[bytes]:
        """Return the blind indexes under which an address may be found, the one to store first.

        Raises:
            InvalidValue: it is no e-mail address.

        """
        folded = fold_email(email)
        return [blind_index(key, "email", folded) for key in self._there().index_keys]

    def request_macs(self, parts: list[str]) -> list[bytes]:
        """Return what tells the repetition of a registration from another one, the one to store first."""
        text = msgspec.json.encode(parts).decode()
        return [blind_index(key, "registration", text) for key in self._there().index_keys]

    def _there(self) -> _Loaded:
        if self._loaded is None:
            raise ServiceUnavailable("identity has not got its keys yet", hint="try again in a moment")
        return self._loaded


def _secret(key: OwnKey) -> bytes:
    return from_base64url(key.secret, "secret")
