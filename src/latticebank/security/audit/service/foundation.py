"""What every use case of audit stands on."""

from dataclasses import dataclass, field
from datetime import datetime

from latticebank.kernel.bus import PostgresEventBus
from latticebank.kernel.database import Database
from latticebank.kernel.kept_apart import KeptApart
from latticebank.kernel.records_keys import RecordsKeys
from latticebank.kernel.service import Context
from latticebank.kernel.settings import BUS
from latticebank.security.audit.service.metrics import LogMetrics
from latticebank.security.audit.service.own_keys import OwnKeys
from latticebank.security.identity.client import IdentityClient
from latticebank.security.keys.client import KeysClient
from latticebank.values.clock import Clock
from latticebank.values.ids import Uuid7Source

NAME = "audit"
PUBLISHED = "log-published"
"""The name under which `kept_apart` remembers what was published."""


@dataclass(frozen=True)
class Foundation:
    """The database of audit, the bus, the keys; `bank` is the name of the bank in records and in the log's origin."""

    database: Database
    bus: PostgresEventBus
    book: int
    bank: str
    clock: Clock
    ids: Uuid7Source
    identity: IdentityClient = field(repr=False)
    own_keys: OwnKeys = field(repr=False)
    records: RecordsKeys = field(repr=False)
    kept: KeptApart = field(repr=False)
    metrics: LogMetrics = field(repr=False)

    @classmethod
    def of(cls, context: Context) -> "Foundation":
        """Return the foundation for what a service is given."""
        settings = context.settings
        keys = KeysClient(context.transport("keys"), context.credential(NAME, "keys"))
        return cls(
            context.database(NAME),
            PostgresEventBus(context.database(BUS)),
            settings.book,
            settings.bank,
            context.clock,
            context.ids,
            IdentityClient(context.transport("identity"), context.credential(NAME, "identity")),
            OwnKeys(keys),
            RecordsKeys(keys.records_keys),
            KeptApart(settings.kept_folders, PUBLISHED),
            LogMetrics(context.metrics.registry),
        )

    def now(self) -> datetime:
        """Return the present instant."""
        return self.clock.now()
