"""Reading the books from the command line, with the bank open and with it closed."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from latticebank.values.account_number import account_number, format_account_number
from tests.cli.conftest import Folder, RunningBank

NOBODYS = format_account_number(account_number(0, 4_711))
MAPPING = """
[source]
name = "village"

[columns]
id = "id"
account = "account"
date = "date"
amount = "amount"
balance = "balance"
direction = "kind"

[direction]
credit = ["in"]
debit = ["out"]

[date]
format = "%Y-%m-%d"

[currency]
code = "EUR"

[order]
rule = "file"

[accounts]
kind = "checking"
"""


@pytest.fixture(scope="module", params=["open", "closed"])
def bank(request: pytest.FixtureRequest, town_folder: Callable[[], Folder]) -> Any:
    """The folder of a demo bank that is open, and of one that is closed."""
    folder = town_folder()
    if request.param == "closed":
        yield folder
    else:
        running = RunningBank(folder)
        yield folder
        running.end()


def adas(bank: Folder) -> dict[str, Any]:
    """Ada's account: she began with 2500.00, got 150.00, and paid 86.40 and 31.90."""
    account: dict[str, Any]
    [account] = [each for each in bank.json("accounts", "--kind", "checking") if each["balance"] == "2531.70"]
    return account


def test_accounts_are_listed_with_what_is_on_them(bank: Folder) -> None:
    accounts = {account["reference"]: account for account in bank.json("accounts")}
    assert accounts["demo/cash"]["available"] is None
    ada = adas(bank)
    assert ada["available"] == "2531.70"
    table = bank.run("accounts", "--kind", "cash").stdout
    assert "demo/cash" in table
    assert ada["account"] not in table
    assert bank.json("accounts", "--party", ada["owners"][0]) == [ada]
    assert len(bank.json("accounts", "--limit", "2")) == 2


def test_entries_and_balances_are_found_by_reference_and_by_number(bank: Folder) -> None:
    number = adas(bank)["account"]
    entries = bank.json("entries", number)
    assert sorted(entry["amount"] for entry in entries) == ["-31.90", "-86.40", "150.00", "2500.00"]
    assert entries[-1]["balance"] == "2531.70"
    assert len(bank.json("entries", "demo/cash")) == 9
    assert "2531.70 EUR" in bank.run("balance", number).stdout
    assert "0.00 EUR" in bank.run("balance", number, "--as-of", "1999-12-31").stdout
    assert bank.json("balance", number, "--basis", "value")["balance"] == "2531.70"


def test_the_books_are_proved_and_so_is_every_signature(bank: Folder) -> None:
    proof = bank.json("ledger", "check")
    assert proof["findings"] == []
    assert proof["transfers"] == 14
    assert "The books are sound." in bank.run("ledger", "check").stdout
    both = bank.json("ledger", "check", "--signatures")
    assert both["books"]["findings"] == both["signatures"]["findings"] == []
    assert both["signatures"]["by_class"] == {"payment": 4}
    assert "Every debit is proved by a signature." in bank.run("ledger", "check", "--signatures").stdout


@pytest.mark.parametrize("bank", ["open"], indirect=True)
@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("entries", "1000000016"), 1, "check digit"),
        (("entries", NOBODYS), 1, f"there is no account {NOBODYS}"),
        (("entries", "nobody/here"), 1, "no account has the reference"),
        (("entries", "not a reference"), 1, "no account has the reference"),
        (("accounts", "--currency", "eur"), 1, "ISO 4217"),
        (("accounts", "--kind", "gold"), 1, "kind"),
        (("balance", "demo/cash", "--as-of", "31.12.2025"), 2, "--as-of"),
        (("balance", "demo/cash", "--basis", "tide"), 2, "booking or value"),
        (("entries", "demo/cash", "--from", "2026-02-01", "--to", "2026-01-01"), 1, "first day is after the last"),
        (("accounts", "--limit", "0"), 2, "--limit"),
        (("frobnicate",), 2, "frobnicate"),
    ],
)
def test_bad_input_gets_a_message_and_an_exit_code(
    bank: Folder, arguments: tuple[str, ...], code: int, told: str
) -> None:
    done = bank.run(*arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_where_no_bank_is_nothing_is_made(new_folder: Callable[[], Folder]) -> None:
    folder = new_folder()
    for command in (("accounts",), ("entries", "demo/cash"), ("balance", "demo/cash"), ("ledger", "check")):
        done = folder.run(*command)
        assert done.returncode == 1
        assert "no-bank-here" in done.stderr
    assert not (folder.path / "postgres").exists()


def test_an_edited_balance_is_found_and_named(town_folder: Callable[[], Folder]) -> None:
    bank = RunningBank(town_folder())
    try:
        urls = json.loads((bank.folder.path / "running.json").read_text())["database_urls"]
        with psycopg.connect(urls["ledger"]) as intruder:
            intruder.execute("UPDATE accounts SET balance = balance + 1 WHERE account = 1000000005")
        done = bank.folder.run("ledger", "check")
        assert done.returncode == 1
        assert "account 1000000005" in done.stderr
        assert "not sound" in done.stdout
    finally:
        bank.end()


def write_books(folder: Path, rows: list[tuple[str, ...]]) -> tuple[str, str]:
    mapping, file = folder / "mapping.toml", folder / "books.csv"
    mapping.write_text(MAPPING)
    with file.open("w", newline="") as out:
        csv.writer(out).writerows([("id", "account", "date", "kind", "amount", "balance"), *rows])
    return str(mapping), str(file)


def test_books_are_imported_once_and_the_report_is_told(bank: Folder, tmp_path: Path) -> None:
    mapping, file = write_books(
        tmp_path,
        [("1", "17", "2020-01-02", "in", "100.00", "100.00"), ("2", "17", "2020-01-03", "out", "30.00", "70.00")],
    )
    report = bank.json("import", mapping, file)
    assert (report["rows"], report["exact"], report["reconciled"]) == (2, 2, True)
    again = bank.json("import", mapping, file)
    assert (again["posted"], again["already_posted"]) == (0, 2)
    assert bank.json("balance", "village/17", "--as-of", "2020-01-02")["balance"] == "100.00"


def test_a_bad_row_is_named_and_nothing_is_posted(bank: Folder, tmp_path: Path) -> None:
    mapping, file = write_books(tmp_path, [("1", "18", "2020-01-02", "sideways", "100.00", "100.00")])
    done = bank.run("import", mapping, file)
    assert done.returncode == 1
    assert "line 2" in done.stderr
    assert bank.run("balance", "village/18").returncode == 1
