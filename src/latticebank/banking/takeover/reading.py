"""The rows of the source, each checked: account, day, amount, stated balance, identity and evidence."""

import re
from collections.abc import Callable, Mapping
from datetime import date
from hashlib import sha256
from pathlib import Path

from msgspec import Struct

from latticebank.banking.takeover.errors import BadRowList, Unfit, UnreadableSource
from latticebank.banking.takeover.fields import DayParser, amount_parser, shown
from latticebank.banking.takeover.mapping import Mapping as SourceMapping
from latticebank.banking.takeover.progress import Phase, Progress
from latticebank.banking.takeover.records import CsvFile, open_csv
from latticebank.values.money import CURRENCY_DIGITS

MAX_ID = 200
MAX_REFERENCE = 64
_ACCOUNT = re.compile(r"[A-Za-z0-9._:-]+")
_NUMBER = re.compile(r"-?[0-9]{1,18}")
_TOLD_EVERY = 10_000


class Row(Struct, frozen=True, gc=False):
    """One movement on an account of the source.

    `account` is the index of the account, `amount` signed as the account's owner sees it and `balance` the one stated
    after it, both in minor units. `identity` is the row's own id, or its content and how often that came before;
    `evidence` the SHA-256 of the row's bytes. `rank` is what the order by columns sorts by.
    """

    line: int
    account: int
    day: date
    amount: int
    balance: int | None
    identity: str
    evidence: bytes
    rank: tuple[int | str, ...] = ()


class SourceAccount(Struct, frozen=True, gc=False):
    """An account of the source: its name there and its currency."""

    name: str
    currency: str


class Source(Struct, frozen=True):
    """All rows of a source in the order of the file, and its accounts in the order of their first rows."""

    rows: list[Row]
    accounts: list[SourceAccount]


def read_rows(path: Path, mapping: SourceMapping, today: date, bad: BadRowList, progress: Progress) -> Source:
    """Return the good rows of a file; the others are put into `bad`.

    Raises:
        UnreadableSource: the file is not what the mapping says, as a whole.

    """
    rows: list[Row] = []
    with open_csv(path, mapping.source) as file:
        reader = _RowReader(file, mapping, today)
        for count, record in enumerate(file.records()):
            if len(record) == 2:
                bad.add(*record)
                continue
            try:
                rows.append(reader.row(*record))
            except Unfit as unfit:
                bad.add(record[0], unfit)
            if count % _TOLD_EVERY == 0:
                progress(Phase.READING, min(file.read, file.size), file.size)
        if not rows and not bad.count:
            raise UnreadableSource("the file has a header and no rows", field=file.name)
        progress(Phase.READING, file.size, file.size)
    return Source(rows, reader.accounts)


