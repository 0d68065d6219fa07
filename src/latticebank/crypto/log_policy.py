"""Which logs and witnesses somebody trusts, in a file: C2SP tlog-policy.

Only what names keys is read here: `log` and `witness` lines. The rule of how many witnesses make a checkpoint good
(`group`, `quorum`) is for whoever verifies offline.
"""

from dataclasses import dataclass

from latticebank.crypto.errors import MalformedNote
from latticebank.crypto.notes import ED25519_COSIGNATURE, ED25519_NOTE, ML_DSA_44_COSIGNATURE, NoteKey, parse_vkey

MAX_POLICY_BYTES = 1 << 20
_PASSED_OVER = ("group", "quorum")
_OF_LOGS = (ED25519_NOTE, ML_DSA_44_COSIGNATURE)
_OF_WITNESSES = (ED25519_COSIGNATURE, ML_DSA_44_COSIGNATURE)


@dataclass(frozen=True, slots=True)
class NamedWitness:
    """A witness by the name that the file gives it, its key, and where it answers, if that is said."""

    name: str
    key: NoteKey
    url: str | None


@dataclass(frozen=True, slots=True)
class LogPolicy:
    """The keys of logs, each under the origin of its log, and the witnesses."""

    logs: tuple[NoteKey, ...]
    witnesses: tuple[NamedWitness, ...]

    def keys_of(self, origin: str) -> tuple[NoteKey, ...]:
        """Return the keys of the log of an origin; all of them sign each checkpoint."""
        return tuple(key for key in self.logs if key.name == origin)


def parse_policy(raw: bytes) -> LogPolicy:
    """Return the policy of a file.

    Raises:
        MalformedNote: a line is none of a policy; the message says which.

    """
    if len(raw) > MAX_POLICY_BYTES:
        raise MalformedNote(f"a policy has at most {MAX_POLICY_BYTES} bytes")
    logs: list[NoteKey] = []
    witnesses: list[NamedWitness] = []
    for number, line in enumerate(raw.decode("utf-8", "replace").split("\n"), 1):
        words = line.replace("\t", " ").split(" ")
        match [word for word in words if word]:
            case []:
                continue
            case [first, *_] if first.startswith("#") or first in _PASSED_OVER:
                continue
            case ["log", vkey] | ["log", vkey, _]:
                logs.append(_key(vkey, _OF_LOGS, number))
            case ["witness", name, vkey]:
                witnesses.append(NamedWitness(name, _key(vkey, _OF_WITNESSES, number), None))
            case ["witness", name, vkey, url]:
                witnesses.append(NamedWitness(name, _key(vkey, _OF_WITNESSES, number), url))
            case _:
                raise MalformedNote(f"line {number} of the policy is none: {line[:80]!a}")
    materials = [key.public for key in (*logs, *(each.key for each in witnesses))]
    if len(set(materials)) != len(materials):
        raise MalformedNote("the policy names one key twice")
    return LogPolicy(tuple(logs), tuple(witnesses))


def _key(vkey: str, kinds: tuple[int, ...], number: int) -> NoteKey:
    try:
        key = parse_vkey(vkey)
    except MalformedNote as error:
        raise MalformedNote(f"line {number} of the policy: {error.detail}", hint=error.hint) from error
    if key.kind not in kinds:
        raise MalformedNote(f"line {number} of the policy: a key of type {key.kind:#04x} is not for this")
    return key
