"""What payments tells: accepted, held, decided, and come to an end."""

from datetime import datetime
from uuid import UUID

from msgspec import msgpack

from latticebank.banking.payments.events import (
    PAYMENT_DECIDED,
    PAYMENTS_ACCEPTED,
    PAYMENTS_READ,
    PAYMENTS_SETTLED,
    PaymentDecided,
    PaymentsAccepted,
    PaymentSettled,
    PaymentsRead,
    PaymentsSettled,
)
from latticebank.kernel.events import Event
from latticebank.security.audit.model.entries import Entry, record_of, text_of_time
from latticebank.security.audit.subscriptions.facts import common
from latticebank.values.account_number import format_account_number
from latticebank.values.money import CURRENCY_DIGITS, format_amount

_APPROVE = "approve"
_KINDS = {
    "awaiting_approval": "payment.held",
    "posted": "payment.posted",
    "rejected": "payment.rejected",
    "cancelled": "payment.cancelled",
    "failed": "payment.failed",
}

_accepted = msgpack.Decoder(PaymentsAccepted)
_settled = msgpack.Decoder(PaymentsSettled)
_read = msgpack.Decoder(PaymentsRead)
_decided = msgpack.Decoder(PaymentDecided)


def accepted(event: Event, bank: str) -> list[Entry]:
    """Return an entry for each payment, cash order or batch that was accepted."""
    shared, entries = common(event, bank), []
    for number, each in enumerate(_accepted.decode(event.data).accepted):
        signer, thing = UUID(bytes=each.signer), UUID(bytes=each.id)
        facts = {
            "count": str(each.count) if each.kind == "batch" else None,
            "device": uuid_text(each.device),
            "document_hash": each.hash.hex(),
            "event": f"{event.id}#{number}",
            "evidence_class": each.kind,
            "kind": "payment.accepted",
            "payment": uuid_text(each.id),
            "received_at": text_of_time(each.received_at),
            "signer": uuid_text(each.signer),
        }
        entries.append(Entry(signer, thing, record_of(shared | facts), None, UUID(bytes=each.device)))
    return entries


def settled(event: Event, bank: str) -> list[Entry]:
    """Return an entry for each payment that came to an end, or began to wait for approval."""
    shared, times = common(event, bank), _Times()
    return [
        _settled_entry(each, shared, f"{event.id}#{number}", times)
        for number, each in enumerate(_settled.decode(event.data).payments)
    ]


def decided(event: Event, bank: str) -> list[Entry]:
    """Return the entry for a decision on a payment that was held."""
    told = _decided.decode(event.data)
    facts = {
        "by": None if told.by is None else str(told.by),
        "choice": told.choice,
        "device": None if told.device is None else str(told.device),
        "document_hash": told.document,
        "event": f"{event.id}#0",
        "kind": "payment.approved" if told.choice == _APPROVE else "payment.decided",
        "payment": str(told.payment),
    }
    return [Entry(told.signer, told.payment, record_of(common(event, bank) | facts))]


def looked_at(event: Event, bank: str) -> list[Entry]:
    """Return the entry for a look of somebody of the bank at what others had signed."""
    told = _read.decode(event.data)
    facts: dict[str, str | None] = {
        "by": told.by,
        "kind": "payment.read",
        "of": " ".join(map(str, told.payments)),
        "session": None if told.session is None else str(told.session),
        "what": told.what,
    }
    return [Entry(None, None, record_of(common(event, bank) | facts))]


READINGS = {PAYMENTS_ACCEPTED: accepted, PAYMENTS_SETTLED: settled, PAYMENT_DECIDED: decided, PAYMENTS_READ: looked_at}


class _Times(dict[datetime, str]):
    """The texts of times: the payments of a batch have one."""

    def __missing__(self, time: datetime) -> str:
        text = self[time] = text_of_time(time)
        return text


def _settled_entry(each: PaymentSettled, shared: dict[str, str | None], event: str, times: _Times) -> Entry:
    facts: dict[str, str | None] = {
        "event": event,
        "evidence": each.hash.hex(),
        "kind": _KINDS[each.state],
        "payment": uuid_text(each.id),
        "signer": uuid_text(each.signer),
    }
    if each.booking_date is not None:
        facts |= {
            "amount": format_amount(each.amount, CURRENCY_DIGITS[each.currency]),
            "batch": None if each.batch is None else uuid_text(each.batch),
            "booking_date": each.booking_date.isoformat(),
            "creditor_account": format_account_number(each.creditor),
            "currency": each.currency,
            "debtor_account": format_account_number(each.debtor),
            "device": uuid_text(each.device),
            "evidence_class": each.kind,
            "received_at": times[each.received_at],
        }
    else:
        facts["reason"] = each.hold_reason if each.reason is None else each.reason
    device = None if each.booking_date is None else UUID(bytes=each.device)
    return Entry(UUID(bytes=each.signer), UUID(bytes=each.id), record_of(shared | facts), None, device)


def uuid_text(raw: bytes) -> str:
    """Return an id as UUIDs are written (RFC 9562, 4): making a `UUID` of it first takes five times as long."""
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
