"""Receipts: what was signed, by which device, and that the log has it; to whoever may see what was signed."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from latticebank.banking.payments.api import SERVICE as PAYMENTS
from latticebank.banking.payments.client import PaymentsClient
from latticebank.banking.payments.service import receipts
from latticebank.banking.payments.wire import Receipt, ReceiptAnswer, ReceiptPending
from latticebank.crypto.merkle import leaf_hash, verify_inclusion
from latticebank.kernel.settings import BUS
from latticebank.verify.command import SOUND, Wanted, run
from tests.banking.payments.counter import ALL, Counter, ok, open_counter, relaying
from tests.banking.payments.test_authority import staff_of
from tests.clocks import MovingClock
from tests.security.identity.people import Device, Person, said, signed, told

SMALL = {"approval_from": "50", "high_value_from": "40", "high_value_count": "3"}


@pytest.fixture
def urls(database_url: Callable[[str], str]) -> dict[str, str]:
    """Fresh databases, also of audit and of the bus."""
    return {name: database_url(name) for name in (*ALL, "audit", BUS)}


@pytest.fixture
async def deaf(urls: dict[str, str], clock: MovingClock, tmp_path: Path) -> AsyncIterator[Counter]:
    """A bank with a log that hears of everything but payments: what payments publishes stays in its outbox."""
    async with open_counter(urls, tmp_path / "bank", clock, **SMALL) as opened, relaying(opened, but=PAYMENTS.name):
        await opened.is_open()
        yield opened


@pytest.fixture
async def logged(deaf: Counter) -> AsyncIterator[Counter]:
    """A bank with a log."""
    async with relaying(deaf, only=PAYMENTS.name):
        yield deaf


async def is_heard(counter: Counter) -> None:
    """Wait until the log has heard of everybody's devices: one that pays stands in it before the posting does."""
    heard = "SELECT \"offset\" FROM consumer_offsets WHERE topic = 'latticebank.identity'"
    last = "SELECT max(\"offset\") FROM events WHERE topic = 'latticebank.identity'"

    def is_behind() -> bool:
        waits = counter.rows("SELECT 1 FROM outbox")
        return bool(waits) or counter.rows(heard, database="audit") != counter.rows(last, database=BUS)

    async with asyncio.timeout(60):
        while is_behind():  # noqa: ASYNC110 - nobody rings
            await asyncio.sleep(0.02)


async def ada_and_bob(counter: Counter) -> tuple[Person, Person]:
    """Ada with money, and Bob without."""
    ada, bob = await counter.customer("ada"), await counter.customer("bob", "0.00")
    await is_heard(counter)
    return ada, bob


def answer_in(body: bytes) -> ReceiptAnswer:
    answer: ReceiptAnswer = msgspec.json.decode(body, type=ReceiptAnswer)
    return answer


async def served(counter: Counter, payment: object, who: Person) -> bytes:
    """The receipt of a payment as it is served, as soon as the bank has it."""
    async with asyncio.timeout(60):
        while True:
            answer = await counter.at(f"/{payment}/receipt", who=who)
            if answer.status == 200:
                return answer.body
            assert (answer.status, answer.headers["retry-after"]) == (202, "1"), answer.body
            await asyncio.sleep(0.05)


async def receipt_of(counter: Counter, payment: object, who: Person) -> Receipt:
    """The receipt of a payment, which the verifier found sound: it knows nothing of the bank but the policy of its log."""
    body = await served(counter, payment, who)
    policy = await counter.send("audit", "GET", "/api/log/policy")
    folder = counter.bank.context.settings.data
    (folder / "receipt.json").write_bytes(body)
    (folder / "policy").write_bytes(policy.body)
    out = io.StringIO()
    assert run(Wanted([folder / "receipt.json"], folder / "policy"), out, out) == SOUND, out.getvalue()
    receipt = answer_in(body)
    assert isinstance(receipt, Receipt)
    return receipt


def records(receipt: Receipt) -> list[dict[str, str]]:
    """What the entries of a receipt say, in their order."""
    return [msgspec.json.decode(entry.record) for entry in receipt.entries]


def kinds(receipt: Receipt, payment: object) -> list[str]:
    return [record["kind"] for record in records(receipt) if record.get("payment") == str(payment)]


async def pending(counter: Counter, payment: object, who: Person) -> str:
    """What a receipt waits for."""
    answer = await counter.at(f"/{payment}/receipt", who=who)
    assert answer.status == 202, answer.body
    waiting = answer_in(answer.body)
    assert isinstance(waiting, ReceiptPending)
    assert waiting.payment == UUID(str(payment))
    return waiting.waits_for


async def test_a_payment_has_a_receipt_as_soon_as_the_log_shows_it(deaf: Counter) -> None:
    ada, bob = await ada_and_bob(deaf)
    order = signed(ada.device.key, deaf.instruction(ada, bob))
    paid = ok(await deaf.transfer(ada, order))
    assert await pending(deaf, paid["id"], ada) == "log"
    async with relaying(deaf, only=PAYMENTS.name):
        receipt = await receipt_of(deaf, paid["id"], ada)
    assert (receipt.document, receipt.signature, receipt.in_batch) == (order["document"], order["signature"], None)
    assert kinds(receipt, paid["id"]) == ["payment.accepted", "payment.posted"]
    [posting] = [record for record in records(receipt) if record["kind"] == "payment.posted"]
    assert (posting["evidence"], posting["amount"]) == (paid["instruction_hash"], "10.00")
    [enrolled] = [record for record in records(receipt) if record["kind"] == "device.enrolled"]
    assert enrolled["device"] == str(ada.device.id)


