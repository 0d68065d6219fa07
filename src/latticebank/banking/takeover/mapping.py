"""The mapping file: how the CSV of another bank is to be read. TOML, checked key by key; docs/import.md explains it."""

import codecs
import re
import tomllib
from collections.abc import Iterator
from datetime import date as date_type
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from latticebank.banking.takeover.errors import InvalidMapping
from latticebank.values.errors import InvalidValue
from latticebank.values.money import CURRENCY_DIGITS, currency_digits, parse_amount

MAX_MAPPING_BYTES = 2**20
_ASCII = "".join(map(chr, range(128)))

ColumnName = Annotated[str, Meta(min_length=1, max_length=200)]
Word = Annotated[str, Meta(max_length=200)]
OneCharacter = Annotated[str, Meta(pattern=r"^[\x09\x20-\x7e]$")]
Prefix = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$", max_length=40)]


class _Table(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the mapping file; a key that means nothing is refused."""


class Source(_Table, frozen=True):
    """What the source is called, in every derived id and reference, and the form of its files."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,19}$")]
    delimiter: OneCharacter = ","
    quote: Annotated[str, Meta(pattern=r"^[\x21-\x7e]?$")] = '"'
    encoding: Annotated[str, Meta(max_length=40)] = "utf-8"


class Columns(_Table, frozen=True):
    """The names of the columns. Without `id` a row is known by its content, without `direction` amounts are signed."""

    account: ColumnName
    date: ColumnName
    amount: ColumnName
    id: ColumnName | None = None
    balance: ColumnName | None = None
    direction: ColumnName | None = None


class Direction(_Table, frozen=True):
    """The words of the direction column."""

    credit: Annotated[tuple[Word, ...], Meta(min_length=1, max_length=100)]
    debit: Annotated[tuple[Word, ...], Meta(min_length=1, max_length=100)]


class Dates(_Table, frozen=True):
    """The form of dates, as in `strptime`. Two-digit years lie in the hundred years from `two_digit_years_from`."""

    format: Annotated[str, Meta(min_length=2, max_length=60)]
    two_digit_years_from: Annotated[int, Meta(ge=1850, le=2000)] | None = None


class Numbers(_Table, frozen=True):
    """How amounts are written. `decimals` is "exact" for the currency's own digits, "up-to" for as many or fewer."""

    decimal: Literal[".", ","] = "."
    thousands: Literal["", ".", ",", " ", "'", "\u00a0", "\u202f"] = ""
    decimals: Literal["exact", "up-to"] = "exact"


class Currency(_Table, frozen=True):
    """One currency for all rows, or the column that names it."""

    code: str | None = None
    column: ColumnName | None = None


class SortColumn(_Table, frozen=True):
    """One column to sort by."""

    column: ColumnName
    kind: Literal["number", "text"] = "number"
    descending: bool = False


class Order(_Table, frozen=True):
    """In which order the rows of one account and day were booked."""

    rule: Literal["file", "file-reversed", "credits-then-debits", "columns"]
    columns: Annotated[tuple[SortColumn, ...], Meta(max_length=10)] = ()


class Tolerance(_Table, frozen=True):
    """By how much, in units of the currency, one step may differ from the amount: the source's own rounding."""

    step: str = "0"


class Overdraft(_Table, frozen=True):
    """What overdraft the accounts get: none, what the history of each needed, or the same `limit` for all."""

    policy: Literal["none", "as-needed", "fixed"] = "none"
    limit: str | None = None


class Accounts(_Table, frozen=True):
    """What kind of account is opened, and optionally a file beside the source whose accounts are all opened."""

    kind: Literal["checking", "savings"] = "checking"
    file: str | None = None
    column: ColumnName | None = None


class Owners(_Table, frozen=True):
    """A file beside the source that says whose the accounts are; parties become references with this prefix."""

    file: str
    account: ColumnName
    party: ColumnName
    prefix: Prefix
    role: ColumnName | None = None
    owner: tuple[Word, ...] = ()
    mandate: tuple[Word, ...] = ()


class Mapping(_Table, frozen=True):
    """Everything that is to be known of a source."""

    source: Source
    columns: Columns
    date: Dates
    currency: Currency
    order: Order
    direction: Direction | None = None
    numbers: Numbers = Numbers()
    tolerance: Tolerance = Tolerance()
    overdraft: Overdraft = Overdraft()
    accounts: Accounts = Accounts()
    owners: Owners | None = None

    def tolerance_minor(self, currency: str) -> int:
        """Return the tolerance of a step in minor units; what is finer than they are counts for nothing."""
        return int(Decimal(self.tolerance.step).scaleb(CURRENCY_DIGITS[currency]))

    def fixed_limit_minor(self, currency: str) -> int:
        """Return the overdraft limit that every account gets, in minor units.

        Raises:
            InvalidMapping: it is not an amount of this currency.

        """
        try:
            return parse_amount(self.overdraft.limit or "", CURRENCY_DIGITS[currency])
        except InvalidValue as error:
            raise InvalidMapping(f"{error.detail} ({currency})", field="overdraft.limit") from None


