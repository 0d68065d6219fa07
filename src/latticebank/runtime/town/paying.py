"""What one act of the town is: who pays whom how much, signed by the payer's device, and what became of it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import SystemRandom
from typing import TypeVar

from latticebank.banking.payments.wire import PaymentView
from latticebank.client import BankClient, Payee, RemoteProblem
from latticebank.runtime.town.acting import Actor
from latticebank.runtime.town.moving_in import Staff
from latticebank.runtime.town.tally import Tally
from latticebank.values.account_number import parse_account_number, shard_of
from latticebank.values.errors import BankError, Fault
from latticebank.values.money import currency_digits, format_amount, parse_amount, parse_signed_amount

T = TypeVar("T")

THRESHOLD = 10_000
"""From here on, in whole units, a payment waits for a manager, unless the bank is set up otherwise."""
_LOW = 100
_TOP_UP = (1_000, 3_000)
_MOST_SALARIES = 20
_REFUSALS = frozenset({Fault.CONFLICT, Fault.REFUSED, Fault.FORBIDDEN, Fault.INVALID, Fault.NOT_FOUND})
_THINGS = ("Groceries", "Coffee", "A bicycle tyre", "Two books", "Lunch", "Flowers", "A haircut", "Tickets", "Repairs")


@dataclass(eq=False)
class Purse:
    """An account of the town and who pays from it. `available` is in minor units, as far as the town knows."""

    actor: Actor
    account: str
    currency: str
    available: int
    is_merchant: bool
    being_filled: bool = False

    @property
    def market(self) -> tuple[str, int]:
        """Where money moves at once: one currency, one shard of the ledger."""
        return self.currency, shard_of(parse_account_number(self.account))

    @property
    def unit(self) -> int:
        """Minor units in a whole unit."""
        return int(10 ** currency_digits(self.currency))

    def text(self, minor: int) -> str:
        """Return an amount as it is written."""
        return format_amount(minor, currency_digits(self.currency))

    def minor(self, text: str) -> int:
        """Return an amount in minor units."""
        return parse_amount(text, currency_digits(self.currency))


@dataclass(frozen=True)
class Held:
    """A payment that waits for the manager until `due`, in seconds of the loop's clock."""

    payment: PaymentView
    due: float


