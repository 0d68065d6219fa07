"""The report of an import, summed up from what was read, opened, posted and compared."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from latticebank.banking.ledger.wire import AccountView
from latticebank.banking.takeover.comparing import Comparison, MigrationSums
from latticebank.banking.takeover.errors import BadRowList
from latticebank.banking.takeover.history import History
from latticebank.banking.takeover.mapping import Mapping as SourceMapping
from latticebank.banking.takeover.opening import OpenedAccounts, WantedAccount, reference_of
from latticebank.banking.takeover.report import (
    AccountDrift,
    GrantedOverdraft,
    MigrationAccount,
    OffStep,
    RefusedRow,
    Report,
)
from latticebank.values.money import CURRENCY_DIGITS, format_amount, parse_signed_amount


class Outcome(Struct, frozen=True):
    """Everything that a report is made from; `migration` is as before the import, `after` as after it."""

    file: str
    mapping: SourceMapping
    history: History
    wanted: Sequence[WantedAccount]
    places: Mapping[int, int]
    opened: OpenedAccounts
    comparison: Comparison
    bad: BadRowList
    migration: Mapping[str, AccountView]
    after: Mapping[str, AccountView]


def report_of(outcome: Outcome) -> Report:
    """Return the report; whether the ledger's sums are those of the import is part of it."""
    comparison, steps = outcome.comparison, outcome.history.steps
    drifts = _drifts(outcome)
    return Report(
        source=outcome.mapping.source.name,
        file=outcome.file,
        rows=len(outcome.history.rows) + outcome.bad.count,
        posted=comparison.rows_posted,
        already_posted=comparison.rows_repeated,
        rounding_posted=comparison.roundings_posted,
        rounding_already_posted=comparison.roundings_repeated,
        exact=steps.exact,
        within_tolerance=steps.within,
        off=steps.off,
        uncompared=steps.uncompared,
        skipped=outcome.bad.count,
        refused=comparison.refused_count,
        accounts=len(outcome.wanted),
        accounts_opened=outcome.opened.opened,
        drifting=len(drifts),
        drifting_at_end=sum(drift.final != 0 for drift in comparison.drift.values()),
        off_steps=tuple(
            OffStep(off.line, _reference(outcome, off.account), _amount(outcome, off.account, off.difference))
            for off in sorted(outcome.history.off, key=lambda off: off.line)
        ),
        skipped_rows=outcome.bad.named(),
        refused_rows=tuple(
            RefusedRow(refusal.line, _reference(outcome, refusal.account), refusal.reason, refusal.rounding)
            for refusal in sorted(comparison.refused, key=lambda refusal: refusal.line)
        ),
        drifts=drifts,
        overdrafts=_overdrafts(outcome),
        migration=tuple(_migration(outcome, number) for number in sorted(outcome.after)),
    )


def _drifts(outcome: Outcome) -> tuple[AccountDrift, ...]:
    """Return the accounts that ever differed from what is stated, those that end furthest away first."""
    drifts = sorted(
        outcome.comparison.drift.items(), key=lambda item: (-abs(item[1].final), -abs(item[1].largest), item[0])
    )
    return tuple(
        AccountDrift(
            _reference(outcome, account),
            outcome.opened.numbers[outcome.places[account]],
            outcome.history.accounts[account].currency,
            _amount(outcome, account, drift.final),
            _amount(outcome, account, drift.largest),
            drift.line_of_largest,
        )
        for account, drift in drifts
    )


def _overdrafts(outcome: Outcome) -> tuple[GrantedOverdraft, ...]:
    granted = []
    for place, limit in sorted(outcome.opened.limits.items()):
        account = outcome.wanted[place]
        digits = CURRENCY_DIGITS[account.currency]
        granted.append(
            GrantedOverdraft(
                reference_of(outcome.mapping, account.name),
                outcome.opened.numbers[place],
                account.currency,
                format_amount(limit, digits),
                format_amount(-account.overdraft_needed, digits),
            )
        )
    return tuple(granted)


def _migration(outcome: Outcome, number: str) -> MigrationAccount:
    before, after = outcome.migration[number], outcome.after[number]
    sums = outcome.comparison.sums[number]
    digits = CURRENCY_DIGITS[after.currency]
    return MigrationAccount(
        number=number,
        reference=after.reference or "",
        currency=after.currency,
        credited=format_amount(sums.credited, digits),
        debited=format_amount(sums.debited, digits),
        balance=after.balance,
        entries=after.entries,
        other_entries=after.entries - sums.posted_now - sums.posted_before,
        agrees=_agrees(before, after, sums, digits),
    )


def _agrees(before: AccountView, after: AccountView, sums: MigrationSums, digits: int) -> bool:
    """Whether the migration account stands where this import must have taken it, and nobody else did."""
    was, is_now = (parse_signed_amount(view.balance, digits) for view in (before, after))
    moved = is_now == was + sums.moved_now and after.entries == before.entries + sums.posted_now
    only_ours = after.entries == sums.posted_now + sums.posted_before
    return moved and (not only_ours or is_now == sums.debited - sums.credited)


def _reference(outcome: Outcome, account: int) -> str:
    return reference_of(outcome.mapping, outcome.history.accounts[account].name)


def _amount(outcome: Outcome, account: int, minor: int) -> str:
    return format_amount(minor, CURRENCY_DIGITS[outcome.history.accounts[account].currency])
