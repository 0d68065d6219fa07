"""Opening the accounts of a source: those that are there already are found by reference, the others opened side by side."""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from latticebank.banking.ledger.client import LedgerClient
from latticebank.banking.ledger.wire import MAX_ORDERS, AccountOpening, AccountView, OpeningOrder
from latticebank.banking.takeover.errors import CannotContinue
from latticebank.banking.takeover.mapping import Mapping
from latticebank.banking.takeover.owners import Parties
from latticebank.banking.takeover.progress import Phase, Progress
from latticebank.banking.takeover.together import together
from latticebank.kernel.client import RemoteProblem
from latticebank.values.account_number import shard_of
from latticebank.values.ids import derived_id
from latticebank.values.money import CURRENCY_DIGITS, format_amount, parse_amount

OPENED_AT_ONCE = 2_000
"""How many accounts are opened by one call."""
RAISED_AT_ONCE = 64
"""How many overdraft limits are being raised at a time: the ledger takes as one batch what arrives together."""


class WantedAccount(Struct, frozen=True):
    """An account of the source as it must be before anything is posted. Amounts are minor units."""

    name: str
    currency: str
    overdraft_limit: int
    overdraft_needed: int
    parties: Parties


class OpenedAccounts(Struct, frozen=True):
    """The numbers of all accounts wanted, in their order; how many were opened now; limits granted, by place."""

    numbers: list[str]
    opened: int
    limits: dict[int, int]


def reference_of(mapping: Mapping, name: str) -> str:
    """Return what the ledger calls an account of the source."""
    return f"{mapping.source.name}/{name}"


async def open_accounts(
    client: LedgerClient, mapping: Mapping, wanted: Sequence[WantedAccount], progress: Progress
) -> OpenedAccounts:
    """Return the accounts, after opening those that are missing and raising limits that the history exceeds.

    Raises:
        CannotContinue: an account is there already and cannot be given the limit that its history needs.
        RemoteProblem: the ledger would not open one.

    """
    found = await _by_reference(client, [reference_of(mapping, account.name) for account in wanted])
    numbers = [found.get(reference_of(mapping, account.name), "") for account in wanted]
    missing = [place for place, number in enumerate(numbers) if not number]
    limits = {place: account.overdraft_limit for place, account in enumerate(wanted) if account.overdraft_limit}
    progress(Phase.OPENING, len(wanted) - len(missing), len(wanted))
    for start in range(0, len(missing), OPENED_AT_ONCE):
        places = missing[start : start + OPENED_AT_ONCE]
        opened = await client.open_accounts([_opening(mapping, wanted[place]) for place in places])
        for place, answer in zip(places, opened, strict=True):
            if answer.account is None:
                raise CannotContinue(
                    f"{reference_of(mapping, wanted[place].name)} could not be opened: {answer.outcome}"
                )
            numbers[place] = answer.account
        progress(Phase.OPENING, len(wanted) - len(missing) + start + len(places), len(wanted))

    async def raise_each(places: Iterator[int]) -> None:
        for place in places:
            limits[place] = await _raise_limit(client, mapping, wanted[place], numbers[place])

    kept = set(range(len(wanted))).difference(missing)
    to_raise = (place for place in sorted(kept) if wanted[place].overdraft_needed)
    await together(raise_each(to_raise) for _ in range(RAISED_AT_ONCE))
    progress(Phase.OPENING, len(wanted), len(wanted))
    return OpenedAccounts(numbers, len(missing), limits)


async def open_migration_accounts(
    client: LedgerClient, mapping: Mapping, currencies: Sequence[str], numbers: Sequence[str]
) -> list[AccountView]:
    """Return for each account, given by currency and number, the one that its history is posted against.

    There is one for each currency, and for each shard of the bank that keeps accounts of the source: money moves
    within a shard.
    """
    kept_by = [(currency, shard_of(int(number))) for currency, number in zip(currencies, numbers, strict=True)]
    views = {key: await _open_migration_account(client, mapping, *key) for key in dict.fromkeys(kept_by)}
    return [views[key] for key in kept_by]


async def _by_reference(client: LedgerClient, references: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for start in range(0, len(references), MAX_ORDERS):
        found |= await client.accounts_by_reference(references[start : start + MAX_ORDERS])
    return found


async def _open_migration_account(client: LedgerClient, mapping: Mapping, currency: str, shard: int) -> AccountView:
    reference = f"{mapping.source.name}/migration/{currency}/{shard}"
    found = await client.accounts_by_reference([reference])
    if reference in found:
        return await client.account(found[reference])
    key = derived_id(mapping.source.name, "migration", currency, str(shard))
    opening = AccountOpening("migration", currency, reference=reference, shard=shard)
    return await client.open_account(key, opening)


def _opening(mapping: Mapping, account: WantedAccount) -> OpeningOrder:
    limit = format_amount(account.overdraft_limit, CURRENCY_DIGITS[account.currency])
    return OpeningOrder(
        derived_id(mapping.source.name, "account", account.name),
        mapping.accounts.kind,
        account.currency,
        overdraft_limit=limit if account.overdraft_limit else None,
        reference=reference_of(mapping, account.name),
        owners=account.parties.owners,
        mandates=account.parties.mandates,
    )


async def _raise_limit(client: LedgerClient, mapping: Mapping, account: WantedAccount, number: str) -> int:
    """Return the limit that an account has, raised if its history needs more."""
    view = await client.account(number)
    digits = CURRENCY_DIGITS[account.currency]
    reference = reference_of(mapping, account.name)
    if view.currency != account.currency or view.overdraft_limit is None:
        raise CannotContinue(f"{reference} is there already, but is no customer's account in {account.currency}")
    limit = parse_amount(view.overdraft_limit, digits)
    if limit >= account.overdraft_needed:
        return limit
    wanted = format_amount(account.overdraft_limit, digits)
    key = derived_id(mapping.source.name, "overdraft", account.name, wanted)
    try:
        view = await client.set_overdraft_limit(key, number, wanted)
    except RemoteProblem as error:
        raise CannotContinue(f"{reference} needs an overdraft of {wanted}: {error.detail}") from error
    return parse_amount(view.overdraft_limit or "", digits)
