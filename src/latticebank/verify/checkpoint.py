"""A checkpoint: what a log signed about the size and root of its tree, and who witnessed it (C2SP tlog-checkpoint)."""

from datetime import UTC, datetime
from typing import NamedTuple

from latticebank.verify.findings import Fault, Findings
from latticebank.verify.merkle import EMPTY_ROOT
from latticebank.verify.notes import ED25519, ML_DSA_44_COSIGNATURE, Signed, TreeHead, VerifierKey, parse_note
from latticebank.verify.policy import Policy
from latticebank.verify.strict import parse_base64, parse_whole


class _Trusted(NamedTuple):
    """What the keys of the policy say: times of the log's signatures and of each witness, and how many are unknown."""

    by_log: dict[VerifierKey, int | None]
    by_witness: dict[str, int]
    unknown: int


def verify_checkpoint(note: str, policy: Policy, findings: Findings, where: str = "checkpoint") -> TreeHead:
    """Return what a checkpoint says, if all keys of its log signed it and enough witnesses did.

    Raises:
        Fault: it is malformed, a signature is missing or wrong, or the quorum is not met.

    """
    signed = parse_note(note, where)
    head = _parse_head(signed.text, where)
    trusted = _verify_signatures(signed, head, policy)
    keys = [key for key in policy.logs if key.name == head.origin]
    if {key.kind for key in keys} != {ED25519, ML_DSA_44_COSIGNATURE}:
        raise Fault(where, f"the policy does not name both an Ed25519 and an ML-DSA-44 key of the log {head.origin}")
    for key in keys:
        if key not in trusted.by_log:
            raise Fault(where, f"the log did not sign it with its {key.algorithm} key")
    if not policy.is_met(set(trusted.by_witness)):
        raise Fault(where, f"too few witnesses of the policy signed it: {', '.join(trusted.by_witness) or 'none'}")
    times = [time for time in trusted.by_log.values() if time is not None]
    findings.checked.append(
        f"{where}: {head.size} entries of {head.origin} at {_time(max(times))}, root {head.root.hex()}, "
        f"signed by {' and '.join(key.algorithm for key in keys)}"
    )
    for name, time in trusted.by_witness.items():
        findings.checked.append(f"{where}: witnessed by {name} ({policy.witnesses[name].name}) at {_time(time)}")
    if not trusted.by_witness:
        findings.noticed.append(f"{where}: unwitnessed: only the log says that it shows everybody the same")
    if trusted.unknown:
        findings.noticed.append(f"{where}: {trusted.unknown} signatures by keys that the policy does not name")
    return head


def _parse_head(text: str, where: str) -> TreeHead:
    lines = text.split("\n")
    if len(lines) != 4 or not 0 < len(lines[0].encode()) < 256:
        raise Fault(where, "a checkpoint has three lines: origin, size and root")
    head = TreeHead(lines[0], parse_whole(lines[1], where), parse_base64(lines[2], where))
    if len(head.root) != 32 or (head.size == 0 and head.root != EMPTY_ROOT):
        raise Fault(where, "its root is none of a tree of its size")
    return head


def _verify_signatures(signed: Signed, head: TreeHead, policy: Policy) -> _Trusted:
    """Verify what keys of the policy signed; one wrong signature of a known key spoils the note."""
    logs = {(key.name, key.key_id): key for key in policy.logs if key.name == head.origin}
    witnesses = {(key.name, key.key_id): name for name, key in policy.witnesses.items()}
    by_log: dict[VerifierKey, int | None] = {}
    by_witness: dict[str, int] = {}
    unknown = 0
    for name, key_id, signature in signed.signatures:
        if (key := logs.get((name, key_id))) is not None and key not in by_log:
            by_log[key] = key.check(signature, signed.text, head)
        elif (witness := witnesses.get((name, key_id))) is not None and witness not in by_witness:
            by_witness[witness] = policy.witnesses[witness].check(signature, signed.text, head) or 0
        elif key is not None or (name, key_id) in witnesses:
            raise Fault(f"the signature of {name}", "it is there twice")
        else:
            unknown += 1
    return _Trusted(by_log, by_witness, unknown)


def _time(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}" if seconds else "a time that it does not say"
