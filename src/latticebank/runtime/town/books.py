"""The bank's own accounts in a demo, and the marker by which a bank with demo books is known."""

from latticebank.banking.ledger.client import LedgerClient
from latticebank.banking.ledger.wire import AccountKindWord, AccountOpening
from latticebank.runtime.town.acting import Ways
from latticebank.values.errors import BankError, Fault
from latticebank.values.ids import derived_id

MARKER = "demo/cash"
CASH: AccountKindWord = "cash"
OWN_KINDS: tuple[AccountKindWord, ...] = ("fees", "interest", "suspense", "settlement")


class DemoBankExposed(BankError):
    """A bank with demo books listens where others can reach it, or in production."""

    code = "demo-bank-exposed"
    title = "These are the books of a demo bank"
    fault = Fault.REFUSED


async def has_demo_books(ledger: LedgerClient) -> bool:
    """Return whether the books are those of a demo."""
    return bool(await ledger.accounts_by_reference([MARKER]))


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


async def open_own_accounts(ways: Ways) -> dict[int, str]:
    """Open the bank's own accounts, once however often this is called; return the cash account of each shard.

    Cash has an account on every shard, since money does not move from one to another at once.
    """
    books = ways.books()
    tills: dict[int, str] = {}
    for shard in range(ways.shards):
        names = ("demo", "account", CASH, *([str(shard)] if shard else []))
        reference = f"{MARKER}/{shard}" if shard else MARKER
        opening = AccountOpening(CASH, ways.currency, reference=reference, shard=shard)
        tills[shard] = (await books.open_account(derived_id(*names), opening)).account
    for kind in OWN_KINDS:
        opening = AccountOpening(kind, ways.currency, reference=f"demo/{kind}", shard=0)
        await books.open_account(derived_id("demo", "account", kind), opening)
    return tills
