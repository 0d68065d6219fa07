"""How the ledger puts what a batch recorded into the events that `events` describes."""

from datetime import datetime

from msgspec import msgpack

from latticebank.banking.ledger.events import BATCH_RECORDED, MAX_ACTS_TOLD, MAX_TRANSFERS_TOLD, SOURCE
from latticebank.banking.ledger.model.desk import Desk
from latticebank.kernel.events import Event
from latticebank.values.ids import Uuid7Source

_encoder = msgpack.Encoder()


def batch_events(
    ids: Uuid7Source, book: int, shard: int, first_seq: int, desk: Desk, at: datetime, link: bytes
) -> list[Event]:
    """Return the events that tell of a batch, in order; records are encoded as they are, which fits `BatchRecorded`."""
    events = []
    causation = f"{book}/{shard}/{first_seq}"
    pieces = max(-(-len(desk.transfers) // MAX_TRANSFERS_TOLD), -(-len(desk.events) // MAX_ACTS_TOLD), 1)
    for piece in range(pieces):
        transfers = desk.transfers[piece * MAX_TRANSFERS_TOLD : (piece + 1) * MAX_TRANSFERS_TOLD]
        acts = desk.events[piece * MAX_ACTS_TOLD : (piece + 1) * MAX_ACTS_TOLD]
        data = _encoder.encode(
            {"book": book, "shard": shard, "first_seq": first_seq, "next_seq": desk.next_seq, "transfers": transfers,
             "acts": acts, "link": link}
        )  # fmt: skip
        events.append(
            Event(
                ids(), SOURCE, BATCH_RECORDED, at, causation, f"{book}/{shard}", causation, "application/msgpack", data
            )
        )
    return events
