"""Reads what others wrote: each text has one meaning and one form. Anything else is a `Fault`."""

import json
import re
from base64 import b64decode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

MAX_FAULTS = 100


class Fault(Exception):
    """What is wrong, and where, such that the check cannot go on."""


@dataclass(slots=True)
class Findings:
    """What was found of one thing, in sentences."""

    subject: str
    kind: str
    checked: list[str] = field(default_factory=list)
    noticed: list[str] = field(default_factory=list)
    not_shown: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def require(self, holds: bool, fault: str) -> None:
        """Note a fault unless this holds, and go on."""
        if not holds and len(self.faults) == MAX_FAULTS:
            raise Fault(f"there are more than {MAX_FAULTS} faults: the check ended here")
        if not holds:
            self.faults.append(fault)


_TYPES = {"text": str, "int": int, "list": list, "any": object}
# form -> which texts have it, how they are read, and how that is written, which must be the same text again
_FORMS: dict[str, tuple[str, Any, Any]] = {
    "whole": ("[0-9]{1,18}", int, str),
    "hash": ("[0-9a-f]{64}", bytes.fromhex, bytes.hex),
    "time": (".+Z", datetime.fromisoformat, lambda at: at.isoformat("T", "milliseconds").replace("+00:00", "Z")),
    "base64": (".+", b64decode, lambda raw: b64encode(raw).decode()),
    "base64url": (".+", lambda s: urlsafe_b64decode(s + "=="), lambda raw: urlsafe_b64encode(raw).decode().rstrip("=")),
}


def parse(form: str, value: object, where: str) -> Any:
    """Return what a value of this form means."""
    if form == "hashes":
        return [parse("hash", each, where) for each in parse("list", value, where)]
    if form in _TYPES and isinstance(value, _TYPES[form]) and not isinstance(value, bool):
        return value
    if form in _FORMS and isinstance(value, str):
        pattern, read, write = _FORMS[form]
        with suppress(ValueError):
            if re.fullmatch(pattern, value) and write(meaning := read(value)) == value:
                return meaning
    raise Fault(f'{where}: "{str(value)[:40]}" is not a {form} in its one form')


def exactly(value: object, where: str, shape: str) -> dict[str, Any]:
    """Return what the members of an object mean. Its shape names all: "name", "name:form", "?" if it may be missing."""
    if not isinstance(value, dict):
        raise Fault(f"{where}: it is not an object")
    members = {}
    for word in shape.split():
        name, _, form = word.removesuffix("?").partition(":")
        if name in value:
            members[name] = parse(form or "text", value[name], f"{where}: {name}")
        elif not word.endswith("?"):
            raise Fault(f'{where}: "{name}" is missing')
    for name in value:
        if name not in members:
            raise Fault(f'{where}: "{name[:40]}" is not understood')
    return members


def parse_json(content: bytes, where: str) -> object:
    """Return the value of a JSON text (RFC 8259) in which no name comes twice."""
    try:
        value: object = json.loads(content.decode(), object_pairs_hook=_object)
        json.dumps(value, ensure_ascii=False).encode()  # refuses halves of surrogate pairs
    except (ValueError, RecursionError) as error:
        raise Fault(f"{where}: it is not JSON as it must be: {error}") from None
    return value


def _object(members: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(members)
    if len(value) != len(members):
        raise ValueError("a name comes twice in one object")
    return value


def parse_canonical(text: str, where: str) -> dict[str, Any]:
    """Return the object that a text writes in its canonical form (RFC 8785, for names in ASCII, without fractions)."""
    value = parse_json(text.encode(), where)
    canonical = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    if not isinstance(value, dict) or text != canonical:
        raise Fault(f"{where}: it is not an object in canonical form (RFC 8785)")
    return value
