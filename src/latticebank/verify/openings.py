"""The opened entries of a log: each opens its leaf, and the story that they tell holds together.

What is remembered grows with the payments and devices that are opened, by less than 1 kB each, not with the log.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from latticebank.verify.log import ENTRIES, FRONT, TILE, read_tile
from latticebank.verify.records import MAX_RECORD_BYTES, Facts, committed, parse_record
from latticebank.verify.strict import Fault, Findings, exactly, parse_json

_MAX_LINE_BYTES = 2 * MAX_RECORD_BYTES + 1_024


def verify_openings(file: Path, folder: Path, size: int, findings: Findings) -> None:
    """Verify a file of openings, one JSON object a line, against a log that was verified; OSError if it cannot be read."""
    story, number, bundle = _Story(findings), -1, [b""]
    for count, opening in enumerate(_openings(file)):
        index, where = opening["index"], f"entry {opening['index']}"
        if index >= size:
            raise Fault(f"{where}: it is opened, and the log has {size} entries")
        if index // TILE != number:
            number = index // TILE
            bundle = read_tile(folder, ENTRIES, number, size)
        try:
            if FRONT + committed(opening["salt"], opening["record"], where) != bundle[index % TILE]:
                raise Fault(f"{where}: its opening is not what the log commits to")
            story.complete = story.complete and index == count
            story.add(index, where, parse_record(opening["record"], where))
        except Fault as fault:
            findings.require(False, str(fault))
    findings.noticed += [f"{count} {what}" for what, count in story.noticed.items()]
    if story.lacks:
        what = "opened entries lack an earlier one that may be among those that are not opened"
        findings.not_shown.append(f"{story.lacks} {what}")
    if not findings.faults:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(story.kinds.items())) or "none"
        findings.checked.append(f"{story.kinds.total()} opened entries fit their leaves and each other: {kinds}")


def _openings(path: Path) -> Iterator[dict[str, Any]]:
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
        # By payment: entry, who accepted what; whether held; entry. By device: whether enrolled; times with their entries.
        self._accepted: dict[str, tuple[int, list[str]]] = {}
        self._held: set[str] = set()
        self._posted: dict[str, int] = {}
        self._enrolled: set[str] = set()
        self._received: dict[str, tuple[Any, int]] = {}
        self._revoked: dict[str, tuple[Any, int]] = {}
        self._ledger: dict[str, int] = {}

    def add(self, index: int, where: str, facts: Facts) -> None:
        """Go on with an entry; a fault is what does not fit what came before it."""
        payment, device = str(facts.get("payment")), str(facts.get("device"))
        self.kinds[facts["kind"]] += 1
        self._bank = self._bank or facts["bank"]
        self._require(facts["bank"] == self._bank, f"{where}: it is of another bank than {self._bank}")
        match facts["kind"]:
            case "log.begun":
                self.complete = self.complete and "previous" not in facts
            case "payment.accepted":
                self._require(payment not in self._accepted, f"{where}: payment {payment} was accepted before")
                self._accepted.setdefault(payment, (index, [facts["signer"], device, facts["document_hash"]]))
            case "payment.held":
                self._held.add(payment)
            case "payment.approved":
                self._held.discard(payment)
            case "payment.posted":
                self._add_posting(index, where, facts)
            case "device.enrolled":
                self._enrolled.add(device)
            case "device.revoked":
                revoked = facts["revoked_at"], index
                received, posting = self._received.get(device, (None, -1))
                sound = received is None or received < revoked[0]
                self._require(sound, f"{where}: the device was revoked before it signed what entry {posting} posted")
                self._revoked[device] = min(self._revoked.get(device, revoked), revoked)
            case "ledger.batch":
                first, following, shard = facts["first_seq"], facts["next_seq"], facts["shard"]
                expected = self._ledger.get(shard, first)
                gap = f"{where}: shard {shard} of the ledger goes on with {first}, not with {expected}"
                self._require(expected <= first < following, gap)
                self._require_unless_not_opened(first <= expected, gap)
                self._ledger[shard] = following

    def _add_posting(self, index: int, where: str, facts: Facts) -> None:
        payment, device, received = facts["payment"], facts["device"], facts["received_at"]
        first = self._posted.setdefault(payment, index)
        self._require(first == index, f"{where}: payment {payment} was posted before (entry {first})")
        self._require("evidence" in facts, f"{where}: posting without evidence")
        approved = payment not in self._held
        self._require_unless_not_opened(approved, f"{where}: posted without the approval for which it was held")
        came, accepted = self._accepted.get(facts.get("batch") or payment, (-1, []))
        self._require_unless_not_opened(bool(accepted), f"{where}: posted without an earlier acceptance of it")
        same = accepted[:2] in ([], [facts["signer"], device])
        self._require(same, f"{where}: another device or user signed what was accepted (entry {came})")
        same = "batch" in facts or "evidence" not in facts or accepted[2:] in ([], [facts["evidence"]])
        self._require(same, f"{where}: its evidence is not what was accepted (entry {came})")
        if device not in self._enrolled:
            self.noticed["payments were posted by devices whose enrolment is not opened before"] += 1
        revoked_at, revocation = self._revoked.get(device, (None, -1))
        sound = revoked_at is None or received < revoked_at
        self._require(sound, f"{where}: signed by a device revoked before (entry {revocation})")
        if sound and 0 <= revocation < came:
            late = "payments were logged as accepted after the revocation of their device, as received before it"
            self.noticed[late] += 1
        self._received[device] = max(self._received.get(device, (received, index)), (received, index))

    def _require_unless_not_opened(self, holds: bool, lack: str) -> None:
        """Note a lack as the fault that it is, if what lacks cannot be among what is not opened."""
        self._require(holds or not self.complete, lack)
        self.lacks += not holds and not self.complete
