"""A receipt: that a payment was signed by a device of the payer that was good at the time, and stands in the log."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from types import NoneType
from typing import Any, NamedTuple

from latticebank.verify.checkpoint import verify_checkpoint
from latticebank.verify.findings import Fault, Findings
from latticebank.verify.merkle import check_inclusion
from latticebank.verify.notes import TreeHead
from latticebank.verify.papers import ENROLMENT, Device, Order, parse_device, parse_order, signed_by
from latticebank.verify.policy import Policy
from latticebank.verify.records import (
    ACCEPTED,
    APPROVED,
    ENDED,
    ENROLLED,
    HELD,
    POSTED,
    REVOKED,
    Entry,
    committed_hash,
    is_log_of,
    parse_record,
)
from latticebank.verify.strict import exactly, parse_hashes, parse_instant, parse_json, texts

MAX_RECEIPT_BYTES = 8_388_608
MAX_ENTRIES = 1_000
MAX_DEVICES = 100
BEFORE_CREATED = timedelta(seconds=60)
"""By how much the clock of a device may be ahead of the bank's."""
AFTER_EXPIRY = timedelta(minutes=5)
"""How long a document that came in time may take to be stored."""

_Members = dict[str, tuple[type, ...]]
_RECEIPT: _Members = {
    **texts("type bank payment document signature checkpoint"),
    "in_batch": (dict, NoneType),
    "devices": (list,),
    "entries": (list,),
}
_DEVICE: _Members = {**texts("document signature"), "sponsor_signature": (str, NoneType)}
_ENTRY: _Members = {**texts("salt record"), "index": (int,), "proof": (list,)}
_DIFFERS = {
    "payment": "the id of the payment",
    "evidence_class": "the class of the evidence",
    "evidence": "the evidence (the hash of what was signed)",
    "debtor_account": "the account debited",
    "creditor_account": "the account credited",
    "amount": "the amount",
    "currency": "the currency",
    "device": "the device",
    "batch": "the batch",
}


class _Shown(NamedTuple):
    """What a receipt shows, read and not yet judged."""

    bank: str
    payment: str
    order: Order
    devices: list[Device]
    entries: list[Entry]

    def about(self, kind: str, device: Device | None = None) -> list[Entry]:
        """The entries of a kind, of one device where one is named."""
        found = [entry for entry in self.entries if entry.facts["kind"] == kind]
        return found if device is None else [entry for entry in found if entry.facts["device"] == device.id]


def verify_receipt(content: bytes, policy: Policy, findings: Findings) -> TreeHead | None:
    """Verify a receipt; return what its checkpoint says, None where that does not hold.

    Raises:
        Fault: it cannot be read, or shows no posting.

    """
    receipt = exactly(parse_json(content, "receipt"), "receipt", _RECEIPT)
    if receipt["type"] != "latticebank/receipt/v1":
        raise Fault("receipt", "it is no receipt of a kind that is understood")
    head = None
    with findings.going_on():
        head = verify_checkpoint(receipt["checkpoint"], policy, findings)
        if not is_log_of(head.origin, receipt["bank"]):
            findings.fault("checkpoint", f"{head.origin} is not a log of {receipt['bank']}")
    order = parse_order(receipt["document"], receipt["in_batch"])
    devices = _devices(receipt["devices"])
    entries = _entries(receipt["entries"], head, findings)
    shown = _Shown(receipt["bank"], receipt["payment"], order, devices, entries)
    _check_signatures(receipt, shown, findings)
    for entry in entries:
        findings.faults_of(entry.where, _belonging_faults(entry, shown))
    posting = _the_posting(shown)
    findings.faults_of(posting.where, _posting_faults(posting, shown))
    findings.faults_of("payment", _course_faults(posting, shown))
    for place, device in enumerate(devices):
        with findings.going_on():
            sponsor = devices[place + 1] if place + 1 < len(devices) else None
            findings.faults_of(f"device {device.id}", _device_faults(device, sponsor, posting, shown))
    if not findings.faults:
        _tell(posting, shown, findings)
    return head


def _devices(values: list[object]) -> list[Device]:
    if not 0 < len(values) <= MAX_DEVICES:
        raise Fault("devices", f"a receipt shows 1 to {MAX_DEVICES} devices")
    shown = [exactly(value, f"devices[{place}]", _DEVICE) for place, value in enumerate(values)]
    devices = [parse_device(each["document"], f"devices[{place}]") for place, each in enumerate(shown)]
    if len({device.id for device in devices}) != len(devices):
        raise Fault("devices", "a device is there twice")
    return devices


