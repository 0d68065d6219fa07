"""The payment instruction: a customer tells the bank to pay, by the signature of a device."""

import re
import unicodedata
from typing import Literal

import msgspec

from latticebank.documents.document import require_text
from latticebank.values.account_number import parse_account_number
from latticebank.values.errors import BankError, Fault, InvalidValue
from latticebank.values.money import currency_digits, parse_amount

PAYMENT = "latticebank/payment/v1"
MAX_NAME = 140
MAX_REFERENCE = 140
MIN_CARD_DIGITS = 13
MAX_CARD_DIGITS = 19
_DIGITS_IN_A_ROW = re.compile(r"[0-9](?:[^0-9A-Za-z]{0,3}[0-9]){12,}")
_IBAN = re.compile(r"\b[A-Za-z]{2}[0-9]{2}(?: ?[A-Za-z0-9]){11,30}\b")
_FIRST_OF_CARDS = "23456"
_GROUP = re.compile(r"[0-9]+")
_BLANK = frozenset({"Zs", "Zl", "Zp", "Cf"})
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


class CardNumberInText(BankError):
    """A free text holds what looks like the number of a payment card."""

    code = "card-number-in-text"
    title = "Card numbers do not belong here"
    fault = Fault.REFUSED


class PaymentInstruction(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A payment. `amount` has exactly the digits of its currency; `id` is for ever the payment's own (UUIDv7)."""

    amount: str
    bank: str
    created: str
    creditor_account: str
    creditor_name: str
    currency: str
    debtor_account: str
    device: str
    expires: str
    id: str
    reference: str = ""
    type: Literal["latticebank/payment/v1"]

    def check(self) -> None:
        """Check what a payment must be, whoever makes it.

        Raises:
            InvalidValue: a member is malformed.
            CardNumberInText: a free text holds a card number.

        """
        parse_account_number(self.debtor_account, "debtor_account")
        check_payee(self.creditor_account, self.creditor_name, self.reference)
        minor_units(self.amount, self.currency)


def check_payee(account: str, name: str, reference: str) -> None:
    """Check whom a payment names and what it says.

    Raises:
        InvalidValue, CardNumberInText: as `PaymentInstruction.check`.

    """
    parse_account_number(account, "creditor_account")
    if all(unicodedata.category(character) in _BLANK for character in name):
        raise InvalidValue("this must name the payee", field="creditor_name")
    require_text(name, "creditor_name", MAX_NAME)
    require_text(reference, "reference", MAX_REFERENCE)
    refuse_card_number(name, "creditor_name")
    refuse_card_number(reference, "reference")


def minor_units(amount: str, currency: str) -> int:
    """Return an amount in minor units.

    Raises:
        InvalidValue: no currency, not exactly its digits, or nothing.

    """
    minor = parse_amount(amount, currency_digits(currency))
    if minor == 0:
        raise InvalidValue("an amount is more than zero", field="amount")
    return minor


def refuse_card_number(text: str, field: str) -> None:
    """Refuse a text with 13 to 19 digits in a row that pass the Luhn check (ISO/IEC 7812-1, annex B).

    Digits of every script count, and up to three characters between two of them that are neither digit nor letter do not
    part them. A number begins and ends where digits do: part of an unbroken longer one is none. The numbers of cards
    begin with 2 to 6 (ISO/IEC 7812-1, 4.2); an account number that is a valid IBAN (ISO 13616-1) may stand in a text.

    Raises:
        CardNumberInText: there is one; it is not repeated.

    """
    without_ibans = _IBAN.sub(lambda found: "x" if _is_iban(found.group()) else found.group(), _folded(text))
    if any(_holds_card_number(found) for found in _DIGITS_IN_A_ROW.findall(without_ibans)):
        raise CardNumberInText("this holds what looks like a card number", field=field, hint="leave it out")


def _is_iban(text: str) -> bool:
    """Whether a text is an IBAN by its check digits (ISO/IEC 7064 MOD 97-10)."""
    compact = text.replace(" ", "").upper()
    return int("".join(str(int(character, 36)) for character in compact[4:] + compact[:4])) % 97 == 1


def _folded(text: str) -> str:
    """Return a text in ASCII: its digits as such, any other letter or number as a letter, and the rest as blanks."""
    if text.isascii():
        return text
    compatible = unicodedata.normalize("NFKC", text)
    if sum(map(str.isdecimal, compatible)) < MIN_CARD_DIGITS:
        return ""
    return "".join(map(_folded_character, compatible))


def _folded_character(character: str) -> str:
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    return "x" if character.isalnum() else " "


def _holds_card_number(row: str) -> bool:
    """Whether some groups of digits in a row, one after the other, are a number that passes the Luhn check."""
    starts: list[int] = []
    ends: set[int] = set()
    # Sums of the first digits: with those at even places doubled, and with those at odd places doubled.
    sums: tuple[list[int], list[int]] = ([0], [0])
    for group in _GROUP.findall(row):
        if group[0] in _FIRST_OF_CARDS:
            starts.append(len(sums[0]) - 1)
        for digit in map(int, group):
            place = len(sums[0]) - 1
            for parity in (0, 1):
                sums[parity].append(sums[parity][-1] + (_DOUBLED[digit] if place % 2 == parity else digit))
        ends.add(len(sums[0]) - 1)
    return any(
        end in ends and (sums[end % 2][end] - sums[end % 2][start]) % 10 == 0
        for start in starts
        for end in range(start + MIN_CARD_DIGITS, start + MAX_CARD_DIGITS + 1)
    )
