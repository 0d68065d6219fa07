"""The text form of everything that people sign.

A document is strict JSON that equals its own canonical form (RFC 8785): one object whose members are all texts, in the
order of their names. A kind of document is a structure with its fields in that order, so that reading the received
bytes and writing them again tells whether they were canonical, at a fraction of the cost of a general canonicaliser. The
SHA-256 of the received bytes is the identity of the document everywhere; its `type` is the context of its signature.
"""

import base64
import re
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Protocol, TypeVar
from uuid import UUID

import msgspec

from latticebank.crypto.canonical import require_plain_text
from latticebank.crypto.errors import NotCanonical
from latticebank.values.errors import BankError, Fault, InvalidValue
from latticebank.values.ids import parse_uuid

MAX_DOCUMENT_BYTES = 4_096
MAX_LIFE = timedelta(minutes=10)
"""The longest that a document may wait to be received."""
CLOCKS_APART = timedelta(seconds=60)
"""By how much the clock of a device may be ahead of the bank's."""

_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")


class InvalidDocument(BankError):
    """The text is not a document of this kind, or not in its one canonical form."""

    code = "invalid-document"
    title = "This is not a well-formed document"
    fault = Fault.INVALID


class OtherBank(BankError):
    """The document names another bank."""

    code = "other-bank"
    title = "This was signed for another bank"
    fault = Fault.REFUSED


class DocumentExpired(BankError):
    """The document came too late."""

    code = "document-expired"
    title = "This was signed too long ago"
    fault = Fault.REFUSED


class DocumentFromFuture(BankError):
    """The document says that it was made in the future."""

    code = "document-from-future"
    title = "This was signed in the future"
    fault = Fault.REFUSED


class Document(Protocol):
    """What all kinds of document have: the bank it is for, its id, who signs it, from when and until when it is good."""

    @property
    def bank(self) -> str: ...
    @property
    def created(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def expires(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def type(self) -> str: ...

    def check(self) -> None:
        """Raise `InvalidValue` if a member breaks a rule of its kind."""
        ...


D = TypeVar("D", bound=Document)
T = TypeVar("T")


_decoders: dict[type, Any] = {}


def _decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    """Return the decoder of a kind of document, made once."""
    decoder: msgspec.json.Decoder[T] | None = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    return decoder


_encoder = msgspec.json.Encoder()


def to_bytes(document: Document) -> bytes:
    """Return the bytes to be signed."""
    return _encoder.encode(document)


def read(kind: type[D], received: bytes) -> D:
    """Return the document of this kind that the received bytes are.

    Raises:
        InvalidDocument: they are too long, no such document, or not canonical.
        InvalidValue: a member breaks a rule; `field` names it.

    """
    document = read_canonical(kind, received)
    require_uuid7(document.id, "id")
    parse_uuid(document.device, "device")
    require_plain_text(document.bank, "bank")
    created, expires = instant(document.created, "created"), instant(document.expires, "expires")
    if not timedelta(0) < expires - created <= MAX_LIFE:
        raise InvalidValue("this must be after `created`, and at most 10 minutes", field="expires")
    document.check()
    return document


def read_canonical(kind: type[T], received: bytes, max_bytes: int = MAX_DOCUMENT_BYTES) -> T:
    """Return the structure that the received bytes are, if they are its one canonical form.

    Raises:
        InvalidDocument: they are not.

    """
    if len(received) > max_bytes:
        raise InvalidDocument(f"a document has at most {max_bytes} bytes", field="document")
    try:
        document: T = _decoder(kind).decode(received)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidDocument(f"this is no document of its kind: {str(error)[:200]}", field="document") from None
    if _encoder.encode(document) != received:
        raise InvalidDocument(
            "the text is not in canonical form (RFC 8785)",
            field="document",
            hint="sort the members by name, leave out spaces and empty members, and name none twice",
        )
    return document


def judge(document: Document, bank: str, now: datetime) -> None:
    """Check that a document is for this bank and for now: once, when it is received.

    Raises:
        OtherBank, DocumentExpired, DocumentFromFuture: it is not.

    """
    if document.bank != bank:
        raise OtherBank(f"this document is for another bank than {bank}", field="bank")
    if now >= instant(document.expires, "expires"):
        raise DocumentExpired("this document expired before it came", field="expires", hint="sign a new one")
    if instant(document.created, "created") > now + CLOCKS_APART:
        raise DocumentFromFuture(
            "this document was made after now", field="created", hint="set the clock of the device"
        )


def identity(received: bytes) -> bytes:
    """Return the identity of a document: the SHA-256 of its bytes, 32 bytes."""
    return sha256(received).digest()


def instant(text: str, field: str) -> datetime:
    """Return the time that a text such as "2026-03-31T08:00:00.000Z" names: UTC, three decimals (RFC 3339).

    Raises:
        InvalidValue: any other form.

    """
    if _INSTANT.fullmatch(text):
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            pass
    raise InvalidValue('a time is written like "2026-03-31T08:00:00.000Z"', field=field)


def instant_text(time: datetime) -> str:
    """Return the text form of a time in a document."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def require_uuid7(text: str, field: str) -> UUID:
    """Return the UUIDv7 that a text writes.

    Raises:
        InvalidValue: another form or version.

    """
    value = parse_uuid(text, field)
    if value.version != 7:
        raise InvalidValue("this must be a UUIDv7 (RFC 9562)", field=field)
    return value


def require_hash(text: str, field: str) -> bytes:
    """Return the 32 bytes that 64 lower-case hexadecimal digits write.

    Raises:
        InvalidValue: any other form.

    """
    if len(text) == 64 and text == text.lower():
        try:
            found = bytes.fromhex(text)
        except ValueError:
            found = b""
        if len(found) == 32:
            return found
    raise InvalidValue("this must be 64 hexadecimal digits in lower case", field=field)


def require_text(text: str, field: str, at_most: int) -> None:
    """Check a text for people: NFC, without control or bidirectional characters, of at most so many characters.

    Raises:
        InvalidValue: it is not.

    """
    if len(text) > at_most:
        raise InvalidValue(f"this has at most {at_most} characters", field=field)
    try:
        require_plain_text(text, field)
    except NotCanonical as error:
        raise InvalidValue(error.detail, field=field) from None


def base64url(raw: bytes) -> str:
    """Return bytes as base64url without padding (RFC 4648, 5)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def from_base64url(text: str, field: str, at_most: int = 8_192) -> bytes:
    """Return the bytes that a text writes in base64url without padding, in the one form that stands for them.

    Raises:
        InvalidValue: it is not such a text, or stands for more bytes than `at_most`.

    """
    if len(text) <= at_most * 4 // 3 + 3:
        try:
            raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except ValueError:
            raw = b""
        # The decoder passes over what it does not know; only the one form comes back the same.
        if base64url(raw) == text and len(raw) <= at_most:
            return raw
    raise InvalidValue("this must be base64url without padding (RFC 4648, 5)", field=field)
