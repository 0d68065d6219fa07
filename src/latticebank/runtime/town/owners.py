"""Owners in books that were taken over: they become customers of the bank, and are linked to what is theirs."""

import re

from latticebank.banking.ledger.wire import AccountView
from latticebank.runtime.town.acting import Ways
from latticebank.runtime.town.papers import Town
from latticebank.runtime.town.people import Newcomer
from latticebank.values.errors import BankError, Fault

_KINDS = ("checking", "savings")
_USER = "user:"
_PAGE = 200
_MAX_PAGES = 500
_NO_NAME = re.compile(r"[^a-z0-9]+")


class NoImportedAccounts(BankError):
    """The books have no accounts of owners who came by an import."""

    code = "no-imported-accounts"
    title = "These books were not taken over from another bank"
    fault = Fault.NOT_FOUND


async def owners_in(ways: Ways, town: Town, wanted: int) -> list[Newcomer]:
    """Return so many owners of imported accounts with money on them: first those who live in the town already.

    There are fewer where the books have fewer.

    Raises:
        NoImportedAccounts: there is none.

    """
    found = [Newcomer(each.name, each.full_name, "customer", (), each.party) for each in town.residents if each.party]
    known = {newcomer.party for newcomer in found}
    books = ways.books()
    for kind in _KINDS:
        cursor: str | None = None
        for _ in range(_MAX_PAGES):
            if len(found) >= wanted:
                return found[:wanted]
            page = await books.accounts(cursor=cursor, limit=_PAGE, kind=kind)
            for owner in filter(None, map(_owner, page.items)):
                if owner not in known:
                    known.add(owner)
                    found.append(_newcomer(owner))
            cursor = page.next_cursor
            if cursor is None:
                break
    if not found:
        raise NoImportedAccounts(
            "no account has an owner from another bank's books", hint="take some over with `latticebank import`"
        )
    return found[:wanted]


def _owner(account: AccountView) -> str | None:
    """Return the owner of an account from which can be paid, if there is one that came by an import."""
    if account.status != "open" or account.balance.startswith("-"):
        return None
    return next((owner for owner in account.owners if not owner.startswith(_USER)), None)


def _newcomer(owner: str) -> Newcomer:
    """Return the owner of this reference as someone who moves into the town."""
    return Newcomer(_NO_NAME.sub("-", owner.lower()).strip("-"), f"Client {owner}", "customer", (), owner)
