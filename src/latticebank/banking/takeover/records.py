"""The records of a CSV file (RFC 4180) with the bytes of each, under bounds, without trusting a byte of it."""

import csv
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

from latticebank.banking.takeover.errors import Unfit, UnreadableSource
from latticebank.banking.takeover.mapping import Source

MAX_FILE_BYTES = 2**31
MAX_LINE_BYTES = 2**17
MAX_ROWS = 10_000_000
MAX_COLUMNS = 500
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")

Record = tuple[int, bytes, list[str]]
"""The line where a record begins, counted from 1; its bytes without the end of the line; its fields."""


class CsvFile:
    """An open CSV file. `size` is in bytes, `read` is how many of them were read."""

    def __init__(self, file: BinaryIO, name: str, size: int, source: Source) -> None:
        self.name = name
        self.size = size
        self.read = 0
        self._file = file
        self._encoding = source.encoding
        self._line = 0
        self._parts: list[bytes] = []
        self._undecodable: Unfit | None = None
        self._records = csv.reader(
            self._lines(),
            delimiter=source.delimiter,
            quotechar=source.quote or None,
            quoting=csv.QUOTE_MINIMAL if source.quote else csv.QUOTE_NONE,
            strict=True,
        )
        self.header = self._header()

    def records(self) -> Iterator[Record | tuple[int, Unfit]]:
        """Yield each record, or the line and the reason of one that cannot be told apart into fields.

        Raises:
            UnreadableSource: the file is over a bound, or could not be read to its end.

        """
        parts, count = self._parts, 0
        while True:
            line = self._line + 1
            parts.clear()
            try:
                fields = next(self._records)
            except StopIteration:
                return
            except csv.Error as error:
                hint = "; is a quote unclosed?" if "limit" in str(error) or "end of data" in str(error) else ""
                yield line, Unfit(None, f"this is no record of CSV: {error}{hint}")
                continue
            if not fields:
                continue
            count += 1
            if count > MAX_ROWS:
                raise UnreadableSource(f"the file has more than {MAX_ROWS} rows", field=self.name, hint="split it")
            if self._undecodable is not None:
                unfit, self._undecodable = self._undecodable, None
                yield line, unfit
                continue
            raw = parts[0] if len(parts) == 1 else b"".join(parts)
            if b"\0" in raw:
                yield line, Unfit(None, "the row holds a NUL byte")
            elif len(fields) != len(self.header):
                yield line, Unfit(None, f"the row has {len(fields)} fields, the header {len(self.header)}")
            else:
                yield line, raw.rstrip(b"\r\n"), fields

    def index(self, column: str) -> int:
        """Return where a column stands.

        Raises:
            UnreadableSource: there is no such column, or several.

        """
        found = self.header.count(column)
        if found != 1:
            there = "there is no" if found == 0 else f"there are {found} columns called"
            shown = ", ".join(self.header[:30])
            detail = f'{there} "{column}" in the header' if found else f'there is no column "{column}"'
            raise UnreadableSource(detail, field=self.name, hint=f"the header has: {shown[:500]}")
        return self.header.index(column)

    def _header(self) -> list[str]:
        try:
            header = next(self._records, None)
        except csv.Error as error:
            raise UnreadableSource(f"the header is no record of CSV: {error}", field=self.name) from None
        if not header:
            raise UnreadableSource("the file is empty, or begins with an empty line", field=self.name)
        if self._undecodable is not None:
            raise UnreadableSource(f"the header is not {self._encoding}", field=self.name)
        if len(header) > MAX_COLUMNS:
            raise UnreadableSource(f"the header has more than {MAX_COLUMNS} columns", field=self.name)
        return [name.strip() for name in header]

    def _lines(self) -> Iterator[str]:
        """Yield the lines as text, noting the bytes of each and what cannot be decoded."""
        encoding, parts = self._encoding, self._parts
        for raw in iter(partial(self._file.readline, MAX_LINE_BYTES + 1), b""):
            if len(raw) > MAX_LINE_BYTES:
                raise UnreadableSource(f"line {self._line + 1} has more than {MAX_LINE_BYTES} bytes", field=self.name)
            if self._line == 0:
                raw = self._without_mark(raw)
            self._line += 1
            self.read += len(raw)
            parts.append(raw)
            try:
                yield raw.decode(encoding)
            except UnicodeDecodeError as error:
                self._undecodable = Unfit(None, f"byte {error.start + 1} of line {self._line} is not {encoding}")
                yield raw.decode(encoding, "replace")

    def _without_mark(self, raw: bytes) -> bytes:
        if raw.startswith(_UTF_16):
            raise UnreadableSource("the file is UTF-16", field=self.name, hint="convert it to UTF-8")
        return raw.removeprefix(_BYTE_ORDER_MARK)


@contextmanager
def open_csv(path: Path, source: Source) -> Iterator[CsvFile]:
    """Open a file of the source.

    Raises:
        UnreadableSource: it is not there, not a plain file, too large, empty, or fails while it is read.

    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise UnreadableSource("this is a folder", field=path.name, hint="name the file in it")
        if not stat.S_ISREG(status.st_mode):  # opening a pipe could wait for ever
            raise UnreadableSource("this is no plain file", field=path.name)
        if status.st_size > MAX_FILE_BYTES:
            raise UnreadableSource(f"the file has more than {MAX_FILE_BYTES} bytes", field=path.name)
        with path.open("rb") as file:
            yield CsvFile(file, path.name, status.st_size, source)
    except OSError as error:
        raise UnreadableSource(f"it cannot be read: {error.strerror or error}", field=path.name) from None
    except ValueError as error:  # a path that holds a NUL
        raise UnreadableSource(f"it cannot be read: {error}", field=repr(path.name)) from None
