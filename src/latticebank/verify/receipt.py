"""A receipt: that a payment was signed by a device of the payer that was good at the time, and stands in the log."""

import re
from datetime import timedelta
from hashlib import sha256
from typing import NamedTuple

from latticebank.verify.checkpoint import Policy, TreeHead, verify_checkpoint
from latticebank.verify.merkle import is_included, leaf_hash
from latticebank.verify.records import Facts, committed, parse_record
from latticebank.verify.signatures import DEVICE_ALGORITHMS, is_signed
from latticebank.verify.strict import Fault, Findings, exactly, parse, parse_canonical, parse_json

_MAX_ENTRIES, _MAX_DEVICES = 1_000, 100
_BEFORE_CREATED = timedelta(seconds=60)  # the clock of a device may be ahead of the bank's
_AFTER_EXPIRY = timedelta(minutes=5)  # what came in time may take a while to be stored

_RECEIPT = "type bank payment document signature:base64url in_batch:any devices:list entries:list checkpoint"
_DEVICE = "document signature:base64url sponsor_signature:any"
_SIGNED = "type bank id device created:time expires:time"
_PAYMENT = f"{_SIGNED} debtor_account creditor_account creditor_name amount currency reference?"
_CASH = f"{_SIGNED} direction till account amount currency reference?"
_BATCH = f"{_SIGNED} debtor_account count:whole root:hash totals:any"
_IN_BATCH = "id salt creditor_account creditor_name amount currency reference?"
_ENROLMENT = f"{_SIGNED} user algorithm public_key:base64url sponsor?"


class _Entry(NamedTuple):
    place: int
    where: str
    facts: Facts


class _Receipt(NamedTuple):
    """What a receipt shows, and `expected`: what the posting of what was signed says."""

    bank: str
    payment: str
    document: Facts
    expected: Facts
    devices: list[Facts]
    entries: list[_Entry]

    def about(self, kind: str, device: Facts | None = None) -> list[_Entry]:
        """Return the entries of a kind, in the order of the log; of one device where it is named."""
        entries = [entry for entry in self.entries if entry.facts["kind"] == kind]
        return [entry for entry in entries if device is None or entry.facts["device"] == device["device"]]


def verify_receipt(content: bytes, policy: Policy, findings: Findings) -> TreeHead:
    """Verify a receipt; return what its checkpoint says."""
    shown = exactly(parse_json(content, "receipt"), "receipt", _RECEIPT)
    bank, text = shown["bank"], shown["document"]
    if shown["type"] != "latticebank/receipt/v1":
        raise Fault("receipt: it is of no type that is understood")
    head = verify_checkpoint(shown["checkpoint"].encode(), policy, findings)
    of_bank = re.fullmatch(re.escape(bank) + "/log(/[2-9]|/[1-9][0-9]{1,5})?", head.origin) is not None
    findings.require(of_bank, f"checkpoint: {head.origin} is not a log of {bank}")
    document, expected = _parse_document(text, shown["in_batch"])
    devices = _signed_devices(shown["devices"], findings)
    signed = _is_signed_by(devices[0], shown["signature"], text, document["type"])
    findings.require(signed, "signature: it is not the signature of the document by the first device")
    entries = _proven_entries(shown["entries"], head)
    receipt = _Receipt(bank, shown["payment"], document, expected, devices, entries)
    postings = receipt.about("payment.posted")
    if len(postings) != 1:
        raise Fault(f"entries: a receipt shows one posting, not {len(postings)}")
    _check_posting(receipt, postings[0], findings)
    _check_entries(receipt, postings[0], findings)
    _check_devices(receipt, postings[0], findings)
    if not findings.faults:
        _tell(receipt, postings[0].facts, postings[0].where, findings)
    return head


def _proven_entries(shown: list[object], head: TreeHead) -> list[_Entry]:
    """Return the entries in their order: each opens its leaf, which is in the tree of the checkpoint."""
    if len(shown) > _MAX_ENTRIES:
        raise Fault(f"entries: a receipt shows at most {_MAX_ENTRIES} entries")
    entries: dict[int, _Entry] = {}
    for each in shown:
        opened = exactly(each, "entries", "index:int salt record proof:hashes")
        index, where = opened["index"], f"entry {opened['index']}"
        leaf = leaf_hash(committed(opened["salt"], opened["record"], where))
        if index in entries or not is_included(leaf, index, head.size, opened["proof"], head.root):
            raise Fault(f"{where}: it is there twice, or its proof does not lead from what it opens to the checkpoint")
        entries[index] = _Entry(index, where, parse_record(opened["record"], where))
    return [entries[index] for index in sorted(entries)]


