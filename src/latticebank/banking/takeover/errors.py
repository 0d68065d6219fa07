"""Why books cannot be taken over. All but refusals by the ledger are found before anything is posted."""

from msgspec import Struct

from latticebank.values.errors import BankError, Fault

MAX_NAMED = 10_000
"""How many bad rows are kept by name; any more are counted."""
SKIP_HINT = "correct the file or the mapping, or ask for bad rows to be skipped"
_SHOWN = 20


class BadRow(Struct, frozen=True):
    """A row that cannot be taken over. `line` counts from 1 with the header; `column` is None for the row as a whole."""

    line: int
    column: str | None
    reason: str

    def __str__(self) -> str:
        """Return the row as one line of a report."""
        where = f", column {self.column}" if self.column else ""
        return f"line {self.line}{where}: {self.reason}"


class InvalidMapping(BankError):
    """The mapping file is not one, or contradicts itself; `field` names the key, such as "columns.amount"."""

    code = "invalid-mapping"
    title = "The mapping is wrong"
    fault = Fault.INVALID


class UnreadableSource(BankError):
    """A file of the source cannot be read as what the mapping says it is; `field` is its name."""

    code = "unreadable-source"
    title = "A file of the source cannot be read"
    fault = Fault.INVALID


class BadRows(BankError):
    """Rows of the source are bad, and nothing was posted. `rows` names the first of them, `count` is how many there are."""

    code = "bad-rows"
    title = "Rows of the source are bad"
    fault = Fault.INVALID

    def __init__(self, file: str, rows: tuple[BadRow, ...], count: int, *, hint: str = SKIP_HINT) -> None:
        lines = [str(row) for row in rows[:_SHOWN]]
        if count > len(lines):
            lines.append(f"and {count - len(lines)} more")
        super().__init__(
            f"{count} rows are bad, so nothing was posted:\n" + "\n".join(lines),
            field=file,
            hint=hint,
        )
        self.rows = rows
        self.count = count


class CannotContinue(BankError):
    """What the ledger already holds of this source does not allow this import; nothing was posted."""

    code = "import-cannot-continue"
    title = "The import does not fit what the ledger already holds"
    fault = Fault.CONFLICT


class Unfit(Exception):
    """Why one row is bad: a column, or None for the row as a whole, and a reason. Never leaves this room."""

    def __init__(self, column: str | None, reason: str) -> None:
        super().__init__(reason)
        self.column = column
        self.reason = reason


class BadRowList:
    """The bad rows found so far: the first `MAX_NAMED` by name, the others counted."""

    def __init__(self) -> None:
        self._named: list[BadRow] = []
        self.count = 0

    def add(self, line: int, unfit: Unfit) -> None:
        """Note that a row is bad."""
        self.count += 1
        if len(self._named) < MAX_NAMED:
            self._named.append(BadRow(line, unfit.column, unfit.reason))

    def named(self) -> tuple[BadRow, ...]:
        """Return the bad rows by line."""
        return tuple(sorted(self._named, key=lambda row: row.line))
