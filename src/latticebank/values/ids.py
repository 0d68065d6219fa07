"""Identifiers: UUIDv7 for things that happen, UUIDv8 for things derived from other names. Never secrets."""

import os
from collections.abc import Callable
from hashlib import sha256
from uuid import UUID

from latticebank.values.clock import Clock
from latticebank.values.errors import InvalidValue

_COUNTER_LIMIT = 1 << 12


class Uuid7Source:
    """Makes UUIDv7 identifiers that never go backwards within one source (RFC 9562, 5.7 and 6.2, method 1).

    The 12 bits after the milliseconds are a counter seeded at random each millisecond; when it runs over, the
    millisecond is advanced. `randomness(n)` must return n unpredictable bytes.
    """

    def __init__(self, clock: Clock, randomness: Callable[[int], bytes] = os.urandom) -> None:
        self._clock = clock
        self._randomness = randomness
        self._millisecond = -1
        self._counter = 0

    def __call__(self) -> UUID:
        """Return the next identifier."""
        now = int(self._clock.now().timestamp() * 1000)
        tail = self._randomness(10)
        if now > self._millisecond:
            self._millisecond = now
            self._counter = int.from_bytes(tail[8:]) & 0x7FF
        else:
            self._counter += 1
            if self._counter == _COUNTER_LIMIT:
                self._millisecond += 1
                self._counter = 0
        return UUID(
            int=self._millisecond << 80
            | 0x7 << 76
            | self._counter << 64
            | 0b10 << 62
            | int.from_bytes(tail[:8]) & ((1 << 62) - 1)
        )


def derived_id(*names: str) -> UUID:
    """Return the UUIDv8 (RFC 9562, 5.8) that always belongs to these names: SHA-256 over their length-prefixed UTF-8."""
    digest = sha256()
    for name in names:
        encoded = name.encode()
        digest.update(len(encoded).to_bytes(4))
        digest.update(encoded)
    value = int.from_bytes(digest.digest()[:16])
    value = value & ~(0xF << 76) | 0x8 << 76
    value = value & ~(0b11 << 62) | 0b10 << 62
    return UUID(int=value)


def parse_uuid(text: str, field: str) -> UUID:
    """Return the UUID that `text` writes in the canonical form of RFC 9562, 4.

    Raises:
        InvalidValue: the text is not 36 characters of lower-case hexadecimal with hyphens.

    """
    try:
        value = UUID(text)
    except ValueError:
        value = None
    if value is None or str(value) != text:
        raise InvalidValue("this is not a UUID in canonical lower-case form", field=field)
    return value