def _parse_document(text: str, in_batch: object) -> tuple[Facts, Facts]:
    """Return the document that was signed, and what the posting of the payment must say."""
    said, evidence, batch = parse_canonical(text, "document"), sha256(text.encode()).digest(), None
    match said.get("type"), in_batch:
        case "latticebank/payment/v1", None:
            document = paid = exactly(said, "document", _PAYMENT)
            evidence_class = "payment"
        case "latticebank/cash/v1", None:
            document = exactly(said, "document", _CASH)
            evidence_class = "cash"
            parties = {"deposit": ("till", "account"), "withdrawal": ("account", "till")}.get(document["direction"])
            if parties is None:
                raise Fault("document: its direction is neither deposit nor withdrawal")
            paid = document | {"debtor_account": document[parties[0]], "creditor_account": document[parties[1]]}
        case "latticebank/batch/v1", dict():
            document = exactly(said, "document", _BATCH)
            evidence_class, batch = "batch", document["id"]
            shown = exactly(in_batch, "in_batch", "payment place:int count:int proof:hashes")
            evidence, count = leaf_hash(shown["payment"].encode()), document["count"]
            included = is_included(evidence, shown["place"], count, shown["proof"], document["root"])
            if shown["count"] != count or not included:
                raise Fault("in_batch: the batch that was signed does not hold this payment at this place")
            paid = exactly(parse_canonical(shown["payment"], "in_batch"), "in_batch", _IN_BATCH)
            paid["debtor_account"] = document["debtor_account"]
        case _:
            raise Fault("document: it is none that moves money, or in_batch is there and should not be, or is not")
    expected = {name: paid[name] for name in ("debtor_account", "creditor_account", "amount", "currency")}
    expected |= {"payment": paid["id"], "device": document["device"], "batch": batch}
    document["document_hash"] = sha256(text.encode()).hexdigest()
    return document, {"evidence": evidence.hex(), "evidence_class": evidence_class} | expected


def _signed_devices(parts: list[object], findings: Findings) -> list[Facts]:
    """Return the device that signed the document, then the sponsor of each; both signed the enrolment."""
    if not 0 < len(parts) <= _MAX_DEVICES:
        raise Fault(f"devices: a receipt shows 1 to {_MAX_DEVICES} devices")
    devices: list[Facts] = []
    for part in reversed(parts):
        shown = exactly(part, "devices", _DEVICE)
        text, by_sponsor = shown["document"], shown["sponsor_signature"]
        device = exactly(parse_canonical(text, "devices"), "devices", _ENROLMENT)
        device["document_hash"] = sha256(text.encode()).hexdigest()
        where, sponsor = f"device {device['device']}", devices[0] if devices else None
        if device["type"] != "latticebank/enrolment/v1" or device["algorithm"] not in DEVICE_ALGORITHMS:
            raise Fault(f"{where}: it is no enrolment, or its algorithm may not authorise anything")
        if device.get("sponsor") != (sponsor and sponsor["device"]) or (sponsor is None) is not (by_sponsor is None):
            raise Fault(f"{where}: its sponsor is not the device that follows, or only one of both has signed")
        own = _is_signed_by(device, shown["signature"], text, device["type"])
        findings.require(own, f"{where}: its own key did not sign its enrolment")
        if sponsor is not None:
            sponsored = _is_signed_by(sponsor, parse("base64url", by_sponsor, where), text, device["type"])
            findings.require(sponsored, f"{where}: its sponsor did not sign its enrolment")
        devices.insert(0, device)
    return devices


def _is_signed_by(device: Facts, signature: bytes, text: str, context: str) -> bool:
    return is_signed(device["algorithm"], device["public_key"], signature, text.encode(), context.encode())


def _check_posting(receipt: _Receipt, posting: _Entry, findings: Findings) -> None:
    """Check that what was posted is what was signed, for this bank, and in time."""
    document, where, facts = receipt.document, posting.where, posting.facts
    findings.require("evidence" in facts, f"{where}: posting without evidence")
    for name, value in receipt.expected.items():
        findings.require(facts.get(name) == value, f"{where}: the {name} is not the one that was signed")
    findings.require(document["bank"] == receipt.bank, "document: it was signed for another bank")
    early, late = document["created"] - facts["received_at"], facts["received_at"] - document["expires"]
    in_time = early <= _BEFORE_CREATED and late < _AFTER_EXPIRY
    findings.require(in_time, f"{where}: it was not received in the time for which it was signed")


