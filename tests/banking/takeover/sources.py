"""Sources for tests: a mapping in its plainest form, and files in that form."""

from collections.abc import Iterable
from pathlib import Path

from latticebank.banking.takeover.mapping import Mapping, parse_mapping

PLAIN = """
[source]
name = "old"

[columns]
id = "id"
account = "account"
date = "date"
amount = "amount"
balance = "balance"

[date]
format = "%Y-%m-%d"

[currency]
code = "EUR"

[order]
rule = "file"

[tolerance]
step = "0.10"
"""
HEADER = "id,account,date,amount,balance"


def plain(*changes: tuple[str, str], more: str = "") -> Mapping:
    """The plain mapping, with texts in it replaced and more of it at the end."""
    text = PLAIN
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    return parse_mapping(text + more)


def written(folder: Path, rows: Iterable[str], *, header: str = HEADER, name: str = "rows.csv") -> Path:
    """A file of these rows."""
    path = folder / name
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path
