"""Decide a batch: what each command does to the books, in order. Pure; the only place where money moves.

`decide` is given everything that the batch names and returns everything that is to be written. It never fails for
what a command asks: a command that cannot be done is recorded as refused, and asked again it gets the same answer.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from latticebank.banking.ledger.model.account_rules import act, same_act
from latticebank.banking.ledger.model.accounts import (
    AccountCommand,
    AccountEvent,
    CloseAccount,
    FreezeAccount,
    OpenAccount,
    SetOverdraftLimit,
    UnfreezeAccount,
)
from latticebank.banking.ledger.model.desk import Books, Desk
from latticebank.banking.ledger.model.posting import evidence_kept, expire, post, post_reserved, reserve, reverse, void
from latticebank.banking.ledger.model.transfers import (
    NO_CURRENCY,
    Expire,
    Kind,
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
from latticebank.values.clock import business_date

Command = TransferCommand | AccountCommand
Chain = tuple[Command, ...]
"""Commands that are done together or not at all; most chains have one link."""
Answer = Transfer | AccountEvent | Rejection
"""The record of a command, or `ID_REUSED` for one that carries another's identifier and so can have no record."""

_KIND_OF = {
    Post: Kind.POST, Reserve: Kind.RESERVE, PostReserved: Kind.POST_RESERVED, Void: Kind.VOID, Expire: Kind.EXPIRE,
    Reverse: Kind.REVERSE,
}  # fmt: skip
_ACCOUNT_COMMANDS = (OpenAccount, FreezeAccount, UnfreezeAccount, CloseAccount, SetOverdraftLimit)


def decide(books: Books, chains: Sequence[Chain], now: datetime) -> tuple[list[list[Answer]], Desk]:
    """Return the answers to each command of each chain, and the desk with all that is to be written."""
    desk = Desk(books, now, business_date(now))
    recorded = desk.recorded
    answers: list[list[Answer]] = []
    for chain in chains:
        command = chain[0]
        if len(chain) == 1 and type(command) is Post and command.id not in recorded:
            outcome = post(desk, command, None)
            answers.append([_refuse(desk, command, outcome, None) if isinstance(outcome, Rejection) else outcome])
        else:
            answers.append(_decide_chain(desk, chain))
    return answers, desk


def _decide_chain(desk: Desk, chain: Chain) -> list[Answer]:
    """Decide any chain: answer a repeated one from the record, do a new one whole or not at all."""
    leader = chain[0].id if len(chain) > 1 else None
    earlier = [_earlier(desk, command) for command in chain]
    known = [record for record in earlier if record is not None]
    if known and (len(known) == len(chain) or not all(map(_is_tombstone, known))):
        repeated = len(known) == len(chain) and all(map(same, chain, known, [leader] * len(chain)))
        return [*known] if repeated else [Rejection.ID_REUSED] * len(chain)
    if len({command.id for command in chain}) < len(chain):
        return [Rejection.ID_REUSED] * len(chain)
    if leader is None:
        return [_decide_one(desk, chain[0])]
    if known:
        return _break_at_tombstones(desk, chain, earlier, leader)
    desk.begin_chain()
    answers: list[Answer] = []
    for command in chain:
        outcome = _apply(desk, command, leader, chain)
        if isinstance(outcome, Rejection):
            desk.undo_chain()
            return [
                _refuse(desk, link, outcome if link is command else Rejection.CHAIN_BROKEN, leader) for link in chain
            ]
        answers.append(outcome)
    desk.keep_chain()
    return answers


def _earlier(desk: Desk, command: Command) -> Transfer | AccountEvent | None:
    """Return the record that carries the identifier of a command; orders and acts on accounts are named apart."""
    if isinstance(command, _ACCOUNT_COMMANDS):
        return desk.acts.get(command.id)
    return desk.recorded.get(command.id)


def _is_tombstone(record: Transfer | AccountEvent) -> bool:
    return isinstance(record, Transfer) and record.outcome == Rejection.VOIDED_BEFORE_RESERVE


def _break_at_tombstones(
    desk: Desk, chain: Chain, earlier: Sequence[Transfer | AccountEvent | None], leader: bytes
) -> list[Answer]:
    """Refuse a chain of reservations of which some were voided before it came."""
    if not all(isinstance(command, Reserve) for command in chain):
        return [Rejection.ID_REUSED] * len(chain)
    return [
        tombstone or _refuse(desk, command, Rejection.CHAIN_BROKEN, leader)
        for command, tombstone in zip(chain, earlier, strict=True)
    ]