def _check_entries(receipt: _Receipt, posting: _Entry, findings: Findings) -> None:
    """Check that each entry is about this payment, its batch or its devices, and fits the posting."""
    accepted = {name: posting.facts[name] for name in ("evidence_class", "signer", "device", "received_at")}
    accepted["document_hash"] = receipt.document["document_hash"]
    accepted["payment"] = receipt.expected["batch"] or receipt.payment
    accepted |= {name: receipt.document[name] for name in ("count",) if name in receipt.document}
    for place, where, facts in receipt.entries:
        match facts["kind"]:
            case "device.enrolled" | "device.revoked":
                fits = facts["device"] in {device["device"] for device in receipt.devices}
            case "payment.accepted":
                fits = accepted.items() <= facts.items() and place < posting.place
            case "payment.approved":
                by_another = facts["by"] != posting.facts["signer"]
                fits = facts["payment"] == receipt.payment and facts["choice"] == "approve" and by_another
            case "payment.held" | "payment.posted":
                fits = facts["payment"] == receipt.payment
            case _:
                fits = False
        fits = fits and facts["bank"] == receipt.bank
        findings.require(fits, f"{where}: this {facts['kind'][:40]} does not fit the payment that was posted")
    held, approved = receipt.about("payment.held"), receipt.about("payment.approved")
    order = [entry.place for entry in (*held, *approved, posting)]
    sound = len(held) == len(approved) <= 1 and order == sorted(order)
    findings.require(sound, "payment: it was not first held, then approved, then posted, each once")
    times = len(receipt.about("payment.accepted"))
    findings.require(times == 1, f"payment: the log says {times} times that it was accepted")


def _check_devices(receipt: _Receipt, posting: _Entry, findings: Findings) -> None:
    """Check that each device counted when it signed: the first the payment, each other the enrolment before it."""
    need, signed, time = findings.require, posting, posting.facts["received_at"]
    need(receipt.devices[0]["device"] == posting.facts["device"], "devices: the first one is not the one that signed")
    for device in receipt.devices:
        where, enrolments = f"device {device['device']}", receipt.about("device.enrolled", device)
        if len(enrolments) != 1:
            raise Fault(f"{where}: the log says {len(enrolments)} times that it was enrolled")
        enrolled = enrolments[0]
        facts, names = enrolled.facts, ("user", "algorithm", "sponsor", "document_hash", "bank")
        same = all(device.get(name) == facts.get(name) for name in names)
        need(same, f"{where}: it was enrolled otherwise than its enrolment says ({enrolled.where})")
        need(device["user"] == posting.facts["signer"], f"{where}: it is the device of another user")
        need(enrolled.place < signed.place, f"{where}: its enrolment was logged after what it signed ({signed.where})")
        need(facts["active_from"] <= time, f"{where}: device not active yet when it signed ({signed.where})")
        for entry in receipt.about("device.revoked", device):
            need(entry.facts["user"] == device["user"], f"{where}: {entry.where} revokes it for another user")
            need(entry.facts["revoked_at"] > time, f"{where}: revoked device: so says {entry.where}")
        signed, time = enrolled, facts["enrolled_at"]


def _tell(receipt: _Receipt, posting: Facts, where: str, findings: Findings) -> None:
    findings.checked += [
        f"{len(receipt.entries)} entries: each opens its leaf and is in the tree of the checkpoint",
        "payment {payment}: {currency} {amount} from {debtor_account} to {creditor_account}".format(**posting),
        f"posted on {posting['booking_date']} ({where})",
        "signed by device {device} of user {signer}, received at {received_at:%Y-%m-%dT%H:%M:%SZ}".format(**posting),
    ]
    for _, where, facts in receipt.about("payment.approved"):
        findings.checked.append(f"approved by user {facts['by']} ({where})")
    for _, where, facts in reversed(receipt.about("device.enrolled")):
        by = f"device {facts['sponsor']}" if "sponsor" in facts else "the word of the bank alone"
        device = f"device {facts['device']}: {facts['algorithm']}"
        findings.checked.append(f"{device}, enrolled by {by} at {facts['enrolled_at']:%Y-%m-%dT%H:%M:%SZ} ({where})")