def load_mapping(path: Path) -> Mapping:
    """Return the mapping in a file.

    Raises:
        InvalidMapping: it cannot be read, is not TOML, or is wrong; names the key.

    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_MAPPING_BYTES + 1)
    except OSError as error:
        raise InvalidMapping(f"{path.name} cannot be read: {error.strerror}") from None
    if len(content) > MAX_MAPPING_BYTES:
        raise InvalidMapping(f"{path.name} has more than {MAX_MAPPING_BYTES} bytes")
    try:
        return parse_mapping(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise InvalidMapping(f"{path.name} is not UTF-8") from None


def parse_mapping(text: str) -> Mapping:
    """Return the mapping that a TOML text writes.

    Raises:
        InvalidMapping: it is not TOML, or is wrong; names the key.

    """
    try:
        mapping = msgspec.convert(tomllib.loads(text), Mapping)
    except tomllib.TOMLDecodeError as error:
        raise InvalidMapping(f"this is not TOML: {error}") from None
    except RecursionError:
        raise InvalidMapping("this is nested too deeply") from None
    except msgspec.ValidationError as error:
        reason, _, key = str(error).partition(" - at `$")
        raise InvalidMapping(reason, field=re.sub(r"^\.|`$", "", key) or None) from None
    for key, reason in _contradictions(mapping):
        raise InvalidMapping(reason, field=key)
    return mapping


def _contradictions(mapping: Mapping) -> Iterator[tuple[str, str]]:
    """Yield each key that is wrong together with others, and why."""
    source, columns, order = mapping.source, mapping.columns, mapping.order
    if not _extends_ascii(source.encoding):
        yield "source.encoding", "this is no encoding that extends ASCII: convert the file, to UTF-8 for example"
    if source.delimiter == source.quote:
        yield "source.quote", "this is the delimiter"
    names = [name for name in (getattr(columns, field) for field in columns.__struct_fields__) if name is not None]
    if len(set(names)) < len(names):
        yield "columns", "a column is named twice"
    if (columns.direction is None) != (mapping.direction is None):
        yield "direction", "the words of a direction and `columns.direction` go together"
    if mapping.direction is not None:
        words = [*mapping.direction.credit, *mapping.direction.debit]
        if len(set(words)) < len(words):
            yield "direction", "a word is named twice"
    yield from _wrong_date(mapping.date)
    if mapping.numbers.decimal == mapping.numbers.thousands:
        yield "numbers.thousands", "this is the decimal separator"
    yield from _wrong_money(mapping)
    if (order.rule == "columns") != bool(order.columns):
        yield "order.columns", 'the rule "columns" and a list of columns go together'
    if order.rule == "credits-then-debits" and columns.balance is None:
        yield "order.rule", "this rule needs `columns.balance`"
    yield from _wrong_accounts(mapping)


def _wrong_date(date: Dates) -> Iterator[tuple[str, str]]:
    wanted = {"%d", "%m"} if "%j" not in date.format else {"%j"}
    if not all(part in date.format for part in wanted) or ("%y" in date.format) == ("%Y" in date.format):
        yield "date.format", 'a format names day, month and year, like "%d.%m.%Y"'
    try:
        datetime.strptime(date_type(1999, 11, 23).strftime(date.format), date.format)  # noqa: DTZ007 - a date only
    except (ValueError, re.error) as error:
        yield "date.format", f"this format reads no dates: {error}"
    if ("%y" in date.format) != (date.two_digit_years_from is not None):
        yield "date.two_digit_years_from", "a format with %y needs this, any other has no use for it"


def _wrong_money(mapping: Mapping) -> Iterator[tuple[str, str]]:
    currency, overdraft = mapping.currency, mapping.overdraft
    if (currency.code is None) == (currency.column is None):
        yield "currency", "name either a `code` or a `column`"
    if currency.code is not None:
        try:
            currency_digits(currency.code)
        except InvalidValue as error:
            yield "currency.code", error.detail
    try:
        step = Decimal(mapping.tolerance.step)
    except InvalidOperation:
        step = Decimal(-1)
    if not step.is_finite() or not 0 <= step < 10**6 or not re.fullmatch(r"\d+(\.\d{1,4})?", mapping.tolerance.step):
        yield "tolerance.step", 'a tolerance is written like "0.10"'
    if (overdraft.policy == "fixed") != (overdraft.limit is not None):
        yield "overdraft.limit", 'the policy "fixed" and a limit go together'
    if overdraft.limit is not None and currency.code in CURRENCY_DIGITS:
        mapping.fixed_limit_minor(str(currency.code))


def _wrong_accounts(mapping: Mapping) -> Iterator[tuple[str, str]]:
    accounts, owners = mapping.accounts, mapping.owners
    if (accounts.file is None) != (accounts.column is None):
        yield "accounts.column", "a file of accounts and its column go together"
    if accounts.file is not None and mapping.currency.code is None:
        yield "accounts.file", "accounts without rows need a `currency.code`"
    if owners is not None:
        if (owners.role is None) == bool(owners.owner or owners.mandate):
            yield "owners.role", "the column of roles and the words of `owner` and `mandate` go together"
        if owners.role is not None and not owners.owner:
            yield "owners.owner", "name the words for an owner"
        if len({*owners.owner, *owners.mandate}) < len(owners.owner) + len(owners.mandate):
            yield "owners.owner", "a word is named twice"
    for key, file in (("accounts.file", accounts.file), ("owners.file", owners.file if owners else None)):
        if file is not None and (not file or "\0" in file):
            yield key, "this is no name of a file"


def _extends_ascii(encoding: str) -> bool:
    try:
        return codecs.lookup(encoding).encode(_ASCII)[0].removeprefix(codecs.BOM_UTF8) == _ASCII.encode("ascii")
    except (LookupError, UnicodeError, TypeError, ValueError):
        return False