def _entries(values: list[object], head: TreeHead | None, findings: Findings) -> list[Entry]:
    """Return the entries that a receipt opens, in their order in the log; faults where they are not proved."""
    if len(values) > MAX_ENTRIES:
        raise Fault("entries", f"a receipt shows at most {MAX_ENTRIES} entries")
    entries: dict[int, Entry] = {}
    for place, value in enumerate(values):
        shown = exactly(value, f"entries[{place}]", _ENTRY)
        where = f"entry {shown['index']}"
        if shown["index"] in entries:
            raise Fault(where, "it is there twice")
        leaf = committed_hash(shown["salt"], shown["record"], where)
        entries[shown["index"]] = Entry(shown["index"], parse_record(shown["record"], where))
        proof = parse_hashes(shown["proof"], where)
        if head is not None:
            with findings.going_on():
                check_inclusion(leaf, shown["index"], head.size, proof, head.root, where)
    return [entries[index] for index in sorted(entries)]


def _check_signatures(receipt: dict[str, Any], shown: _Shown, findings: Findings) -> None:
    """Check who signed what: the first device the document, each enrolment its own device and the next one."""
    with findings.going_on():
        if not signed_by(shown.devices[0], receipt["document"], receipt["signature"], shown.order.context, "signature"):
            findings.fault("signature", "it is not the signature of the document by the first device")
    for place, device in enumerate(shown.devices):
        where, each = f"devices[{place}]", receipt["devices"][place]
        with findings.going_on():
            if not signed_by(device, each["document"], each["signature"], ENROLMENT, where):
                findings.fault(where, "its own key did not sign its enrolment")
            sponsor = shown.devices[place + 1] if place + 1 < len(shown.devices) else None
            if device.sponsor != (None if sponsor is None else sponsor.id):
                findings.fault(where, "its sponsor is not the device that follows")
            if (sponsor is None) is not (each["sponsor_signature"] is None):
                findings.fault(where, "a sponsor and its signature go together")
            elif sponsor and not signed_by(sponsor, each["document"], each["sponsor_signature"], ENROLMENT, where):
                findings.fault(where, "its sponsor did not sign its enrolment")


def _belonging_faults(entry: Entry, shown: _Shown) -> Iterator[str]:
    """Yield why an entry has no place in this receipt."""
    facts, kind = entry.facts, entry.facts["kind"]
    if facts["bank"] != shown.bank:
        yield "it is about another bank"
    if kind in (ENROLLED, REVOKED):
        if facts["device"] not in {device.id for device in shown.devices}:
            yield "it is about another device"
    elif kind in (ACCEPTED, HELD, APPROVED, POSTED, *ENDED):
        whole = shown.order.posting.get("batch", shown.payment) if kind == ACCEPTED else shown.payment
        if facts["payment"] != whole:
            yield "it is about another payment"
    else:
        yield f"{kind[:40]} has no place in a receipt"


def _the_posting(shown: _Shown) -> Entry:
    postings = shown.about(POSTED)
    if len(postings) != 1:
        raise Fault("entries", f"a receipt shows one posting, not {len(postings)}")
    return postings[0]


def _posting_faults(posting: Entry, shown: _Shown) -> Iterator[str]:
    """Yield where the posting is not what was signed."""
    facts, order = posting.facts, shown.order
    if "evidence" not in facts:
        yield "posting without evidence"
    for name, words in _DIFFERS.items():
        if name in facts.keys() | order.posting.keys() and facts.get(name) != order.posting.get(name):
            yield f"{words} is not the one that was signed"
    if order.bank != shown.bank:
        yield "what was signed is for another bank"
    if facts["device"] != shown.devices[0].id:
        yield "the first device is not the one that signed"
    if facts["signer"] != shown.devices[0].user:
        yield "the device is not the signer's"
    received = _instant(posting, "received_at")
    created, expires = parse_instant(order.created, "document"), parse_instant(order.expires, "document")
    if received - created < -BEFORE_CREATED or received - expires >= AFTER_EXPIRY:
        yield "it was not received in the time for which it was signed"


