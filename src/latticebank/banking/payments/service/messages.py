"""How payments puts what was settled into the events that `events` describes."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from latticebank.banking.payments.events import MAX_TOLD, PAYMENTS_SETTLED, SOURCE, PaymentSettled, PaymentsSettled
from latticebank.banking.payments.model.payments import Hold, Kind, Payment, State
from latticebank.kernel.events import Event
from latticebank.values.ids import Uuid7Source

_encoder = msgspec.msgpack.Encoder()
_KINDS = {int(kind): kind.word for kind in Kind}
_STATES = {int(state): state.word for state in State}
_HOLDS = {int(hold): hold.word for hold in Hold} | {0: None}


def settled_events(
    ids: Uuid7Source, book: int, shard: int, cause: UUID, payments: Sequence[Payment], at: datetime
) -> list[Event]:
    """Return the events that tell of payments in their new states."""
    events = []
    for start in range(0, len(payments), MAX_TOLD):
        told = PaymentsSettled(book, shard, [_settled(payment) for payment in payments[start : start + MAX_TOLD]])
        key = f"{book}/{shard}"
        data = _encoder.encode(told)
        events.append(
            Event(ids(), SOURCE, PAYMENTS_SETTLED, at, str(cause), key, str(cause), "application/msgpack", data)
        )
    return events


def _settled(p: Payment) -> PaymentSettled:
    return PaymentSettled(
        p.id.bytes,
        _KINDS[p.kind],
        _STATES[p.state],
        p.reason,
        p.signer.bytes,
        p.device.bytes,
        p.debtor,
        p.creditor,
        p.amount,
        p.currency,
        p.hash,
        _HOLDS[p.hold],
        None if p.batch is None else p.batch.bytes,
    )
