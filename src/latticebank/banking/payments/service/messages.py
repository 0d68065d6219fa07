"""How payments puts what happened to payments into the events that `events` describes."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from latticebank.banking.payments.events import (
    MAX_TOLD,
    PAYMENT_DECIDED,
    PAYMENTS_ACCEPTED,
    PAYMENTS_READ,
    PAYMENTS_SETTLED,
    SOURCE,
    PaymentAccepted,
    PaymentDecided,
    PaymentsAccepted,
    PaymentSettled,
    PaymentsRead,
    PaymentsSettled,
)
from latticebank.banking.payments.model.payments import Batch, Choice, Decision, Hold, Kind, Payment, State
from latticebank.documents.document import identity
from latticebank.kernel.caller import Caller, CallerKind
from latticebank.kernel.events import Event
from latticebank.values.ids import Uuid7Source

_encoder = msgspec.msgpack.Encoder()
_KINDS = {int(kind): kind.word for kind in Kind}
_STATES = {int(state): state.word for state in State}
_HOLDS = {int(hold): hold.word for hold in Hold} | {0: None}


def accepted_events(
    ids: Uuid7Source, book: int, shard: int, cause: UUID, accepted: Sequence[PaymentAccepted], at: datetime
) -> list[Event]:
    """Return the events that tell of what was accepted."""
    return [
        _event(
            ids,
            PAYMENTS_ACCEPTED,
            at,
            cause,
            f"{book}/{shard}",
            PaymentsAccepted(book, shard, list(accepted[start : start + MAX_TOLD])),
        )
        for start in range(0, len(accepted), MAX_TOLD)
    ]


def accepted_payment(p: Payment) -> PaymentAccepted:
    """Return what is told of a payment or a cash order that is accepted."""
    return PaymentAccepted(p.id.bytes, _KINDS[p.kind], p.signer.bytes, p.device.bytes, p.hash, p.received_at)


def accepted_batch(b: Batch) -> PaymentAccepted:
    """Return what is told of a batch that is accepted."""
    return PaymentAccepted(b.id.bytes, Kind.BATCH.word, b.signer.bytes, b.device.bytes, b.hash, b.received_at, b.count)


def decided_event(ids: Uuid7Source, book: int, shard: int, signer: UUID, decision: Decision) -> Event:
    """Return the event that tells of a decision on what `signer` signed."""
    document = None if decision.document is None else identity(decision.document).hex()
    told = PaymentDecided(
        decision.payment, signer, Choice(decision.choice).word, decision.decided_by, decision.device, document
    )
    return _event(ids, PAYMENT_DECIDED, decision.decided_at, decision.payment, f"{book}/{shard}", told)


def read_event(ids: Uuid7Source, reader: Caller, what: str, payments: Sequence[UUID], at: datetime) -> Event:
    """Return the event that tells who of the bank read what others had signed."""
    by = f"user:{reader.user}" if reader.kind is CallerKind.USER else reader.kind.value.lower()
    told = PaymentsRead(list(payments), what, by, reader.session)
    return _event(ids, PAYMENTS_READ, at, payments[0], by, told)


def settled_events(
    ids: Uuid7Source, book: int, shard: int, cause: UUID, payments: Sequence[Payment], at: datetime
) -> list[Event]:
    """Return the events that tell of payments in their new states."""
    return [
        _event(
            ids,
            PAYMENTS_SETTLED,
            at,
            cause,
            f"{book}/{shard}",
            PaymentsSettled(book, shard, [_settled(payment) for payment in payments[start : start + MAX_TOLD]]),
        )
        for start in range(0, len(payments), MAX_TOLD)
    ]


def _event(ids: Uuid7Source, kind: str, at: datetime, cause: UUID, key: str, told: msgspec.Struct) -> Event:
    return Event(ids(), SOURCE, kind, at, str(cause), key, str(cause), "application/msgpack", _encoder.encode(told))


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
        p.received_at,
        p.booking_date,
    )
