"""What callers ask for when accounts are opened becomes commands of the ledger, and the records become answers."""

from latticebank.banking.ledger.model.accounts import AccountEvent, AccountKind, OpenAccount, Party, PartyRole
from latticebank.banking.ledger.model.decide import Answer
from latticebank.banking.ledger.model.transfers import DONE, Rejection
from latticebank.banking.ledger.wire import AccountOpening, OpeningAnswer, OpeningOrder
from latticebank.values.account_number import DIGITS, format_account_number
from latticebank.values.errors import BankError, InvalidValue
from latticebank.values.money import currency_digits, parse_amount


def opening_command(key: bytes, opening: AccountOpening | OpeningOrder, actor: str, place: str = "") -> OpenAccount:
    """Return the command that opens an account; `place` is the JSON pointer to where it was asked for.

    Raises:
        InvalidValue: a field is malformed, or does not go with the kind of account.

    """
    try:
        digits = currency_digits(opening.currency)
        limit = parse_amount(opening.overdraft_limit, digits, "overdraft_limit") if opening.overdraft_limit else 0
        if opening.reference is not None and opening.reference.isdigit() and len(opening.reference) == DIGITS:
            raise InvalidValue("a reference of ten digits would be taken for an account number", field="reference")
        kind = AccountKind[opening.kind.upper()]
        if limit and not kind.of_customer:
            raise InvalidValue("the bank's own accounts have no overdraft limit", field="overdraft_limit")
        parties = (
            *(Party(reference, PartyRole.OWNER) for reference in opening.owners),
            *(Party(reference, PartyRole.MANDATE) for reference in opening.mandates),
        )
        if len({party.reference for party in parties}) < len(parties):
            raise InvalidValue("a party is named twice", field="owners")
        if parties and not kind.of_customer:
            raise InvalidValue("the bank's own accounts have no owners or mandates", field="owners")
    except BankError as error:
        error.field = f"{place}/{error.field}"
        raise
    return OpenAccount(key, kind, opening.currency, limit, opening.reference, parties, actor)


def answer_to_opening(order: OpeningOrder, answer: Answer) -> OpeningAnswer:
    """Return what is answered to an opening."""
    if not isinstance(answer, AccountEvent):
        return OpeningAnswer(order.id, Rejection.ID_REUSED.word)
    if answer.outcome != DONE:
        return OpeningAnswer(order.id, Rejection(answer.outcome).word)
    return OpeningAnswer(order.id, "done", format_account_number(answer.account))