def _course_faults(posting: Entry, shown: _Shown) -> Iterator[str]:
    """Yield what else the log says of the payment that does not fit its posting."""
    accepted = shown.about(ACCEPTED)
    if len(accepted) > 1:
        yield "it was accepted more than once"
    for entry in accepted:
        said = [entry.facts[name] for name in ("evidence_class", "signer", "device", "received_at", "document_hash")]
        posted = [posting.facts[name] for name in ("evidence_class", "signer", "device", "received_at")]
        if said != [*posted, shown.order.document_hash] or entry.index > posting.index:
            yield f"{entry.where} does not accept it as it was posted"
    approvals = [entry for entry in shown.about(APPROVED) if entry.index < posting.index]
    if shown.about(HELD) and not approvals:
        yield "it was held, and nobody approved it before it was posted"
    for entry in shown.about(APPROVED):
        if entry.facts["choice"] != "approve" or entry.facts["by"] == posting.facts["signer"]:
            yield f"{entry.where} is no approval by somebody else"
    for kind in ENDED:
        for entry in shown.about(kind):
            yield f"{entry.where} says {kind} of a payment that was posted"


def _device_faults(device: Device, sponsor: Device | None, posting: Entry, shown: _Shown) -> Iterator[str]:
    """Yield why a device does not count: the first one for the payment, each other one for the device before it."""
    enrolments = shown.about(ENROLLED, device)
    if len(enrolments) != 1:
        yield f"the log says {len(enrolments)} times that it was enrolled"
        return
    enrolled = enrolments[0]
    facts = enrolled.facts
    said = (device.user, device.algorithm, device.document_hash, device.sponsor, device.bank)
    if said != (*(facts.get(name) for name in ("user", "algorithm", "document_hash", "sponsor")), shown.bank):
        yield "it was enrolled otherwise than its enrolment says"
    if device.user != posting.facts["signer"]:
        yield "it is the device of another user"
    if enrolled.index > posting.index:
        yield "its enrolment was logged after the posting"
    place = shown.devices.index(device)
    if place == 0:
        yield from _standing_faults(device, _instant(posting, "received_at"), shown)
    if sponsor is not None:
        yield from _sponsor_faults(sponsor, enrolled, shown)


def _sponsor_faults(sponsor: Device, enrolled: Entry, shown: _Shown) -> Iterator[str]:
    for entry in shown.about(ENROLLED, sponsor):
        if entry.index > enrolled.index:
            yield "its sponsor was logged as enrolled only after it"
    for fault in _standing_faults(sponsor, _instant(enrolled, "enrolled_at"), shown):
        yield f"its sponsor: {fault}"


def _standing_faults(device: Device, time: datetime, shown: _Shown) -> Iterator[str]:
    """Yield why a device could not sign at a time."""
    for entry in shown.about(ENROLLED, device):
        if _instant(entry, "active_from") > time:
            yield "device not active yet when it signed"
    for entry in shown.about(REVOKED, device):
        if entry.facts["user"] != device.user:
            yield f"{entry.where} revokes it for another user"
        if _instant(entry, "revoked_at") <= time:
            yield f"revoked device: {entry.where} says so from {entry.facts['revoked_at']} on"


def _instant(entry: Entry, name: str) -> datetime:
    return parse_instant(entry.facts[name], entry.where)


def _tell(posting: Entry, shown: _Shown, findings: Findings) -> None:
    facts = posting.facts
    parties = f"from {facts['debtor_account']} to {facts['creditor_account']}"
    findings.checked += [
        f"{len(shown.entries)} entries: each opens its leaf and is in the tree of the checkpoint",
        f"payment {facts['payment']}: {facts['currency']} {facts['amount']} {parties}",
        f"posted on {facts['booking_date']} (entry {posting.index})",
        f"signed by device {facts['device']} of user {facts['signer']}, received at {facts['received_at']}",
    ]
    for entry in shown.about(APPROVED):
        findings.checked.append(f"approved by user {entry.facts['by']} ({entry.where})")
    for device in shown.devices:
        (enrolled,) = shown.about(ENROLLED, device)
        by = f"by device {device.sponsor}" if device.sponsor else "by the word of the bank alone"
        if "proposal" in enrolled.facts:
            by += f" (proposal {enrolled.facts['proposal']})"
        at = enrolled.facts["enrolled_at"]
        findings.checked.append(f"device {device.id}: {device.algorithm}, enrolled {by} at {at} ({enrolled.where})")