async def test_whoever_may_see_what_was_signed_gets_its_receipt_and_nobody_else(logged: Counter) -> None:
    tessa, max_, anna, axel = await staff_of(logged)
    ada, bob = await ada_and_bob(logged)
    otto = await logged.register("otto")
    await logged.grant(otto, "auditor", anna, axel)
    paid = ok(await logged.pay(ada, bob))
    path = f"/{paid['id']}/receipt"
    for who in (ada, max_, otto):
        assert (await receipt_of(logged, paid["id"], who)).payment == UUID(paid["id"])
    for who in (bob, tessa, anna):
        assert told(await logged.at(path, who=who)) == (404, "payment-not-found")
    assert told(await logged.at(f"/{logged.ids()}/receipt", who=ada)) == (404, "payment-not-found")
    assert told(await logged.at("/nonsense/receipt", who=ada))[0] == 400
    headers = await logged.operators_header()
    refused = await logged.send("payments", "GET", f"/api/transactions{path}", headers=headers)
    assert told(refused) == (403, "forbidden")
    assert (await logged.send("payments", "GET", f"/api/transactions{path}")).status == 401


async def test_a_cash_order_has_a_receipt_of_the_teller_who_signed_it(logged: Counter) -> None:
    tessa, _, _, _ = await staff_of(logged)
    ada = await logged.customer("ada")
    await is_heard(logged)
    for direction in ("deposit", "withdrawal"):
        order = signed(tessa.device.key, logged.cash_order(tessa, logged.account(ada), direction, "5.00"))
        booked = ok(await logged.at("/cash", order, who=tessa))
        receipt = await receipt_of(logged, booked["id"], tessa)
        assert receipt.document == order["document"]
        assert told(await logged.at(f"/{booked['id']}/receipt", who=ada)) == (404, "payment-not-found")


async def test_the_receipt_of_a_payment_of_a_batch_discloses_no_other_payment(logged: Counter) -> None:
    ada, bob = await ada_and_bob(logged)
    sent, ids = logged.batch(
        ada, [(logged.account(bob), f"{cents / 100:.2f}") for cents in (101, 102, 103, 90_000, 105)]
    )
    ok(await logged.at("/batch", sent, who=ada), 200)
    for place in (0, 2, 4):
        receipt = await receipt_of(logged, ids[place], ada)
        assert receipt.document == sent["manifest"]
        within = receipt.in_batch
        assert within is not None
        assert (within.payment, within.place, within.count) == (sent["payments"][place], place, 5)
        root = bytes.fromhex(msgspec.json.decode(sent["manifest"])["root"])
        proof = [bytes.fromhex(each) for each in within.proof]
        verify_inclusion(leaf_hash(within.payment.encode()), place, 5, proof, root)
        body = await served(logged, ids[place], ada)
        others = [msgspec.json.decode(text)["salt"] for text in sent["payments"]]
        assert [salt.encode() in body for salt in others] == [number == place for number in range(5)]
        batch = msgspec.json.decode(sent["manifest"])["id"]
        assert (kinds(receipt, batch), kinds(receipt, ids[place])) == (["payment.accepted"], ["payment.posted"])
    assert told(await logged.at(f"/{ids[3]}/receipt", who=ada)) == (409, "payment-not-posted")


async def test_a_payment_that_was_held_has_a_receipt_once_it_is_approved(logged: Counter) -> None:
    _, max_, _ = await logged.teller()
    ada, bob = await ada_and_bob(logged)
    held = ok(await logged.pay(ada, bob, "60.00"), 202)
    assert await pending(logged, held["id"], ada) == "approval"
    order = signed(max_.device.key, logged.payment_decision(max_, held))
    ok(await logged.at(f"/{held['id']}/decision", order, who=max_), 200)
    receipt = await receipt_of(logged, held["id"], ada)
    told_of = kinds(receipt, held["id"])
    assert sorted(told_of) == ["payment.accepted", "payment.approved", "payment.held", "payment.posted"]
    assert told_of.index("payment.approved") < told_of.index("payment.posted")
    [approval] = [record for record in records(receipt) if record["kind"] == "payment.approved"]
    assert (approval["by"], approval["device"]) == (str(max_.user), str(max_.device.id))


