"""The rules of the ledger, told a second time: slowly, over plain lists, and without a look at how the bank does it.

Balances are sums of entries and holds are sums of open reservations, computed anew at each question; a chain is tried
on a copy of everything. What the bank answers must be what this answers.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from latticebank.banking.ledger.model.accounts import (
    AccountCommand,
    CloseAccount,
    FreezeAccount,
    OpenAccount,
    SetOverdraftLimit,
    UnfreezeAccount,
)
from latticebank.banking.ledger.model.decide import Chain
from latticebank.banking.ledger.model.transfers import (
    Post,
    PostReserved,
    Rejection,
    Reserve,
    Reverse,
    TransferCommand,
    Void,
)
from latticebank.values.clock import EPOCH

TOP = 2**63 - 1
DONE = 0
R = Rejection


class Refused(Exception):
    """A rule is against it."""

    def __init__(self, why: Rejection) -> None:
        super().__init__(why.word)
        self.why = why


@dataclass
class Line:
    """One entry of an account."""

    transfer: bytes
    amount: int
    booked: date
    valued: date


@dataclass
class Pot:
    """An account."""

    kind: int
    currency: str
    limit: int
    status: str = "open"
    lines: list[Line] = field(default_factory=list)

    @property
    def balance(self) -> int:
        return sum(line.amount for line in self.lines)

    @property
    def last(self) -> date:
        return self.lines[-1].booked if self.lines else date.min


@dataclass
class Hold:
    """A reservation."""

    order: Reserve
    leader: bytes | None
    ends: datetime | None
    state: str = "open"


@dataclass
class Done:
    """What an order came to: its outcome, and what it was."""

    order: TransferCommand
    leader: bytes | None
    outcome: int
    booked: date | None = None
    valued: date | None = None
    amount: int | None = None
    debit: int = 0
    credit: int = 0
    currency: str | None = None
    reversed: bool = False
    heard: date = date.min


class Rulebook:
    """A bank on paper."""

    def __init__(self) -> None:
        self.pots: dict[int, Pot] = {}
        self.holds: dict[bytes, Hold] = {}
        self.done: dict[bytes, Done] = {}
        self.buried: set[bytes] = set()
        self.acts: dict[bytes, tuple[AccountCommand, int]] = {}
        self.references: dict[str, bytes] = {}
        self.now = EPOCH

    def held(self, number: int) -> int:
        """What open reservations hold on an account."""
        return sum(h.order.amount for h in self.holds.values() if h.state == "open" and h.order.debit == number)

    def chain(self, links: Chain, now: datetime) -> list[int]:
        """Do a chain of orders; the outcome of each link."""
        self.now = now
        orders = [link for link in links if isinstance(link, Post | Reserve | PostReserved | Void | Reverse)]
        assert len(orders) == len(links)
        leader = orders[0].id if len(orders) > 1 else None
        heard = [order.id in self.done or order.id in self.buried for order in orders]
        dead = [order.id in self.buried for order in orders]
        reserves = all(isinstance(order, Reserve) for order in orders)
        if any(heard):
            if all(heard) and all(self._repeats(order, leader) for order in orders):
                return [
                    R.VOIDED_BEFORE_RESERVE if d else self.done[o.id].outcome for o, d in zip(orders, dead, strict=True)
                ]
            if heard != dead or all(heard) or not reserves:
                return [R.ID_REUSED] * len(orders)
        if len({order.id for order in orders}) < len(orders):
            return [R.ID_REUSED] * len(orders)
        if any(dead):
            for order, is_dead in zip(orders, dead, strict=True):
                if not is_dead:
                    self.done[order.id] = Done(order, leader, R.CHAIN_BROKEN, heard=now.date())
            return [R.VOIDED_BEFORE_RESERVE if is_dead else R.CHAIN_BROKEN for is_dead in dead]
        return self._new(orders, leader)

    def _new(self, orders: Sequence[TransferCommand], leader: bytes | None) -> list[int]:
        before = deepcopy((self.pots, self.holds, self.done, self.buried))
        ends = min((o.expires_at for o in orders if isinstance(o, Reserve) and o.expires_at), default=None)
        for place, order in enumerate(orders):
            try:
                self._do(order, leader, ends)
            except Refused as refused:
                self.pots, self.holds, self.done, self.buried = before
                outcomes = [R.CHAIN_BROKEN] * len(orders)
                outcomes[place] = refused.why
                for each, outcome in zip(orders, outcomes, strict=True):
                    self.done[each.id] = Done(each, leader, outcome, heard=self.now.date())
                return [*outcomes]
        return [DONE] * len(orders)

    def _do(self, order: TransferCommand, leader: bytes | None, ends: datetime | None) -> None:
        if isinstance(order, Post):
            self._may_pay(order.debit, order.credit, order.amount, order.currency, order)
            self._pay(order, leader, order.debit, order.credit, order.amount, order.booking_date, order.value_date)
        elif isinstance(order, Reserve):
            self._may_pay(order.debit, order.credit, order.amount, order.currency, order)
            if ends is not None and ends <= self.now:
                raise Refused(R.EXPIRY_IN_PAST)
            if self.held(order.debit) + order.amount > TOP:
                raise Refused(R.BALANCE_OVERFLOW)
            self.holds[order.id] = Hold(order, leader, ends)
            self.done[order.id] = Done(order, leader, DONE)
        elif isinstance(order, PostReserved):
            self._post_held(order, leader)
        elif isinstance(order, Void):
            self._void(order, leader)
        elif isinstance(order, Reverse):
            self._reverse(order, leader)

    def _post_held(self, order: PostReserved, leader: bytes | None) -> None:
        holds = self._open(order.reservation)
        if any(hold.ends is not None and hold.ends <= self.now for hold in holds):
            raise Refused(R.RESERVATION_EXPIRED)
        if order.amount is not None:
            if len(holds) > 1:
                raise Refused(R.RESERVATION_IN_CHAIN)
            if order.currency != holds[0].order.currency:
                raise Refused(R.CURRENCY_MISMATCH)
            if order.amount > holds[0].order.amount:
                raise Refused(R.AMOUNT_OVER_RESERVATION)
        coming: dict[int, int] = {}
        for hold in holds:
            debit, credit = hold.order.debit, hold.order.credit
            coming[credit] = coming.get(credit, 0) + (order.amount or hold.order.amount)
            if self.pots[credit].balance + coming[credit] > TOP:
                raise Refused(R.BALANCE_OVERFLOW)
            self._stand(debit, credit)
            self._days(debit, credit, order.booking_date, order.value_date)
        first: Done | None = None
        for hold in holds:
            hold.state = "posted"
            amount = order.amount or hold.order.amount
            days = order.booking_date, order.value_date
            paid = self._pay(order, leader, hold.order.debit, hold.order.credit, amount, *days)
            first = first or paid
        assert first is not None
        self.done[order.id] = first

    def _void(self, order: Void, leader: bytes | None) -> None:
        target = order.reservation
        if target == order.id:
            raise Refused(R.RESERVATION_UNKNOWN)
        if target in self.holds:
            for hold in self._open(target):
                hold.state = "voided"
        elif target not in self.done:
            self.buried.add(target)
        elif not isinstance(self.done[target].order, Reserve):
            raise Refused(R.RESERVATION_UNKNOWN)
        self.done[order.id] = Done(order, leader, DONE)

    def _reverse(self, order: Reverse, leader: bytes | None) -> None:
        original = self.done.get(order.transfer)
        if original is None and order.transfer not in self.buried:
            raise Refused(R.TRANSFER_UNKNOWN)
        if original is None or original.booked is None or isinstance(original.order, Reverse):
            raise Refused(R.NOT_REVERSIBLE)
        if original.reversed:
            raise Refused(R.ALREADY_REVERSED)
        debit, credit, amount = original.credit, original.debit, original.amount or 0
        self._may_pay(debit, credit, amount, self.pots[debit].currency, order)
        original.reversed = True
        self._pay(order, leader, debit, credit, amount, None, None)

    def expire(self, now: datetime) -> int:
        """Release what is due; how many reservations or chains were."""
        due = [h for h in self.holds.values() if h.state == "open" and h.ends is not None and h.ends <= now]
        for hold in due:
            hold.state = "expired"
        return len({hold.leader or hold.order.id for hold in due})

    def act(self, act: AccountCommand, now: datetime, number: int) -> int:
        """Do an act on an account; a new one gets this number. The outcome."""
        self.now = now
        if act.id in self.acts:
            first, outcome = self.acts[act.id]
            return outcome if first == act else R.ID_REUSED
        try:
            self._act(act, number)
        except Refused as refused:
            self.acts[act.id] = act, refused.why
            return refused.why
        self.acts[act.id] = act, DONE
        return DONE

    def _act(self, act: AccountCommand, number: int) -> None:
        if isinstance(act, OpenAccount):
            if act.reference is not None and self.references.setdefault(act.reference, act.id) != act.id:
                raise Refused(R.REFERENCE_TAKEN)
            self.pots[number] = Pot(act.kind, act.currency, act.overdraft_limit if act.kind < 10 else TOP)
            return
        pot = self.pots.get(act.account)
        if pot is None:
            raise Refused(R.ACCOUNT_UNKNOWN)
        if pot.status == "closed":
            raise Refused(R.ACCOUNT_CLOSED)
        if isinstance(act, FreezeAccount | UnfreezeAccount):
            target = "frozen" if isinstance(act, FreezeAccount) else "open"
            if pot.status == target:
                raise Refused(R.ALREADY_SO)
            pot.status = target
            return
        if pot.status == "frozen":
            raise Refused(R.ACCOUNT_FROZEN)
        if isinstance(act, CloseAccount):
            if pot.balance or self.held(act.account):
                raise Refused(R.BALANCE_NOT_ZERO)
            pot.status = "closed"
        elif isinstance(act, SetOverdraftLimit):
            if pot.kind >= 10:
                raise Refused(R.LIMIT_NOT_OF_CUSTOMER)
            if pot.balance - self.held(act.account) + act.overdraft_limit < 0:
                raise Refused(R.LIMIT_BELOW_USE)
            pot.limit = act.overdraft_limit

    def _open(self, identifier: bytes) -> list[Hold]:
        hold = self.holds.get(identifier)
        if hold is None:
            raise Refused(R.RESERVATION_UNKNOWN)
        if hold.leader not in (None, identifier):
            raise Refused(R.RESERVATION_IN_CHAIN)
        holds = [each for each in self.holds.values() if each is hold or (hold.leader and each.leader == hold.leader)]
        if any(each.state != "open" for each in holds):
            raise Refused(R.RESERVATION_RESOLVED)
        return sorted(holds, key=lambda each: each.order.id)

    def _stand(self, debit: int, credit: int) -> None:
        for number in (debit, credit):
            if self.pots[number].status != "open":
                raise Refused(R.ACCOUNT_FROZEN if self.pots[number].status == "frozen" else R.ACCOUNT_CLOSED)

    def _authorised(self, debit: int, credit: int, order: Post | Reserve | Reverse) -> None:
        """Customers sign, or a teller does; what another bank recorded comes from and goes to migration accounts."""
        of_customer = self.pots[debit].kind < 10
        if len(order.evidence) != 32 and (order.evidence or of_customer):
            raise Refused(R.EVIDENCE_MISSING)
        signed = order.evidence_class >= 4
        taken_over = order.evidence_class == 2 and self.pots[credit].kind == 16 and not isinstance(order, Reverse)
        if of_customer and not signed and not taken_over:
            raise Refused(R.EVIDENCE_NOT_SIGNED)

    def _may_pay(self, debit: int, credit: int, amount: int, currency: str, order: Post | Reserve | Reverse) -> None:
        if debit not in self.pots:
            raise Refused(R.DEBIT_ACCOUNT_UNKNOWN)
        if credit not in self.pots:
            raise Refused(R.CREDIT_ACCOUNT_UNKNOWN)
        if debit == credit:
            raise Refused(R.SAME_ACCOUNT)
        self._stand(debit, credit)
        if {self.pots[debit].currency, self.pots[credit].currency} != {currency}:
            raise Refused(R.CURRENCY_MISMATCH)
        self._authorised(debit, credit, order)
        if self.pots[credit].balance + amount > TOP:
            raise Refused(R.BALANCE_OVERFLOW)
        if self.pots[debit].balance - self.held(debit) + self.pots[debit].limit < amount:
            raise Refused(R.INSUFFICIENT_FUNDS)

    def _days(self, debit: int, credit: int, booked: date | None, valued: date | None) -> tuple[date, date]:
        last, today = max(self.pots[debit].last, self.pots[credit].last), self.now.date()
        if booked is None:
            booked = max(last, today)
        elif booked < last:
            raise Refused(R.BOOKING_DATE_BEFORE_LAST)
        elif booked > today:
            raise Refused(R.BOOKING_DATE_IN_FUTURE)
        if valued is not None and abs(valued - booked) > timedelta(days=366):
            raise Refused(R.VALUE_DATE_OUT_OF_REACH)
        return booked, valued or booked

    def _pay(
        self, order: TransferCommand, leader: bytes | None, debit: int, credit: int, amount: int, *days: date | None
    ) -> Done:
        booked, valued = self._days(debit, credit, *days)
        self.pots[debit].lines.append(Line(order.id, -amount, booked, valued))
        self.pots[credit].lines.append(Line(order.id, amount, booked, valued))
        currency = self.pots[debit].currency
        paid = Done(order, leader, DONE, booked, valued, amount, debit, credit, currency)
        self.done[order.id] = paid
        return paid

    def _repeats(self, order: TransferCommand, leader: bytes | None) -> bool:
        """Whether an order is the one that was heard under its identifier; what it leaves open fits anything."""
        if order.id in self.buried:
            return isinstance(order, Reserve)
        first = self.done[order.id]
        if type(order) is not type(first.order):
            return False
        if isinstance(order, PostReserved | Void):
            alike = order.reservation == getattr(first.order, "reservation", None)
        elif isinstance(order, Reverse):
            assert isinstance(first.order, Reverse)
            alike = all(getattr(order, fact) == getattr(first.order, fact) for fact in ("transfer", "evidence"))
            alike = alike and order.evidence_class == first.order.evidence_class
            alike = alike and leader == first.leader
        else:
            facts = ("debit", "credit", "amount", "currency", "purpose", "evidence_class", "evidence")
            alike = all(getattr(order, fact) == getattr(first.order, fact) for fact in facts) and leader == first.leader
        if isinstance(order, PostReserved):
            asked = getattr(first.order, "amount", None)
            alike = alike and (order.amount is None or order.amount == (first.amount or asked))
            currency = first.currency or getattr(first.order, "currency", None)
            alike = alike and order.currency in (None, currency)
        return alike and self._same_days(order, first)

    def _same_days(self, order: TransferCommand, first: Done) -> bool:
        was = first.order
        if not isinstance(order, Post | PostReserved) or not isinstance(was, Post | PostReserved):
            return True
        booked = first.booked or was.booking_date or first.heard
        valued = first.valued or was.value_date or booked
        return order.booking_date in (None, booked) and order.value_date in (None, valued)
