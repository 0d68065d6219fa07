"""Strict JSON in the one form of RFC 8785 (JCS): what the bank signs and commits to has exactly one encoding.

A message that a person signs holds no numbers (an amount is a text such as "12.34"), no character that is not what it
looks like, and nothing that two programs could read in two ways.
"""

import json
import re
from collections import Counter
from typing import NoReturn
from unicodedata import is_normalized

import rfc8785

from latticebank.crypto.errors import NotCanonical

MAX_BYTES = 65_536
MAX_DEPTH = 16

# Cc, the bidirectional controls of Unicode 9 (UAX #9, 2), surrogates and noncharacters.
_FORBIDDEN = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef"
    + "".join(chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
    + "]"
)


def canonical_json(value: object) -> bytes:
    """Return the JCS form of dicts, lists, texts, integers up to 2^53, booleans and null.

    Raises:
        NotCanonical: the value holds something that JSON cannot say exactly.

    """
    try:
        return rfc8785.dumps(value)  # type: ignore[arg-type] # what it cannot write, it refuses
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as error:
        raise NotCanonical(f"this has no canonical form: {error}") from error


def parse_canonical(received: bytes, max_bytes: int = MAX_BYTES) -> dict[str, object]:
    """Return the object that these bytes write, if they are its canonical form.

    It holds objects, arrays, texts, booleans and null, at most 16 deep; every text is plain (`require_plain_text`), no
    name comes twice, and there are no numbers.

    Raises:
        NotCanonical: anything else; `field` points to it.

    """
    if len(received) > max_bytes:
        raise NotCanonical(f"{len(received)} bytes are over the bound of {max_bytes}")
    try:
        value = _DECODER.decode(received.decode())
    except UnicodeDecodeError as error:
        raise NotCanonical(f"byte {error.start} is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise NotCanonical(f"not JSON at character {error.pos}: {error.msg}") from error
    except RecursionError as error:
        raise NotCanonical(f"deeper than {MAX_DEPTH}") from error
    if not isinstance(value, dict):
        raise NotCanonical("the outermost value must be an object")
    _require_plain(value, (), MAX_DEPTH)
    if canonical_json(value) != received:
        raise NotCanonical(
            "the bytes are not the canonical form of their value", hint="write it as RFC 8785 says, without white space"
        )
    return value


def require_plain_text(text: str, field: str) -> None:
    """Return if a text is what it looks like: in NFC, without controls, marks of direction, surrogates, noncharacters.

    Raises:
        NotCanonical: it is not.

    """
    if _is_printable_ascii(text):
        return
    found = _FORBIDDEN.search(text)
    if found:
        detail = f"character {found.start()} is U+{ord(found.group()):04X}, which a text must not hold"
        raise NotCanonical(detail, field=field)
    if not is_normalized("NFC", text):
        raise NotCanonical("the text is not in Unicode normalization form C", field=field)


def _require_plain(value: object, path: tuple[str, ...], depth: int) -> None:
    if isinstance(value, str):
        if not _is_printable_ascii(value):
            require_plain_text(value, _pointer(path))
    elif isinstance(value, dict | list):
        if depth == 0:
            raise NotCanonical(f"deeper than {MAX_DEPTH}", field=_pointer(path))
        if isinstance(value, dict):
            for name, member in value.items():
                if not _is_printable_ascii(name):
                    require_plain_text(name, _pointer((*path, f"{name!a}")))
                _require_plain(member, (*path, name), depth - 1)
        else:
            for index, member in enumerate(value):
                _require_plain(member, (*path, str(index)), depth - 1)


def _is_printable_ascii(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _pointer(path: tuple[str, ...]) -> str:
    return "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in path)


def _object(members: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(members)
    if len(value) != len(members):
        twice, _ = Counter(name for name, _ in members).most_common(1)[0]
        raise NotCanonical(f"the name {twice[:80]!a} comes more than once in one object")
    return value


def _no_number(literal: str) -> NoReturn:
    raise NotCanonical(f"{literal[:40]} is a number", hint='write numbers as texts, such as "12.34"')


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_no_number, parse_float=_no_number, parse_constant=_no_number
)
