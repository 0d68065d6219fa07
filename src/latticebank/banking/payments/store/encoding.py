"""Rows of payments in the two forms that PostgreSQL takes fastest.

The arrays give the binary form of one-dimensional arrays, for `unnest`; `copy_payments` the tuples of binary COPY.
Formats: PostgreSQL documentation, COPY (binary format), and the receive functions of the types.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from struct import Struct, pack
from typing import ClassVar
from uuid import UUID

import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format

from latticebank.banking.payments.model.payments import Payment

COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_TRAILER = b"\xff\xff"
PAYMENT_COLUMNS = (
    "book, shard, id, kind, state, hold, high_value, signer, session, device, debtor, creditor, amount, currency, day, hash, "
    "received_at, reason, final_at, booking_date, approval_expires_at, batch, place"
)

_EPOCH_ORDINAL = date(2000, 1, 1).toordinal()
_EPOCH = datetime.fromisoformat("2000-01-01T00:00:00+00:00")
_MICROSECOND = timedelta(microseconds=1)
_NULL = pack(">i", -1)

# Each field is preceded by its length, an int32; the comments name the fields.
_START = Struct(">hiiihi16sihihih")  # book shard id kind state hold
_MIDDLE = Struct(">i?i16si16si16siqiqiqi3sii")  # high_value signer session device debtor creditor amount currency day
_HASH = Struct(">i32siq")  # hash received_at
_COLUMNS = 23
_INT8 = Struct(">iq").pack
_INT4 = Struct(">ii").pack
_UUID = Struct(">i16s").pack


class BinaryArray(bytes):
    """An array of PostgreSQL in binary form."""

    oid: ClassVar[int]


class BigintArray(BinaryArray):
    """`bigint[]`."""

    oid = 1016

    @classmethod
    def of(cls, values: Sequence[int]) -> "BigintArray":
        """Encode the values."""
        return cls(_fixed(20, "q", 8, values))


class SmallintArray(BinaryArray):
    """`smallint[]`."""

    oid = 1005

    @classmethod
    def of(cls, values: Sequence[int]) -> "SmallintArray":
        """Encode the values."""
        return cls(_fixed(21, "h", 2, values))


class UuidArray(BinaryArray):
    """`uuid[]`."""

    oid = 2951

    @classmethod
    def of(cls, values: Sequence[UUID]) -> "UuidArray":
        """Encode the values."""
        return cls(_variable(2950, [value.bytes for value in values]))


class ByteaArray(BinaryArray):
    """`bytea[]`."""

    oid = 1001

    @classmethod
    def of(cls, values: Sequence[bytes]) -> "ByteaArray":
        """Encode the values."""
        return cls(_variable(17, values))


class TextArray(BinaryArray):
    """`text[]`."""

    oid = 1009

    @classmethod
    def of(cls, values: Sequence[str | None]) -> "TextArray":
        """Encode the values."""
        return cls(_variable(25, [None if value is None else value.encode() for value in values]))


class DateArray(BinaryArray):
    """`date[]`."""

    oid = 1182

    @classmethod
    def of(cls, values: Sequence[date | None]) -> "DateArray":
        """Encode the values."""
        return cls(_variable(1082, [None if value is None else pack(">i", _days(value)) for value in values]))


class _BinaryArrayDumper(Dumper):
    """Sends bytes that already are the binary form of an array."""

    format = Format.BINARY

    def dump(self, obj: bytes) -> bytes:
        return obj


def _register() -> None:
    """Teach every connection that is opened from now on to send the arrays of this module as they are."""
    for array in (BigintArray, SmallintArray, UuidArray, ByteaArray, TextArray, DateArray):
        dumper = type(f"{array.__name__}Dumper", (_BinaryArrayDumper,), {"oid": array.oid})
        psycopg.adapters.register_dumper(array, dumper)


_register()


def copy_payments(book: int, shard: int, payments: Iterable[Payment]) -> bytes:
    """Return the binary COPY tuples of payments, in the order of `PAYMENT_COLUMNS`."""
    start, middle, end = _START.pack, _MIDDLE.pack, _HASH.pack
    parts = []
    at = last = None
    for p in payments:
        if p.received_at is not last:
            last = p.received_at
            at = _microseconds(last)
        parts.append(start(_COLUMNS, 4, book, 2, shard, 16, p.id.bytes, 2, p.kind, 2, p.state, 2, p.hold))
        parts.append(
            middle(
                1, p.high_value, 16, p.signer.bytes, 16, p.session.bytes, 16, p.device.bytes, 8, p.debtor, 8, p.creditor,
                8, p.amount, 3, p.currency.encode(), 4, _days(p.day),
            )
        )  # fmt: skip
        parts.append(end(32, p.hash, 8, at))
        parts.append(_NULL if p.reason is None else pack(">i", len(p.reason)) + p.reason.encode("ascii"))
        parts.append(_instant(p.final_at))
        parts.append(_NULL if p.booking_date is None else _INT4(4, _days(p.booking_date)))
        parts.append(_instant(p.approval_expires_at))
        parts.append(_NULL if p.batch is None else _UUID(16, p.batch.bytes))
        parts.append(_NULL if p.place is None else _INT4(4, p.place))
    return b"".join(parts)


def _instant(time: datetime | None) -> bytes:
    return _NULL if time is None else _INT8(8, _microseconds(time))


def _microseconds(time: datetime) -> int:
    """Return an instant as PostgreSQL keeps it: microseconds since 2000."""
    return (time - _EPOCH) // _MICROSECOND


def _days(day: date) -> int:
    return day.toordinal() - _EPOCH_ORDINAL


def _fixed(oid: int, letter: str, size: int, values: Sequence[int]) -> bytes:
    count = len(values)
    fields = [size] * (2 * count)
    fields[1::2] = values
    return pack(">iiiii", 1, 0, oid, count, 1) + pack(">" + ("i" + letter) * count, *fields)


def _variable(oid: int, values: Sequence[bytes | None]) -> bytes:
    parts = [pack(">iiiii", 1, int(None in values), oid, len(values), 1)]
    for value in values:
        if value is None:
            parts.append(_NULL)
        else:
            parts.append(len(value).to_bytes(4))
            parts.append(value)
    return b"".join(parts)
