"""The opened entries of a log: each opens its leaf, and the story that they tell holds together.

What is remembered grows with the payments, devices and batches that are opened, by less than 1 kB each, not with the log.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from sys import intern
from typing import Any

from latticebank.verify.log import ENTRIES, FRONT, TILE, read_tile
from latticebank.verify.records import MAX_RECORD_BYTES, Facts, committed, parse_record
from latticebank.verify.strict import Fault, Findings, exactly, parse_json

_MAX_LINE_BYTES = 2 * MAX_RECORD_BYTES + 1_024


def verify_openings(file: Path, folder: Path, size: int, findings: Findings) -> None:
    """Verify a file of openings, one JSON object a line, against a log that was verified; OSError if it cannot be read."""
    story, number, bundle, count, beyond = _Story(findings), -1, [b""], 0, 0
    for opening in read_openings(file):
        index, where = opening["index"], f"entry {opening['index']}"
        if index >= size:
            beyond += 1
            continue
        count += 1
        if index // TILE != number:
            number = index // TILE
            bundle = read_tile(folder, ENTRIES, number, size)
        try:
            if FRONT + committed(opening["salt"], opening["record"], where) != bundle[index % TILE]:
                raise Fault(f"{where}: its opening is not what the log commits to")
            story.complete = story.complete and index == count - 1
            story.add(index, where, parse_record(opening["record"], where))
        except Fault as fault:
            findings.require(False, str(fault))
    story.complete = story.complete and count == size
    story.end()
    findings.noticed += [f"{number} {what}" for what, number in story.noticed.items()]
    if count < size:
        findings.not_shown.append(f"{count} of {size} entries are opened: nothing was seen of what the others say")
    if beyond:
        findings.not_shown.append(f"{beyond} openings lie beyond this copy of the log: download it again")
    if story.lacks:
        what = "opened entries lack an earlier one that may be among those that are not opened"
        findings.not_shown.append(f"{story.lacks} {what}")
    if not findings.faults:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(story.kinds.items())) or "none"
        findings.checked.append(f"{story.kinds.total()} opened entries fit their leaves and each other: {kinds}")


def read_openings(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the openings of a file, in the order of the log; Fault at the first line that is none."""
    last, number = -1, 0
    with path.open("rb") as file:
        while line := file.readline(_MAX_LINE_BYTES + 1):
            number += 1
            where = f"openings, line {number}"
            if len(line) > _MAX_LINE_BYTES:
                raise Fault(f"{where}: it has more than {_MAX_LINE_BYTES} bytes")
            opening = exactly(parse_json(line, where), where, "index:int salt record")
            if opening["index"] <= last:
                raise Fault(f"{where}: the openings are not in the order of the log, each once")
            last = opening["index"]
            yield opening


@dataclass(slots=True)
class _Matter:
    """What was told so far of a payment or a signed batch; entries by their index, -1 where there is none."""

    accepted: int = -1
    signed: tuple[Any, ...] = ()
    document_hash: str = ""
    count: int = 1
    postings: int = 0
    held: bool = False
    approved_by: str = ""
    posted: int = -1
    refused: int = -1


