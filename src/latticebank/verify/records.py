"""Records of the log: what a leaf commits to, and which facts each kind of record has."""

import re
from dataclasses import dataclass
from hashlib import sha256

from latticebank.verify.findings import Fault
from latticebank.verify.merkle import leaf_hash
from latticebank.verify.strict import exactly, parse_canonical, parse_hash, parse_instant, texts

LEAF_VERSION = 1
LEAF_BYTES = 33
MAX_RECORD_BYTES = 8_192

ACCEPTED, HELD, APPROVED, POSTED = "payment.accepted", "payment.held", "payment.approved", "payment.posted"
ENROLLED, REVOKED = "device.enrolled", "device.revoked"
ENDED = ("payment.rejected", "payment.failed", "payment.cancelled", "payment.decided")
"""What no payment that was posted has: `payment.decided` is every decision but the approval."""
LEDGER_BATCH = "ledger.batch"
BEGUN = "log.begun"

_COMMON = "at bank event kind"
# kind -> members that it has, members that it may have
MEMBERS = {
    ACCEPTED: ("payment evidence_class signer device document_hash received_at", "count"),
    HELD: ("payment signer reason", "evidence"),
    APPROVED: ("payment choice by device document_hash", ""),
    POSTED: (
        "payment evidence_class signer device debtor_account creditor_account amount currency booking_date received_at",
        "evidence batch",
    ),
    "payment.decided": ("payment choice", "by device document_hash"),
    "payment.rejected": ("payment signer", "reason evidence"),
    "payment.failed": ("payment signer", "reason evidence"),
    "payment.cancelled": ("payment signer", "evidence"),
    ENROLLED: ("device user algorithm document_hash enrolled_at active_from", "sponsor proposal by session"),
    REVOKED: ("device user revoked_at", "reason by session"),
    LEDGER_BATCH: ("shard first_seq next_seq link", ""),
}
_EVENT = re.compile(r"[0-9a-f-]{36}#(?:0|[1-9][0-9]{0,9})")

Facts = dict[str, str]


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the log that was opened: its place, and what is recorded in it."""

    index: int
    facts: Facts

    @property
    def where(self) -> str:
        """Its name in what is told."""
        return f"entry {self.index}"


def committed(salt: str, record: str, where: str) -> bytes:
    """Return the leaf that commits to a record under a salt: version 1, then SHA-256(salt || record).

    Raises:
        Fault: the salt is not 32 bytes, or the record is too long or not in ASCII.

    """
    if not record.isascii() or len(record) > MAX_RECORD_BYTES:
        raise Fault(where, f"a record is ASCII and has at most {MAX_RECORD_BYTES} bytes")
    return bytes([LEAF_VERSION]) + sha256(parse_hash(salt, where) + record.encode()).digest()


def committed_hash(salt: str, record: str, where: str) -> bytes:
    """Return the hash of the leaf that commits to a record (RFC 9162, 2.1.1); faults as of `committed`."""
    return leaf_hash(committed(salt, record, where))


def parse_record(record: str, where: str) -> Facts:
    """Return the facts of a record in canonical form, all of them texts.

    Raises:
        Fault: it is no such record; of a kind in `MEMBERS`, it has other members than these.

    """
    facts = parse_canonical(record, where)
    kind = facts.get("kind")
    if isinstance(kind, str) and kind in MEMBERS:
        required, optional = MEMBERS[kind]
        exactly(facts, where, texts(f"{_COMMON} {required}"), optional)
    else:
        exactly(facts, where, texts(" ".join({*_COMMON.split(), *facts})))
    parse_instant(facts["at"], where)
    if not _EVENT.fullmatch(facts["event"]):
        raise Fault(where, "its event is none")
    if "" in facts.values():
        raise Fault(where, "a member is empty")
    return facts


def is_log_of(origin: str, bank: str) -> bool:
    """Whether a log of this origin is one of a bank: `<bank>/log` is its first, `<bank>/log/2` its second."""
    rest = origin.removeprefix(f"{bank}/log")
    return rest != origin and re.fullmatch(r"|/(?:[2-9]|[1-9][0-9]{1,5})", rest) is not None
