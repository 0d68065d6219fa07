"""Whom the reader trusts (C2SP tlog-policy), and the checkpoints that these signed (tlog-checkpoint, tlog-cosignature)."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import NamedTuple

from latticebank.verify.signatures import is_signed
from latticebank.verify.strict import Fault, Findings, parse

MAX_NOTE_BYTES = 65_536
ED25519, ED25519_COSIGNATURE, ML_DSA_44_COSIGNATURE = 0x01, 0x04, 0x06
_KINDS = {ED25519: ("Ed25519", 32), ED25519_COSIGNATURE: ("Ed25519", 32), ML_DSA_44_COSIGNATURE: ("ML-DSA-44", 1312)}
_MAX_LINES, _MAX_SIGNATURES = 1_000, 64
_YEAR_10000 = 253_402_300_800
EMPTY_ROOT = sha256().digest()


class TreeHead(NamedTuple):
    """What a checkpoint says: `size` leaves of the log `origin` have this root."""

    origin: str
    size: int
    root: bytes


class Key(NamedTuple):
    """A key of a log or a witness; `kind` is the type of its signatures."""

    name: str
    key_id: bytes
    kind: int
    algorithm: str
    public_key: bytes

    def verified_time(self, signature: bytes, text: str, head: TreeHead) -> int:
        """Return when this key signed a checkpoint, in POSIX seconds; 0 where the signature has no time."""
        time, message = 0, text.encode()
        if self.kind != ED25519:
            time, signature = int.from_bytes(signature[:8]), signature[8:]
            message = f"cosignature/v1\ntime {time}\n{text}".encode()
        if self.kind == ML_DSA_44_COSIGNATURE:
            name, origin = (len(each).to_bytes() + each for each in (self.name.encode(), head.origin.encode()))
            tree = bytes(8) + head.size.to_bytes(8) + head.root
            message = b"subtree/v1\n\0" + name + time.to_bytes(8) + origin + tree
        if time >= _YEAR_10000 or not is_signed(self.algorithm, self.public_key, signature, message):
            raise Fault(f"checkpoint: the {self.algorithm} signature of {self.name} does not verify")
        return time


def parse_key(text: str, where: str) -> Key:
    """Return the key that a text such as `name+0123abcd+base64` writes."""
    name, key_id, encoded = [*text.split("+", 2), "", ""][:3]
    material = parse("base64", encoded, where)
    kind, public_key = material[0], material[1:]
    algorithm, key_bytes = _KINDS.get(kind, ("", -1))
    if not _is_name(name) or len(public_key) != key_bytes:
        raise Fault(f"{where}: this is no key of a kind that is known here, with a name without spaces")
    if key_id != sha256(name.encode() + b"\n" + material).hexdigest()[:8]:
        raise Fault(f"{where}: the identifier of the key is not that of the key")
    return Key(name, bytes.fromhex(key_id), kind, algorithm, public_key)


def _is_name(text: str) -> bool:
    return re.fullmatch(r"[^+\s\ud800-\udfff]+", text) is not None and len(text.encode()) < 256


@dataclass(slots=True)
class Policy:
    """The logs and witnesses that count; the threshold and members of each group, in the order of their definition."""

    logs: list[Key] = field(default_factory=list)
    witnesses: dict[str, Key] = field(default_factory=dict)
    groups: dict[str, tuple[int, list[str]]] = field(default_factory=dict)
    quorum: str = ""

    def is_met(self, witnessed: set[str]) -> bool:
        """Whether these witnesses, by their names in the policy, make the quorum."""
        met = {"none", *witnessed}
        for name, (threshold, members) in self.groups.items():
            if sum(member in met for member in members) >= threshold:
                met.add(name)
        return self.quorum in met


def parse_policy(content: bytes) -> Policy:
    """Return the policy that a file writes."""
    text, policy = content.decode(errors="surrogateescape"), Policy()
    if not text.endswith("\n") or text.count("\n") > _MAX_LINES or re.search(r"[\0-\x08\x0b-\x1f\x7f]", text):
        raise Fault(f"policy: it is not 1 to {_MAX_LINES} lines, each ended by a newline, without control characters")
    for number, line in enumerate(text.split("\n"), start=1):
        words = re.findall(r"[^ \t]+", line)
        if words and not words[0].startswith("#"):
            _add(policy, words, f"policy, line {number}")
    if not policy.quorum:
        raise Fault("policy: it has no quorum line")
    return policy


def _add(policy: Policy, words: list[str], where: str) -> None:
    defined = {"none", *policy.witnesses, *policy.groups}
    match words:
        case ["log", key] | ["log", key, _]:
            policy.logs.append(_new_key(policy, key, ED25519, where))
        case ["witness", name, key] | ["witness", name, key, _] if name not in defined:
            policy.witnesses[name] = _new_key(policy, key, ED25519_COSIGNATURE, where)
        case ["group", name, threshold, *members] if members and name not in defined:
            taken = ["none", *members, *(member for _, others in policy.groups.values() for member in others)]
            if not set(members) <= defined or len(set(taken)) < len(taken):
                raise Fault(f"{where}: a member of the group is not defined before, or a member more than once")
            thresholds = {"any": 1, "all": len(members)} | {str(n): n for n in range(1, len(members) + 1)}
            if threshold not in thresholds:
                raise Fault(f"{where}: the threshold is all, any, or a number from 1 to that of the members")
            policy.groups[name] = thresholds[threshold], members
        case ["quorum", name] if name in defined and not policy.quorum:
            policy.quorum = name
        case _:
            raise Fault(f"{where}: it is not understood, or it defines a name again, or uses one not yet defined")


def _new_key(policy: Policy, text: str, ed25519: int, where: str) -> Key:
    key, keys = parse_key(text, where), (*policy.logs, *policy.witnesses.values())
    known = any(each.public_key == key.public_key or each[:2] == key[:2] for each in keys)
    if known or key.kind not in (ed25519, ML_DSA_44_COSIGNATURE):
        raise Fault(f"{where}: this key is in the policy already, or its type is not for this")
    return key


def parse_note(note: bytes) -> tuple[str, list[tuple[str, bytes]]]:
    """Return the text of a signed note, and whose signatures are under it, none verified (C2SP signed-note).

    In front of each signature are the 4 bytes that identify its key.
    """
    try:
        text, _, under = note.decode().rpartition("\n\n")
    except UnicodeDecodeError as error:
        raise Fault(f"checkpoint: byte {error.start} is not UTF-8") from None
    if len(note) > MAX_NOTE_BYTES or re.search(r"[\0-\x09\x0b-\x1f]", f"{text}{under}"):
        raise Fault(f"checkpoint: it has more than {MAX_NOTE_BYTES} bytes, or a control character")
    lines = re.findall(r"\u2014 (\S+) (\S+)\n", under)
    signatures = [(name, parse("base64", raw, "checkpoint")) for name, raw in lines]
    whole = under == "".join(f"\u2014 {name} {raw}\n" for name, raw in lines)
    if not text or not whole or not 0 < len(lines) <= _MAX_SIGNATURES:
        raise Fault(f"checkpoint: it is not a text, an empty line and 1 to {_MAX_SIGNATURES} signatures")
    if not all(_is_name(name) and len(raw) > 4 for name, raw in signatures):
        raise Fault("checkpoint: a line under it is no signature")
    return f"{text}\n", signatures


def _parse_head(text: str) -> TreeHead:
    lines = text.split("\n")
    if len(lines) != 4 or not 0 < len(lines[0].encode()) < 256:
        raise Fault("checkpoint: it has three lines: origin, size and root")
    head = TreeHead(lines[0], parse("whole", lines[1], "checkpoint"), parse("base64", lines[2], "checkpoint"))
    if len(head.root) != 32 or (head.size == 0 and head.root != EMPTY_ROOT):
        raise Fault("checkpoint: its root is none of a tree of its size")
    return head


def verify_checkpoint(note: bytes, policy: Policy, findings: Findings) -> TreeHead:
    """Return what a checkpoint says, if both keys of its log signed it and enough witnesses did."""
    text, signatures = parse_note(note)
    head = _parse_head(text)
    logs = [key for key in policy.logs if key.name == head.origin]
    trusted = {(key.name, key.key_id): key for key in (*logs, *policy.witnesses.values())}
    signed: dict[Key, int] = {}
    for name, raw in signatures:
        if (key := trusted.get((name, raw[:4]))) is not None:
            if key in signed:
                raise Fault(f"checkpoint: the signature of {name} is there twice")
            signed[key] = key.verified_time(raw[4:], text, head)
    if {key.kind for key in logs} != {ED25519, ML_DSA_44_COSIGNATURE}:
        raise Fault(f"checkpoint: the policy does not name both an Ed25519 and an ML-DSA-44 key of {head.origin}")
    for key in logs:
        if key not in signed:
            raise Fault(f"checkpoint: the log did not sign it with its {key.algorithm} key")
    witnessed = {name: key for name, key in policy.witnesses.items() if key in signed}
    if not policy.is_met(set(witnessed)):
        raise Fault(f"checkpoint: too few witnesses of the policy signed it: {', '.join(witnessed) or 'none'}")
    findings.checked.append(
        f"checkpoint: {head.size} entries of {head.origin} at {_time(max(signed[key] for key in logs))}, "
        f"root {head.root.hex()}, signed by {' and '.join(key.algorithm for key in logs)}"
    )
    for name, key in witnessed.items():
        findings.checked.append(f"checkpoint: witnessed by {name} ({key.name}) at {_time(signed[key])}")
    if not witnessed:
        findings.noticed.append("checkpoint: unwitnessed: only the log says that it shows everybody the same")
    if strangers := len(signatures) - len(signed):
        findings.noticed.append(f"checkpoint: {strangers} signatures by keys that the policy does not name")
    return head


def _time(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}" if seconds else "a time that it does not say"