async def test_a_payment_of_a_batch_that_was_held_has_a_receipt_once_it_is_approved(logged: Counter) -> None:
    _, max_, _ = await logged.teller()
    ada, bob = await ada_and_bob(logged)
    sent, ids = logged.batch(ada, [(logged.account(bob), "1.00"), (logged.account(bob), "60.00")])
    ok(await logged.at("/batch", sent, who=ada), 200)
    held = ok(await logged.at(f"/{ids[1]}", who=max_), 200)
    assert await pending(logged, held["id"], ada) == "approval"
    order = signed(max_.device.key, logged.payment_decision(max_, held))
    ok(await logged.at(f"/{held['id']}/decision", order, who=max_), 200)
    receipt = await receipt_of(logged, held["id"], ada)
    assert (receipt.document, receipt.in_batch is None) == (sent["manifest"], False)
    assert sorted(kinds(receipt, held["id"])) == ["payment.approved", "payment.held", "payment.posted"]


async def test_a_receipt_shows_the_devices_that_vouched_for_the_one_that_signed(logged: Counter) -> None:
    ada, bob = await ada_and_bob(logged)
    first, tablet = ada.device, Device(logged.ids())
    assert (await logged.enrol(ada, tablet)).status == 201
    logged.wait(timedelta(hours=24))
    await logged.log_in(ada)
    await is_heard(logged)
    ada.device = tablet
    paid = ok(await logged.pay(ada, bob))
    receipt = await receipt_of(logged, paid["id"], ada)
    names = [msgspec.json.decode(device.document)["device"] for device in receipt.devices]
    assert names == [str(tablet.id), str(first.id)]
    assert [device.sponsor_signature is None for device in receipt.devices] == [False, True]
    # What happens to a device later stands in later receipts, and takes nothing from the payment.
    logged.wait(timedelta(seconds=1))
    revoked = await logged.ask("POST", f"/api/devices/{tablet.id}/revoke", {"reason": "stolen"}, who=ada)
    assert revoked.status == 200
    async with asyncio.timeout(60):
        while "device.revoked" not in [record["kind"] for record in records(receipt)]:
            receipt = await receipt_of(logged, paid["id"], ada)


async def test_a_device_behind_more_others_than_a_receipt_shows_has_none(
    logged: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, bob = await ada_and_bob(logged)
    tablet = Device(logged.ids())
    assert (await logged.enrol(ada, tablet)).status == 201
    logged.wait(timedelta(hours=24))
    await logged.log_in(ada)
    await is_heard(logged)
    ada.device = tablet
    paid = ok(await logged.pay(ada, bob))
    monkeypatch.setattr(receipts, "MAX_DEVICES", 1)
    assert told(await logged.at(f"/{paid['id']}/receipt", who=ada)) == (409, "receipt-unavailable")


async def test_what_was_not_posted_has_no_receipt_and_is_told_why(logged: Counter) -> None:
    ada, bob = await ada_and_bob(logged)
    refused = signed(ada.device.key, logged.instruction(ada, bob, "1000.01"))
    assert (await logged.transfer(ada, refused)).status == 409
    cancelled = ok(await logged.pay(ada, bob, "60.00"), 202)
    ok(await logged.at(f"/{cancelled['id']}/cancel", who=ada, method="POST"), 200)
    for identifier, state in (
        (msgspec.json.decode(refused["document"])["id"], "rejected"),
        (cancelled["id"], "cancelled"),
    ):
        answer = await logged.at(f"/{identifier}/receipt", who=ada)
        assert told(answer) == (409, "payment-not-posted")
        assert state in said(answer)["detail"]
    with logged.out_of_order("ledger", "transfers"):
        received = ok(await logged.pay(ada, bob), 202)
        assert await pending(logged, received["id"], ada) == "settlement"


async def test_no_receipt_is_given_once_the_records_are_closed(logged: Counter) -> None:
    ada, bob = await ada_and_bob(logged)
    paid = ok(await logged.pay(ada, bob))
    await receipt_of(logged, paid["id"], ada)
    logged.write("ALTER TABLE signed_documents DISABLE TRIGGER USER", database="payments")
    logged.write("DELETE FROM signed_documents", database="payments")
    assert told(await logged.at(f"/{paid['id']}/receipt", who=ada)) == (409, "records-erased")


async def test_a_bank_whose_log_is_not_there_says_so_and_pays_on(
    urls: dict[str, str], clock: MovingClock, tmp_path: Path
) -> None:
    async with open_counter({name: urls[name] for name in ALL}, tmp_path / "bank", clock) as counter:
        await counter.is_open()
        ada, bob = await counter.customer("ada"), await counter.customer("bob", "0.00")
        paid = ok(await counter.pay(ada, bob))
        assert (await counter.at(f"/{paid['id']}/receipt", who=ada)).status == 503
        ok(await counter.pay(ada, bob))


async def test_the_client_asks_for_receipts(logged: Counter) -> None:
    ada, bob = await ada_and_bob(logged)

    async def bearer() -> str:
        return f"Bearer {await logged.bearer(ada, PAYMENTS.name)}"

    client = PaymentsClient(logged.bank.context.transport(PAYMENTS.name), bearer)
    held: dict[str, Any] = ok(await logged.pay(ada, bob, "60.00"), 202)
    assert await client.receipt(UUID(held["id"])) == ReceiptPending(UUID(held["id"]), "approval")
    paid = ok(await logged.pay(ada, bob))
    assert answer_in(await served(logged, paid["id"], ada)) == await client.receipt(UUID(paid["id"]))
