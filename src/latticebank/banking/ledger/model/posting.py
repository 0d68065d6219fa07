"""The rules by which one command moves money. Each either does all of it or returns why not, having done nothing."""

from collections import Counter
from datetime import date, datetime, timedelta
from hashlib import sha256

from msgspec.structs import replace

from latticebank.banking.ledger.model.accounts import Account, AccountKind, AccountStatus
from latticebank.banking.ledger.model.desk import Desk
from latticebank.banking.ledger.model.transfers import (
    DONE,
    NO_CURRENCY,
    SIGNED,
    VALUE_DATE_REACH,
    Entry,
    EvidenceClass,
    Expire,
    Kind,
    Post,
    PostReserved,
    Purpose,
    Rejection,
    Reservation,
    ReservationState,
    Reserve,
    Reverse,
    Transfer,
    Void,
)
from latticebank.values.money import MAX_BALANCE

_OPEN = AccountStatus.OPEN
_FIRST_BANK_KIND = AccountKind.CASH
_MIGRATION = AccountKind.MIGRATION
_POST = int(Kind.POST)
_REACH = timedelta(days=VALUE_DATE_REACH)
_CLOSED_WORD = {AccountStatus.FROZEN: Rejection.ACCOUNT_FROZEN, AccountStatus.CLOSED: Rejection.ACCOUNT_CLOSED}
EVIDENCE_SIZE = 32


def post(desk: Desk, command: Post, chain: bytes | None) -> Transfer | Rejection:
    """Move money at once."""
    sides = _sides(desk, command)
    if isinstance(sides, Rejection):
        return sides
    debit, credit = sides
    dates = booking_dates(desk, debit, credit, command.booking_date, command.value_date)
    if isinstance(dates, Rejection):
        return dates
    return _move(desk, debit, credit, command, _POST, dates, None, chain)


def reserve(desk: Desk, command: Reserve, chain: bytes | None, expires_at: datetime | None) -> Transfer | Rejection:
    """Hold money for a posting to come; it counts against what is available, not against the balance."""
    sides = _sides(desk, command)
    if isinstance(sides, Rejection):
        return sides
    debit, _ = sides
    if expires_at is not None and expires_at <= desk.now:
        return Rejection.EXPIRY_IN_PAST
    if debit.held + command.amount > MAX_BALANCE:
        return Rejection.BALANCE_OVERFLOW
    _require_positive(command.amount)
    desk.change(debit).held += command.amount
    reservation = Reservation(
        command.id, chain, command.debit, command.credit, command.amount, command.currency, command.purpose,
        command.evidence_class, command.evidence, expires_at, ReservationState.OPEN, None,
    )  # fmt: skip
    desk.hold(reservation)
    return _record_without_entries(desk, command.id, Kind.RESERVE, reservation, None)


def post_reserved(desk: Desk, command: PostReserved) -> Transfer | Rejection:
    """Post a reservation, or all of the chain it leads; what is not posted is released."""
    members = _open_members(desk, command.reservation)
    if isinstance(members, Rejection):
        return members
    for member in members:
        if member.expires_at is not None and member.expires_at <= desk.now:
            return Rejection.RESERVATION_EXPIRED
    if command.amount is not None:
        if len(members) > 1:
            return Rejection.RESERVATION_IN_CHAIN
        if command.currency != members[0].currency:
            return Rejection.CURRENCY_MISMATCH
        if command.amount > members[0].amount:
            return Rejection.AMOUNT_OVER_RESERVATION
    ready = []
    credited: Counter[int] = Counter()
    for member in members:
        debit, credit = desk.account(member.debit), desk.account(member.credit)
        if debit is None or credit is None:
            raise AssertionError("a reservation names accounts that exist")
        amount = member.amount if command.amount is None else command.amount
        credited[member.credit] += amount
        if credit.balance + credited[member.credit] > MAX_BALANCE:
            return Rejection.BALANCE_OVERFLOW
        refused = _standing(debit, credit) or _evidence_refusal(debit, credit, member)
        if refused is not None:
            return refused
        dates = booking_dates(desk, debit, credit, command.booking_date, command.value_date)
        if isinstance(dates, Rejection):
            return dates
        ready.append((member, debit, credit, amount, dates))
    rows = []
    for index, (member, debit, credit, amount, dates) in enumerate(ready):
        identifier = member_id(command.id, index)
        desk.change(debit).held -= member.amount
        posting = Post(
            identifier, member.debit, member.credit, amount, debit.currency, member.purpose, member.evidence_class,
            member.evidence,
        )  # fmt: skip
        rows.append(_move(desk, debit, credit, posting, Kind.POST_RESERVED, dates, member.id, member.chain))
        desk.resolved[member.id] = replace(member, state=ReservationState.POSTED, resolved_by=identifier)
    return rows[0]


