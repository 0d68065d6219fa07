"""What every use case of payments stands on: its database, its neighbours, and what they said."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from msgspec import Struct

from latticebank.banking.ledger.client import LedgerClient
from latticebank.banking.ledger.wire import AccountFacts
from latticebank.banking.payments.model.limits import Limits
from latticebank.banking.payments.model.payments import shard_of_signer
from latticebank.banking.payments.service.metrics import PaymentMetrics
from latticebank.crypto.signatures import VerifyingKey
from latticebank.documents.document import from_base64url
from latticebank.kernel.database import Database
from latticebank.kernel.records_keys import RecordsKeys
from latticebank.kernel.remembered import Remembered
from latticebank.kernel.service import Context
from latticebank.security.identity.client import IdentityClient
from latticebank.security.keys.client import KeysClient
from latticebank.values.account_number import format_account_number
from latticebank.values.clock import Clock
from latticebank.values.errors import BankError
from latticebank.values.ids import Uuid7Source

_DEVICES = 50_000
_DEVICE_SECONDS = 3_600.0
_ACCOUNTS = 100_000
_ACCOUNT_SECONDS = 60.0
_ASKED_AT_ONCE = 1_000
_LEDGER_SECONDS = 10.0
"""How long a group waits for the ledger before its customers are told that the bank goes on."""
CLAIM = timedelta(seconds=15)
"""For how long whoever accepted or claimed work is left alone with it."""


class KnownDevice(Struct, frozen=True):
    """What never changes of a device: whose it is, and its key. Whether it counts now, its standing says."""

    user: UUID
    key: VerifyingKey


class KnownAccount(Struct, frozen=True):
    """What is fixed of an account, and who may act for it."""

    kind: str
    currency: str
    parties: frozenset[str]


@dataclass(frozen=True)
class Foundation:
    """The database of payments, the neighbours, and what they said lately; `bank` is the bank's name in documents."""

    database: Database
    book: int
    shards: int
    bank: str
    limits: Limits
    clock: Clock
    ids: Uuid7Source
    ledger: LedgerClient = field(repr=False)
    identity: IdentityClient = field(repr=False)
    records: RecordsKeys = field(repr=False)
    devices: Remembered[UUID, KnownDevice] = field(repr=False)
    accounts: Remembered[int, KnownAccount] = field(repr=False)
    metrics: PaymentMetrics = field(repr=False)

    @classmethod
    def of(cls, context: Context) -> "Foundation":
        """Return the foundation for what a service is given."""
        settings = context.settings
        ledger = LedgerClient(
            context.transport("ledger"), context.credential("payments", "ledger"), timeout=_LEDGER_SECONDS
        )
        identity = IdentityClient(context.transport("identity"), context.credential("payments", "identity"))
        keys = KeysClient(context.transport("keys"), context.credential("payments", "keys"))
        limits = Limits(
            payment=int(settings.payment_limit),
            daily=int(settings.daily_limit),
            unverified_payment=int(settings.unverified_payment_limit),
            unverified_daily=int(settings.unverified_daily_limit),
            approval_from=int(settings.approval_from),
            high_value_from=int(settings.high_value_from),
            high_value_count=settings.high_value_count,
            approval=timedelta(hours=settings.approval_hours),
        )
        return cls(
            context.database("payments"),
            settings.book,
            settings.shards,
            settings.bank,
            limits,
            context.clock,
            context.ids,
            ledger,
            identity,
            RecordsKeys(keys.records_keys),
            devices_of(identity),
            accounts_of(ledger),
            PaymentMetrics(context.metrics.registry),
        )

    def now(self) -> datetime:
        """Return the present instant."""
        return self.clock.now()

    def shard_of(self, signer: UUID) -> int:
        """Return the shard that keeps what a user signed."""
        return shard_of_signer(signer, self.shards)

    @property
    def all_shards(self) -> range:
        """The shards that this bank has."""
        return range(self.shards)

    async def aclose(self) -> None:
        """Stop asking the neighbours."""
        async with AsyncExitStack() as closing:
            for remembered in (self.devices, self.accounts, self.records):
                closing.push_async_callback(remembered.aclose)


def devices_of(identity: IdentityClient) -> Remembered[UUID, KnownDevice]:
    """Return the devices that identity knows."""

    async def load(devices: list[UUID]) -> Mapping[UUID, KnownDevice]:
        found: dict[UUID, KnownDevice] = {}
        for record in await identity.devices(devices):
            try:
                key = VerifyingKey(record.algorithm, from_base64url(record.public_key, "public_key"))
            except BankError as error:  # a broken record is that of no device, and must not stop the others
                structlog.get_logger().error("a device has no key", device=str(record.device), reason=str(error))
                continue
            found[record.device] = KnownDevice(record.user, key)
        return found

    return Remembered(load, at_most=_DEVICES, seconds=_DEVICE_SECONDS, at_once=_ASKED_AT_ONCE)


def accounts_of(ledger: LedgerClient) -> Remembered[int, KnownAccount]:
    """Return the accounts that the ledger knows."""

    async def load(numbers: list[int]) -> Mapping[int, KnownAccount]:
        facts = await ledger.known_accounts([format_account_number(number) for number in numbers])
        return {int(each.account): _known(each) for each in facts}

    return Remembered(load, at_most=_ACCOUNTS, seconds=_ACCOUNT_SECONDS, at_once=_ASKED_AT_ONCE)


def _known(facts: AccountFacts) -> KnownAccount:
    return KnownAccount(facts.kind, facts.currency, frozenset((*facts.owners, *facts.mandates)))
