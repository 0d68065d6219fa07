"""What a service runs under, remembered from start to start, so that a change of it is told like any other event.

A start compares three things with those of the last one: the settings, the service's Cedar text, and the version of the
bank. Of each setting only the SHA-256 of its value is kept, so that an event tells that it changed and not to what.
A digest of a short value can be guessed, so secrets are left out altogether, and with them the addresses of
databases, which hold passwords.
"""

from collections.abc import Mapping
from hashlib import sha256

import msgspec

from latticebank import __version__
from latticebank.kernel.database import Database, UnitOfWork
from latticebank.kernel.events import Event
from latticebank.kernel.settings import Settings
from latticebank.values.clock import Clock
from latticebank.values.ids import Uuid7Source

LEFT_OUT = frozenset({"database_urls", "kek_passphrase", "host", "port", "log_level", "services", "pool_size"})
"""Secrets; and what is of one process and changes nothing that the bank does."""
POLICY = "policy"
VERSION = "version"


class ConfigurationChanged(msgspec.Struct, frozen=True):
    """A service started under another configuration than before; at the first start everything is another.

    `changed` names settings, and "policy" or "version" where it is one of these. `policy` is the SHA-256 of the Cedar
    text in hex, `version` that of the bank.
    """

    service: str
    version: str
    changed: list[str]
    policy: str


class _Configuration(msgspec.Struct, frozen=True):
    """What is remembered: the digests of the settings in hex, that of the Cedar text, the version."""

    settings: dict[str, str]
    policy: bytes
    version: str


def event_type(service: str) -> str:
    """Return the type of the events of a service that tell of a changed configuration."""
    return f"latticebank.{service}.configuration-changed.v1"


def setting_digests(settings: Settings) -> dict[str, str]:
    """Return the SHA-256 of the value of each setting but those in `LEFT_OUT`, in hex."""
    values = settings.model_dump(mode="json", exclude=set(LEFT_OUT))
    return {name: sha256(msgspec.json.encode(value, order="sorted")).hexdigest() for name, value in values.items()}


async def tell_of_changes(
    database: Database, service: str, policies: str, settings: Settings, clock: Clock, ids: Uuid7Source
) -> None:
    """Store the configuration that a service starts under, and publish what of it changed, in one transaction.

    Processes of one service that start together take turns: where they start alike, only the first one tells.

    Raises:
        DatabaseUnavailable: the database is down.

    """
    present = _Configuration(setting_digests(settings), sha256(policies.encode()).digest(), __version__)
    digests, now = msgspec.json.encode(present.settings, order="sorted"), clock.now()
    facts = {
        "book": database.book,
        "service": service,
        "settings_digest": sha256(digests).digest(),
        "policy_digest": present.policy,
        "settings": digests.decode(),
        "version": present.version,
        "at": now,
    }
    async with database.begin() as work:
        before = await _hold(work, facts)
        changed = _changed(before, present)
        if not changed:
            return
        if before is not None:
            await work.connection.exec_driver_sql(_REPLACE, facts)
        told = ConfigurationChanged(service, present.version, changed, present.policy.hex())
        source, cause, data = f"/latticebank/{service}", sha256(digests).hexdigest(), msgspec.json.encode(told)
        work.publish(Event(ids(), source, event_type(service), now, service, service, cause, "application/json", data))


async def _hold(work: UnitOfWork, facts: Mapping[str, object]) -> _Configuration | None:
    """Return the configuration of the last start, locked; None at the first one, whose configuration is stored."""
    first = await work.connection.exec_driver_sql(_REMEMBER, facts)
    if first.one_or_none() is not None:
        return None
    last = (await work.connection.exec_driver_sql(_LAST, facts)).mappings().one()
    return _Configuration(last["settings"], last["policy_digest"], last["version"])


def _changed(before: _Configuration | None, present: _Configuration) -> list[str]:
    known = {} if before is None else before.settings
    changed = [name for name in sorted({*known, *present.settings}) if known.get(name) != present.settings.get(name)]
    if before is None or before.policy != present.policy:
        changed.append(POLICY)
    if before is None or before.version != present.version:
        changed.append(VERSION)
    return changed


# Whoever comes second waits here for the first one to commit.
_REMEMBER = """
    INSERT INTO configurations (book, service, settings_digest, policy_digest, settings, version, at)
    VALUES (%(book)s, %(service)s, %(settings_digest)s, %(policy_digest)s, %(settings)s, %(version)s, %(at)s)
    ON CONFLICT DO NOTHING RETURNING service
"""
_LAST = """
    SELECT settings, policy_digest, version FROM configurations
    WHERE book = %(book)s AND service = %(service)s FOR UPDATE
"""
_REPLACE = """
    UPDATE configurations
    SET settings_digest = %(settings_digest)s, policy_digest = %(policy_digest)s, settings = %(settings)s,
        version = %(version)s, at = %(at)s
    WHERE book = %(book)s AND service = %(service)s
"""
