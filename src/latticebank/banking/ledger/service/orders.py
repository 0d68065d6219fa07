"""Orders from the wire become commands of the ledger, and the ledger's records become answers."""

from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256

import msgspec

from latticebank.banking.ledger.model.decide import Answer, Chain
from latticebank.banking.ledger.model.transfers import (
    DONE,
    MAX_CHAIN,
    SIGNED,
    EvidenceClass,
    Post,
    PostReserved,
    Purpose,
    Rejection,
    Reserve,
    Reverse,
    Transfer,
    TransferCommand,
    Void,
)
from latticebank.banking.ledger.wire import (
    Order,
    OrderAnswer,
    PostOrder,
    PostReservedOrder,
    ReserveOrder,
    ReverseOrder,
    VoidOrder,
)
from latticebank.values.account_number import parse_account_number, shard_of
from latticebank.values.errors import BankError, InvalidValue
from latticebank.values.money import CURRENCY_DIGITS, currency_digits, format_amount, parse_amount

_PURPOSES = {purpose.word: int(purpose) for purpose in Purpose}
_EVIDENCE_CLASS: dict[int, int] = {
    Purpose.IMPORT: int(EvidenceClass.IMPORT),
    Purpose.ROUNDING: int(EvidenceClass.IMPORT),
}
_OPERATOR = int(EvidenceClass.OPERATOR)
_SIGNED = {evidence_class.word: int(evidence_class) for evidence_class in SIGNED}
_EVIDENCE_BYTES = 32


def chains_of(orders: list[Order], shards: int) -> list[tuple[int, Chain]]:
    """Return the chains that a list of orders forms, as commands, each with the shard that decides it.

    Raises:
        InvalidValue: an order is malformed; the field is a JSON pointer to it.

    """
    chains: list[tuple[int, Chain]] = []
    links: list[TransferCommand] = []
    shard: int | None = None
    for index, order in enumerate(orders):
        try:
            shard = _shard(order, shards, shard)
            links.append(_command(order))
            _refuse_unfit_link(order, links)
        except BankError as error:
            error.field = f"/orders/{index}/{error.field}"
            raise
        if not order.linked:
            chains.append((shard, tuple(links)))
            links, shard = [], None
    if links:
        raise InvalidValue("the last order is linked to nothing", field=f"/orders/{len(orders) - 1}/linked")
    return chains


def claims_signature(order: Order) -> bool:
    """Whether whoever gives this order says that it was signed."""
    return isinstance(order, PostOrder | ReserveOrder | ReverseOrder) and order.evidence_class is not None


def answer_to(order: Order, answer: Answer) -> OrderAnswer:
    """Return what is answered to an order."""
    if not isinstance(answer, Transfer):
        return OrderAnswer(order.id, Rejection.ID_REUSED.word)
    if answer.outcome != DONE:
        return OrderAnswer(order.id, Rejection(answer.outcome).word, answer.seq)
    if answer.debit_entry == 0:
        return OrderAnswer(order.id, "done", answer.seq, answer.booking_date)
    digits = CURRENCY_DIGITS[answer.currency]
    return OrderAnswer(
        order.id,
        "done",
        answer.seq,
        answer.booking_date,
        answer.debit_entry,
        format_amount(answer.debit_balance, digits),
        answer.credit_entry,
        format_amount(answer.credit_balance, digits),
    )


def _command(order: Order) -> TransferCommand:
    if isinstance(order, PostOrder):
        return Post(order.id.bytes, *_movement(order), order.booking_date, order.value_date)
    if isinstance(order, ReserveOrder):
        return Reserve(order.id.bytes, *_movement(order), _instant(order.expires_at))
    if isinstance(order, PostReservedOrder):
        if (order.amount is None) != (order.currency is None):
            raise InvalidValue("an amount and its currency go together", field="amount")
        amount = None
        if order.amount is not None and order.currency is not None:
            amount = _amount(order.amount, order.currency)
        return PostReserved(
            order.id.bytes, order.reservation.bytes, amount, order.currency, order.booking_date, order.value_date
        )
    if isinstance(order, VoidOrder):
        return Void(order.id.bytes, order.reservation.bytes)
    return Reverse(order.id.bytes, order.transfer.bytes, _evidence_class(order, _OPERATOR), _evidence(order))


