"""Whom to trust: the keys of the logs, the witnesses, and how many of them must have seen a tree (C2SP tlog-policy)."""

from dataclasses import dataclass, field

from latticebank.verify.findings import Fault
from latticebank.verify.notes import ED25519, ED25519_COSIGNATURE, ML_DSA_44_COSIGNATURE, VerifierKey, parse_key

MAX_POLICY_BYTES = 1_048_576
_MAX_LINES = 1_000
_NONE = "none"


@dataclass(slots=True)
class Policy:
    """What a reader trusts. `groups` has each group's threshold and members, in the order of their definition."""

    logs: list[VerifierKey] = field(default_factory=list)
    witnesses: dict[str, VerifierKey] = field(default_factory=dict)
    groups: dict[str, tuple[int, list[str]]] = field(default_factory=dict)
    quorum: str | None = None

    def is_met(self, witnessed: set[str]) -> bool:
        """Whether these witnesses, by their names in the policy, make the quorum."""
        met = {_NONE, *witnessed}
        for name, (threshold, members) in self.groups.items():
            if sum(member in met for member in members) >= threshold:
                met.add(name)
        return self.quorum in met


def parse_policy(content: bytes) -> Policy:
    """Return the policy that a file writes.

    Raises:
        Fault: a line is not understood, or breaks a rule of the format.

    """
    if any((byte < 0x20 and byte not in b"\t\n") or byte == 0x7F for byte in content):
        raise Fault("policy", "it holds a control character")
    text = content.decode(errors="surrogateescape")
    if not text.endswith("\n") or text.count("\n") > _MAX_LINES:
        raise Fault("policy", f"it has 1 to {_MAX_LINES} lines, each ended by a newline")
    policy = Policy()
    for number, line in enumerate(text.split("\n"), start=1):
        words = line.replace("\t", " ").split(" ")
        words = [word for word in words if word]
        if words and not words[0].startswith("#"):
            _add(policy, words, f"policy, line {number}")
    if policy.quorum is None:
        raise Fault("policy", "it has no quorum line")
    return policy


def _add(policy: Policy, words: list[str], where: str) -> None:
    match words:
        case ["log", key] | ["log", key, _]:
            policy.logs.append(_new_key(policy, key, (ED25519, ML_DSA_44_COSIGNATURE), where))
        case ["witness", name, key] | ["witness", name, key, _]:
            _require_new(policy, name, where)
            policy.witnesses[name] = _new_key(policy, key, (ED25519_COSIGNATURE, ML_DSA_44_COSIGNATURE), where)
        case ["group", name, threshold, *members] if members:
            _require_new(policy, name, where)
            policy.groups[name] = (_threshold(threshold, len(members), where), members)
            _require_members(policy, name, where)
        case ["quorum", name]:
            if policy.quorum is not None:
                raise Fault(where, "a policy has one quorum line")
            if name != _NONE and name not in policy.witnesses and name not in policy.groups:
                raise Fault(where, "the quorum is neither a witness nor a group defined before")
            policy.quorum = name
        case _:
            raise Fault(where, "it is not understood")


def _new_key(policy: Policy, text: str, kinds: tuple[int, ...], where: str) -> VerifierKey:
    key = parse_key(text, where)
    if key.kind not in kinds:
        raise Fault(where, f"a key of type {key.kind:#04x} is not for this")
    for known in (*policy.logs, *policy.witnesses.values()):
        if known.public_key == key.public_key or (known.name, known.key_id) == (key.name, key.key_id):
            raise Fault(where, "this key is in the policy already")
    return key


def _require_new(policy: Policy, name: str, where: str) -> None:
    if name == _NONE or name in policy.witnesses or name in policy.groups:
        raise Fault(where, "this name has a meaning already")


def _threshold(text: str, members: int, where: str) -> int:
    if text == "any":
        return 1
    if text == "all":
        return members
    if text in {str(number) for number in range(1, members + 1)}:
        return int(text)
    raise Fault(where, "the threshold of a group is all, any, or a number from 1 to that of its members")


def _require_members(policy: Policy, group: str, where: str) -> None:
    """Check that the members of a new group are defined before, and each name is a member once in the whole policy."""
    taken: set[str] = set()
    for name, (_, members) in policy.groups.items():
        for member in members:
            if member == group or (member not in policy.witnesses and member not in policy.groups):
                raise Fault(where, "a member of the group is not defined before")
            if member in taken:
                raise Fault(where, "a name is a member more than once")
            taken.add(member)
        if name == group:
            return
