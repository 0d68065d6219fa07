"""The demo bank: accounts and movements to look at, made once, through the same door that everyone uses.

The demo's account references begin with `demo/`; they are also the marker by which a bank with demo books is known, and
refused, where others could reach it.
"""

from dataclasses import dataclass

from latticebank.banking.ledger.client import LedgerClient
from latticebank.banking.ledger.wire import AccountKindWord, AccountOpening, PostOrder, PurposeWord
from latticebank.values.errors import BankError, Fault
from latticebank.values.ids import derived_id

CURRENCY = "EUR"
MARKER = "demo/cash"


class DemoBankExposed(BankError):
    """A bank with demo books listens where others can reach it, or in production."""

    code = "demo-bank-exposed"
    title = "These are the books of a demo bank"
    fault = Fault.REFUSED


@dataclass(frozen=True)
class _Account:
    name: str
    kind: AccountKindWord
    overdraft_limit: str | None = None
    owners: tuple[str, ...] = ()
    mandates: tuple[str, ...] = ()


_ACCOUNTS = (
    _Account("cash", "cash"),
    _Account("fees", "fees"),
    _Account("interest", "interest"),
    _Account("suspense", "suspense"),
    _Account("settlement", "settlement"),
    _Account("ada-checking", "checking", "500.00", ("demo:customer/ada",), ("demo:customer/charles",)),
    _Account("ada-savings", "savings", None, ("demo:customer/ada",)),
    _Account("charles-checking", "checking", None, ("demo:customer/charles",)),
    _Account("grocer-checking", "checking", None, ("demo:merchant/grocer",)),
)
_MOVEMENTS: tuple[tuple[str, str, str, PurposeWord], ...] = (
    ("cash", "ada-checking", "2500.00", "cash"),
    ("cash", "charles-checking", "1200.00", "cash"),
    ("ada-checking", "ada-savings", "1000.00", "transfer"),
    ("ada-checking", "grocer-checking", "86.40", "transfer"),
    ("charles-checking", "grocer-checking", "23.15", "transfer"),
    ("charles-checking", "ada-checking", "150.00", "transfer"),
    ("interest", "ada-savings", "1.25", "interest"),
    ("grocer-checking", "fees", "4.90", "fee"),
)


async def has_demo_books(ledger: LedgerClient) -> bool:
    """Return whether the books are those of a demo."""
    return bool(await ledger.accounts_by_reference([MARKER]))


async def seed(ledger: LedgerClient) -> bool:
    """Make the demo's accounts and movements in empty books; return whether the books are a demo's.

    Every step has an id derived from its name, so that a seeding that was interrupted is finished by the next one.
    """
    if not await has_demo_books(ledger) and (await ledger.accounts(limit=1)).items:
        return False
    numbers: dict[str, str] = {}
    for account in _ACCOUNTS:
        opening = AccountOpening(
            kind=account.kind,
            currency=CURRENCY,
            overdraft_limit=account.overdraft_limit,
            reference=f"demo/{account.name}",
            owners=list(account.owners),
            mandates=list(account.mandates),
            shard=0,
        )
        opened = await ledger.open_account(derived_id("demo", "account", account.name), opening)
        numbers[account.name] = opened.account
    orders = [
        PostOrder(
            id=derived_id("demo", "movement", str(place)),
            debit=numbers[debit],
            credit=numbers[credit],
            amount=amount,
            currency=CURRENCY,
            purpose=purpose,
        )
        for place, (debit, credit, amount, purpose) in enumerate(_MOVEMENTS)
    ]
    await ledger.order(orders)
    return True


async def refuse_exposed_demo(ledger: LedgerClient, *, exposed: bool) -> None:
    """Refuse to serve demo books where others can reach them, whoever made them and when.

    Raises:
        DemoBankExposed: they are, and they would be.

    """
    if exposed and await has_demo_books(ledger):
        raise DemoBankExposed(
            "demo books are served on a loopback address in development only",
            hint="use another data folder or database for a bank that others can reach",
        )
