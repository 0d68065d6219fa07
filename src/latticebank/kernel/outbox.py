"""The outbox: events leave a service in the transaction of what they tell of, or not at all.

One row holds a batch of events. The rows are an unordered drain: the relay moves them to the bus and deletes them.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from latticebank.kernel.events import Event
from latticebank.values.errors import BankError, Fault

MAX_BATCH_EVENTS = 1_000
"""The most events that one row of the outbox holds."""
MAX_BATCH_BYTES = 8_000_000
"""The most bytes that one row of the outbox holds, attributes of the events included."""

OUTBOX_INSERT: Final = "INSERT INTO outbox (book, shard, event_count, events) VALUES (%s, %s, %s, %s)"
"""Appends one batch; its parameters come from `outbox_parameters`. For writers that hold a raw psycopg connection."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Event])


class BatchTooLarge(BankError):
    """More events, or larger ones, than one transaction may publish."""

    code = "event-batch-too-large"
    title = "One transaction publishes too much"
    fault = Fault.TOO_LARGE


def outbox_parameters(book: int, shard: int, events: Sequence[Event]) -> tuple[object, ...]:
    """Return the parameters with which `OUTBOX_INSERT` appends these events as one row.

    Raises:
        BatchTooLarge: more than `MAX_BATCH_EVENTS` events or `MAX_BATCH_BYTES` bytes; or no event at all.

    """
    if not 0 < len(events) <= MAX_BATCH_EVENTS:
        raise BatchTooLarge(f"a batch holds 1 to {MAX_BATCH_EVENTS} events, not {len(events)}", field="events")
    encoded = _encoder.encode(events)
    if len(encoded) > MAX_BATCH_BYTES:
        raise BatchTooLarge(f"a batch holds at most {MAX_BATCH_BYTES} bytes, not {len(encoded)}", field="events")
    return (book, shard, len(events), encoded)


def events_of(row: bytes) -> list[Event]:
    """Return the events that the column `events` of a row holds.

    Raises:
        msgspec.MsgspecError: this code cannot read the row.
        InvalidValue: an event of the row is malformed.

    """
    return _decoder.decode(row)


async def append(connection: AsyncConnection, book: int, shard: int, events: Sequence[Event]) -> None:
    """Write these events as one row, in the transaction that the connection is in; nothing where there are none.

    Raises:
        BatchTooLarge: as `outbox_parameters`.

    """
    if events:
        await connection.exec_driver_sql(OUTBOX_INSERT, outbox_parameters(book, shard, events))
