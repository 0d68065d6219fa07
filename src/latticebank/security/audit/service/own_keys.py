"""The keys of audit itself: the log's, and the one that seals what has no owner whose key could."""

from dataclasses import dataclass
from uuid import UUID

from latticebank.crypto.checkpoints import LogKey
from latticebank.crypto.envelope import FieldKey, sealed_under
from latticebank.crypto.registry import DEFAULT_FIELD_CIPHER, LOG_KEY
from latticebank.documents.document import from_base64url
from latticebank.kernel.transports import ServiceUnavailable
from latticebank.security.keys.client import KeysClient
from latticebank.security.keys.wire import OwnKey, OwnKeyRequest

LOG_SIGNING = "log-signing"
OPENINGS = "openings"


@dataclass(frozen=True, slots=True, repr=False)
class _Loaded:
    log: LogKey
    sealing: FieldKey
    opening: dict[UUID, FieldKey]


class OwnKeys:
    """The own keys of audit; until keys has given them, nothing is appended and nothing signed."""

    def __init__(self, keys: KeysClient) -> None:
        self._keys = keys
        self._loaded: _Loaded | None = None

    async def load(self) -> None:
        """Fetch the keys; they are made at the first request of the first start.

        Raises:
            RemoteProblem, ServiceUnavailable: keys does not give them.

        """
        given = await self._keys.own_keys(
            [OwnKeyRequest(LOG_SIGNING, LOG_KEY), OwnKeyRequest(OPENINGS, DEFAULT_FIELD_CIPHER)]
        )
        log = [key for key in given if key.purpose == LOG_SIGNING and key.state == "active"]
        openings = [_field_key(key) for key in given if key.purpose == OPENINGS]
        active = [key.id for key in given if key.purpose == OPENINGS and key.state == "active"]
        if len(log) != 1 or len(active) != 1:
            raise ServiceUnavailable("keys gave audit no active keys of its own")
        by_id = {key.key_id: key for key in openings}
        self._loaded = _Loaded(LogKey.from_seed(_secret(log[0])), by_id[active[0]], by_id)

    @property
    def is_loaded(self) -> bool:
        """Whether the keys are there."""
        return self._loaded is not None

    @property
    def log(self) -> LogKey:
        """The keys that sign checkpoints."""
        return self._there().log

    @property
    def sealing(self) -> FieldKey:
        """The key that seals what has no owner."""
        return self._there().sealing

    def opening(self, sealed: bytes) -> FieldKey | None:
        """Return the key of audit that a value was sealed under; None if it is none of audit's."""
        key_id, _ = sealed_under(sealed)
        return self._there().opening.get(key_id)

    def _there(self) -> _Loaded:
        if self._loaded is None:
            raise ServiceUnavailable("audit has not got its keys yet", hint="try again in a moment")
        return self._loaded


def _field_key(key: OwnKey) -> FieldKey:
    return FieldKey(key.id, key.version, _secret(key))


def _secret(key: OwnKey) -> bytes:
    return from_base64url(key.secret, "secret")