def _shard(order: Order, shards: int, so_far: int | None) -> int:
    """Return the shard of an order, which is that of the chain so far.

    Money moves within one shard. An order that names no account may name one to be found by; where there is but one
    shard it need not.
    """
    if isinstance(order, PostOrder | ReserveOrder):
        found = {shard_of(_debit(order.debit)), shard_of(_credit(order.credit))}
    elif order.account is not None:
        found = {shard_of(_account(order.account))}
    elif shards == 1:
        found = {0}
    else:
        raise InvalidValue("name an account of the transfer: it tells the shard", field="account")
    if len(found | ({so_far} if so_far is not None else set())) > 1:
        raise InvalidValue("the accounts of a transfer, and of a chain, lie on one shard", field="credit")
    shard = found.pop()
    if shard >= shards:
        raise InvalidValue("this account number belongs to no shard of this bank", field="debit")
    return shard


def _refuse_unfit_link(order: Order, links: list[TransferCommand]) -> None:
    if len(links) > MAX_CHAIN:
        raise InvalidValue(f"a chain has at most {MAX_CHAIN} links", field="linked")
    if len(links) == 1 and not order.linked:
        return
    kinds = {type(links[0]), type(links[-1])}
    if not (kinds <= {Post, Reverse} or kinds == {Reserve}):
        raise InvalidValue(
            "a chain links either postings and reversals, or reservations",
            field="kind",
            hint="a chain of reservations is posted or voided as a whole by naming its first one",
        )


def _movement(order: PostOrder | ReserveOrder) -> tuple[int, int, int, str, int, int, bytes]:
    """Return debit, credit, amount, currency, purpose, class of evidence and evidence."""
    purpose = _PURPOSES[order.purpose]
    return (
        _debit(order.debit),
        _credit(order.credit),
        _amount(order.amount, order.currency),
        order.currency,
        purpose,
        _evidence_class(order, _EVIDENCE_CLASS.get(purpose, _OPERATOR)),
        _evidence(order),
    )


# The accounts of a batch come again and again, and a check digit costs a microsecond.
@lru_cache(maxsize=65_536)
def _account(text: str) -> int:
    return parse_account_number(text, "account")


@lru_cache(maxsize=65_536)
def _debit(text: str) -> int:
    return parse_account_number(text, "debit")


@lru_cache(maxsize=65_536)
def _credit(text: str) -> int:
    return parse_account_number(text, "credit")


def _amount(text: str, currency: str) -> int:
    amount = parse_amount(text, currency_digits(currency))
    if amount == 0:
        raise InvalidValue("an amount is more than zero", field="amount")
    return amount


def _instant(time: datetime | None) -> datetime | None:
    """Return a time in UTC: with another offset the last hours of the calendar would not come back from the database."""
    if time is None:
        return None
    if time.tzinfo is None:
        raise InvalidValue("a time names its offset from UTC", field="expires_at")
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise InvalidValue("this time lies outside of the calendar", field="expires_at") from None


def _evidence_class(order: PostOrder | ReserveOrder | ReverseOrder, otherwise: int) -> int:
    """Return the class given; it says what was signed, so the evidence must be given with it."""
    if order.evidence_class is None:
        return otherwise
    if order.evidence is None:
        raise InvalidValue("a class of evidence goes with the evidence", field="evidence")
    return _SIGNED[order.evidence_class]


def _evidence(order: PostOrder | ReserveOrder | ReverseOrder) -> bytes:
    """Return the evidence given, or the SHA-256 of the order itself: the caller's own word."""
    given = order.evidence
    if given is None:
        return sha256(msgspec.json.encode(order)).digest()
    try:
        evidence = bytes.fromhex(given)
    except ValueError:
        evidence = b""
    if len(evidence) != _EVIDENCE_BYTES or len(given) != 2 * _EVIDENCE_BYTES:
        raise InvalidValue("evidence is a SHA-256 in 64 hexadecimal digits", field="evidence")
    return evidence