def void(desk: Desk, command: Void) -> Transfer | Rejection:
    """Release a reservation or the chain it leads; an unknown one leaves a tombstone in its place."""
    if command.reservation == command.id:
        return Rejection.RESERVATION_UNKNOWN
    if desk.reservation(command.reservation) is None:
        earlier = desk.recorded.get(command.reservation)
        if earlier is None:
            bury(desk, command.reservation)
        elif earlier.kind != Kind.RESERVE:
            return Rejection.RESERVATION_UNKNOWN
        return _record_empty(desk, command.id, Kind.VOID, DONE, command.reservation)
    members = _open_members(desk, command.reservation)
    if isinstance(members, Rejection):
        return members
    return _release(desk, command.id, Kind.VOID, members, ReservationState.VOIDED)


def expire(desk: Desk, command: Expire) -> Transfer | Rejection:
    """Release a reservation, or the chain it leads, whose time is over."""
    members = _open_members(desk, command.reservation)
    if isinstance(members, Rejection):
        return members
    if any(member.expires_at is None or member.expires_at > desk.now for member in members):
        return Rejection.RESERVATION_NOT_EXPIRED
    return _release(desk, command.id, Kind.EXPIRE, members, ReservationState.EXPIRED)


def reverse(desk: Desk, command: Reverse, chain: bytes | None) -> Transfer | Rejection:
    """Move the money of a posted transfer back; funds, freezes and closures count as for any posting.

    Whoever got the money is debited, so a customer who did is debited by a signed act, as ever.
    """
    original = desk.recorded.get(command.transfer)
    if original is None:
        return Rejection.TRANSFER_UNKNOWN
    if original.outcome != DONE or original.debit_entry == 0 or original.kind == Kind.REVERSE:
        return Rejection.NOT_REVERSIBLE
    if original.id in desk.reversed:
        return Rejection.ALREADY_REVERSED
    debit, credit = desk.account(original.credit), desk.account(original.debit)
    if debit is None or credit is None:
        raise AssertionError("a posted transfer names accounts that exist")
    posting = Post(
        command.id, debit.number, credit.number, original.amount, debit.currency, Purpose.REVERSAL,
        command.evidence_class, command.evidence,
    )  # fmt: skip
    refused = _refusal(debit, credit, posting)
    if refused is not None:
        return refused
    dates = booking_dates(desk, debit, credit, None, None)
    if isinstance(dates, Rejection):
        return dates
    desk.reversed.add(original.id)
    return _move(desk, debit, credit, posting, Kind.REVERSE, dates, original.id, chain)


def evidence_kept(evidence: bytes) -> bytes:
    """Return the evidence that a record keeps: a whole SHA-256, or none."""
    return evidence if len(evidence) == EVIDENCE_SIZE else b""


def bury(desk: Desk, reservation: bytes) -> None:
    """Leave a tombstone: the record of a reservation that was refused before it came."""
    _record_empty(desk, reservation, Kind.RESERVE, Rejection.VOIDED_BEFORE_RESERVE, None)


def member_id(command: bytes, index: int) -> bytes:
    """Return the identifier of the `index`-th transfer that one command on a chain makes (UUIDv8, RFC 9562, 5.8)."""
    if index == 0:
        return command
    value = int.from_bytes(sha256(command + index.to_bytes(4)).digest()[:16])
    value = value & ~(0xF << 76) | 0x8 << 76
    return (value & ~(0b11 << 62) | 0b10 << 62).to_bytes(16)


def booking_dates(
    desk: Desk, debit: Account, credit: Account, booking: date | None, value: date | None
) -> tuple[date, date] | Rejection:
    """Return booking and value date: the booking date never goes back on either account, nor into the future."""
    last = debit.last_booking
    if credit.last_booking > last:
        last = credit.last_booking
    if booking is None:
        booking = max(desk.today, last)
    elif booking < last:
        return Rejection.BOOKING_DATE_BEFORE_LAST
    elif booking > desk.today:
        return Rejection.BOOKING_DATE_IN_FUTURE
    if value is None:
        return booking, booking
    if not -_REACH <= value - booking <= _REACH:
        return Rejection.VALUE_DATE_OUT_OF_REACH
    return booking, value


def _sides(desk: Desk, command: Post | Reserve) -> tuple[Account, Account] | Rejection:
    """Return the two accounts of a movement, or why they cannot take part in it."""
    debit = desk.account(command.debit)
    if debit is None:
        return Rejection.DEBIT_ACCOUNT_UNKNOWN
    credit = desk.account(command.credit)
    if credit is None:
        return Rejection.CREDIT_ACCOUNT_UNKNOWN
    return _refusal(debit, credit, command) or (debit, credit)


def _refusal(debit: Account, credit: Account, command: Post | Reserve) -> Rejection | None:
    """Return why these accounts cannot take part in this movement, dates aside."""
    if debit is credit:
        return Rejection.SAME_ACCOUNT
    if debit.status != _OPEN or credit.status != _OPEN:
        return _standing(debit, credit)
    if debit.currency != command.currency or credit.currency != command.currency:
        return Rejection.CURRENCY_MISMATCH
    refused = _evidence_refusal(debit, credit, command)
    if refused is not None:
        return refused
    if credit.balance + command.amount > MAX_BALANCE:
        return Rejection.BALANCE_OVERFLOW
    if debit.balance - debit.held - command.amount < -debit.overdraft_limit:
        return Rejection.INSUFFICIENT_FUNDS
    return None


