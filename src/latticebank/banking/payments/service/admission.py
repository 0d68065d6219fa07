"""The cheap checks, before any signature is verified and without waiting for a database: form, bank, time, ownership.

What they let in is an `Admitted`: a document as it was received, and what it says.
"""

from uuid import UUID

from msgspec import Struct

from latticebank.banking.payments.model.payments import Kind
from latticebank.banking.payments.model.refusals import (
    AccountUnknown,
    AcrossShards,
    DeviceCooling,
    DeviceRevoked,
    NotYourAccount,
    NotYourDevice,
    OwnPayment,
    UnfitAccount,
    UnknownDevice,
)
from latticebank.banking.payments.service.foundation import Foundation, KnownAccount, KnownDevice
from latticebank.crypto.errors import InvalidSignature
from latticebank.documents.cash import CashOrder
from latticebank.documents.document import DocumentExpired, from_base64url, identity, read
from latticebank.documents.payment import PaymentInstruction, minor_units
from latticebank.kernel.caller import Caller
from latticebank.values.account_number import shard_of
from latticebank.values.errors import InvalidValue

MAX_SIGNATURE_BYTES = 8_192
_CUSTOMERS = frozenset({"checking", "savings"})
_TILL = "cash"

LATER_THAN_ACCEPTED = (DocumentExpired, UnknownDevice, DeviceRevoked, DeviceCooling, NotYourAccount, OwnPayment)
"""What may come to be after an order was accepted: it does not change the answer to whoever sends it again."""


class Admitted(Struct, frozen=True, gc=False):
    """A signed order of well-formed content.

    `parties` are those of the customer's account: the signer of a payment must speak for one of them, a teller for none.
    """

    id: UUID
    kind: Kind
    signer: UUID
    session: UUID
    device: UUID
    debtor: int
    creditor: int
    amount: int
    currency: str
    creditor_name: str
    reference: str
    document: bytes
    signature: bytes
    hash: bytes
    parties: frozenset[str] = frozenset()


def read_payment(caller: Caller, text: str, signature: str) -> tuple[PaymentInstruction, Admitted]:
    """Return a signed payment instruction, and what it orders.

    Raises:
        InvalidDocument, InvalidValue, CardNumberInText, InvalidSignature: it is malformed.

    """
    received = document_bytes(text, "document")
    document = read(PaymentInstruction, received)
    return document, Admitted(
        UUID(document.id),
        Kind.PAYMENT,
        caller.user,
        session_of(caller),
        UUID(document.device),
        int(document.debtor_account),
        int(document.creditor_account),
        minor_units(document.amount, document.currency),
        document.currency,
        document.creditor_name,
        document.reference,
        received,
        signature_bytes(signature),
        identity(received),
    )


def read_cash(caller: Caller, text: str, signature: str) -> tuple[CashOrder, Admitted]:
    """Return a teller's signed cash order, and what it orders: a deposit debits the till, a withdrawal the customer.

    Raises:
        InvalidDocument, InvalidValue, CardNumberInText, InvalidSignature: it is malformed.

    """
    received = document_bytes(text, "document")
    document = read(CashOrder, received)
    debtor, creditor = int(document.account), int(document.till)
    if document.direction == "deposit":
        debtor, creditor = creditor, debtor
    return document, Admitted(
        UUID(document.id),
        Kind.CASH,
        caller.user,
        session_of(caller),
        UUID(document.device),
        debtor,
        creditor,
        minor_units(document.amount, document.currency),
        document.currency,
        "",
        document.reference,
        received,
        signature_bytes(signature),
        identity(received),
    )


async def device_of(foundation: Foundation, device: UUID, user: UUID) -> KnownDevice:
    """Return the device of a user that a document names.

    Raises:
        UnknownDevice: there is none of this id.
        NotYourDevice: it is somebody else's.

    """
    known = await foundation.devices.get(device)
    if known is None:
        raise UnknownDevice("no device has this id", field="device")
    if known.user != user:
        raise NotYourDevice("this device belongs to somebody else", field="device")
    return known


async def account_of(foundation: Foundation, caller: Caller, number: int, field: str) -> KnownAccount:
    """Return an account that the caller owns or may act for.

    Raises:
        NotYourAccount: it is another's, or does not exist; it is never told which.

    """
    known = await foundation.accounts.get(number)
    if known is None or known.parties.isdisjoint(caller.parties):
        raise NotYourAccount("you neither own this account nor may act for it", field=field)
    return known


async def cash_accounts(foundation: Foundation, order: CashOrder) -> KnownAccount:
    """Check that a cash order is between a customer's account and a till; return the customer's.

    Raises:
        AccountUnknown: one of them does not exist.
        UnfitAccount: one of them is something else.

    """
    account = await foundation.accounts.get(int(order.account))
    till = await foundation.accounts.get(int(order.till))
    deposit = order.direction == "deposit"
    if account is None:
        raise AccountUnknown("credit" if deposit else "debit", "account")
    if till is None:
        raise AccountUnknown("debit" if deposit else "credit", "till")
    if account.kind not in _CUSTOMERS:
        raise UnfitAccount("cash is taken in for, and handed out to, customers only", field="account")
    if till.kind != _TILL:
        raise UnfitAccount("a till is an account of cash", field="till")
    return account


def require_one_shard(foundation: Foundation, debtor: int, creditor: int, field: str) -> None:
    """Check that the ledger can move money between two accounts at once.

    Raises:
        AccountUnknown: the number of the account to credit belongs to no shard of this bank.
        AcrossShards: they lie on two shards.

    """
    shard = shard_of(creditor)
    if shard >= foundation.shards:
        raise AccountUnknown("credit", field)
    if shard != shard_of(debtor):
        raise AcrossShards("the two accounts lie on two shards of the ledger", field=field)


def require_key(key: UUID | None, identifier: UUID) -> None:
    """Check that an Idempotency-Key, where one is given, is the id of the document that it goes with.

    Raises:
        InvalidValue: it is another.

    """
    if key not in (None, identifier):
        raise InvalidValue("this is not the id of the signed document", field="Idempotency-Key")


def session_of(caller: Caller) -> UUID:
    """Return the session that a user speaks in."""
    assert caller.session is not None, "a user comes by a session"
    return caller.session


def document_bytes(text: str, field: str) -> bytes:
    """Return the bytes of a signed text.

    Raises:
        InvalidValue: it has no form in UTF-8.

    """
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidValue("this has no form in UTF-8", field=field) from None


def signature_bytes(text: str) -> bytes:
    """Return the bytes of a signature.

    Raises:
        InvalidSignature: no signature is written like this.

    """
    try:
        return from_base64url(text, "signature", MAX_SIGNATURE_BYTES)
    except InvalidValue as error:
        raise InvalidSignature(error.detail, field="signature") from None
