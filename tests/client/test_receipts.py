"""A customer's program waits for a receipt and gets it as the bank wrote it."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from latticebank.banking.payments.wire import Receipt, ReceiptPending, WaitsFor
from latticebank.client import NoReceiptYet, RemoteProblem
from latticebank.client.receipts import awaited_receipt
from latticebank.kernel.transports import ServiceUnavailable
from tests.client.customers import Town, to


async def test_a_customer_gets_the_receipt_of_a_payment_as_the_bank_wrote_it(town: Town) -> None:
    staff = await town.staff()
    ada, bob = await town.customer("ada"), await town.customer("bob")
    adas, bobs = await ada.account(), await bob.account()
    await staff.pay_in(adas, "900.00")
    signed = ada.signs.payment(adas, to(bobs, "12.34", "rent"))
    paid = await ada.bank.transfer(signed)
    served = await ada.bank.receipt(paid.id)
    receipt = msgspec.json.decode(served, type=Receipt)
    assert (receipt.payment, receipt.document, receipt.signature) == (paid.id, signed.document, signed.signature)
    assert served == msgspec.json.encode(receipt)

    with pytest.raises(RemoteProblem) as stranger:
        await bob.bank.receipt(paid.id)
    assert stranger.value.code == "payment-not-found"


async def test_a_customer_is_told_why_there_is_no_receipt(town: Town) -> None:
    staff = await town.staff()
    ada, bob = await town.customer("ada"), await town.customer("bob")
    adas, bobs = await ada.account(), await bob.account()
    manager = staff.manager
    await town.grant("verified", ada, staff.teller, manager)
    for _ in range(2):
        await staff.pay_in(adas, "9000.00")
    held = await ada.bank.transfer(ada.signs.payment(adas, to(bobs, "10000.00")))
    async with asyncio.timeout(60):
        with pytest.raises(NoReceiptYet, match="waits for a manager"):
            await ada.bank.receipt(held.id, timeout=600)
    await manager.bank.decide(held.id, manager.signs.payment_decision(held.id, held.instruction_hash, "reject"))
    with pytest.raises(RemoteProblem) as rejected:
        await ada.bank.receipt(held.id)
    assert rejected.value.code == "payment-not-posted"


def answers(town: Town, *waits: WaitsFor) -> Callable[[], Awaitable[msgspec.Raw]]:
    """What the bank answers, one after another: that the payment waits for something."""
    left = iter(waits)

    async def ask() -> msgspec.Raw:
        return msgspec.Raw(msgspec.json.encode(ReceiptPending(town.ids(), next(left))))

    return ask


async def test_whoever_waits_is_told_at_once_and_once_what_for(town: Town) -> None:
    told: list[str] = []
    waiting = answers(town, "settlement", "settlement", "approval")
    with pytest.raises(NoReceiptYet, match="a manager"):
        await awaited_receipt(waiting, town.ids(), 60.0, told.append)
    assert [each.partition(" waits for ")[2] for each in told] == ["the bank to carry it out"]


async def test_a_log_that_is_a_moment_behind_is_nothing_to_tell(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    with pytest.raises(NoReceiptYet, match="checkpoint"):
        await awaited_receipt(answers(town, "log", "log", "log"), town.ids(), 1.0, told.append)
    assert told == []
    monkeypatch.setattr("latticebank.client.receipts._PUBLISHED_SECONDS", 0.1)
    with pytest.raises(NoReceiptYet, match="checkpoint"):
        await awaited_receipt(answers(town, "log", "log", "log"), town.ids(), 1.0, told.append)
    assert len(told) == 1


async def test_what_is_no_receipt_is_not_taken_for_one(town: Town) -> None:
    async def ask() -> msgspec.Raw:
        return msgspec.Raw(b'{"type":"latticebank/receipt/v2"}')

    with pytest.raises(ServiceUnavailable):
        await awaited_receipt(ask, town.ids(), 1.0)