def _evidence_refusal(debit: Account, credit: Account, command: Post | Reserve | Reservation) -> Rejection | None:
    """Return why this evidence does not suffice to debit this account.

    A customer is debited by a signed act. The one other reason is history: what another system recorded before this
    bank took its books over. It moves against an account of migration, and taking it back is no history any more.
    """
    if len(command.evidence) != EVIDENCE_SIZE and (command.evidence or debit.kind < _FIRST_BANK_KIND):
        return Rejection.EVIDENCE_MISSING
    if debit.kind >= _FIRST_BANK_KIND or command.evidence_class in SIGNED:
        return None
    of_history = command.evidence_class == EvidenceClass.IMPORT and command.purpose != Purpose.REVERSAL
    return None if of_history and credit.kind == _MIGRATION else Rejection.EVIDENCE_NOT_SIGNED


def _standing(debit: Account, credit: Account) -> Rejection | None:
    for account in (debit, credit):
        if account.status != _OPEN:
            return _CLOSED_WORD[AccountStatus(account.status)]
    return None


def _move(
    desk: Desk, debit: Account, credit: Account, command: Post, kind: int, dates: tuple[date, date],
    reference: bytes | None, chain: bytes | None,
) -> Transfer:  # fmt: skip
    """Make the two entries of a posting whose every condition has been checked."""
    booking, value = dates
    amount, identifier = command.amount, command.id
    _require_positive(amount)
    debit, credit = desk.change(debit), desk.change(credit)
    debit.balance -= amount
    debit.entries += 1
    debit.last_booking = booking
    credit.balance += amount
    credit.entries += 1
    credit.last_booking = booking
    desk.entries.append(Entry(debit.number, debit.entries, identifier, -amount, debit.balance, booking, value))
    desk.entries.append(Entry(credit.number, credit.entries, identifier, amount, credit.balance, booking, value))
    return desk.record(
        Transfer(
            desk.next_seq, identifier, kind, DONE, debit.number, credit.number, amount, command.currency,
            command.purpose, booking, value, command.evidence_class, command.evidence, debit.entries, credit.entries,
            debit.balance, credit.balance, reference, chain,
        )
    )  # fmt: skip


def _require_positive(amount: int) -> None:
    if amount <= 0:
        raise AssertionError("money moves by a positive amount: the wire refuses any other")


def _open_members(desk: Desk, identifier: bytes) -> list[Reservation] | Rejection:
    """Return the open reservation, or all of the chain it leads."""
    reservation = desk.reservation(identifier)
    if reservation is None:
        return Rejection.RESERVATION_UNKNOWN
    if reservation.chain is None:
        members = [reservation]
    elif reservation.chain == reservation.id:
        members = desk.reservations_of_chain(reservation.id)
    else:
        return Rejection.RESERVATION_IN_CHAIN
    if any(member.state != ReservationState.OPEN for member in members):
        return Rejection.RESERVATION_RESOLVED
    return members


def _release(desk: Desk, command: bytes, kind: Kind, members: list[Reservation], state: ReservationState) -> Transfer:
    rows = []
    for index, member in enumerate(members):
        debit = desk.account(member.debit)
        if debit is None:
            raise AssertionError("a reservation names accounts that exist")
        identifier = member_id(command, index)
        desk.change(debit).held -= member.amount
        desk.resolved[member.id] = replace(member, state=state, resolved_by=identifier)
        rows.append(_record_without_entries(desk, identifier, kind, member, member.id))
    return rows[0]


def _record_without_entries(
    desk: Desk, identifier: bytes, kind: Kind, reservation: Reservation, reference: bytes | None
) -> Transfer:
    return desk.record(
        Transfer(
            seq=desk.next_seq,
            id=identifier,
            kind=kind,
            outcome=DONE,
            debit=reservation.debit,
            credit=reservation.credit,
            amount=reservation.amount,
            currency=reservation.currency,
            purpose=reservation.purpose,
            booking_date=desk.today,
            value_date=desk.today,
            evidence_class=reservation.evidence_class,
            evidence=reservation.evidence,
            reference=reference,
            chain=reservation.chain,
        )
    )


def _record_empty(desk: Desk, identifier: bytes, kind: Kind, outcome: int, reference: bytes | None) -> Transfer:
    return desk.record(
        Transfer(
            seq=desk.next_seq,
            id=identifier,
            kind=kind,
            outcome=outcome,
            debit=0,
            credit=0,
            amount=0,
            currency=NO_CURRENCY,
            purpose=Purpose.TRANSFER,
            booking_date=desk.today,
            value_date=desk.today,
            reference=reference,
        )
    )
