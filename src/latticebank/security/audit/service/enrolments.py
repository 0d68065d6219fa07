"""Sees to it that the log tells of a device before it tells of what the device signed.

Identity and payments tell in streams of their own, and either may be late. So whoever is about to append what a device
signed asks identity about a device that the log does not know yet, and about those that vouched for it, and appends
their enrolments first. What identity tells of them later is then told already. The same brings the devices of an older log
into a new one.
"""

from collections.abc import Sequence
from hashlib import sha256
from uuid import UUID

from latticebank.kernel.database import UnitOfWork
from latticebank.security.audit.model.entries import Entry, record_of, text_of_time
from latticebank.security.audit.service.foundation import Foundation
from latticebank.security.audit.store import devices, tree
from latticebank.security.identity.wire import DeviceRecord

_REMEMBERED = 100_000
_ASKED_AT_ONCE = 1_000


class Enrolments:
    """The devices that the log is known to tell of: those of one log, and a new one begins without any."""

    def __init__(self, foundation: Foundation) -> None:
        self._base = foundation
        self._log = 0
        self._known: set[UUID] = set()

    async def before(self, work: UnitOfWork, entries: Sequence[Entry]) -> tuple[int | None, list[Entry]]:
        """Return the enrolments that have to come before these entries, and the number of the log that lacks them.

        The number is None where nothing was signed by a device: then it is the same in any log.

        Raises:
            RemoteProblem, ServiceUnavailable: identity does not answer.

        """
        signers = {entry.signed_by for entry in entries if entry.signed_by is not None}
        if not signers:
            return None, []
        log = await tree.current(work.connection, self._base.book)
        number = 0 if log is None else log.log
        found: list[Entry] = []
        wanted = await self._unknown(work, number, signers)
        while wanted:
            asked = list(wanted)[:_ASKED_AT_ONCE]
            records = await self._base.identity.devices(asked)
            found = [self._entry(record) for record in records] + found
            sponsors = {record.sponsor for record in records if record.sponsor is not None}
            told = {entry.enrols for entry in found}
            wanted = (wanted - set(asked)) | (await self._unknown(work, number, sponsors) - told)
        return number, found

    async def _unknown(self, work: UnitOfWork, log: int, wanted: set[UUID]) -> set[UUID]:
        """Return those of these devices of whose enrolment a log does not tell."""
        if log != self._log or len(self._known) > _REMEMBERED:
            self._log, self._known = log, set()
        known = self._known  # another task may begin that of a new log meanwhile
        unsure = wanted - known
        if unsure:
            known.update(await devices.known(work.connection, self._base.book, log, unsure))
        return unsure - known

    def _entry(self, record: DeviceRecord) -> Entry:
        base = self._base
        facts = {
            "active_from": text_of_time(record.active_from),
            "algorithm": record.algorithm,
            "at": text_of_time(base.now()),
            "bank": base.bank,
            "device": str(record.device),
            "document_hash": sha256(record.document.encode()).hexdigest(),
            "enrolled_at": text_of_time(record.enrolled_at),
            "event": f"{base.ids()}#0",
            "kind": "device.enrolled",
            "proposal": None if record.proposal is None else str(record.proposal),
            "sponsor": None if record.sponsor is None else str(record.sponsor),
            "user": str(record.user),
        }
        return Entry(record.user, record.device, record_of(facts), enrols=record.device)
