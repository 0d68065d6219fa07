"""The story that the opened entries of a log tell: whether it holds together.

What is remembered grows with the payments and devices that are opened, by less than 1 kB each, not with the log.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO

from latticebank.verify.findings import Fault, Findings
from latticebank.verify.records import (
    ACCEPTED,
    APPROVED,
    BEGUN,
    ENROLLED,
    HELD,
    LEDGER_BATCH,
    MAX_RECORD_BYTES,
    POSTED,
    REVOKED,
    Entry,
    committed,
    parse_record,
)
from latticebank.verify.strict import exactly, parse_instant, parse_json, parse_whole

_MAX_LINE_BYTES = 2 * MAX_RECORD_BYTES + 1_024
_OPENING: dict[str, tuple[type, ...]] = {"index": (int,), "salt": (str,), "record": (str,)}


@dataclass(frozen=True, slots=True)
class _Opening:
    index: int
    salt: str
    record: str


@dataclass(frozen=True, slots=True)
class _Accepted:
    index: int
    signer: str
    device: str
    evidence: str


class Openings:
    """A file of openings, one JSON object a line, in the order of the log."""

    def __init__(self, file: BinaryIO) -> None:
        self._lines = self._read(file)
        self._next = next(self._lines, None)
        self._history = History()
        self._count = 0

    def compare(self, first: int, leaves: Sequence[bytes], findings: Findings) -> None:
        """Compare the openings of the leaves from index `first` on, and go on with the story.

        Raises:
            Fault: the file cannot be read on.

        """
        while (opening := self._next) is not None and opening.index < first + len(leaves):
            self._next = next(self._lines, None)
            self._count += 1
            where = f"entry {opening.index}"
            with findings.going_on():
                if committed(opening.salt, opening.record, where) != leaves[opening.index - first]:
                    raise Fault(where, "its opening is not what the log commits to")
                self._history.complete = self._history.complete and opening.index == self._count - 1
                entry = Entry(opening.index, parse_record(opening.record, where))
                findings.faults_of(where, self._history.faults(entry))

    def finish(self, size: int, findings: Findings) -> None:
        """Tell of the openings that no leaf is there for, and of what was read."""
        if self._next is not None:
            findings.fault(f"entry {self._next.index}", f"it is opened, and the log has {size} entries")
        self._history.tell(findings)
        if not findings.faults:
            kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self._history.kinds.items()))
            findings.checked.append(f"{self._count} opened entries fit their leaves and each other: {kinds or 'none'}")

    def _read(self, file: BinaryIO) -> Iterator[_Opening]:
        last, number = -1, 0
        while line := file.readline(_MAX_LINE_BYTES + 1):
            number += 1
            where = f"openings, line {number}"
            if len(line) > _MAX_LINE_BYTES:
                raise Fault(where, f"it has more than {_MAX_LINE_BYTES} bytes")
            opening = _Opening(**exactly(parse_json(line, where), where, _OPENING))
            if opening.index <= last:
                raise Fault(where, "the openings are not in the order of the log, each once")
            last = opening.index
            yield opening


class History:
    """The story so far.

    Only where it is `complete`, every entry opened from the beginning of the bank's first log, does a lack prove anything.
    """

    def __init__(self) -> None:
        self.complete = True
        self.kinds: Counter[str] = Counter()
        self._bank: str | None = None
        self._accepted: dict[str, _Accepted] = {}
        self._enrolled: set[str] = set()
        self._held: set[str] = set()
        self._posted: dict[str, int] = {}
        self._last_received: dict[str, tuple[datetime, int]] = {}
        self._revoked: dict[str, tuple[datetime, int]] = {}
        self._ledger: dict[str, int] = {}
        self._late = 0
        self._strange = 0
        self._lacking = 0

    def faults(self, entry: Entry) -> Iterator[str]:
        """Yield what does not fit what came before."""
        facts, kind = entry.facts, entry.facts["kind"]
        self.kinds[kind] += 1
        if facts["bank"] != (self._bank or facts["bank"]):
            yield f"it is of another bank than {self._bank}"
        self._bank = self._bank or facts["bank"]
        if kind == ACCEPTED:
            accepted = _Accepted(entry.index, facts["signer"], facts["device"], facts["document_hash"])
            if self._accepted.setdefault(facts["payment"], accepted) is not accepted:
                yield f"payment {facts['payment']} was accepted before"
        elif kind == POSTED:
            yield from self._posting_faults(entry)
        elif kind == ENROLLED:
            self._enrolled.add(facts["device"])
        elif kind == HELD:
            self._held.add(facts["payment"])
        elif kind == APPROVED:
            self._held.discard(facts["payment"])
        elif kind == REVOKED:
            yield from self._revocation_faults(entry)
        elif kind == LEDGER_BATCH:
            yield from self._ledger_faults(entry)
        elif kind == BEGUN and "previous" in facts:
            self.complete = False

    def tell(self, findings: Findings) -> None:
        """Tell what is worth knowing and need not be wrong, and what could not be shown."""
        if self._late:
            what = "payments were logged as accepted after the revocation of their device, as received before it"
            findings.noticed.append(f"{self._late} {what}")
        if self._strange:
            what = "payments were posted by devices whose enrolment is not opened before"
            findings.noticed.append(f"{self._strange} {what}")
        if self._lacking:
            what = "opened entries lack an earlier one that may be among those that are not opened"
            findings.not_shown.append(f"{self._lacking} {what}")

    def _lack(self, what: str) -> list[str]:
        """Return that something is not there as the fault that it is, if it cannot be among what is not opened."""
        if self.complete:
            return [what]
        self._lacking += 1
        return []

    def _posting_faults(self, entry: Entry) -> Iterator[str]:
        facts, device = entry.facts, entry.facts["device"]
        payment, received = facts["payment"], parse_instant(facts["received_at"], entry.where)
        if self._posted.setdefault(payment, entry.index) != entry.index:
            yield f"payment {payment} was posted before (entry {self._posted[payment]})"
        self._strange += device not in self._enrolled
        if "evidence" not in facts:
            yield "posting without evidence"
        if payment in self._held:
            yield from self._lack("posted without the approval for which it was held")
        accepted = self._accepted.get(facts.get("batch", payment))
        if accepted is None:
            yield from self._lack("posted without an earlier acceptance of it")
        elif (accepted.signer, accepted.device) != (facts["signer"], device):
            yield f"another device or user signed what was accepted (entry {accepted.index})"
        elif "batch" not in facts and facts.get("evidence") not in (None, accepted.evidence):
            yield f"its evidence is not what was accepted (entry {accepted.index})"
        revoked_at, revocation = self._revoked.get(device, (None, -1))
        if revoked_at is not None and revoked_at <= received:
            yield f"signed by a device revoked before (entry {revocation})"
        elif accepted is not None and 0 <= revocation < accepted.index:
            self._late += 1
        if received >= self._last_received.get(device, (received, 0))[0]:
            self._last_received[device] = received, entry.index

    def _revocation_faults(self, entry: Entry) -> Iterator[str]:
        device, revoked_at = entry.facts["device"], parse_instant(entry.facts["revoked_at"], entry.where)
        received, posting = self._last_received.get(device, (None, -1))
        if received is not None and revoked_at <= received:
            yield f"the device was revoked before it signed what entry {posting} posted"
        if device not in self._revoked or revoked_at < self._revoked[device][0]:
            self._revoked[device] = revoked_at, entry.index

    def _ledger_faults(self, entry: Entry) -> Iterator[str]:
        shard = entry.facts["shard"]
        first, following = (parse_whole(entry.facts[name], entry.where) for name in ("first_seq", "next_seq"))
        expected = self._ledger.get(shard, first)
        gap = f"shard {shard} of the ledger goes on with {first}, not with {expected}"
        if first < expected or following <= first:
            yield gap
        elif first > expected:
            yield from self._lack(gap)
        self._ledger[shard] = following