class _Story:
    """What was told so far.

    Only where it is `complete`, every entry opened from the beginning of the bank's first log, does a lack prove anything.
    """

    def __init__(self, findings: Findings) -> None:
        self.complete, self.lacks = True, 0
        self.kinds: Counter[str] = Counter()
        self.noticed: Counter[str] = Counter()
        self._require = findings.require
        self._bank = ""
        self._matters: defaultdict[str, _Matter] = defaultdict(_Matter)
        # By device: whose, and active from when; its last signature and its first revocation, each with the entry.
        self._enrolled: dict[str, tuple[str, Any]] = {}
        self._signed: dict[str, tuple[Any, int]] = {}
        self._revoked: dict[str, tuple[Any, int]] = {}
        self._ledger: defaultdict[str, list[tuple[int, int, int]]] = defaultdict(list)

    def add(self, index: int, where: str, facts: Facts) -> None:
        """Go on with an entry; a fault is what does not fit what came before it."""
        self.kinds[facts["kind"]] += 1
        self._bank = self._bank or facts["bank"]
        self._require(facts["bank"] == self._bank, f"{where}: it is of another bank than {self._bank}")
        matter = self._matters[facts["payment"]] if "payment" in facts else _Matter()
        match facts["kind"]:
            case "log.begun":
                self.complete = self.complete and "previous" not in facts
            case "payment.accepted":
                self._require(matter.accepted < 0, f"{where}: payment {facts['payment']} was accepted before")
                if matter.accepted < 0:
                    matter.accepted, matter.signed, matter.count = index, _signed(facts), facts.get("count", 1)
                    matter.document_hash = facts["document_hash"]
            case "payment.held":
                matter.held, matter.approved_by = True, ""
            case "payment.approved":
                self._require_unless_not_opened(matter.held, f"{where}: approved, and was not held before")
                matter.approved_by = intern(facts["by"])
            case "payment.rejected" | "payment.failed" | "payment.cancelled":
                self._require(matter.posted < 0, f"{where}: the payment was posted before (entry {matter.posted})")
                matter.refused = index
            case "payment.posted":
                self._add_posting(index, where, facts)
            case "device.enrolled":
                self._add_enrolment(index, where, facts)
            case "device.revoked":
                device, revoked = facts["device"], (facts["revoked_at"], index)
                last, told = self._signed.get(device, (None, -1))
                sound = last is None or last < revoked[0]
                self._require(sound, f"{where}: the device was revoked before it signed what entry {told} tells")
                self._revoked[device] = min(self._revoked.get(device, revoked), revoked)
            case "ledger.batch":
                self._ledger[facts["shard"]].append((facts["first_seq"], facts["next_seq"], index))

    def end(self) -> None:
        """Look at what only the whole tells: streams may be late against each other, so batches of the ledger may be."""
        for shard, batches in self._ledger.items():
            batches.sort()
            expected = 1 if self.complete else batches[0][0]
            for first, following, index in batches:
                gap = f"entry {index}: shard {shard} of the ledger goes on with {first}, not with {expected}"
                self._require(expected <= first < following, gap)
                self._require_unless_not_opened(first <= expected, gap)
                expected = following

    def _add_enrolment(self, index: int, where: str, facts: Facts) -> None:
        device, sponsor = intern(facts["device"]), facts.get("sponsor")
        self._require(device not in self._enrolled, f"{where}: device {device} was enrolled before")
        _, told = self._signed.get(device, (None, -1))
        late = told >= 0 and self.complete
        self._require(not late, f"{where}: the device was enrolled after it signed what entry {told} tells")
        self._enrolled.setdefault(device, (intern(facts["user"]), facts["active_from"]))
        if sponsor is not None:
            self._add_signature(index, where, sponsor, facts["user"], facts["enrolled_at"])

    def _add_posting(self, index: int, where: str, facts: Facts) -> None:
        payment, device, received = facts["payment"], facts["device"], facts["received_at"]
        need, matter = self._require, self._matters[payment]
        need(matter.posted < 0, f"{where}: payment {payment} was posted before (entry {matter.posted})")
        need(matter.refused < 0, f"{where}: payment {payment} had come to another end (entry {matter.refused})")
        matter.posted = index if matter.posted < 0 else matter.posted
        need("evidence" in facts, f"{where}: posting without evidence")
        approved = not matter.held or matter.approved_by != ""
        self._require_unless_not_opened(approved, f"{where}: posted without the approval for which it was held")
        need(matter.approved_by != facts["signer"], f"{where}: approved by the user who signed it")
        source = self._matters[facts["batch"]] if "batch" in facts else matter
        source.postings += 1
        if source.accepted < 0:
            self._require_unless_not_opened(False, f"{where}: posted without an earlier acceptance of it")
        else:
            came = f"what was accepted (entry {source.accepted})"
            need(source.signed == _signed(facts), f"{where}: its signer, device, class or time are not those of {came}")
            same = "batch" in facts or facts.get("evidence", source.document_hash) == source.document_hash
            need(same, f"{where}: its evidence is not {came}")
            more = f"{where}: more payments are posted than the {source.count} of {came}"
            need("batch" not in facts or source.postings <= source.count, more)
        if device not in self._enrolled:
            self.noticed["payments were posted by devices whose enrolment is not opened before"] += 1
        sound = self._add_signature(index, where, device, facts["signer"], received)
        if sound and 0 <= self._revoked.get(device, (None, -1))[1] < source.accepted:
            late = "payments were logged as accepted after the revocation of their device, as received before it"
            self.noticed[late] += 1

    def _add_signature(self, index: int, where: str, device: str, user: str, time: Any) -> bool:
        """Note that a device signed, for this user at this time; return whether it was not revoked then."""
        owner, active_from = self._enrolled.get(device, (user, time))
        self._require(owner == user, f"{where}: signed by a device that was enrolled for another user")
        self._require(active_from <= time, f"{where}: signed by a device that was not active yet")
        revoked_at, revocation = self._revoked.get(device, (None, -1))
        sound = revoked_at is None or time < revoked_at
        self._require(sound, f"{where}: signed by a device revoked before (entry {revocation})")
        self._signed[device] = max(self._signed.get(device, (time, index)), (time, index))
        return bool(sound)

    def _require_unless_not_opened(self, holds: bool, lack: str) -> None:
        """Note a lack as the fault that it is, if what lacks cannot be among what is not opened."""
        self._require(holds or not self.complete, lack)
        self.lacks += not holds and not self.complete


def _signed(facts: Facts) -> tuple[Any, ...]:
    """Return what the acceptance of what was signed, and each posting that follows from it, both say."""
    return (*(intern(facts[name]) for name in ("evidence_class", "signer", "device")), facts["received_at"])
