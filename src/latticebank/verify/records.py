"""Records of the log: what a leaf commits to, and the members of the kinds that verification has a rule for."""

import re
from hashlib import sha256
from typing import Any

from latticebank.verify.strict import Fault, exactly, parse, parse_canonical

LEAF_BYTES, MAX_RECORD_BYTES = 33, 8_192
Facts = dict[str, Any]
_SHAPES = {
    "payment.accepted": "payment evidence_class signer device document_hash received_at:time count:whole?",
    "payment.held": "payment signer reason evidence?",
    "payment.approved": "payment choice by device document_hash",
    "payment.posted": "payment evidence_class evidence? signer device debtor_account creditor_account amount currency "
    "booking_date received_at:time batch?",
    **dict.fromkeys(("payment.rejected", "payment.failed", "payment.cancelled"), "payment signer reason? evidence?"),
    "device.enrolled": "device user algorithm document_hash enrolled_at:time active_from:time "
    "sponsor? proposal? by? session?",
    "device.revoked": "device user revoked_at:time reason? by? session?",
    "ledger.batch": "shard first_seq:whole next_seq:whole link",
}


def committed(salt: str, record: str, where: str) -> bytes:
    """Return the leaf that commits to a record under a salt: version 1, then SHA-256(salt || record)."""
    if not record.isascii() or len(record) > MAX_RECORD_BYTES:
        raise Fault(f"{where}: a record is ASCII and has at most {MAX_RECORD_BYTES} bytes")
    return b"\x01" + sha256(parse("hash", salt, where) + record.encode()).digest()


def parse_record(record: str, where: str) -> Facts:
    """Return the facts of a record. Those of a kind without a rule are texts of any name."""
    said = parse_canonical(record, where)
    common = ("at", "bank", "event", "kind")
    of_kind = _SHAPES.get(str(said.get("kind"))) or " ".join(n for n in said if n.isidentifier() and n not in common)
    facts = exactly(said, where, f"at:time bank event kind {of_kind}")
    if not re.fullmatch("[0-9a-f-]{36}#(0|[1-9][0-9]{0,9})", facts["event"]) or "" in facts.values():
        raise Fault(f"{where}: its event is none, or a member is empty")
    return facts
