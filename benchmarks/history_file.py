"""A made-up history of a bank in the shape of the Berka data set: a CSV file, and the mapping that reads it.

It is made in a process of its own, so that the memory of an import is that of the import.
"""

import random
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

ROWS_OF_AN_ACCOUNT = 235
"""As many as the 1,056,320 rows of Berka's 4,500 accounts."""
_FIRST_DAY = date(2016, 1, 1)
_DAYS = 2_190
_HEADING = '"trans_id";"account_id";"date";"type";"operation";"amount";"balance";"k_symbol";"bank";"account"'

MAPPING = """
[source]
name = "made-up"
delimiter = ";"
quote = '"'
encoding = "ascii"

[columns]
id = "trans_id"
account = "account_id"
date = "date"
amount = "amount"
balance = "balance"
direction = "type"

[direction]
credit = ["PRIJEM"]
debit = ["VYDAJ"]

[date]
format = "%y%m%d"
two_digit_years_from = 1930

[currency]
code = "CZK"

[order]
rule = "credits-then-debits"
"""


def write_history(folder: Path, rows: int) -> tuple[Path, Path]:
    """Write the mapping and a file of so many rows, the same each time; return their paths."""
    mapping, file = folder / "mapping.toml", folder / "history.csv"
    mapping.write_text(MAPPING, encoding="ascii")
    subprocess.run([sys.executable, "-m", "benchmarks.history_file", str(file), str(rows)], check=True)
    return mapping, file


def main() -> None:
    """Write the file that the command line names."""
    file, rows = Path(sys.argv[1]), int(sys.argv[2])
    lines = sorted(_lines(rows), key=lambda each: each[0])
    with file.open("w", encoding="ascii") as out:
        out.write(_HEADING + "\n")
        out.writelines(f"{number};{line}\n" for number, (_, line) in enumerate(lines, start=1))


def _lines(rows: int) -> list[tuple[int, str]]:
    """The rows of one account after the other, each with its day; an account has at most one a day."""
    chance = random.Random(1999)
    lines: list[tuple[int, str]] = []
    account = 0
    while len(lines) < rows:
        account += 1
        balance = 0
        days = sorted(chance.sample(range(_DAYS), min(ROWS_OF_AN_ACCOUNT, rows - len(lines))))
        for day in days:
            take = balance > 0 and chance.random() < 0.6
            amount = 1 + int(chance.random() * (balance if take else 5_000_000))
            balance += -amount if take else amount
            kind, act = ("VYDAJ", "VYBER") if take else ("PRIJEM", "VKLAD")
            written = _FIRST_DAY + timedelta(days=day)
            lines.append((day, f'{account};{written:%y%m%d};"{kind}";"{act}";{_money(amount)};{_money(balance)};"";;'))
    return lines


def _money(minor: int) -> str:
    return f"{minor // 100}.{minor % 100:02d}"


if __name__ == "__main__":
    main()
