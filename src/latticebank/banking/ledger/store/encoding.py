"""Rows of the ledger in the two forms that PostgreSQL takes fastest.

`copy_*` give the tuples of binary COPY; `bigints` and its kin give the binary form of one-dimensional arrays, for
`unnest`. Both are fixed layouts packed by `struct`, which is several times faster than adapting value by value.
Formats: PostgreSQL documentation, COPY (binary format), and the receive functions of the types.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from struct import Struct, pack
from typing import Any

from psycopg import AsyncConnection
from psycopg.adapt import Dumper
from psycopg.pq import Format

from latticebank.banking.ledger.model.journal import microseconds
from latticebank.banking.ledger.model.transfers import Entry, Transfer


class BinaryArrayDumper(Dumper):
    """Sends bytes that already are the binary form of an array."""

    format = Format.BINARY

    def dump(self, obj: bytes) -> bytes:
        """Return the bytes as they are."""
        return obj


COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_TRAILER = b"\xff\xff"

POSTGRES_EPOCH_ORDINAL = date(2000, 1, 1).toordinal()
_POSTGRES_EPOCH_MICROSECONDS = 946_684_800_000_000

# Each field is preceded by its length, an int32; the comments name the fields.
_TRANSFER_START = Struct(">hiiihiqi16sihih")  # book shard seq id kind outcome
_TRANSFER_MIDDLE = Struct(
    ">iqiqiqi3sihiiiiiqih"
)  # debit credit amount currency purpose booking value recorded_at class
_EVIDENCE = Struct(">i32s")
_NO_EVIDENCE = pack(">i", 0)
_TRANSFER_END = Struct(">iqiq")  # debit_entry credit_entry
_UUID = Struct(">i16s")
_NULL = pack(">i", -1)
_TRANSFER_COLUMNS = 20
_ENTRY = Struct(">hiiihiqiqi16siqiqiiii")  # book shard account number transfer amount balance booking value
_ENTRY_COLUMNS = 9

_INT8_OID, _INT2_OID, _DATE_OID = 20, 21, 1082


def timestamp(instant: datetime) -> int:
    """Return an instant as PostgreSQL keeps it: microseconds since 2000."""
    return microseconds(instant) - _POSTGRES_EPOCH_MICROSECONDS


def copy_transfers(book: int, shard: int, recorded_at: datetime, transfers: Iterable[Transfer]) -> bytes:
    """Return the binary COPY tuples of transfers."""
    start, middle, evidence, end, identifier = (
        _TRANSFER_START.pack, _TRANSFER_MIDDLE.pack, _EVIDENCE.pack, _TRANSFER_END.pack, _UUID.pack,
    )  # fmt: skip
    at = timestamp(recorded_at)
    epoch = POSTGRES_EPOCH_ORDINAL
    parts = []
    for t in transfers:
        parts.append(start(_TRANSFER_COLUMNS, 4, book, 2, shard, 8, t.seq, 16, t.id, 2, t.kind, 2, t.outcome))
        parts.append(
            middle(
                8, t.debit, 8, t.credit, 8, t.amount, 3, t.currency.encode(), 2, t.purpose, 4, t.booking_date.toordinal() - epoch,
                4, t.value_date.toordinal() - epoch, 8, at, 2, t.evidence_class,
            )
        )  # fmt: skip
        parts.append(evidence(32, t.evidence) if t.evidence else _NO_EVIDENCE)
        parts.append(end(8, t.debit_entry, 8, t.credit_entry))
        parts.append(identifier(16, t.reference) if t.reference else _NULL)
        parts.append(identifier(16, t.chain) if t.chain else _NULL)
    return b"".join(parts)


def copy_entries(book: int, shard: int, entries: Iterable[Entry]) -> bytes:
    """Return the binary COPY tuples of entries."""
    row = _ENTRY.pack
    epoch = POSTGRES_EPOCH_ORDINAL
    return b"".join(
        [
            row(
                _ENTRY_COLUMNS, 4, book, 2, shard, 8, e.account, 8, e.number, 16, e.transfer, 8, e.amount, 8, e.balance,
                4, e.booking_date.toordinal() - epoch, 4, e.value_date.toordinal() - epoch,
            )
            for e in entries
        ]
    )  # fmt: skip


class BigintArray(bytes):
    """`bigint[]` in binary form."""

    @classmethod
    def of(cls, values: Sequence[int]) -> "BigintArray":
        """Encode the values."""
        return cls(_array(_INT8_OID, "q", 8, values))


class SmallintArray(bytes):
    """`smallint[]` in binary form."""

    @classmethod
    def of(cls, values: Sequence[int]) -> "SmallintArray":
        """Encode the values."""
        return cls(_array(_INT2_OID, "h", 2, values))


class DateArray(bytes):
    """`date[]` in binary form."""

    @classmethod
    def of(cls, values: Sequence[date]) -> "DateArray":
        """Encode the values."""
        epoch = POSTGRES_EPOCH_ORDINAL
        return cls(_array(_DATE_OID, "i", 4, [value.toordinal() - epoch for value in values]))


class _BigintArrayDumper(BinaryArrayDumper):
    oid = 1016


class _SmallintArrayDumper(BinaryArrayDumper):
    oid = 1005


class _DateArrayDumper(BinaryArrayDumper):
    oid = 1182


def register(connection: AsyncConnection[Any]) -> None:
    """Teach a connection to send the arrays of this module as they are."""
    for array, dumper in (
        (BigintArray, _BigintArrayDumper), (SmallintArray, _SmallintArrayDumper), (DateArray, _DateArrayDumper),
    ):  # fmt: skip
        connection.adapters.register_dumper(array, dumper)


def _array(oid: int, letter: str, size: int, values: Sequence[int]) -> bytes:
    count = len(values)
    header = pack(">iiiii", 1, 0, oid, count, 1)
    fields = [size] * (2 * count)
    fields[1::2] = values
    return header + pack(">" + ("i" + letter) * count, *fields)