class Market:
    """The purses of the town, between those of which money moves at once, and the acts among them."""

    def __init__(self, purses: list[Purse], staff: Staff, tills: dict[int, str], tally: Tally, currency: str) -> None:
        markets = {purse.market for purse in purses}
        by_market = {market: [purse for purse in purses if purse.market == market] for market in markets}
        self._neighbours = {market: those for market, those in by_market.items() if len(those) > 1}
        self._purses = [purse for those in self._neighbours.values() for purse in those]
        self._by_account = {purse.account: purse for purse in self._purses}
        self._staff = staff
        self._tills = tills
        self._tally = tally
        self._currency = currency
        self._random = SystemRandom()
        self.held: list[Held] = []

    @property
    def is_empty(self) -> bool:
        """Whether there are no two accounts between which money moves."""
        return not self._purses

    async def act(self) -> None:
        """Make one payment, or a batch of salaries, as it comes."""
        chance = self._random.random()
        if chance < 0.01 and any(purse.is_merchant for purse in self._purses):
            await self._pay_salaries()
        elif chance < 0.04:
            await self._pay_too_much()
        elif chance < 0.06 and (rich := [each for each in self._purses if each.available > 2 * THRESHOLD * each.unit]):
            await self._pay_much(self._random.choice(rich))
        else:
            await self._pay_usually()

    async def decide(self, held: Held) -> None:
        """Have the manager look at a payment that waits: most are approved."""
        manager, payment = self._staff.manager, held.payment
        approve = self._random.random() < 0.75
        signed = manager.signs.payment_decision(
            payment.id, payment.instruction_hash, "approve" if approve else "reject"
        )
        decided = await self._told(lambda: manager.asks(lambda bank: bank.decide(payment.id, signed)))
        if decided is not None and decided.state == "posted":
            self._tally.approved += 1
            self._credit(payment.creditor_account, payment.amount)
        elif decided is not None and decided.state == "rejected":
            self._tally.rejected += 1
            self._credit(payment.debtor_account, payment.amount)

    async def _pay_usually(self) -> None:
        solvent = [purse for purse in self._purses if purse.available >= 2 * purse.unit]
        payer = self._random.choice(solvent or self._purses)
        amount = min(self._random.randint(2 * payer.unit, 80 * payer.unit), max(1, payer.available))
        await self._pay(payer, amount, self._random.choice(_THINGS))
        await self._fill(payer)

    async def _pay_too_much(self) -> None:
        """Ask for more than there is; the bank refuses it."""
        payer = self._random.choice(self._purses)
        await self._pay(payer, max(0, payer.available) + self._random.randint(500, 900) * payer.unit, "A small castle")

    async def _pay_much(self, payer: Purse) -> None:
        """Pay so much that a manager must look at it."""
        await self._pay(payer, self._random.randint(THRESHOLD, 2 * THRESHOLD) * payer.unit, "A car")

    async def _pay(self, payer: Purse, minor: int, reference: str) -> None:
        payee = self._payee_for(payer)
        name = payee.actor.resident.full_name
        began = _now()
        signed = payer.actor.signs.payment(
            payer.account, Payee(payee.account, name, payer.text(minor), payer.currency, reference)
        )
        payer.available -= minor  # before the answer, since others pay from here meanwhile

        async def order(bank: BankClient) -> PaymentView:
            payment = await bank.transfer(signed)
            return await bank.settled(payment.id) if payment.state == "received" else payment

        payment = await self._told(lambda: payer.actor.asks(order), began)
        if payment is None or payment.state not in ("posted", "awaiting_approval"):
            payer.available += minor
        elif payment.state == "posted":
            self._tally.paid += 1
            payee.available += minor
        else:
            self._tally.held += 1
            self.held.append(Held(payment, _now() + self._random.uniform(2, 15)))

    async def _pay_salaries(self) -> None:
        """Have a merchant pay several people by one signed batch."""
        merchant = self._random.choice([purse for purse in self._purses if purse.is_merchant])
        people = [each for each in self._neighbours[merchant.market] if not each.is_merchant]
        paid = self._random.sample(people, min(len(people), _MOST_SALARIES))
        each = min(self._random.randint(10, 60) * merchant.unit, merchant.available // (len(paid) + 1))
        if not paid or each <= 0:
            await self._fill(merchant)
            return
        began = _now()
        batch = merchant.actor.signs.batch(
            merchant.account,
            [
                Payee(purse.account, purse.actor.resident.full_name, merchant.text(each), merchant.currency, "Salary")
                for purse in paid
            ],
        )
        merchant.available -= each * len(paid)
        answer = await self._told(lambda: merchant.actor.asks(lambda bank: bank.settled_batch(batch)), began)
        if answer is None:
            merchant.available += each * len(paid)
            return
        self._tally.batches += 1
        for purse, one in zip(paid, answer.answers, strict=True):
            if one.state == "posted":
                self._tally.paid += 1
                purse.available += each
            else:
                self._tally.refused[one.reason or one.state] += 1
                merchant.available += each
        await self._fill(merchant)

    async def _fill(self, purse: Purse) -> None:
        """Bring cash to the teller when little is left on an account."""
        low = purse.available < _LOW * purse.unit
        if not low or purse.being_filled or purse.currency != self._currency:
            return
        purse.being_filled = True
        try:
            minor = self._random.randint(*_TOP_UP) * purse.unit
            signed = self._staff.teller.signs.cash(
                "deposit", purse.account, self._tills[purse.market[1]], purse.text(minor), purse.currency
            )
            deposit = await self._told(lambda: self._staff.teller.asks(lambda bank: bank.cash(signed)))
            if deposit is not None and deposit.state == "posted":
                self._tally.deposits += 1
                purse.available += minor
        finally:
            purse.being_filled = False

    def _payee_for(self, payer: Purse) -> Purse:
        """Return who gets the money: mostly a merchant, where there is one."""
        others = [purse for purse in self._neighbours[payer.market] if purse is not payer]
        merchants = [purse for purse in others if purse.is_merchant]
        return self._random.choice(merchants if merchants and self._random.random() < 0.7 else others)

    def _credit(self, account: str, amount: str) -> None:
        if (purse := self._by_account.get(account)) is not None:
            purse.available += purse.minor(amount)

    async def _told(self, do: Callable[[], Awaitable[T]], began: float | None = None) -> T | None:
        """Return the bank's answer, counted; None where it refused, or there was none.

        An order that `began` then, in seconds of the loop's clock, counts as one that was answered.
        """
        try:
            answer = await do()
        except RemoteProblem as problem:
            if problem.fault not in _REFUSALS:
                self._tally.failed[problem.code] += 1
                return None
            self._tally.refused[problem.code] += 1
            answer = None
        except BankError as error:
            self._tally.failed[error.code] += 1
            return None
        if began is not None:
            self._tally.answered(_now() - began)
        return answer


async def purses_of(actor: Actor) -> list[Purse]:
    """Return the open accounts of a resident: those of an owner in books that were taken over, or else their own."""
    resident = actor.resident
    owner = resident.party or f"user:{resident.user}"
    return [
        Purse(
            actor,
            account.account,
            account.currency,
            parse_signed_amount(account.available, currency_digits(account.currency)),
            resident.role == "merchant",
        )
        for account in await actor.asks(lambda bank: bank.accounts())
        if account.status == "open" and account.available is not None and owner in account.owners
    ]


def _now() -> float:
    return asyncio.get_running_loop().time()
