"""Files of payments are read whole, and what is wrong with one is named by its line."""

from pathlib import Path

import pytest

from latticebank.client import CannotUseFile, Payee
from latticebank.client.payment_file import PaymentFile, read_payment_file
from latticebank.values.errors import InvalidValue


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "wages.csv"


def written(path: Path, text: str | bytes) -> PaymentFile:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_payment_file(path)


def test_columns_come_in_any_order_and_some_may_be_missing(path: Path) -> None:
    file = written(path, '\ufeffamount,name,account,reference\r\n1.00,"Doe, Jane",1000000015,"a ""b"""\r\n')
    assert file.payees == (Payee("1000000015", "Doe, Jane", "1.00", "", 'a "b"'),)
    assert file.in_currency("EUR")[0].currency == "EUR"
    mixed = written(path, "account,name,amount,currency\n1000000015,Bob,7,JPY\n1000000015,Bob,1.00,\n")
    assert [payee.currency for payee in mixed.in_currency("EUR")] == ["JPY", "EUR"]


@pytest.mark.parametrize(
    ("text", "field", "told"),
    [
        ("", "line 1", "the columns are account, name, amount"),
        ("account,name\n", "line 1", "the columns are"),
        ("account,name,amount,amount\n", "line 1", "the columns are"),
        ("account,name,amount,colour\n", "line 1", "the columns are"),
        ("account,name,amount\n", "wages.csv", "no payments"),
        ("account,name,amount\n1,Bob\n", "line 2", "more or fewer values"),
        ("account,name,amount\n1,Bob,1.00\n1,Bob,1.00,x\n", "line 3", "more or fewer values"),
        ('account,name,amount\n1,"Bob,1.00\n', "line 2", "not CSV"),
        ("account,name,amount\n" + "1,Bob,1.00\n" * 8_001, "line 8002", "at most 8000"),
        (b"account,name,amount\n1,B\xff,1.00\n", "wages.csv", "not text in UTF-8"),
    ],
)
def test_what_is_no_file_of_payments_is_told_by_line(path: Path, text: str | bytes, field: str, told: str) -> None:
    with pytest.raises(InvalidValue, match=told) as refused:
        written(path, text)
    assert refused.value.field is not None
    assert refused.value.field.endswith(field)


def test_a_file_that_is_not_there_is_told(path: Path) -> None:
    with pytest.raises(CannotUseFile, match="No such file"):
        read_payment_file(path)


def test_an_error_in_a_payment_names_its_line(path: Path) -> None:
    file = written(path, 'account,name,amount,reference\n1,A,1.00,"two\nlines"\n2,B,1.00,\n')
    with pytest.raises(InvalidValue) as refused, file.told_by_line():
        raise InvalidValue("too much", field="/payments/1/amount")
    assert refused.value.field == f"{path} line 4: amount"
