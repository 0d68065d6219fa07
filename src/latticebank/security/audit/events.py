"""The events that audit publishes, and hears again itself: who looked into the log."""

from uuid import UUID

from msgspec import Struct

SOURCE = "/latticebank/audit"
ENTRIES_OPENED = "latticebank.audit.entries-opened.v1"


class EntriesOpened(Struct, frozen=True):
    """An auditor opened the entries from `first` on, `count` of them. Its data is JSON."""

    by: UUID
    session: UUID | None
    first: int
    count: int
