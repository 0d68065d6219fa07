"""The real ledger on a real database does, step by step, what the rulebook says, whichever of two writers does it."""

import asyncio
from collections.abc import Coroutine
from datetime import datetime, timedelta
from itertools import count
from typing import Any, TypeVar

import psycopg
from hypothesis import HealthCheck, Phase, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from latticebank.banking.ledger.model.accounts import (
    AccountCommand,
    AccountEvent,
    AccountKind,
    CloseAccount,
    FreezeAccount,
    SetOverdraftLimit,
    UnfreezeAccount,
)
from latticebank.banking.ledger.model.decide import Chain
from latticebank.banking.ledger.model.transfers import (
    SIGNED,
    EvidenceClass,
    Post,
    PostReserved,
    Rejection,
    Reserve,
    Reverse,
    TransferCommand,
    Void,
)
from latticebank.banking.ledger.service import ledger as use_cases
from latticebank.kernel.database import Database
from latticebank.values.account_number import account_number
from latticebank.values.ids import Uuid7Source
from latticebank.values.money import MAX_BALANCE, MAX_MINOR
from tests.banking.ledger.audit import broken_promises
from tests.banking.ledger.rulebook import Rulebook
from tests.banking.ledger.samples import ACTOR, EVIDENCE, STRANGER, named, opening, outcome
from tests.clocks import NOON, MovingClock

T = TypeVar("T")
BOOKS = count(1)
AMOUNTS = st.sampled_from([1, 2, 3, 10, 99, 100, 101, 1_000, MAX_MINOR - 1, MAX_MINOR])
DAYS = st.none() | st.none() | st.sampled_from([-400, -367, -366, -30, -1, 0, 1, 30, 366, 367, 1_000])
NAMES = st.integers(0, 300)
KINDS = st.sampled_from([AccountKind.CHECKING, AccountKind.SAVINGS, AccountKind.CASH, AccountKind.MIGRATION])
EVIDENCES = st.sampled_from([EVIDENCE, EVIDENCE, EVIDENCE, bytes(32), b"", b"short"])
CLASSES = st.sampled_from([*EvidenceClass, *SIGNED, *SIGNED, *SIGNED, EvidenceClass.IMPORT])


