"""Several processes serve one bank: what each of them does holds for all; and what a client asks of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import UUID

from latticebank.banking.payments.client import PaymentsClient
from latticebank.banking.payments.model.refusals import PaymentIdReused
from latticebank.banking.payments.service.foundation import Foundation
from latticebank.banking.payments.service.payments import Payments
from latticebank.banking.payments.wire import PaymentView, SignedText
from latticebank.kernel.caller import Caller, CallerKind
from latticebank.kernel.telemetry import Metrics
from latticebank.security.audit.client import AuditClient
from tests.banking.payments.counter import Counter
from tests.security.identity.people import Person, signed


@asynccontextmanager
async def another(counter: Counter) -> AsyncIterator[Payments]:
    """Payments as another process runs it, on the same database."""
    context = counter.bank.context
    audit = AuditClient(context.transport("audit"), context.credential("payments", "audit"))
    payments = Payments(Foundation.of(replace(context, metrics=Metrics())), audit)
    async with payments.running():
        yield payments


def caller(person: Person) -> Caller:
    """A person as the services know the caller."""
    return Caller(CallerKind.USER, str(person.user), ("customer",), (f"user:{person.user}",), person.session)


def order(counter: Counter, by: Person, to: Person, amount: str = "10.00", **other: str) -> SignedText:
    """A signed payment."""
    return SignedText(**signed(by.device.key, counter.instruction(by, to, amount, **other)))


async def test_one_instruction_to_two_processes_at_once_is_one_posting(counter: Counter) -> None:
    ada, bob = await counter.customer("ada"), await counter.customer("bob", "0.00")
    async with another(counter) as second:
        for _ in range(5):
            same = order(counter, ada, bob, "1.00")
            sides = [counter.service, second] * 10
            answers = await asyncio.gather(*(side.transfer(caller(ada), same) for side in sides))
            assert {answer.state for answer in answers} <= {"posted", "received"}
            assert "posted" in {answer.state for answer in answers}
    assert await counter.balance(bob) == ("5.00", "0.00")


async def test_one_id_for_two_payments_in_two_processes_is_good_for_one(counter: Counter) -> None:
    ada, bob = await counter.customer("ada"), await counter.customer("bob", "0.00")
    async with another(counter) as second:
        for _ in range(5):
            identifier = str(counter.ids())
            two = [order(counter, ada, bob, amount, id=identifier) for amount in ("1.00", "2.00")]
            sides = (counter.service, second)
            answers = await asyncio.gather(
                *(side.transfer(caller(ada), each) for side, each in zip(sides, two, strict=True)),
                return_exceptions=True,
            )
            kinds = {type(answer) for answer in answers}
            assert kinds == {PaymentView, PaymentIdReused}, answers
    assert counter.payments_rows("SELECT count(*) FROM payments") == [(5,)]


async def test_the_daily_limit_holds_over_two_processes(counter: Counter) -> None:
    ada, bob = await counter.customer("ada", "5000.00"), await counter.customer("bob", "0.00")
    async with another(counter) as second:
        orders = [order(counter, ada, bob, "39.00") for _ in range(60)]
        sides = [counter.service, second] * 30
        answers = await asyncio.gather(
            *(side.transfer(caller(ada), each) for side, each in zip(sides, orders, strict=True))
        )
    states = [answer.state for answer in answers]
    assert (states.count("posted"), states.count("rejected")) == (51, 9)
    assert counter.payments_rows("SELECT used FROM limit_uses") == [(1989_00,)]
    assert await counter.balance(bob) == ("1989.00", "0.00")


async def test_the_client_speaks_to_every_route_of_a_customer(counter: Counter) -> None:
    ada, bob = await counter.customer("ada"), await counter.customer("bob", "0.00")

    async def bearer() -> str:
        return f"Bearer {await counter.bearer(ada, 'payments')}"

    client = PaymentsClient(counter.bank.context.transport("payments"), bearer)
    instruction = counter.instruction(ada, bob)
    view = await client.transfer(UUID(instruction.id), SignedText(**signed(ada.device.key, instruction)))
    assert view == await client.payment(view.id)
    assert (await client.history(account=counter.account(ada))).items == [view]
    large = counter.instruction(ada, bob, "60.00")
    held = await client.transfer(UUID(large.id), SignedText(**signed(ada.device.key, large)))
    assert (await client.cancel(held.id)).state == "cancelled"
