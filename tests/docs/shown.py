"""Whether a command said what its page shows. Some things are others on every machine.

These rules say which:

- `...` stands for anything, up to the blanks around it; alone on a line, for any number of lines
- ids and account numbers stand for others, but the same one always for the same; commands that name them later get the real ones
- times, hashes, fingerprints and verifier keys stand for any of their kind, and whole numbers for any whole number
- ports stand for free ones
- blanks in a row are one, and empty lines are none

Everything else, amounts of money and codes of exit among it, is as it is shown.
"""

import re
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"(?P<anything>\S*\.\.\.\S*)"
    r"|(?P<id>\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b)"
    r"|(?P<time>\b\d{4}-\d\d-\d\d(?:[ T]\d\d[:-]\d\d(?:[:-]\d\d(?:\.\d+)?)?)?)"
    r"|(?P<key>\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+)"
    r"|(?P<fingerprint>\b(?:[0-9a-f]{4} ){7}[0-9a-f]{4}\b)"
    r"|(?P<hash>\b[0-9a-f]{32,}\b)"
    r"|(?P<port>(?<=localhost:)\d+|(?<=127\.0\.0\.1:)\d+)"
    r"|(?P<account>\b10\d{8}\b)"
    r"|(?P<number>(?<![\w.,+-])\d[\d,]*(?![\w,]|[.-]\d))"
    r"|(?P<blank>\s+)"
)
_ANY = {
    "anything": ".*?",
    "id": "([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})",
    "time": r"\d{4}-\d\d-\d\d(?:[ T]\d\d[:-]\d\d(?:[:-]\d\d(?:\.\d+)?)?)?",
    "key": r"\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+",
    "fingerprint": "(?:[0-9a-f]{4} ){7}[0-9a-f]{4}",
    "hash": "[0-9a-f]{32,}",
    "port": r"\d+",
    "account": r"(10\d{8})",
    "number": r"\d[\d,]*",
    "blank": r"\s+",
}
_NAMED = re.compile(f"{_ANY['id']}|{_ANY['account']}")


@dataclass
class Meanings:
    """What the ids and account numbers of a page really are, as far as was shown."""

    real: dict[str, str] = field(default_factory=dict)

    def in_command(self, command: str) -> str:
        """Return a command as it is really given."""
        return _NAMED.sub(lambda found: self.real.get(found[0], found[0]), command)

    def mismatch(self, shown: tuple[str, ...], said: str) -> str | None:
        """Return what is wrong with the lines that are shown, None if they are what was said; remember what they mean."""
        expected = [line.strip() for line in shown if line.strip()]
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        skipping = False
        place = 0
        for line in expected:
            if line == "...":
                skipping = True
                continue
            while skipping and place < len(lines) and not self._fits(line, lines[place]):
                place += 1
            if place == len(lines):
                return f"shown, and not said: {line}"
            if not self._fits(line, lines[place]):
                return f"shown: {line}\n  said: {lines[place]}"
            skipping, place = False, place + 1
        return None if skipping or place == len(lines) else f"said, and not shown: {lines[place]}"

    def _fits(self, shown: str, said: str) -> bool:
        pattern, names, end = "", [], 0
        for token in _TOKEN.finditer(shown):
            pattern += re.escape(shown[end : token.start()]) + _ANY[str(token.lastgroup)]
            names += [token[0]] if token.lastgroup in ("id", "account") else []
            end = token.end()
        found = re.fullmatch(pattern + re.escape(shown[end:]), said)
        if found is None:
            return False
        meant = dict(self.real)
        for name, real in zip(names, found.groups(), strict=True):
            if meant.setdefault(name, real) != real:
                return False
        self.real = meant
        return True
