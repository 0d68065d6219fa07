"""A bank that is killed between any two steps: each payment is wholly done or wholly not, with one answer for ever."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from latticebank.client import Payee, Signatory, SignedDocument
from latticebank.values.ids import Uuid7Source
from tests.conftest import ROOT
from tests.e2e.townspeople import NAME, ShiftedClock, Townsperson, open_village
from tests.faults.conftest import Bank
from tests.faults.promises import findings_in_the_books, promises_broken_by_payments
from tests.faults.walk_process import CLAIM, Asked, Plan

EVERY_STEP = int(os.environ.get("LATTICEBANK_TEST_DEPTH", "1")) > 1
MAX_LIVES = 400


@dataclass(frozen=True)
class Request:
    """A signed request, and what the bank answers to it in the end, each time it is asked again."""

    who: str
    path: str
    body: dict[str, Any] | None
    ends: tuple[int, object]

    @property
    def asked(self) -> Asked:
        return {"who": self.who, "path": f"/api/transactions{self.path}", "body": self.body}


class Pens:
    """What the people of a bank sign, at the time of the bank that is to receive it."""

    def __init__(self, bank: Bank) -> None:
        self.clock = ShiftedClock()
        self.ids = Uuid7Source(self.clock)
        self._bank = bank
        people = people_of(bank).items()
        self._signs = {name: Signatory(NAME, person.signs.device, self.clock, self.ids) for name, person in people}
        self._account = {name: person.account for name, person in people}

    def paid(self, amount: str, ends: tuple[int, object] = (201, "posted"), by: str = "ada") -> Request:
        """A payment to Ben."""
        return self._transfer(by, self._payment(by, amount), ends)

    def approved(self, amount: str) -> list[Request]:
        """A payment that waits, and its approval by the manager."""
        payment = self._payment("ada", amount)
        decision = self._signs["manager"].payment_decision(payment.id, payment.hash, "approve")
        path = f"/{payment.id}/decision"
        return [
            self._transfer("ada", payment, (201, "posted")),
            Request("manager", path, _body(decision), (200, "posted")),
        ]

    def cancelled(self, amount: str) -> list[Request]:
        """A payment that waits, and its cancellation by the payer."""
        payment = self._payment("ada", amount)
        cancel = Request("ada", f"/{payment.id}/cancel", None, (200, "cancelled"))
        return [self._transfer("ada", payment, (201, "cancelled")), cancel]

    def deposited(self, amount: str) -> Request:
        """Cash for Ada at the till."""
        order = self._signs["teller"].cash("deposit", self._account["ada"], self._bank.staff.till, amount, "EUR")
        return Request("teller", "/cash", _body(order), (201, "posted"))

    def batched(self, *wanted: tuple[str, str]) -> Request:
        """A batch of payments to Ben of these amounts, and how each of them ends."""
        payees = [Payee(self._account["ben"], "Ben", amount, "EUR") for amount, _ in wanted]
        batch = self._signs["ada"].batch(self._account["ada"], payees)
        body = {
            "manifest": batch.manifest.document,
            "signature": batch.manifest.signature,
            "payments": list(batch.payments),
        }
        return Request("ada", "/batch", body, (200, ["completed", *(end for _, end in wanted)]))

    def _payment(self, by: str, amount: str) -> SignedDocument:
        return self._signs[by].payment(self._account[by], Payee(self._account["ben"], "Ben", amount, "EUR"))

    def _transfer(self, by: str, payment: SignedDocument, ends: tuple[int, object]) -> Request:
        return Request(by, "/transfer", _body(payment), ends)


def people_of(bank: Bank) -> dict[str, Townsperson]:
    """Customers by name, and staff by role."""
    return {**bank.people, "manager": bank.staff.manager, "teller": bank.staff.teller}


def _body(document: SignedDocument) -> dict[str, Any]:
    return {"document": document.document, "signature": document.signature}


def told_of(answer: list[Any]) -> tuple[int, dict[str, Any]]:
    """Status and content of an answer, without the name that each occurrence of a problem has."""
    status, text = answer
    said: dict[str, Any] = json.loads(text)
    said.pop("instance", None)
    return status, said


def outcome(answer: tuple[int, dict[str, Any]]) -> tuple[int, object]:
    """Status and state of an answer: of a batch those of its payments too, of a problem its code."""
    status, said = answer
    if "answers" in said:
        return status, [said["state"], *(each["state"] for each in said["answers"])]
    return status, said.get("state") or said["type"].rpartition("/")[2]


WALKS: dict[str, Callable[[Pens], list[Request]]] = {
    "paid-refused-and-cash": lambda pens: [
        pens.paid("10.00"),
        pens.paid("20.00", (409, "insufficient-funds"), by="emil"),
        pens.paid("1000.01", (409, "over-payment-limit")),
        pens.deposited("30.00"),
    ],
    "held-and-approved": lambda pens: pens.approved("50.00"),
    "held-and-cancelled": lambda pens: pens.cancelled("60.00"),
    "batch": lambda pens: [
        pens.batched(("1.00", "posted"), ("1000.01", "rejected"), ("70.00", "awaiting_approval"), ("2.00", "posted"))
    ],
}


class Lives:
    """A process of `walk_process`, and what it says in each of its lives."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.walk_process"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            start_new_session=True, env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        )  # fmt: skip

    def begin(self, plan: Plan) -> None:
        self._write(json.dumps(plan))

    def hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the process ended"
        said: dict[str, Any] = json.loads(line)
        return said

    def go_on(self) -> None:
        self._write("")

    def end(self) -> None:
        """Kill the process with whatever life is in it."""
        os.killpg(self._process.pid, signal.SIGKILL)
        with self._process:
            pass

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()