class _RowReader:
    """Turns records into rows; an account is taken note of only when its whole row is good."""

    def __init__(self, file: CsvFile, mapping: SourceMapping, today: date) -> None:
        columns = mapping.columns
        self.accounts: list[SourceAccount] = []
        self._mapping = mapping
        self._header = file.header
        self._account = file.index(columns.account)
        self._date = file.index(columns.date)
        self._amount = file.index(columns.amount)
        self._id = None if columns.id is None else file.index(columns.id)
        self._balance = None if columns.balance is None else file.index(columns.balance)
        self._direction = None if columns.direction is None else file.index(columns.direction)
        self._currency = None if mapping.currency.column is None else file.index(mapping.currency.column)
        self._sorted_by = [(file.index(each.column), each.kind) for each in mapping.order.columns]
        self._signs = _signs(mapping)
        self._day = DayParser(mapping.date, today)
        self._parsers: dict[str, Callable[[str, str], int]] = {}
        self._places: dict[str, int] = {}
        self._seen: dict[str, int] = {}
        self._repeats: dict[bytes, int] = {}

    def row(self, line: int, raw: bytes, fields: list[str]) -> Row:
        """Return the row of a record, or raise `Unfit`."""
        columns = self._mapping.columns
        currency = self._mapping.currency.code or self._currency_of(fields)
        parse = self._parsers.get(currency) or self._parser(currency)
        day = self._day(columns.date, fields[self._date])
        amount = parse(columns.amount, fields[self._amount])
        if self._direction is not None:
            amount *= self._sign(fields[self._direction], amount)
        if amount == 0:
            raise Unfit(columns.amount, "the amount is zero, which moves nothing")
        balance = None
        if self._balance is not None and columns.balance is not None:
            balance = parse(columns.balance, fields[self._balance])
        rank = tuple(self._rank(fields, place, kind) for place, kind in self._sorted_by) if self._sorted_by else ()
        evidence = sha256(raw).digest()
        identity = self._identity(line, fields, evidence)
        account = self._places.get(fields[self._account])
        if account is None or self.accounts[account].currency != currency:
            account = self._new_account(fields[self._account], currency)
        return Row(line, account, day, amount, balance, identity, evidence, rank)

    def _identity(self, line: int, fields: list[str], evidence: bytes) -> str:
        if self._id is None:
            repeat = self._repeats.get(evidence, 0)
            self._repeats[evidence] = repeat + 1
            return f"{evidence.hex()}/{repeat}"
        text = fields[self._id]
        if not text or len(text) > MAX_ID:
            raise Unfit(self._mapping.columns.id, f"an id has 1 to {MAX_ID} characters")
        first = self._seen.setdefault(text, line)
        if first != line:
            raise Unfit(self._mapping.columns.id, f"{shown(text)} is the id of line {first} too")
        return text

    def _sign(self, word: str, amount: int) -> int:
        sign = self._signs.get(word)
        if sign is None:
            known = ", ".join(map(shown, self._signs))
            raise Unfit(self._mapping.columns.direction, f"{shown(word)} is none of the words {known}")
        if amount < 0:
            raise Unfit(self._mapping.columns.amount, "the amount is negative, though a word gives the direction")
        return sign

    def _currency_of(self, fields: list[str]) -> str:
        return fields[self._currency] if self._currency is not None else ""

    def _parser(self, currency: str) -> Callable[[str, str], int]:
        digits = CURRENCY_DIGITS.get(currency)
        if digits is None:
            raise Unfit(self._mapping.currency.column, f"{shown(currency)} is no ISO 4217 code of a currency")
        return self._parsers.setdefault(currency, amount_parser(self._mapping.numbers, digits))

    def _new_account(self, name: str, currency: str) -> int:
        column = self._mapping.columns.account
        if name in self._places:
            kept_in = self.accounts[self._places[name]].currency
            raise Unfit(column, f"{shown(name)} is kept in {kept_in}, this row is in {currency}")
        refuse_unfit_name(self._mapping, column, name)
        self._places[name] = len(self.accounts)
        self.accounts.append(SourceAccount(name, currency))
        return self._places[name]

    def _rank(self, fields: list[str], place: int, kind: str) -> int | str:
        text = fields[place]
        if kind == "text":
            return text
        if not _NUMBER.fullmatch(text):
            raise Unfit(self._header[place], f"{shown(text)} is no whole number to sort by")
        return int(text)


def refuse_unfit_name(mapping: SourceMapping, column: str, name: str) -> None:
    """Raise `Unfit` if a name of the source cannot be a part of a reference in the ledger."""
    if not _ACCOUNT.fullmatch(name) or len(name) + len(mapping.source.name) >= MAX_REFERENCE:
        reason = (
            f"an account is named by letters, digits and . _ : -, {MAX_REFERENCE} with the source; not {shown(name)}"
        )
        raise Unfit(column, reason)


def _signs(mapping: SourceMapping) -> Mapping[str, int]:
    if mapping.direction is None:
        return {}
    return dict.fromkeys(mapping.direction.credit, 1) | dict.fromkeys(mapping.direction.debit, -1)
