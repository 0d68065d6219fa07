"""Reads what others wrote. Each text has one meaning, is in one form and within bounds; anything else is a fault."""

import base64
import binascii
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from latticebank.verify.findings import Fault

_WHOLE = re.compile(r"0|[1-9][0-9]{0,18}")
_HASH = re.compile(r"[0-9a-f]{64}")
_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")


def read_file(path: Path, max_bytes: int) -> bytes:
    """Return what is in a file.

    Raises:
        Fault: it cannot be read, or has more bytes than this.

    """
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise Fault(str(path), f"it cannot be read: {error.strerror}") from None
    if len(content) > max_bytes:
        raise Fault(str(path), f"it has more than {max_bytes} bytes")
    return content


def parse_json(content: bytes, where: str) -> object:
    """Return the value of a JSON text (RFC 8259) in which no name comes twice and every number is whole, from 0 on.

    Raises:
        Fault: it is no such text.

    """
    try:
        value: object = _JSON.decode(content.decode())
        json.dumps(value, ensure_ascii=False).encode()  # refuses halves of surrogate pairs
    except UnicodeDecodeError as error:
        raise Fault(where, f"byte {error.start} is not UTF-8") from None
    except UnicodeEncodeError:
        raise Fault(where, "a text in it holds half a character") from None
    except json.JSONDecodeError as error:
        raise Fault(where, f"it is not JSON at character {error.pos}") from None
    except RecursionError:
        raise Fault(where, "it is nested too deeply") from None
    except ValueError as error:
        raise Fault(where, str(error)) from None
    return value


def parse_canonical(text: str, where: str) -> dict[str, Any]:
    """Return the object that a text writes in its one canonical form (RFC 8785).

    Raises:
        Fault: it is no object, or in another form.

    """
    value = parse_json(text.encode(), where)
    # For names in ASCII and without fractions this is what RFC 8785 says.
    if not isinstance(value, dict) or _canonical(value) != text or not all(map(str.isascii, value)):
        raise Fault(where, "it is not an object in canonical form (RFC 8785)")
    return value


def exactly(value: object, where: str, members: dict[str, tuple[type, ...]], optional: str = "") -> dict[str, Any]:
    """Return an object that has these members of these types, perhaps some optional texts, and nothing else.

    Raises:
        Fault: it is another.

    """
    if not isinstance(value, dict):
        raise Fault(where, "it is not an object")
    kinds = members | dict.fromkeys(optional.split(), (str,))
    for name, member in value.items():
        if name not in kinds:
            raise Fault(where, f'"{name[:40]}" is not understood')
        if type(member) not in kinds[name]:
            raise Fault(where, f'"{name}" is not what it must be')
    for name in members:
        if name not in value:
            raise Fault(where, f'"{name}" is missing')
    return value


def texts(names: str) -> dict[str, tuple[type, ...]]:
    """Return for `exactly` that the members of these names are texts."""
    return dict.fromkeys(names.split(), (str,))


def parse_whole(text: str, where: str) -> int:
    """Return the number from 0 to 2^63 - 1 that decimal digits write, without zeros in front.

    Raises:
        Fault: they write none.

    """
    if not _WHOLE.fullmatch(text) or int(text) >= 1 << 63:
        raise Fault(where, f'"{text[:40]}" is not a number that can be here')
    return int(text)


def parse_hash(text: object, where: str) -> bytes:
    """Return the 32 bytes that 64 hexadecimal digits in lower case write.

    Raises:
        Fault: it is no such text.

    """
    if not isinstance(text, str) or not _HASH.fullmatch(text):
        raise Fault(where, "a hash has 64 hexadecimal digits in lower case")
    return bytes.fromhex(text)


def parse_hashes(values: list[object], where: str, most: int = 64) -> list[bytes]:
    """Return the hashes of a proof, at most so many.

    Raises:
        Fault: they are none, or more.

    """
    if len(values) > most:
        raise Fault(where, f"a proof has at most {most} hashes")
    return [parse_hash(value, where) for value in values]


def parse_base64(text: str, where: str) -> bytes:
    """Return what a text writes in base64 (RFC 4648, 4), in its one form.

    Raises:
        Fault: it is no such text.

    """
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not raw or base64.b64encode(raw).decode() != text:
        raise Fault(where, "this is not base64 in its one form")
    return raw


def parse_base64url(text: str, where: str) -> bytes:
    """Return what a text writes in base64url without padding (RFC 4648, 5), in its one form.

    Raises:
        Fault: it is no such text.

    """
    if "=" in text or "+" in text or "/" in text:
        raise Fault(where, "this is not base64url without padding")
    return parse_base64(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), where)


def parse_instant(text: str, where: str) -> datetime:
    """Return the time that a text such as "2026-11-20T10:00:00.000Z" names.

    Raises:
        Fault: it names none.

    """
    try:
        if _INSTANT.fullmatch(text):
            return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise Fault(where, f'"{text[:40]}" is not a time like "2026-11-20T10:00:00.000Z"')


def _canonical(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _object(members: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(members)
    if len(value) != len(members):
        raise ValueError("a name comes more than once in one object")
    return value


def _whole(literal: str) -> int:
    if not _WHOLE.fullmatch(literal):
        raise ValueError(f"{literal[:40]} is not a number that can be here")
    return int(literal)


def _no_number(literal: str) -> NoReturn:
    raise ValueError(f"{literal[:40]} is not a number that can be here")


_JSON = json.JSONDecoder(object_pairs_hook=_object, parse_int=_whole, parse_float=_no_number, parse_constant=_no_number)
