"""Finds texts in what a bank leaves behind, in whatever form they lie there."""

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from unicodedata import normalize
from urllib.parse import quote

_BYTEA = re.compile(rb"\\\\?x([0-9a-f]{2,})")
SHORTEST = 6
"""A shorter text would be found by chance in base64 of random bytes."""


def traces(texts: Iterable[str], held: bytes) -> list[tuple[str, str]]:
    """Return which texts lie in some bytes, and in which form.

    Forms are text in whatever letters, UTF-16, hexadecimal, base64, and what JSON and URLs escape; each is looked for in
    the bytes themselves and in what a dump writes as bytea.
    """
    places = [held, b"\n".join(bytes.fromhex(found[: len(found) // 2 * 2].decode()) for found in _BYTEA.findall(held))]
    searched = [(place, place.lower(), place.decode("utf-8", "replace").casefold()) for place in places]
    found = set()
    for text in texts:
        assert len(text) >= SHORTEST, text
        folded = {normalize(form, text).casefold() for form in ("NFC", "NFD")}
        for exact, lower, words in searched:
            if any(each in words for each in folded):
                found.add((text, "text"))
            found |= {(text, form) for form, needle in _lower_forms(text) if needle in lower}
            found |= {(text, "base64") for needle in _base64_forms(text) if needle in exact}
    return sorted(found)


def _lower_forms(text: str) -> Iterator[tuple[str, bytes]]:
    for written in _written(text):
        yield "hex", written.encode().hex().encode()
        for encoding in ("utf-16-le", "utf-16-be"):
            yield encoding, written.encode(encoding).lower()
            yield "hex", written.encode(encoding).hex().encode()
        yield "json", json.dumps(written)[1:-1].lower().encode()
        yield "url", quote(written).lower().encode()


def _base64_forms(text: str) -> Iterator[bytes]:
    """Yield what base64 surely holds of a text, wherever in a longer one it begins: in either alphabet."""
    for written in _written(text):
        for encoding in ("utf-8", "utf-16-le"):
            raw = written.encode(encoding)
            for before in range(3):
                coded = b64encode(bytes(before) + raw)
                # The first and last digits hold bits of what stands beside the text.
                sure = coded[(0, 2, 3)[before] : (before + len(raw)) * 8 // 6]
                yield sure
                yield sure.translate(bytes.maketrans(b"+/", b"-_"))


def _written(text: str) -> set[str]:
    return {text, text.lower(), text.upper(), text.casefold(), normalize("NFD", text)}
