"""What callers are shown of the ledger's rows."""

from uuid import UUID

from latticebank.banking.ledger.model.accounts import UNBOUNDED, AccountKind, AccountStatus
from latticebank.banking.ledger.model.reasons import REASONS
from latticebank.banking.ledger.model.transfers import DONE, EvidenceClass, Kind, Purpose, Rejection
from latticebank.banking.ledger.store.debits import RecordedDebit
from latticebank.banking.ledger.store.read import AccountRow, EntryRow, RecordedTransfer
from latticebank.banking.ledger.wire import (
    AccountFacts,
    AccountKindWord,
    AccountStatusWord,
    AccountView,
    CustomerDebit,
    EntryView,
    TransferView,
)
from latticebank.values.account_number import format_account_number
from latticebank.values.money import CURRENCY_DIGITS, format_amount

_NO_DIGITS = 0


def account_view(row: AccountRow) -> AccountView:
    """Return an account as callers see it."""
    account = row.account
    digits = CURRENCY_DIGITS[account.currency]
    bounded = account.overdraft_limit != UNBOUNDED
    kind: AccountKindWord = _KIND_WORDS[account.kind]
    return AccountView(
        account=format_account_number(account.number),
        kind=kind,
        currency=account.currency,
        status=_STATUS_WORDS[account.status],
        balance=format_amount(account.balance, digits),
        held=format_amount(account.held, digits),
        available=format_amount(account.available, digits) if bounded else None,
        overdraft_limit=format_amount(account.overdraft_limit, digits) if bounded else None,
        entries=account.entries,
        last_booking_date=account.last_booking if account.entries else None,
        reference=row.reference,
        owners=row.owners,
        mandates=row.mandates,
    )


def account_facts(row: AccountRow) -> AccountFacts:
    """Return what other services are told of an account: nothing of its money."""
    account = row.account
    return AccountFacts(
        format_account_number(account.number),
        _KIND_WORDS[account.kind],
        account.currency,
        _STATUS_WORDS[account.status],
        row.owners,
        row.mandates,
    )


def entry_view(row: EntryRow, currency: str) -> EntryView:
    """Return an entry as callers see it."""
    digits = CURRENCY_DIGITS[currency]
    return EntryView(
        number=row.number,
        transfer=row.transfer,
        amount=format_amount(row.amount, digits),
        balance=format_amount(row.balance, digits),
        booking_date=row.booking_date,
        value_date=row.value_date,
        counterparty=format_account_number(row.counterparty),
        purpose=Purpose(row.purpose).word,
        kind=Kind(row.kind).word,
        recorded_at=row.recorded_at,
    )


def transfer_view(recorded: RecordedTransfer) -> TransferView:
    """Return the record of a command as callers see it."""
    t = recorded.transfer
    return TransferView(
        id=UUID(bytes=t.id),
        seq=t.seq,
        kind=Kind(t.kind).word,
        outcome="done" if t.outcome == DONE else Rejection(t.outcome).word,
        reason=None if t.outcome == DONE else REASONS[Rejection(t.outcome)],
        debit=format_account_number(t.debit) if t.debit else None,
        credit=format_account_number(t.credit) if t.credit else None,
        amount=format_amount(t.amount, CURRENCY_DIGITS.get(t.currency, _NO_DIGITS)),
        currency=t.currency,
        purpose=Purpose(t.purpose).word,
        booking_date=t.booking_date,
        value_date=t.value_date,
        recorded_at=recorded.recorded_at,
        debit_entry=t.debit_entry or None,
        credit_entry=t.credit_entry or None,
        reference=None if t.reference is None else UUID(bytes=t.reference),
        chain=None if t.chain is None else UUID(bytes=t.chain),
        evidence_class=EvidenceClass(t.evidence_class).word,
        evidence=t.evidence.hex() or None,
    )


def debit_view(debit: RecordedDebit) -> CustomerDebit:
    """Return a customer's debit as whoever checks its evidence sees it."""
    t = debit.transfer
    return CustomerDebit(
        shard=debit.shard,
        seq=t.seq,
        id=UUID(bytes=t.id),
        kind=Kind(t.kind).word,
        debit=format_account_number(t.debit),
        credit=format_account_number(t.credit),
        amount=format_amount(t.amount, CURRENCY_DIGITS.get(t.currency, _NO_DIGITS)),
        currency=t.currency,
        purpose=Purpose(t.purpose).word,
        evidence_class=EvidenceClass(t.evidence_class).word,
        evidence=t.evidence.hex(),
        reference=None if t.reference is None else UUID(bytes=t.reference),
        recorded_at=debit.recorded_at,
    )


_KIND_WORDS: dict[int, AccountKindWord] = {
    AccountKind.CHECKING: "checking",
    AccountKind.SAVINGS: "savings",
    AccountKind.CASH: "cash",
    AccountKind.FEES: "fees",
    AccountKind.INTEREST: "interest",
    AccountKind.SUSPENSE: "suspense",
    AccountKind.SETTLEMENT: "settlement",
    AccountKind.MIGRATION: "migration",
}
_STATUS_WORDS: dict[int, AccountStatusWord] = {
    AccountStatus.OPEN: "open",
    AccountStatus.FROZEN: "frozen",
    AccountStatus.CLOSED: "closed",
}
