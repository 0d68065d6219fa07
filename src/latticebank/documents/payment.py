"""The payment instruction: a customer tells the bank to pay, by the signature of a device."""

import re
from typing import Literal

import msgspec

from latticebank.documents.document import require_text
from latticebank.values.account_number import parse_account_number
from latticebank.values.errors import BankError, Fault, InvalidValue
from latticebank.values.money import currency_digits, parse_amount

PAYMENT = "latticebank/payment/v1"
MAX_NAME = 140
MAX_REFERENCE = 140
_DIGITS_IN_A_ROW = re.compile(r"(?<![0-9])[0-9](?:[ \-.]?[0-9]){11,18}(?![0-9])")


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
    if not name:
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
    """Refuse a text with 12 to 19 digits in a row that pass the Luhn check (ISO/IEC 7812-1, annex B).

    Raises:
        CardNumberInText: there is one; it is not repeated.

    """
    for found in _DIGITS_IN_A_ROW.finditer(text) if len(text) >= 12 else ():
        digits = [int(character) for character in found.group() if character.isdigit()]
        doubled = [
            digit if place % 2 == 0 else digit * 2 - 9 * (digit > 4) for place, digit in enumerate(reversed(digits))
        ]
        if sum(doubled) % 10 == 0:
            raise CardNumberInText("this holds what looks like a card number", field=field, hint="leave it out")
