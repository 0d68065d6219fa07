"""The shape of a service: what it is called, which paths it answers, and how it is built from what it is given."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from latticebank.kernel.caller import Authenticator, Credential
from latticebank.kernel.policy import Policy
from latticebank.kernel.telemetry import Metrics
from latticebank.kernel.transports import Transport
from latticebank.values.clock import Clock
from latticebank.values.ids import Uuid7Source

if TYPE_CHECKING:
    from fastapi import FastAPI

    from latticebank.kernel.database import Database
    from latticebank.kernel.migrations import MigrationChain
    from latticebank.kernel.settings import Settings


@dataclass(frozen=True)
class Context:
    """Everything that a service needs from outside; nothing is global.

    `database(name)` is the database of the service of that name, `transport(name)` the way to it, and
    `credential(caller, audience)` what the service `caller` presents to the service `audience`.
    """

    settings: "Settings"
    clock: Clock
    ids: Uuid7Source
    database: "Callable[[str], Database]"
    transport: Callable[[str], Transport]
    credential: Callable[[str, str], Credential]
    authenticator: Authenticator
    policy: Policy
    metrics: Metrics = field(default_factory=Metrics)


@dataclass(frozen=True)
class Service:
    """One service of the bank.

    `prefixes` are the paths it owns, each beginning and ending with a slash. `policies` is its Cedar text, which
    speaks of no actions but its own ("ledger:..."); `further_actions` are those that no route stands for, which the
    service asks about itself. `build` makes its application, which brings its own lifespan.
    """

    name: str
    port: int
    prefixes: tuple[str, ...]
    migrations: "MigrationChain | None"
    policies: str
    build: "Callable[[Context], FastAPI]"
    further_actions: tuple[str, ...] = ()


def policy_of(services: Iterable[Service]) -> Policy:
    """Return the policy of the kernel, of the operator and of these services.

    Raises:
        InvalidPolicy: a text does not parse, or a service speaks of actions that are not its own.

    """
    return Policy.load({service.name: service.policies for service in services})
