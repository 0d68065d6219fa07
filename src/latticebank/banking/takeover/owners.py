"""Whose the accounts are: files beside the source that name all accounts, and the parties of each."""

from pathlib import Path

from msgspec import Struct

from latticebank.banking.ledger.wire import MAX_PARTIES
from latticebank.banking.takeover.errors import BadRowList, BadRows, Unfit
from latticebank.banking.takeover.fields import shown
from latticebank.banking.takeover.mapping import Mapping, Owners
from latticebank.banking.takeover.reading import MAX_REFERENCE, refuse_unfit_name
from latticebank.banking.takeover.records import CsvFile, open_csv


class Parties(Struct):
    """References to those whose an account is and to those who may act for them; never personal data."""

    owners: list[str]
    mandates: list[str]


def read_account_names(folder: Path, mapping: Mapping) -> list[str]:
    """Return the names in the file of all accounts, none if the mapping names no such file.

    Raises:
        UnreadableSource: the file is not what the mapping says.
        BadRows: rows of it are bad.

    """
    accounts = mapping.accounts
    if accounts.file is None or accounts.column is None:
        return []
    names: dict[str, None] = {}
    bad = BadRowList()
    with open_csv(folder.joinpath(accounts.file), mapping.source) as file:
        place = file.index(accounts.column)
        for record in file.records():
            if len(record) == 2:
                bad.add(*record)
                continue
            line, _, fields = record
            try:
                refuse_unfit_name(mapping, accounts.column, fields[place])
                names[fields[place]] = None
            except Unfit as unfit:
                bad.add(line, unfit)
    _refuse_if_bad(accounts.file, bad)
    return list(names)


def read_parties(folder: Path, mapping: Mapping) -> dict[str, Parties]:
    """Return the parties of each account by its name in the source; empty if the mapping names no such file.

    Raises:
        UnreadableSource: the file is not what the mapping says.
        BadRows: rows of it are bad.

    """
    owners = mapping.owners
    if owners is None:
        return {}
    parties: dict[str, Parties] = {}
    bad = BadRowList()
    with open_csv(folder.joinpath(owners.file), mapping.source) as file:
        places = _Places(file, owners)
        for record in file.records():
            if len(record) == 2:
                bad.add(*record)
                continue
            line, _, fields = record
            try:
                _add(parties, owners, places, fields)
            except Unfit as unfit:
                bad.add(line, unfit)
    _refuse_if_bad(owners.file, bad)
    return parties


class _Places:
    def __init__(self, file: CsvFile, owners: Owners) -> None:
        self.account = file.index(owners.account)
        self.party = file.index(owners.party)
        self.role = None if owners.role is None else file.index(owners.role)


def _add(parties: dict[str, Parties], owners: Owners, places: _Places, fields: list[str]) -> None:
    name = fields[places.party]
    reference = owners.prefix + name
    if not name or len(reference) > MAX_REFERENCE or not name.replace("-", "").replace("_", "").isalnum():
        raise Unfit(owners.party, f"a party is named by letters, digits, - and _, not {shown(name)}")
    if not name.isascii():
        raise Unfit(owners.party, f"{shown(name)} is not ASCII")
    of_account = parties.setdefault(fields[places.account], Parties([], []))
    if reference in (*of_account.owners, *of_account.mandates):
        raise Unfit(owners.party, f"{shown(name)} is named twice for one account")
    of_role = of_account.owners
    if places.role is not None:
        word = fields[places.role]
        if word in owners.mandate:
            of_role = of_account.mandates
        elif word not in owners.owner:
            known = ", ".join(map(shown, (*owners.owner, *owners.mandate)))
            raise Unfit(owners.role, f"{shown(word)} is none of the words {known}")
    if len(of_role) == MAX_PARTIES:
        raise Unfit(owners.account, f"an account has at most {MAX_PARTIES} parties of one role")
    of_role.append(reference)


def _refuse_if_bad(file: str, bad: BadRowList) -> None:
    if bad.count:
        raise BadRows(file, bad.named(), bad.count, hint="correct the file or the mapping")
