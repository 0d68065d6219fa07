"""What the bank answers to what it does not accept, or cannot do: each with a code of its own."""

from latticebank.banking.payments.model.reasons import REASONS, reason_text
from latticebank.values.errors import BankError, Fault


class UnknownDevice(BankError):
    """No device has the id that the document names."""

    code = "unknown-device"
    title = "The bank does not know this device"
    fault = Fault.FORBIDDEN


class NotYourDevice(BankError):
    """The device belongs to somebody else."""

    code = "not-your-device"
    title = "This is not your device"
    fault = Fault.FORBIDDEN


class DeviceRevoked(BankError):
    """The device was revoked."""

    code = "device-revoked"
    title = "This device was revoked"
    fault = Fault.FORBIDDEN


class DeviceCooling(BankError):
    """The device joined too short a time ago."""

    code = "device-cooling"
    title = "This device cannot pay yet"
    fault = Fault.FORBIDDEN


class SessionEnded(BankError):
    """The session in which this was sent is over."""

    code = "session-ended"
    title = "Your session has ended"
    fault = Fault.UNAUTHENTICATED


class NotYourAccount(BankError):
    """The caller neither owns the account nor may act for it."""

    code = "not-your-account"
    title = "This is not your account"
    fault = Fault.FORBIDDEN


class AccountUnknown(BankError):
    """There is no account of this number; the code says which side of the payment."""

    title = "There is no such account"
    fault = Fault.CONFLICT
    codes = ("credit-account-unknown", "debit-account-unknown")

    def __init__(self, side: str, field: str) -> None:
        super().__init__(f"the account to {side} does not exist", field=field)
        self.code = f"{side}-account-unknown"


class UnfitAccount(BankError):
    """An account is not of the kind that this order needs."""

    code = "unfit-account"
    title = "This account is not for that"
    fault = Fault.REFUSED


class AcrossShards(BankError):
    """The accounts lie on two shards of the ledger, between which money does not move at once."""

    code = "accounts-on-two-shards"
    title = "The bank cannot pay between these two accounts"
    fault = Fault.REFUSED


class RoleNeeded(BankError):
    """The caller no longer has the role that this needs."""

    code = "role-needed"
    title = "You no longer have the role for this"
    fault = Fault.FORBIDDEN


class PaymentIdReused(BankError):
    """Another payment has this id."""

    code = "payment-id-reused"
    title = "This id was used for another payment"
    fault = Fault.REFUSED


class BatchIdReused(BankError):
    """Another batch has this id."""

    code = "batch-id-reused"
    title = "This id was used for another batch"
    fault = Fault.REFUSED


class PaymentNotFound(BankError):
    """There is no such payment, or it is not the caller's to see."""

    code = "payment-not-found"
    title = "There is no such payment"
    fault = Fault.NOT_FOUND

    def __init__(self) -> None:
        super().__init__("there is no such payment among those that you may see", field="id")


class PaymentRefused(BankError):
    """The payment was decided, and it is not made: for ever. The code is the stored reason."""

    title = "The payment was not made"
    fault = Fault.CONFLICT
    codes = REASONS

    def __init__(self, reason: str) -> None:
        super().__init__(reason_text(reason), hint="this id keeps this answer; sign a new payment")
        self.code = reason


class AlreadyDecided(BankError):
    """Somebody has decided about this payment before, or its time is over."""

    code = "already-decided"
    title = "This payment was decided already"
    fault = Fault.CONFLICT


class NotHeld(BankError):
    """The payment does not wait for a decision."""

    code = "not-held"
    title = "This payment does not wait for a decision"
    fault = Fault.CONFLICT


class OwnPayment(BankError):
    """Whoever signed a payment, or gets or gives the money, does not decide about it, nor orders it as cash."""

    code = "own-payment"
    title = "Somebody else must do this"
    fault = Fault.FORBIDDEN


class OtherSubject(BankError):
    """The decision is about something else than the payment of this path."""

    code = "other-subject"
    title = "This decision is about something else"
    fault = Fault.REFUSED


class RecordsErased(BankError):
    """The customer has no key for records: nothing more can be kept for this customer."""

    code = "records-erased"
    title = "The records of this customer are closed"
    fault = Fault.CONFLICT


class PaymentNotPosted(BankError):
    """The payment came to another end than a posting, so nothing proves one."""

    code = "payment-not-posted"
    title = "This payment was not made"
    fault = Fault.CONFLICT

    def __init__(self, state: str) -> None:
        super().__init__(f"this payment is {state}: there is a receipt only for what was posted", field="id")


class ReceiptUnavailable(BankError):
    """The bank cannot put together what proves a posting."""

    code = "receipt-unavailable"
    title = "There is no receipt of this payment"
    fault = Fault.CONFLICT


class BankBusy(BankError):
    """More waits than the bank takes on."""

    code = "bank-busy"
    title = "The bank has more to do than it can take on"
    fault = Fault.UNAVAILABLE
    retry_after = 1

    def __init__(self, detail: str = "too much is waiting already") -> None:
        super().__init__(detail, hint="send the same again in a moment")


class TooManyAttempts(BankError):
    """Too many signatures of this user did not verify."""

    code = "too-many-attempts"
    title = "Too many attempts"
    fault = Fault.TOO_MANY

    def __init__(self, retry_after: int) -> None:
        super().__init__("too many signatures did not verify", hint="wait before the next attempt")
        self.retry_after = retry_after


VERDICTS: dict[str, type[BankError]] = {
    "session-ended": SessionEnded,
    "user-unknown": SessionEnded,
    "device-unknown": UnknownDevice,
    "device-revoked": DeviceRevoked,
    "device-cooling": DeviceCooling,
}
"""What identity says of a session, user and device, as what the caller is told."""


def refusal_of(verdict: str) -> BankError:
    """Return the error for a verdict of identity other than "good"."""
    kind = VERDICTS[verdict]
    field = "Authorization" if kind is SessionEnded else "device"
    return kind(kind.title[0].lower() + kind.title[1:], field=field)
