"""The rules by which accounts are opened, frozen, released, closed and given an overdraft limit."""

from collections.abc import Callable
from datetime import date

from latticebank.banking.ledger.model.accounts import (
    UNBOUNDED,
    Account,
    AccountAct,
    AccountCommand,
    AccountEvent,
    AccountKind,
    AccountStatus,
    CloseAccount,
    FreezeAccount,
    OpenAccount,
    SetOverdraftLimit,
    UnfreezeAccount,
)
from latticebank.banking.ledger.model.desk import Desk, Opened
from latticebank.banking.ledger.model.transfers import DONE, Rejection
from latticebank.values.account_number import SERIALS, account_number

BEFORE_ALL = date(1, 1, 1)
"""The last booking date of an account without entries."""

_ACT_OF = {
    OpenAccount: AccountAct.OPENED, FreezeAccount: AccountAct.FROZEN, UnfreezeAccount: AccountAct.UNFROZEN,
    CloseAccount: AccountAct.CLOSED, SetOverdraftLimit: AccountAct.OVERDRAFT_SET,
}  # fmt: skip


def act(desk: Desk, command: AccountCommand) -> AccountEvent:
    """Do a command on an account, or record why not."""
    if isinstance(command, OpenAccount):
        return _open(desk, command)
    account = desk.account(command.account)
    refused = Rejection.ACCOUNT_UNKNOWN if account is None else _refusal(account, command)
    if account is not None and refused is None:
        _RULES[type(command)](desk.change(account), command)
    return _record(desk, command, refused or DONE, command.account)


def same_act(command: AccountCommand, record: AccountEvent) -> bool:
    """Return whether a record answers this very command."""
    return record.act == _ACT_OF[type(command)] and record.details == details_of(command) and (
        isinstance(command, OpenAccount) or record.account == command.account
    )  # fmt: skip


def details_of(command: AccountCommand) -> dict[str, object]:
    """Return what a command asks, as its record keeps it."""
    if isinstance(command, OpenAccount):
        return {
            "kind": AccountKind(command.kind).word,
            "currency": command.currency,
            "overdraft_limit": command.overdraft_limit,
            "reference": command.reference,
            "parties": [[party.reference, party.role] for party in command.parties],
        }
    if isinstance(command, SetOverdraftLimit):
        return {"overdraft_limit": command.overdraft_limit}
    return {"reason": command.reason}


def _open(desk: Desk, command: OpenAccount) -> AccountEvent:
    if command.reference is not None and command.reference in desk.references:
        return _record(desk, command, Rejection.REFERENCE_TAKEN, 0)
    if desk.next_serial >= SERIALS:
        return _record(desk, command, Rejection.NUMBERS_EXHAUSTED, 0)
    number = account_number(desk.shard, desk.next_serial)
    desk.next_serial += 1
    limit = command.overdraft_limit if AccountKind(command.kind).of_customer else UNBOUNDED
    account = Account(number, command.kind, command.currency, AccountStatus.OPEN, 0, 0, limit, 0, 0, BEFORE_ALL)
    desk.changed[number] = account
    desk.opened.append(Opened(account, command.reference, command.parties))
    if command.reference is not None:
        desk.references[command.reference] = number
    return _record(desk, command, DONE, number)


def _record(desk: Desk, command: AccountCommand, outcome: int, number: int) -> AccountEvent:
    return desk.record_act(
        AccountEvent(
            desk.next_seq, command.id, _ACT_OF[type(command)], outcome, number, command.actor, details_of(command)
        )
    )


def _refusal(account: Account, command: AccountCommand) -> Rejection | None:
    if account.status == AccountStatus.CLOSED:
        return Rejection.ACCOUNT_CLOSED
    if isinstance(command, FreezeAccount):
        return Rejection.ALREADY_SO if account.status == AccountStatus.FROZEN else None
    if isinstance(command, UnfreezeAccount):
        return Rejection.ALREADY_SO if account.status == AccountStatus.OPEN else None
    if account.status == AccountStatus.FROZEN:
        return Rejection.ACCOUNT_FROZEN
    if isinstance(command, CloseAccount):
        return Rejection.BALANCE_NOT_ZERO if account.balance or account.held else None
    if isinstance(command, SetOverdraftLimit):
        if not AccountKind(account.kind).of_customer:
            return Rejection.LIMIT_NOT_OF_CUSTOMER
        return Rejection.LIMIT_BELOW_USE if account.balance - account.held < -command.overdraft_limit else None
    raise AssertionError(f"{type(command).__name__} has no rule")


def _freeze(account: Account, _: AccountCommand) -> None:
    account.status = AccountStatus.FROZEN


def _unfreeze(account: Account, _: AccountCommand) -> None:
    account.status = AccountStatus.OPEN


def _close(account: Account, _: AccountCommand) -> None:
    account.status = AccountStatus.CLOSED


def _set_limit(account: Account, command: AccountCommand) -> None:
    if isinstance(command, SetOverdraftLimit):
        account.overdraft_limit = command.overdraft_limit


_RULES: dict[type, Callable[[Account, AccountCommand], None]] = {
    FreezeAccount: _freeze, UnfreezeAccount: _unfreeze, CloseAccount: _close, SetOverdraftLimit: _set_limit,
}  # fmt: skip