class LedgerAgainstRulebook(RuleBasedStateMachine):
    """Two ledgers in one process share a book; each step asks one of them, and the rulebook."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        url = self.url
        self.book = next(BOOKS)
        self.rulebook = Rulebook()
        self.clock = MovingClock()
        self.submitted: list[Chain] = []
        self.reservations: list[bytes] = []
        self.posted: list[bytes] = []
        self.loop = asyncio.new_event_loop()
        self.auditor = psycopg.connect(url, autocommit=True)
        self.database = Database(url, application_name="rulebook", pool_size=2)
        self.ledgers = [self._ledger(), self._ledger()]
        self.tasks: list[asyncio.Task[None]] = []
        self._start()

    def _ledger(self) -> use_cases.Ledger:
        return use_cases.Ledger(self.database, self.book, 1, self.clock, Uuid7Source(self.clock))

    def _start(self) -> None:
        self.tasks = [self.loop.create_task(each._writers[0].run()) for each in self.ledgers]

    def _stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        self._do(asyncio.wait(self.tasks))

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def _submit(self, which: int, chains: list[Chain]) -> list[list[int]]:
        answers = self._do(self.ledgers[which]._writers[0].submit(chains))
        return [[outcome(answer) for answer in chain] for chain in answers]

    def _heard_at(self) -> datetime:
        query = "SELECT recorded_at FROM shard_heads WHERE book = %s"
        row = self.auditor.execute(query, (self.book,)).fetchone()
        return max(self.clock.now(), row[0]) if row else self.clock.now()

    @initialize(limits=st.tuples(st.sampled_from([0, 50]), st.sampled_from([0, MAX_MINOR])))
    def a_bank_with_customers(self, limits: tuple[int, int]) -> None:
        acts = [
            opening("cash", AccountKind.CASH),
            opening("past", AccountKind.MIGRATION),
            *[opening(n, overdraft_limit=limit) for n, limit in enumerate(limits)],
        ]
        for act in acts:
            self._act(0, act)

    def _act(self, which: int, act: AccountCommand) -> None:
        number = account_number(0, len(self.rulebook.pots))
        [[answer]] = self._do(self.ledgers[which]._writers[0].submit([(act,)]))
        assert outcome(answer) == self.rulebook.act(act, self._heard_at(), number)
        if isinstance(answer, AccountEvent) and answer.outcome == 0 and answer.account == number:
            assert number in self.rulebook.pots

    @rule(
        which=st.integers(0, 1), name=st.integers(0, 12), kind=KINDS, currency=st.sampled_from(["EUR", "EUR", "JPY"]),
        limit=st.sampled_from([0, 20, MAX_MINOR]), reference=st.none() | st.sampled_from(["berka/1", "berka/2"]),
    )  # fmt: skip
    def open_account(self, which: int, name: int, kind: AccountKind, currency: str, limit: int, reference: str) -> None:
        bound = limit if kind.of_customer else 0
        self._act(which, opening(name, kind, currency=currency, overdraft_limit=bound, reference=reference))

    @rule(
        which=st.integers(0, 1), data=st.data(), limit=st.sampled_from([0, 1, 50, MAX_MINOR]),
        what=st.sampled_from([FreezeAccount, UnfreezeAccount, UnfreezeAccount, CloseAccount, SetOverdraftLimit]),
    )  # fmt: skip
    def act(self, which: int, data: st.DataObject, limit: int, what: type) -> None:
        name, number = named(("act", data.draw(NAMES))), self._account(data)
        if what is SetOverdraftLimit:
            self._act(which, SetOverdraftLimit(name, number, limit, ACTOR))
        else:
            self._act(which, what(name, number, "error", ACTOR))

    @rule(
        which=st.integers(0, 1),
        data=st.data(),
        sizes=st.lists(st.sampled_from([1, 1, 1, 2, 3]), min_size=1, max_size=6),
    )
    def orders(self, which: int, data: st.DataObject, sizes: list[int]) -> None:
        chains = [self._chain(data, size) for size in sizes]
        self._order(which, chains)
        self.submitted += chains

    @rule(which=st.integers(0, 1), amount=AMOUNTS, name=NAMES)
    def pay_in(self, which: int, amount: int, name: int) -> None:
        cash, *others = self.rulebook.pots
        self._order(which, [(Post(named(name), cash, others[name % len(others)], amount, "EUR", 1, 0, EVIDENCE),)])

    @rule(which=st.integers(0, 1), amount=AMOUNTS, name=NAMES, evidence_class=CLASSES)
    def take_over(self, which: int, amount: int, name: int, evidence_class: int) -> None:
        _, past, *others = self.rulebook.pots
        customer = others[name % len(others)]
        self._order(which, [(Post(named(name), customer, past, amount, "EUR", 5, evidence_class, EVIDENCE),)])

    @precondition(lambda self: self.submitted)
    @rule(which=st.integers(0, 1), data=st.data())
    def repeat(self, which: int, data: st.DataObject) -> None:
        again = data.draw(st.lists(st.sampled_from(self.submitted), min_size=1, max_size=5))
        cut = [chain[: data.draw(st.integers(1, len(chain)))] for chain in again]
        self._order(which, cut if data.draw(st.booleans()) else again)

    @rule(minutes=st.sampled_from([1, 5, 60, 60 * 24, 60 * 24 * 40, -10]))
    def pass_time(self, minutes: int) -> None:
        self.clock.advance(timedelta(minutes=minutes))

    @rule(which=st.integers(0, 1))
    def expire(self, which: int) -> None:
        released = self._do(self.ledgers[which].expire_due())
        assert released == self.rulebook.expire(self.clock.now())

    @rule()
    def restart(self) -> None:
        self._stop()
        self.ledgers = [self._ledger(), self._ledger()]
        self._start()

    def _order(self, which: int, chains: list[Chain]) -> None:
        before = self._heard_at()
        answers = self._submit(which, chains)
        now = max(before, self._heard_at())
        assert answers == [self.rulebook.chain(chain, now) for chain in chains]
        for chain, outcomes in zip(chains, answers, strict=True):
            for command, result in zip(chain, outcomes, strict=True):
                event(f"{type(command).__name__}: {Rejection(result).word if result else 'done'}")
                if isinstance(command, Reserve) and result == 0:
                    self.reservations.append(command.id)
                elif isinstance(command, Post | PostReserved | Reverse) and result == 0:
                    self.posted.append(command.id)

    def _account(self, data: st.DataObject) -> int:
        return data.draw(st.sampled_from([*self.rulebook.pots] * 3 + [STRANGER]))

    def _chain(self, data: st.DataObject, size: int) -> Chain:
        if size == 1:
            return (self._one(data, data.draw(st.integers(0, 5))),)
        same_kind = data.draw(st.booleans())
        return tuple(self._one(data, 1 if same_kind else data.draw(st.sampled_from([0, 0, 4]))) for _ in range(size))

    def _one(self, data: st.DataObject, kind: int) -> TransferCommand:
        name = named(data.draw(NAMES))
        held = st.sampled_from([*self.reservations[-6:], named(data.draw(NAMES)), name])
        if kind in (0, 5):
            return self._post(data, name)
        if kind == 1:
            payment = self._post(data, name)
            ends = data.draw(st.none() | st.sampled_from([-1, 0, 1, 5, 60, 60 * 24]))
            until = None if ends is None else self.clock.now() + timedelta(minutes=ends)
            facts = (payment.debit, payment.credit, payment.amount, payment.currency, payment.purpose)
            return Reserve(name, *facts, payment.evidence_class, payment.evidence, until)
        if kind == 2:
            amount = data.draw(st.none() | AMOUNTS)
            currency = None if amount is None else data.draw(st.sampled_from(["EUR", "EUR", "EUR", "JPY"]))
            return PostReserved(name, data.draw(held), amount, currency, self._day(data), self._day(data))
        if kind == 3:
            return Void(name, data.draw(held))
        target = data.draw(st.sampled_from([*self.posted[-8:], named(data.draw(NAMES))]))
        return Reverse(name, target, data.draw(CLASSES), data.draw(EVIDENCES))

    def _post(self, data: st.DataObject, name: bytes) -> Post:
        debit, credit, amount = self._account(data), self._account(data), data.draw(AMOUNTS)
        pot = self.rulebook.pots.get(debit)
        currency = pot.currency if pot else "EUR"
        proof = data.draw(CLASSES), data.draw(EVIDENCES)
        return Post(name, debit, credit, amount, currency, 1, *proof, self._day(data), self._day(data))

    def _day(self, data: st.DataObject) -> Any:
        days = data.draw(DAYS)
        return None if days is None else NOON.date() + timedelta(days=days)

    @invariant()
    def the_books_are_those_of_the_rulebook(self) -> None:
        rows = self.auditor.execute(
            "SELECT account, balance, held, status, overdraft_limit FROM accounts WHERE book = %s", (self.book,)
        ).fetchall()
        words = {"open": 1, "frozen": 2, "closed": 3}
        assert {row[0]: row[1:] for row in rows} == {
            number: (pot.balance, self.rulebook.held(number), words[pot.status], pot.limit)
            for number, pot in self.rulebook.pots.items()
        }
        assert all(abs(pot.balance) <= MAX_BALANCE for pot in self.rulebook.pots.values())

    def teardown(self) -> None:
        lines = self.auditor.execute(
            "SELECT account, amount, booking_date, value_date FROM entries WHERE book = %s ORDER BY account, number",
            (self.book,),
        ).fetchall()
        promises = broken_promises(self.auditor, self.book)
        self._stop()
        self._do(self.database.close())
        self.loop.close()
        self.auditor.close()
        assert promises == {}
        assert lines == [
            (number, line.amount, line.booked, line.valued)
            for number, pot in sorted(self.rulebook.pots.items())
            for line in pot.lines
        ]


def test_the_ledger_does_what_the_rulebook_says(url: str, depth: int) -> None:
    hunt = settings(
        max_examples=40 * depth,
        stateful_step_count=30 if depth == 1 else 60,
        deadline=None,
        derandomize=depth == 1,
        phases=[
            Phase.generate
        ],  # a failure is told as it was found: to shrink it takes minutes, and depth finds another
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    LedgerAgainstRulebook.url = url
    run_state_machine_as_test(LedgerAgainstRulebook, settings=hunt)
