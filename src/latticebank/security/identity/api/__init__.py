"""The routes of identity, and the service as the composition root sees it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from importlib.resources import files

from fastapi import FastAPI

from latticebank.banking.ledger.client import LedgerClient
from latticebank.kernel.http import application
from latticebank.kernel.kept_apart import KeptApart
from latticebank.kernel.service import Context, Service
from latticebank.kernel.settings import GATEWAY
from latticebank.security.identity.api import devices, internal, staff, users
from latticebank.security.identity.api.rooms import Rooms
from latticebank.security.identity.migrations import IDENTITY_TABLES
from latticebank.security.identity.service.background import working
from latticebank.security.identity.service.devices import Devices
from latticebank.security.identity.service.erasures import KEPT, Erasures
from latticebank.security.identity.service.evidence import Evidence
from latticebank.security.identity.service.foundation import Foundation
from latticebank.security.identity.service.own_keys import OwnKeys
from latticebank.security.identity.service.passwords import Passwords
from latticebank.security.identity.service.profile_keys import ProfileKeys
from latticebank.security.identity.service.profiles import Profiles
from latticebank.security.identity.service.registration import Registration
from latticebank.security.identity.service.sessions import Sessions
from latticebank.security.identity.service.staff import Staff
from latticebank.security.identity.service.tokens import Tokens
from latticebank.security.keys.client import KeysClient

NAME = "identity"
MAX_BULK_BYTES = 2 * 2**20
"""The largest body of a request: 8,192 standings."""


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    found: Rooms = app.state.rooms
    base = found.foundation
    await base.passwords.prepare()
    try:
        await found.erasures.replay()
        async with working(base.own_keys, found.registration, found.erasures, found.sessions):
            yield
    finally:
        base.passwords.close()


def build(context: Context) -> FastAPI:
    """Return the application of identity."""
    settings = context.settings
    keys = KeysClient(context.transport("keys"), context.credential(NAME, "keys"))
    ledger = LedgerClient(context.transport("ledger"), context.credential(NAME, "ledger"))
    base = Foundation(
        database=context.database(NAME),
        book=settings.book,
        bank=settings.bank,
        cooling=timedelta(hours=settings.device_cooling_hours),
        clock=context.clock,
        ids=context.ids,
        own_keys=OwnKeys(keys),
        profile_keys=ProfileKeys(keys),
        passwords=Passwords(context.metrics.registry),
    )
    routers = [users.router, users.security, devices.router, staff.router, internal.router]
    checks = {"keys": base.own_keys.check}
    app = application(SERVICE, context, _lifespan, routers, checks=checks, max_body_bytes=MAX_BULK_BYTES)
    app.state.rooms = Rooms(
        foundation=base,
        registration=Registration(base, keys, ledger, settings.currency),
        erasures=Erasures(base, keys, ledger, KeptApart(settings.kept_folders, KEPT)),
        sessions=Sessions(base),
        profiles=Profiles(base),
        devices=Devices(base),
        staff=Staff(base),
        tokens=Tokens(base, GATEWAY),
        evidence=Evidence(base),
    )
    return app


SERVICE = Service(
    name=NAME,
    port=8001,
    prefixes=("/api/users/", "/api/devices/", "/api/staff/", "/api/security/", "/internal/identity/"),
    migrations=IDENTITY_TABLES,
    policies=(files("latticebank.security.identity") / "policies.cedar").read_text("utf-8"),
    build=build,
    further_actions=(users.READ_PROFILES_OF_OTHERS, users.ERASE_PROFILES_OF_OTHERS),
)
