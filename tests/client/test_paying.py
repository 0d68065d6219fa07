"""Money moves by what devices sign: at once, by many at once, held for a manager, or not at all."""

import asyncio
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import pytest

import latticebank.client
from latticebank.client import BankClient, OutcomeUnknown, RemoteProblem
from latticebank.client.payment_file import read_payment_file
from latticebank.kernel.transports import HttpTransport, Request, Response, ServiceUnavailable
from latticebank.kernel.transports.memory import MemoryTransport
from tests.client.customers import Person, Town, to
from tests.kernel.serving import served


async def balance(person: Person) -> str:
    (account,) = await person.bank.accounts()
    return account.balance


class Forgetful(MemoryTransport):
    """A way on which so many answers are lost after the bank has done what it was asked for."""

    lost = 0

    async def send(self, request: Request) -> Response:
        response = await super().send(request)
        if request.method == "POST" and self.lost:
            self.lost -= 1
            raise ServiceUnavailable("the line broke")
        return response


async def test_customers_pay_each_other_and_staff_look_after_the_rest(town: Town) -> None:
    staff = await town.staff()
    ada, bob = await town.customer("ada"), await town.customer("bob")
    adas, bobs = await ada.account(), await bob.account()
    await staff.pay_in(adas, "900.00")

    # One payment, over HTTP this time, and seen by both.
    async with served(town.door) as address:
        transport = HttpTransport(address)
        elsewhere = BankClient(transport, ada.bank.session)
        paid = await elsewhere.transfer(ada.signs.payment(adas, to(bobs, "12.34", "rent")))
        await transport.aclose()
    assert (paid.state, paid.amount, paid.reference, paid.creditor_account) == ("posted", "12.34", "rent", bobs)
    assert await ada.bank.payment(paid.id) == paid
    assert (await balance(ada), await balance(bob)) == ("887.66", "12.34")
    assert [each.id for each in (await ada.bank.history(adas)).items] == [paid.id]
    assert [each.amount for each in (await bob.bank.entries(bobs)).items] == ["12.34"]

    # What breaks on the way happens once; nobody is told a guess.
    line = Forgetful(town.door)
    line.lost = 2
    again = await BankClient(line, ada.bank.session).transfer(ada.signs.payment(adas, to(bobs, "1.00")))
    assert again.state == "posted"
    assert await balance(bob) == "13.34"
    line.lost = 1_000
    signed = ada.signs.payment(adas, to(bobs, "2.00"))
    with pytest.raises(OutcomeUnknown, match=str(signed.id)):
        await BankClient(line, ada.bank.session, patience=0.5).transfer(signed)
    assert (await ada.bank.settled(signed.id)).state == "posted"
    assert await balance(bob) == "15.34"

    # Refused, with the reason.
    with pytest.raises(RemoteProblem) as refused:
        await bob.bank.transfer(bob.signs.payment(bobs, to(adas, "999.00")))
    assert refused.value.code == "insufficient-funds"
    with pytest.raises(RemoteProblem) as stolen:
        await bob.bank.transfer(bob.signs.payment(adas, to(bobs, "1.00")))
    assert stolen.value.code == "not-your-account"


async def test_the_example_of_the_documentation_works(town: Town) -> None:
    staff = await town.staff()
    bob = await town.customer("bob")
    bobs = await bob.account()
    paragraphs = (latticebank.client.__doc__ or "").split("\n\n")
    example = indent(dedent(paragraphs[1].strip("\n").rstrip()), "    ").replace("1000000110", bobs)
    assert f'Payee("{bobs}"' in example
    before, at, after = example.partition("        payment = ")
    names: dict[str, Any] = {**vars(latticebank.client), "pay_in": staff.pay_in}
    names["SystemClock"] = lambda: town.clock
    fund = "        await pay_in((await bank.accounts())[0].account, '20.00')\n"
    async with served(town.door) as address:
        code = "async def example():\n" + before.replace("http://localhost:8000", address) + fund + at + after
        exec(code + "\n        return paid\n", names)
        paid = await names["example"]()
    assert (paid.state, paid.creditor_account) == ("posted", bobs)


async def test_a_large_payment_waits_for_a_manager_or_is_taken_back(town: Town) -> None:
    staff = await town.staff()
    ada, bob = await town.customer("ada"), await town.customer("bob")
    await town.grant("verified", ada, staff.teller, staff.manager)
    adas, bobs = await ada.account(), await bob.account()
    for _ in range(4):
        await staff.pay_in(adas, "9000.00")

    held = [await ada.bank.transfer(ada.signs.payment(adas, to(bobs, "10000.00"))) for _ in range(3)]
    assert {each.state for each in held} == {"awaiting_approval"}
    assert (await ada.bank.settled(held[0].id)).hold_reason == "over-threshold"
    assert {each.id for each in (await staff.manager.bank.approvals()).items} == {each.id for each in held}

    first, second, third = held
    manager = staff.manager
    approval = manager.signs.payment_decision(first.id, first.instruction_hash, "approve")
    assert (await manager.bank.decide(first.id, approval)).state == "posted"
    rejection = manager.signs.payment_decision(second.id, second.instruction_hash, "reject")
    assert (await manager.bank.decide(second.id, rejection)).state == "rejected"
    assert (await ada.bank.cancel(third.id)).state == "cancelled"
    assert (await balance(ada), await balance(bob)) == ("26000.00", "10000.00")


async def test_a_file_of_payments_is_one_batch_with_an_answer_for_each(town: Town, tmp_path: Path) -> None:
    staff = await town.staff()
    ada, bob = await town.customer("ada"), await town.customer("bob")
    adas, bobs = await ada.account(), await bob.account()
    await staff.pay_in(adas, "100.00")
    file = tmp_path / "wages.csv"
    file.write_text(f"account,name,amount,reference\n{bobs},Bob,30.00,June\n{bobs},Bob,80.00,July\n{bobs},Bob,5.00,\n")
    signed = ada.signs.batch(adas, read_payment_file(file).in_currency("EUR"))
    answers = await asyncio.gather(*(ada.bank.batch(signed) for _ in range(3)))
    view = await ada.bank.settled_batch(signed)
    assert {answer.id for answer in answers} == {view.id} == {signed.manifest.id}
    assert [(each.id, each.state) for each in view.answers] == list(
        zip(signed.payment_ids, ("posted", "rejected", "posted"), strict=True)
    )
    assert (await balance(ada), await balance(bob)) == ("65.00", "35.00")
    assert (await ada.bank.payment(signed.payment_ids[1])).reason == "insufficient-funds"
