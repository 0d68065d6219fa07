"""The batch manifest: one signature for many payments from one account.

It names their count, their totals and the Merkle root (RFC 9162, 2.1) of their salted texts, so that the bank can prove
one payment of a batch to a third party and disclose no other.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

from latticebank.crypto.merkle import leaf_hash, root_of
from latticebank.documents.document import InvalidDocument, read_canonical, require_hash, require_uuid7
from latticebank.documents.payment import check_payee, minor_units
from latticebank.values.account_number import parse_account_number
from latticebank.values.errors import BankError, InvalidValue
from latticebank.values.money import CURRENCY_DIGITS, format_amount

BATCH = "latticebank/batch/v1"
MAX_PAYMENTS = 8_000


class BatchPayment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True, gc=False):
    """One payment of a batch. `salt` is 32 random bytes in hexadecimal, so that its hash tells nobody what it says."""

    amount: str
    creditor_account: str
    creditor_name: str
    currency: str
    id: str
    reference: str = ""
    salt: str


class BatchManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is signed. `totals` has the sum of each currency, `root` 64 hexadecimal digits."""

    bank: str
    count: str
    created: str
    debtor_account: str
    device: str
    expires: str
    id: str
    root: str
    totals: dict[str, str]
    type: Literal["latticebank/batch/v1"]

    def check(self) -> None:
        """Check what a manifest must be by itself.

        Raises:
            InvalidValue: a member is malformed.

        """
        parse_account_number(self.debtor_account, "debtor_account")
        require_hash(self.root, "root")
        if (
            not self.count.isdecimal()
            or str(int(self.count[:6])) != self.count
            or not 1 <= int(self.count) <= MAX_PAYMENTS
        ):
            raise InvalidValue(f"a batch has 1 to {MAX_PAYMENTS} payments", field="count")
        if list(self.totals) != sorted(self.totals):
            raise InvalidDocument("the totals are not in order of their currencies", field="totals")
        for currency, total in self.totals.items():
            minor_units(total, currency)


def read_payment(received: bytes, place: int) -> tuple[BatchPayment, int]:
    """Return a payment of a batch and its amount in minor units; `place` is told in errors.

    Raises:
        InvalidDocument, InvalidValue, CardNumberInText: it is malformed.

    """
    try:
        payment = read_canonical(BatchPayment, received)
        require_uuid7(payment.id, "id")
        require_hash(payment.salt, "salt")
        check_payee(payment.creditor_account, payment.creditor_name, payment.reference)
        return payment, minor_units(payment.amount, payment.currency)
    except BankError as error:
        error.field = f"/payments/{place}/{error.field}"
        raise


def leaves_of(texts: Sequence[bytes]) -> list[bytes]:
    """Return the leaf hashes of the payments of a batch: the evidence for each."""
    return [leaf_hash(text) for text in texts]


def summary(payments: Sequence[tuple[BatchPayment, int]], leaves: Sequence[bytes]) -> tuple[str, dict[str, str], str]:
    """Return count, totals and root as a manifest names them."""
    sums: dict[str, int] = {}
    for payment, minor in payments:
        sums[payment.currency] = sums.get(payment.currency, 0) + minor
    totals = {currency: format_amount(sums[currency], CURRENCY_DIGITS[currency]) for currency in sorted(sums)}
    return str(len(payments)), totals, root_of(leaves).hex()


def require_match(
    manifest: BatchManifest, payments: Sequence[tuple[BatchPayment, int]], leaves: Sequence[bytes]
) -> None:
    """Check that a manifest speaks of exactly these payments, each with an id of its own.

    Raises:
        InvalidValue: it does not; `field` names the member that differs.

    """
    count, totals, root = summary(payments, leaves)
    for field, said, found in (
        ("count", manifest.count, count),
        ("totals", manifest.totals, totals),
        ("root", manifest.root, root),
    ):
        if said != found:
            raise InvalidValue("the manifest speaks of other payments than these", field=f"/manifest/{field}")
    if len({payment.id for payment, _ in payments}) != len(payments):
        raise InvalidValue("two payments of the batch have the same id", field="/payments")
