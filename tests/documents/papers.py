"""Documents as devices make them."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from latticebank.documents.batch import BATCH, BatchManifest, BatchPayment, leaves_of, read_payment, summary
from latticebank.documents.document import instant_text
from latticebank.documents.payment import PAYMENT, PaymentInstruction
from latticebank.values.account_number import account_number, format_account_number
from latticebank.values.clock import SystemClock
from latticebank.values.ids import Uuid7Source

BANK = "latticebank.localhost"
NOW = datetime(2026, 3, 31, 8, 0, tzinfo=UTC)
ADA, BOB = (format_account_number(account_number(0, serial)) for serial in (1, 2))
_ids = Uuid7Source(SystemClock())


def new_id() -> str:
    """A UUIDv7."""
    return str(_ids())


DEVICE = new_id()


def signed_part(life: timedelta = timedelta(minutes=5)) -> dict[str, str]:
    """The members that every document has, but for its type."""
    return {
        "bank": BANK,
        "created": instant_text(NOW),
        "device": DEVICE,
        "expires": instant_text(NOW + life),
        "id": new_id(),
    }


def instruction(**changed: Any) -> PaymentInstruction:
    """Ada pays Bob 12.34."""
    members = {
        **signed_part(),
        "amount": "12.34",
        "creditor_account": BOB,
        "creditor_name": "Bob",
        "currency": "EUR",
        "debtor_account": ADA,
        "reference": "rent",
        "type": PAYMENT,
    }
    return msgspec.convert(members | changed, PaymentInstruction)


def batch(*amounts: str, **changed: Any) -> tuple[BatchManifest, list[bytes]]:
    """A manifest and the texts of its payments to Bob."""
    texts = [
        msgspec.json.encode(
            BatchPayment(
                amount=amount,
                creditor_account=BOB,
                creditor_name="Bob",
                currency="EUR",
                id=new_id(),
                salt=UUID(new_id()).hex * 2,
            )
        )
        for amount in amounts
    ]
    payments = [read_payment(text, place) for place, text in enumerate(texts)]
    count, totals, root = summary(payments, leaves_of(texts))
    members = {**signed_part(), "count": count, "debtor_account": ADA, "root": root, "totals": totals, "type": BATCH}
    return msgspec.convert(members | changed, BatchManifest), texts
