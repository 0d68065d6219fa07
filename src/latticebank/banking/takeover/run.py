"""Taking over a bank's books: the use case."""

import asyncio
from collections import defaultdict
from datetime import date
from pathlib import Path

from msgspec import Struct

from latticebank.banking.ledger.client import LedgerClient
from latticebank.banking.ledger.wire import AccountView
from latticebank.banking.takeover.collection import leave_alone, rare_collections
from latticebank.banking.takeover.comparing import Comparison
from latticebank.banking.takeover.continuing import refuse_if_otherwise_corrected, refuse_if_too_late
from latticebank.banking.takeover.errors import BadRowList, BadRows, Unfit
from latticebank.banking.takeover.history import History, walk
from latticebank.banking.takeover.mapping import Mapping, load_mapping
from latticebank.banking.takeover.opening import WantedAccount, open_accounts, open_migration_accounts
from latticebank.banking.takeover.orders import Books, movements
from latticebank.banking.takeover.owners import Parties, read_account_names, read_parties
from latticebank.banking.takeover.posting import Poster
from latticebank.banking.takeover.progress import Phase, Progress, no_progress
from latticebank.banking.takeover.reading import Row, Source, read_rows
from latticebank.banking.takeover.report import Report
from latticebank.banking.takeover.summing import Outcome, report_of
from latticebank.banking.takeover.together import together
from latticebank.values.clock import Clock, SystemClock, business_date


class Plan(Struct, frozen=True):
    """All that is known before the ledger is asked: the history, the accounts to be there, the rows that are bad.

    `places` says for each account of the history where it stands among the wanted ones.
    """

    history: History
    wanted: list[WantedAccount]
    places: dict[int, int]
    bad: BadRowList


async def take_over(
    client: LedgerClient,
    mapping: Mapping | Path,
    file: Path,
    *,
    correct_rounding: bool = False,
    skip_bad_rows: bool = False,
    progress: Progress = no_progress,
    clock: Clock | None = None,
) -> Report:
    """Post the history in a file to the ledger, compare it with the balances it states, and report.

    To run it again, after a kill at any moment too, posts nothing twice. `clock` says which dates lie in the future.

    Raises:
        InvalidMapping, UnreadableSource: a file is not what it should be; nothing was posted.
        BadRows: rows are bad and `skip_bad_rows` is not set; nothing was posted.
        CannotContinue: what the ledger holds of the source does not allow this; nothing was posted.
        RemoteProblem, ServiceUnavailable, DeadlineExceeded: the ledger failed; run it again to go on.

    """
    today = business_date((clock or SystemClock()).now())
    with rare_collections():
        return await _take_over(client, mapping, file, today, correct_rounding, skip_bad_rows, progress)


async def _take_over(
    client: LedgerClient,
    mapping: Mapping | Path,
    file: Path,
    today: date,
    correct_rounding: bool,
    skip_bad_rows: bool,
    progress: Progress,
) -> Report:
    rules = mapping if isinstance(mapping, Mapping) else await asyncio.to_thread(load_mapping, mapping)
    plan = await asyncio.to_thread(_plan, rules, file, today, correct_rounding, progress)
    if plan.bad.count and not skip_bad_rows:
        raise BadRows(file.name, plan.bad.named(), plan.bad.count)
    leave_alone()
    history = plan.history
    roundings = history.differences if correct_rounding else {}

    opened = await open_accounts(client, rules, plan.wanted, progress)
    books, migration = await _books(client, rules, plan, opened.numbers)
    streams = _streams(history, books)
    for number, rows in streams.items():
        if migration[number].entries == 0:
            continue
        await refuse_if_too_late(client, books, rows, migration[number].last_booking_date)
        await refuse_if_otherwise_corrected(client, books, rows, history.differences, correct_rounding=correct_rounding)

    comparison = Comparison(books, {number: view.entries for number, view in migration.items()}, roundings)
    total = len(history.rows) + len(roundings)
    poster = Poster(client, books, comparison, progress, total)
    await together(poster.post(movements(rows, roundings)) for rows in streams.values())
    progress(Phase.POSTING, total, total)
    progress(Phase.COMPARING, total, total)

    after = {number: await client.account(number) for number in migration}
    outcome = Outcome(
        file.name, rules, history, plan.wanted, plan.places, opened, comparison, plan.bad, migration, after
    )
    return report_of(outcome)


def _plan(mapping: Mapping, file: Path, today: date, correct_rounding: bool, progress: Progress) -> Plan:
    """Read and check everything, before anything is posted."""
    bad = BadRowList()
    source = read_rows(file, mapping, today, bad, progress)
    parties = read_parties(file.parent, mapping)
    if mapping.owners is not None:
        source = _owned(source, parties, mapping.owners.file, bad)
    history = walk(source, mapping, correct_rounding=correct_rounding, bad=bad)
    used = sorted({row.account for row in history.rows})
    wanted = [
        _wanted(mapping, account.name, account.currency, history.lowest[place], parties)
        for place, account in ((place, history.accounts[place]) for place in used)
    ]
    named = {account.name for account in wanted}
    rowless = [name for name in read_account_names(file.parent, mapping) if name not in named]
    wanted += [_wanted(mapping, name, mapping.currency.code or "", 0, parties) for name in rowless]
    return Plan(history, wanted, {account: place for place, account in enumerate(used)}, bad)


def _owned(source: Source, parties: dict[str, Parties], file: str, bad: BadRowList) -> Source:
    """Return the source without the rows of accounts that are nobody's."""
    missing = {
        place
        for place, account in enumerate(source.accounts)
        if account.name not in parties or not parties[account.name].owners
    }
    if not missing:
        return source
    for row in source.rows:
        if row.account in missing:
            bad.add(row.line, Unfit(None, f"{file} names no owner of the account {source.accounts[row.account].name}"))
    return Source([row for row in source.rows if row.account not in missing], source.accounts)


def _wanted(mapping: Mapping, name: str, currency: str, lowest: int, parties: dict[str, Parties]) -> WantedAccount:
    limit = -lowest if mapping.overdraft.policy == "as-needed" else 0
    if mapping.overdraft.policy == "fixed":
        limit = mapping.fixed_limit_minor(currency)
    return WantedAccount(name, currency, limit, -lowest, parties.get(name) or Parties([], []))


async def _books(
    client: LedgerClient, mapping: Mapping, plan: Plan, numbers: list[str]
) -> tuple[Books, dict[str, AccountView]]:
    """Return where each account of the history is posted, and the migration accounts by number."""
    accounts = plan.history.accounts
    currencies = [accounts[account].currency for account in plan.places]
    kept = [numbers[place] for place in plan.places.values()]
    views = await open_migration_accounts(client, mapping, currencies, kept)
    against = {account: view.account for account, view in zip(plan.places, views, strict=True)}
    books = Books(
        mapping.source.name,
        "content" if mapping.columns.id is None else "id",
        [numbers[plan.places[account]] if account in plan.places else "" for account in range(len(accounts))],
        [account.currency for account in accounts],
        [against.get(account, "") for account in range(len(accounts))],
    )
    return books, {view.account: view for view in views}


def _streams(history: History, books: Books) -> dict[str, list[Row]]:
    """Return the rows of each migration account, which can be posted side by side."""
    streams: defaultdict[str, list[Row]] = defaultdict(list)
    for row in history.rows:
        streams[books.migration[row.account]].append(row)
    return streams