def _decide_one(desk: Desk, command: Command) -> Answer:
    if isinstance(command, _ACCOUNT_COMMANDS):
        return act(desk, command)
    outcome = _apply(desk, command, None, (command,))
    return _refuse(desk, command, outcome, None) if isinstance(outcome, Rejection) else outcome


def _apply(desk: Desk, command: Command, leader: bytes | None, chain: Chain) -> Transfer | Rejection:
    if isinstance(command, Post):
        return post(desk, command, leader)
    if isinstance(command, Reserve):
        ends = [link.expires_at for link in chain if isinstance(link, Reserve) and link.expires_at is not None]
        return reserve(desk, command, leader, min(ends, default=None))
    if isinstance(command, PostReserved):
        return post_reserved(desk, command)
    if isinstance(command, Void):
        return void(desk, command)
    if isinstance(command, Expire):
        return expire(desk, command)
    if isinstance(command, Reverse):
        return reverse(desk, command, leader)
    raise AssertionError(f"{type(command).__name__} cannot be a link of a chain of transfers")


def _refuse(desk: Desk, command: Command, rejection: Rejection, chain: bytes | None) -> Transfer:
    """Record that a command was refused; nothing else changes."""
    facts: dict[str, Any] = {"debit": 0, "credit": 0, "amount": 0, "currency": NO_CURRENCY, "purpose": Purpose.TRANSFER}
    booking = value = None
    match command:
        case Post() | Reserve():
            facts |= {name: getattr(command, name) for name in (*facts, "evidence_class", "evidence")}
        case PostReserved():
            facts |= {"amount": command.amount or 0, "currency": command.currency or NO_CURRENCY}
            facts["reference"] = command.reservation
        case Void() | Expire():
            facts["reference"] = command.reservation
        case Reverse():
            facts |= {"reference": command.transfer, "evidence_class": command.evidence_class}
            facts["evidence"] = command.evidence
    if isinstance(command, Post | PostReserved):
        booking, value = command.booking_date, command.value_date
    facts["evidence"] = evidence_kept(facts.get("evidence", b""))
    return desk.record(
        Transfer(
            seq=desk.next_seq,
            id=command.id,
            kind=_KIND_OF[type(command)],
            outcome=rejection,
            booking_date=booking or desk.today,
            value_date=value or booking or desk.today,
            chain=chain,
            **facts,
        )
    )


def same(command: Command, record: Transfer | AccountEvent, leader: bytes | None) -> bool:
    """Return whether a record answers this very command, in the chain that `leader` leads if it came in one.

    What the command left open matches anything. A tombstone answers whatever reservation comes under its identifier.
    """
    if isinstance(record, AccountEvent) or isinstance(command, _ACCOUNT_COMMANDS):
        return isinstance(record, AccountEvent) and isinstance(command, _ACCOUNT_COMMANDS) and same_act(command, record)
    if _is_tombstone(record):
        return isinstance(command, Reserve)
    if record.kind != _KIND_OF[type(command)]:
        return False
    if isinstance(command, Post | Reserve):
        return (
            (command.debit, command.credit, command.amount, command.currency, command.purpose)
            == (record.debit, record.credit, record.amount, record.currency, record.purpose)
            and (command.evidence_class, evidence_kept(command.evidence)) == (record.evidence_class, record.evidence)
            and record.chain == leader
            and (isinstance(command, Reserve) or _same_dates(command, record))
        )  # fmt: skip
    if isinstance(command, PostReserved):
        return (
            command.reservation == record.reference
            and command.amount in (None, record.amount)
            and command.currency in (None, record.currency)
            and _same_dates(command, record)
        )
    if isinstance(command, Reverse):
        named = (command.transfer, command.evidence_class, evidence_kept(command.evidence), leader)
        return named == (record.reference, record.evidence_class, record.evidence, record.chain)
    return command.reservation == record.reference


def _same_dates(command: Post | PostReserved, record: Transfer) -> bool:
    return command.booking_date in (None, record.booking_date) and command.value_date in (None, record.value_date)
