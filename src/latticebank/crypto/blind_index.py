"""Blind indexes: to find a row by a value that is stored only sealed."""

import hmac

from latticebank.crypto.errors import InvalidKey

KEY_BYTES = 32


def blind_index(key: bytes, field: str, text: str) -> bytes:
    """Return the HMAC-SHA-256 (RFC 2104) of a text in a field: 32 bytes, equal for equal texts of the same field.

    The text is taken as it is: whoever wants "Ada@Example.org" found as "ada@example.org" folds it before. Whoever holds
    the key can test guesses, so the key is a secret of its own, of at least 32 bytes.

    Raises:
        InvalidKey: the key is shorter.

    """
    if len(key) < KEY_BYTES:
        raise InvalidKey(f"the key of a blind index has at least {KEY_BYTES} bytes", field="key")
    name = field.encode()
    return hmac.digest(key, len(name).to_bytes(4) + name + text.encode(), "sha256")
