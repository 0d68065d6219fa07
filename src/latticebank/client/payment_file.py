"""Files of payments: CSV (RFC 4180) in UTF-8, with a first line that names the columns.

`account`, `name` and `amount` must be there, `reference` and `currency` may be, in any order.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path

from latticebank.client.device import Payee
from latticebank.client.private_file import CannotUseFile
from latticebank.documents.batch import MAX_PAYMENTS
from latticebank.values.errors import BankError, InvalidValue

MAX_FILE_BYTES = 8 * 2**20
_REQUIRED = ("account", "name", "amount")
_OPTIONAL = ("reference", "currency")
_PLACE = re.compile(r"/payments/([0-9]+)/(.*)")


@dataclass(frozen=True, slots=True)
class PaymentFile:
    """The payees of a file, and the line on which each ends; `currency` is empty where the file names none."""

    path: Path
    payees: tuple[Payee, ...]
    lines: tuple[int, ...]

    def in_currency(self, currency: str) -> Sequence[Payee]:
        """Return the payees, with a currency for those of whom the file names none."""
        return [replace(payee, currency=payee.currency or currency) for payee in self.payees]

    @contextmanager
    def told_by_line(self) -> Iterator[None]:
        """Let an error of the block that names the place of a payment name its line in the file."""
        try:
            yield
        except BankError as error:
            if found := _PLACE.fullmatch(error.field or ""):
                error.field = f"{self.path} line {self.lines[int(found.group(1))]}: {found.group(2)}"
            raise


def read_payment_file(path: Path) -> PaymentFile:
    """Return the payees of a file; what it says of each is checked when it is signed.

    Raises:
        CannotUseFile: it cannot be read.
        InvalidValue: it is too large, not CSV, has other columns, no payments or too many; `field` names the line.

    """
    reader = csv.DictReader(StringIO(_text(path), newline=""), strict=True)
    payees: list[Payee] = []
    lines: list[int] = []
    try:
        _require_columns(path, reader.fieldnames or ())
        for row in reader:
            if len(payees) == MAX_PAYMENTS:
                raise InvalidValue(f"a batch has at most {MAX_PAYMENTS} payments", field=_at(path, reader.line_num))
            payees.append(_payee(path, reader.line_num, row))
            lines.append(reader.line_num)
    except csv.Error as error:
        raise InvalidValue(f"this is not CSV: {error}", field=_at(path, reader.reader.line_num)) from error
    if not payees:
        raise InvalidValue("there are no payments in it", field=str(path))
    return PaymentFile(path, tuple(payees), tuple(lines))


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise CannotUseFile(path, error) from error
    if len(content) > MAX_FILE_BYTES:
        raise InvalidValue(f"a file of payments has at most {MAX_FILE_BYTES} bytes", field=str(path))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidValue("this is not text in UTF-8", field=str(path)) from None


def _require_columns(path: Path, columns: Sequence[str]) -> None:
    known = (*_REQUIRED, *_OPTIONAL)
    if not set(_REQUIRED) <= set(columns) <= set(known) or len(set(columns)) != len(columns):
        raise InvalidValue(
            f"the columns are {', '.join(_REQUIRED)}, and perhaps {' and '.join(_OPTIONAL)}", field=_at(path, 1)
        )


def _payee(path: Path, line: int, row: dict[str | None, str | list[str] | None]) -> Payee:
    values = {name: value for name, value in row.items() if isinstance(name, str) and isinstance(value, str)}
    if len(values) != len(row):
        raise InvalidValue("this line has more or fewer values than there are columns", field=_at(path, line))
    return Payee(**{"currency": "", **{name: value.strip() for name, value in values.items()}})


def _at(path: Path, line: int) -> str:
    return f"{path} line {line}"
