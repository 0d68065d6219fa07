"""The history of all accounts: its order, each step against the stated balance, rounding, and the overdraft it needed.

Pure. The order is by day, then account, then the source's own order within the day: an account's booking dates never
go back, and the migration account takes part in every row.
"""

from collections.abc import Callable
from datetime import date
from operator import attrgetter
from typing import Any

from msgspec import Struct

from latticebank.banking.takeover.errors import BadRowList, Unfit
from latticebank.banking.takeover.fields import shown
from latticebank.banking.takeover.mapping import Mapping, Order
from latticebank.banking.takeover.reading import Row, Source, SourceAccount
from latticebank.values.money import CURRENCY_DIGITS, MAX_BALANCE, MAX_MINOR, format_amount

MAX_OFF_NAMED = 10_000
_UNLIMITED = MAX_BALANCE


class Off(Struct, frozen=True):
    """A step that differs from its amount by more than the tolerance; minor units."""

    line: int
    account: int
    difference: int


class Steps(Struct):
    """How many steps met the stated balance exactly, within the tolerance, or not; `uncompared` had none stated."""

    exact: int = 0
    within: int = 0
    off: int = 0
    uncompared: int = 0


class History(Struct, frozen=True):
    """Rows in the order of posting, all fit to be posted.

    `differences` has, by line, what a step within the tolerance is off by: the source's own rounding. `lowest` is the
    lowest balance that each account will have, 0 where it is never negative. Minor units.
    """

    rows: list[Row]
    accounts: list[SourceAccount]
    differences: dict[int, int]
    steps: Steps
    off: list[Off]
    lowest: list[int]


def in_posting_order(rows: list[Row], order: Order) -> list[Row]:
    """Return the rows by day and account, and within those by the rule of the source."""
    # Sorting is stable: from the last thing that counts to the first.
    ranked = list(reversed(rows)) if order.rule == "file-reversed" else list(rows)
    if order.rule == "credits-then-debits":
        ranked.sort(key=_balance_rising_for_credits)
        ranked.sort(key=_is_debit)
    elif order.rule == "columns":
        for place, column in reversed(list(enumerate(order.columns))):
            ranked.sort(key=_rank_at(place), reverse=column.descending)
    ranked.sort(key=attrgetter("account"))
    ranked.sort(key=attrgetter("day"))
    return ranked


def walk(source: Source, mapping: Mapping, *, correct_rounding: bool, bad: BadRowList) -> History:
    """Return the history that the rows make; a row that its account cannot take is put into `bad` and left out.

    The first step of an account starts from zero.
    """
    accounts = source.accounts
    tolerance = [mapping.tolerance_minor(account.currency) for account in accounts]
    floor = [-_limit(mapping, account) for account in accounts]
    running, lowest = [0] * len(accounts), [0] * len(accounts)
    stated = [0] * len(accounts)
    backwards = _days_going_back(source.rows, mapping.order)
    rows: list[Row] = []
    differences: dict[int, int] = {}
    steps, off = Steps(), list[Off]()
    for row in in_posting_order(source.rows, mapping.order):
        account = row.account
        after = running[account] + row.amount
        if row.line in backwards or (after < floor[account] and row.amount < 0) or abs(after) > MAX_MINOR:
            bad.add(row.line, _why_unfit(row, accounts[account], mapping, after, floor[account], backwards))
            continue
        rows.append(row)
        if row.balance is None:
            steps.uncompared += 1
        else:
            difference = row.balance - stated[account] - row.amount
            stated[account] = row.balance
            if difference == 0:
                steps.exact += 1
            elif -tolerance[account] <= difference <= tolerance[account]:
                steps.within += 1
                differences[row.line] = difference
            else:
                steps.off += 1
                if len(off) < MAX_OFF_NAMED:
                    off.append(Off(row.line, account, difference))
        if after < lowest[account]:
            lowest[account] = after
        if correct_rounding and row.line in differences:
            after += differences[row.line]
            lowest[account] = min(lowest[account], after)
        running[account] = after
    return History(rows, accounts, differences, steps, off, lowest)


def _balance_rising_for_credits(row: Row) -> int:
    balance = row.balance or 0
    return balance if row.amount > 0 else -balance


def _is_debit(row: Row) -> bool:
    return row.amount < 0


def _rank_at(place: int) -> Callable[[Row], Any]:
    return lambda row: row.rank[place]


def _days_going_back(rows: list[Row], order: Order) -> frozenset[int]:
    """Return the lines that, in the order of the file, are dated before an earlier row of their account.

    Where the order of the file is the order of booking, sorting by day would hide that the file is not in it.
    """
    if order.rule not in ("file", "file-reversed"):
        return frozenset()
    latest: dict[int, date] = {}
    backwards = set()
    for row in reversed(rows) if order.rule == "file-reversed" else rows:
        if row.day < latest.setdefault(row.account, row.day):
            backwards.add(row.line)
        else:
            latest[row.account] = row.day
    return frozenset(backwards)


def _limit(mapping: Mapping, account: SourceAccount) -> int:
    """Return by how much an account may go below zero in minor units."""
    if mapping.overdraft.policy == "fixed":
        return mapping.fixed_limit_minor(account.currency)
    return 0 if mapping.overdraft.policy == "none" else _UNLIMITED


def _why_unfit(
    row: Row, account: SourceAccount, mapping: Mapping, after: int, floor: int, backwards: frozenset[int]
) -> Unfit:
    if row.line in backwards:
        reason = f"{row.day} is before the day of an earlier row of this account, but the order is that of the file"
        return Unfit(mapping.columns.date, reason)
    digits = CURRENCY_DIGITS[account.currency]
    if abs(after) > MAX_MINOR:
        return Unfit(mapping.columns.amount, f"the balance of {shown(account.name)} is more than any may be")
    reason = f"takes {shown(account.name)} to {format_amount(after, digits)}, allowed is {format_amount(floor, digits)}"
    return Unfit(mapping.columns.amount, reason)
