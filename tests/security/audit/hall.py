"""A whole bank whose acts reach its log: the services, the relays between them, and somebody who reads the log."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from latticebank.bank import SERVICES, compose, open_context
from latticebank.crypto.checkpoints import Checkpoint, open_checkpoint
from latticebank.crypto.log_policy import parse_policy
from latticebank.crypto.merkle import leaf_hash, root_of
from latticebank.crypto.tiles import WIDTH, tile_at, tile_path
from latticebank.kernel.authentication import CredentialAuthenticator, credentials_in
from latticebank.kernel.bus import PostgresEventBus
from latticebank.kernel.relay import Relay
from latticebank.kernel.settings import BUS, EVERYTHING, Settings
from latticebank.kernel.transports import Response
from latticebank.kernel.worker import Pace
from latticebank.security.audit.api.rooms import Rooms
from tests.banking.payments.counter import Counter
from tests.clocks import MovingClock
from tests.security.identity.people import NAME, Person

ORIGIN = f"{NAME}/log"


class Hall(Counter):
    """A running bank with its log."""

    @property
    def log(self) -> Rooms:
        """The use cases of audit themselves."""
        rooms: Rooms = self.bank._apps["audit"].state.rooms
        return rooms

    async def read(self, path: str) -> Response:
        """Ask for a part of the log, as anyone may."""
        return await self.send("audit", "GET", f"/api/log{path}")

    async def audit(self, path: str, who: Person | str) -> Response:
        """Ask for the sealed side of the log."""
        if isinstance(who, Person):
            credential = f"Bearer {await self.bearer(who, 'audit')}"
        else:
            credential = await self.operator()
        return await self.send("audit", "GET", f"/api/audit{path}", headers={"Authorization": credential})

    async def checkpoint(self) -> Checkpoint:
        """The newest checkpoint, once both signatures of the log are verified."""
        answer, policy = await self.read("/checkpoint"), await self.read("/policy")
        assert (answer.status, policy.status) == (200, 200), (answer.body, policy.body)
        return open_checkpoint(answer.body, parse_policy(policy.body).keys_of(ORIGIN))

    async def leaves(self, size: int) -> list[bytes]:
        """All leaves of the log, from its bundles."""
        found: list[bytes] = []
        while len(found) < size:
            tile = tile_at(0, len(found) // WIDTH, size)
            assert tile is not None
            answer = await self.read(f"/tile/entries/{tile_path(tile)}")
            assert answer.status == 200, answer.body
            found += bundle(answer.body)
        return found

    async def integrated(self) -> Checkpoint:
        """Wait until all that was published to the outboxes so far is in the published log."""
        async with asyncio.timeout(60):
            while await self._waits():  # noqa: ASYNC110 - nobody rings
                await asyncio.sleep(0.02)
        return await self.checkpoint()

    async def _waits(self) -> bool:
        databases = [name for name in SERVICES if self.rows("SELECT 1 FROM outbox LIMIT 1", database=name)]
        said_so_far = self.rows("SELECT topic, next_offset - 1 FROM topics ORDER BY 1", database=BUS)
        heard = dict(self.rows('SELECT topic, "offset" FROM consumer_offsets', database="audit"))
        sizes = self.rows("SELECT size FROM logs ORDER BY log DESC LIMIT 1", database="audit")
        shown = self.rows("SELECT max(size) FROM checkpoints WHERE log = (SELECT max(log) FROM logs)", database="audit")
        behind = any(heard.get(topic, 0) < offset for topic, offset in said_so_far)
        return bool(databases) or behind or sizes != shown

    async def records(self) -> list[dict[str, str]]:
        """What all entries say, opened past every right to do so."""
        base = self.log.foundation
        page = await self.log.openings.entries(self.ids(), None, 0, 10_000)
        assert base.bank == NAME
        return [msgspec.json.decode(item.record) for item in page.items if item.record]

    async def kinds(self, kind: str, **facts: str) -> list[dict[str, str]]:
        """The records of a kind that say these facts."""
        return [
            record
            for record in await self.records()
            if record["kind"] == kind and all(record.get(name) == fact for name, fact in facts.items())
        ]

    async def measured(self, name: str) -> float:
        """What Prometheus sees of a number, once it is not 0."""
        registry = self.bank.context.metrics.registry
        async with asyncio.timeout(60):
            while not (value := registry.get_sample_value(name)):  # noqa: ASYNC110 - nobody rings
                await asyncio.sleep(0.05)
        return value

    async def auditor(self) -> Person:
        """Olga the auditor."""
        anna, axel = await self.first_admins()
        olga = await self.register("olga")
        await self.grant(olga, "auditor", anna, axel)
        await self.log_in(olga)
        return olga


def bundle(content: bytes) -> list[bytes]:
    """The leaves of a bundle of entries."""
    leaves = []
    while content:
        length = int.from_bytes(content[:2])
        leaves.append(content[2 : 2 + length])
        content = content[2 + length :]
    return leaves


def root(leaves: list[bytes]) -> bytes:
    """The root of the tree over leaves."""
    return root_of([leaf_hash(leaf) for leaf in leaves])


def old_copy(url: str) -> str:
    """A copy of a database as it is now, of a bank that is closed."""
    server, _, name = url.rpartition("/")
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        connection.execute(f'DROP DATABASE IF EXISTS "{name}_old" WITH (FORCE)'.encode())
        connection.execute(f'CREATE DATABASE "{name}_old" TEMPLATE "{name}"'.encode())
    return f"{url}_old"


@asynccontextmanager
async def open_hall(urls: dict[str, str], folder: Path, clock: MovingClock, **settings: Any) -> AsyncIterator[Hall]:
    """Run a whole bank on these databases, with its relays."""
    chosen = Settings(data=folder, demo=True, bank=NAME, **settings)
    async with open_context(chosen, urls, clock=clock) as context:
        known = CredentialAuthenticator(credentials_in(folder, EVERYTHING), context.metrics.refused_credentials.inc)
        bank = compose(list(SERVICES), replace(context, authenticator=known))
        bus = PostgresEventBus(bank.context.database(BUS))
        async with bank.running(), asyncio.TaskGroup() as group:
            relays = [Relay(bank.context.database(name), bus, pace=Pace(idle=0.1)) for name in SERVICES]
            tasks = [group.create_task(relay.run()) for relay in relays]
            try:
                yield Hall(bank, clock, urls)
            finally:
                for task in tasks:
                    task.cancel()
