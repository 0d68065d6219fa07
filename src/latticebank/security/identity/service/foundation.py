"""What every use case of identity stands on."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from latticebank.kernel.database import Database
from latticebank.kernel.events import Event
from latticebank.security.identity.events import SOURCE, Happening
from latticebank.security.identity.service.own_keys import OwnKeys
from latticebank.security.identity.service.passwords import Passwords
from latticebank.security.identity.service.profile_keys import ProfileKeys
from latticebank.values.clock import Clock
from latticebank.values.ids import Uuid7Source


@dataclass(frozen=True)
class Foundation:
    """The database and keys of identity, its clock and its source of ids; `bank` is the name of the bank in documents.

    `cooling` is how long a device that joins another does not count.
    """

    database: Database
    book: int
    bank: str
    cooling: timedelta
    clock: Clock
    ids: Uuid7Source
    own_keys: OwnKeys = field(repr=False)
    profile_keys: ProfileKeys = field(repr=False)
    passwords: Passwords = field(repr=False)

    def now(self) -> datetime:
        """Return the present instant."""
        return self.clock.now()

    def event(self, kind: str, cause: UUID, happening: Happening) -> Event:
        """Return an event about a user, made by `cause`."""
        user = str(happening.user)
        data = msgspec.json.encode(happening)
        return Event(self.ids(), SOURCE, kind, self.now(), user, user, str(cause), "application/json", data)
