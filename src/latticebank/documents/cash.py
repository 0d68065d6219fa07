"""The cash order: a teller's device says that cash was taken in, or handed out."""

from typing import Literal

import msgspec

from latticebank.documents.document import require_text
from latticebank.documents.payment import MAX_REFERENCE, minor_units, refuse_card_number
from latticebank.values.account_number import parse_account_number

CASH = "latticebank/cash/v1"


class CashOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A deposit on, or a withdrawal from, a customer's account, against the bank's cash account `till`."""

    account: str
    amount: str
    bank: str
    created: str
    currency: str
    device: str
    direction: Literal["deposit", "withdrawal"]
    expires: str
    id: str
    reference: str = ""
    till: str
    type: Literal["latticebank/cash/v1"]

    def check(self) -> None:
        """Check what a cash order must be.

        Raises:
            InvalidValue, CardNumberInText: a member is malformed.

        """
        parse_account_number(self.account, "account")
        parse_account_number(self.till, "till")
        minor_units(self.amount, self.currency)
        require_text(self.reference, "reference", MAX_REFERENCE)
        refuse_card_number(self.reference, "reference")
