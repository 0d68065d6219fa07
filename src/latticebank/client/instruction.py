"""What a payment's signed text itself says, for whoever decides about it: not what the bank says of it."""

from dataclasses import dataclass
from uuid import UUID

from latticebank.banking.payments.wire import InstructionView, PaymentView
from latticebank.crypto.merkle import leaf_hash
from latticebank.documents.batch import BatchManifest, read_payment
from latticebank.documents.cash import CashOrder
from latticebank.documents.document import identity, read
from latticebank.documents.payment import PaymentInstruction
from latticebank.values.errors import BankError, Fault


class OtherInstruction(BankError):
    """What the bank shows as signed does not fit what it says of the payment."""

    code = "other-instruction"
    title = "The bank shows another instruction"
    fault = Fault.CONFLICT


@dataclass(frozen=True, slots=True)
class Instructed:
    """What was signed: who pays whom how much, when and with which device.

    `payee` is the name that was signed; for a cash order, which way the cash goes. `hash` is what a decision about the
    payment names, 64 hexadecimal digits, computed here.
    """

    id: str
    debtor_account: str
    creditor_account: str
    payee: str
    amount: str
    currency: str
    reference: str
    created: str
    device: str
    hash: str


def read_instruction(shown: InstructionView, payment: PaymentView) -> Instructed:
    """Return what the text says that was signed for a payment.

    Raises:
        InvalidDocument, InvalidValue, CardNumberInText: it is no such text.
        OtherInstruction: it does not fit what the bank says of the payment; `field` names what differs.

    """
    text = shown.document.encode()
    if payment.kind == "batch":
        found = _of_batch(text, (shown.batch_payment or "").encode())
    else:
        found = _of_cash(text) if payment.kind == "cash" else _of_payment(text)
    for field, signed, said in (
        ("id", found.id, str(payment.id)),
        ("instruction_hash", found.hash, payment.instruction_hash),
        ("device", found.device, str(payment.device)),
        ("debtor_account", found.debtor_account, payment.debtor_account),
        ("creditor_account", found.creditor_account, payment.creditor_account),
        ("amount", (found.amount, found.currency), (payment.amount, payment.currency)),
    ):
        if signed != said:
            raise OtherInstruction("what was signed is not what the bank says of the payment", field=field)
    return found


def _of_payment(text: bytes) -> Instructed:
    said = read(PaymentInstruction, text)
    return Instructed(
        said.id,
        said.debtor_account,
        said.creditor_account,
        said.creditor_name,
        said.amount,
        said.currency,
        said.reference,
        said.created,
        str(UUID(said.device)),
        identity(text).hex(),
    )


def _of_cash(text: bytes) -> Instructed:
    said = read(CashOrder, text)
    debtor, creditor = said.account, said.till
    if said.direction == "deposit":
        debtor, creditor = creditor, debtor
    return Instructed(
        said.id,
        debtor,
        creditor,
        f"cash {said.direction}",
        said.amount,
        said.currency,
        said.reference,
        said.created,
        str(UUID(said.device)),
        identity(text).hex(),
    )


def _of_batch(manifest: bytes, text: bytes) -> Instructed:
    signed, (said, _) = read(BatchManifest, manifest), read_payment(text, 0)
    return Instructed(
        said.id,
        signed.debtor_account,
        said.creditor_account,
        said.creditor_name,
        said.amount,
        said.currency,
        said.reference,
        signed.created,
        str(UUID(signed.device)),
        leaf_hash(text).hex(),
    )
