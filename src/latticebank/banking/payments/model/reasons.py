"""Why a payment was not made, as codes that are stored and told, and in sentences."""

OVER_PAYMENT_LIMIT = "over-payment-limit"
OVER_DAILY_LIMIT = "over-daily-limit"
APPROVAL_REJECTED = "approval-rejected"
APPROVAL_EXPIRED = "approval-expired"
NOT_FEASIBLE = "not-feasible"
"""The ledger answered what can never become a posting."""

LEDGER_REFUSALS = frozenset(
    {
        "debit-account-unknown", "credit-account-unknown", "account-frozen", "account-closed", "currency-mismatch",
        "insufficient-funds", "same-account", "balance-overflow", "booking-date-before-last",
    }
)  # fmt: skip
"""The ledger's refusals that are an honest answer to a payment; any other is a fault of the bank."""

_TEXTS = {
    OVER_PAYMENT_LIMIT: "the amount is over the limit of one payment",
    OVER_DAILY_LIMIT: "with this the limit of the business day would be passed",
    APPROVAL_REJECTED: "the bank has looked at the payment and does not make it",
    APPROVAL_EXPIRED: "nobody approved the payment in time",
    NOT_FEASIBLE: "the bank cannot make this payment",
    "debit-account-unknown": "the account to debit does not exist",
    "credit-account-unknown": "the account to credit does not exist",
    "account-frozen": "an account is frozen; no money moves on it until it is unfrozen",
    "account-closed": "an account is closed",
    "currency-mismatch": "the accounts and the amount are not all of one currency",
    "insufficient-funds": "the account has not enough available, its overdraft limit included",
    "same-account": "an account cannot pay itself",
    "balance-overflow": "a balance would no longer fit into 64 bits",
    "booking-date-before-last": "an account already has an entry with a later booking date",
}
REASONS = tuple(_TEXTS)
"""Every stored reason that has a sentence of its own."""


def reason_text(reason: str) -> str:
    """Return the sentence for a stored reason."""
    return _TEXTS.get(reason, "the bank did not make this payment")