@contextmanager
def lives() -> Iterator[Lives]:
    living = Lives()
    try:
        yield living
    finally:
        living.end()


async def tokens_of(bank: Bank) -> dict[str, str]:
    """The tokens of sessions of everybody who acts."""
    tokens = {}
    async with open_village(bank.folder, bank.urls) as (_, village):
        for name in ("ada", "emil", "manager", "teller"):
            person = village.met_before(people_of(bank)[name])
            tokens[name] = (await person.bank.login(person.email, person.password)).token
    return tokens


async def sound(bank: Bank) -> None:
    """Check that nothing is half done, and that the books prove."""
    assert promises_broken_by_payments(bank.urls) == {}
    assert await findings_in_the_books(bank.urls) == []


@pytest.mark.parametrize("walk", WALKS)
async def test_killed_at_any_step_the_bank_has_done_each_payment_or_not_and_says_the_same_for_ever(
    bank: Bank, walk: str
) -> None:
    pens, tokens = Pens(bank), await tokens_of(bank)
    before: list[Request] = []
    told: dict[int, tuple[int, dict[str, Any]]] = {}
    ended, step = -9, 0
    with lives() as living:
        while before or ended:
            step += 1
            assert step < MAX_LIVES
            new = WALKS[walk](pens) if ended else []
            offset = pens.clock.offset.total_seconds()
            living.begin(
                {
                    "folder": str(bank.folder),
                    "urls": bank.urls,
                    "offset": offset,
                    "tokens": tokens,
                    "again": [request.asked for request in before],
                    "new": [request.asked for request in new],
                    "dies_at": step,
                    "every_step": EVERY_STEP,
                }
            )
            pens.clock.offset = timedelta(seconds=living.hear()["settled"]) + CLAIM
            await sound(bank)
            living.go_on()
            first, second, third = ([told_of(answer) for answer in asked] for asked in living.hear()["again"])
            assert [outcome(answer) for answer in second] == [request.ends for request in before], step
            assert third == second
            for place, answer in told.items():
                if _is_final(answer):
                    assert first[place] == second[place] == answer
            await sound(bank)
            living.go_on()
            told = {}
            while "ended" not in (said := living.hear()):
                if "answer" in said:
                    told[len(told)] = told_of(said["answer"])
            before, ended = new, said["ended"]
            assert ended in (0, -9)
    print(f"killed at {step - 2} steps")
    assert step > 8


def _is_final(answer: tuple[int, dict[str, Any]]) -> bool:
    """Whether an answer was one for ever: neither "received" nor waiting, nor that the bank is not there now."""
    return answer[0] in (200, 201, 409) and "awaiting_approval" not in str(outcome(answer)[1])
