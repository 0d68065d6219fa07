"""The log tells of a device before it tells of what the device signed, whichever stream comes first."""

import asyncio

import pytest

from latticebank.security.audit.model.entries import Entry
from latticebank.security.audit.service.appending import Appending
from latticebank.security.audit.service.beginning import begin_anew
from latticebank.security.audit.store import tree
from latticebank.security.audit.store.tree import LogOutOfStep
from tests.banking.payments.counter import ok
from tests.security.audit.hall import Hall
from tests.security.identity.people import Device, said, signed


async def places(hall: Hall, kind: str, device: Device) -> list[int]:
    """Where the log has entries of a kind about a device."""
    return [
        place
        for place, record in enumerate(await hall.records())
        if record["kind"] == kind and record.get("device") == str(device.id)
    ]


async def test_a_payment_that_comes_first_brings_the_enrolments_behind_it(hall: Hall) -> None:
    bob = await hall.customer("bob")
    await hall.integrated()
    hall.write("CREATE TABLE held AS SELECT * FROM outbox WITH NO DATA", database="identity")
    # Whatever identity tells from here on is held back until the payment is in the log.
    hall.write(
        """
        CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO held SELECT NEW.*; RETURN NULL; END $$;
        CREATE TRIGGER hold BEFORE INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION hold();
        """,
        database="identity",
    )
    ada = await hall.customer("ada")
    tablet = Device(hall.ids())
    assert (await hall.enrol(ada, tablet)).status == 201
    ok(await hall.pay(ada, bob))
    await hall.integrated()
    [enrolled] = await places(hall, "device.enrolled", ada.device)
    assert enrolled < min(await places(hall, "payment.posted", ada.device))
    assert await hall.kinds("user.registered", user=str(ada.user)) == []
    hall.write("DROP TRIGGER hold ON outbox; INSERT INTO outbox SELECT * FROM held", database="identity")
    await hall.integrated()
    assert len(await hall.kinds("user.registered", user=str(ada.user))) == 1
    assert len(await places(hall, "device.enrolled", ada.device)) == 1
    assert len(await places(hall, "device.enrolled", tablet)) == 1


async def test_each_enrolment_is_told_once(hall: Hall) -> None:
    ada, bob = await hall.customer("ada"), await hall.customer("bob")
    ok(await hall.pay(ada, bob))
    ok(await hall.pay(ada, bob))
    await hall.integrated()
    [enrolled] = await places(hall, "device.enrolled", ada.device)
    posted = await places(hall, "payment.posted", ada.device)
    assert len(posted) == 2
    assert enrolled < min(posted)


async def new_log(hall: Hall) -> None:
    """Begin a new log under the running bank, and wait until it is published."""
    base = hall.log.foundation
    await begin_anew(base.database, base.book, base.bank, base.kept, base.now(), though_sound=True)
    async with asyncio.timeout(60):
        while not hall.rows("SELECT 1 FROM checkpoints WHERE log = 2", database="audit"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_a_new_log_tells_of_the_devices_of_the_old_one(hall: Hall) -> None:
    ada, bob = await hall.customer("ada"), await hall.customer("bob")
    for _ in range(
        2
    ):  # with the second one it is remembered, and not only written down, that the log tells of the device
        ok(await hall.pay(ada, bob))
        await hall.integrated()
    await new_log(hall)
    ok(await hall.pay(ada, bob))
    async with asyncio.timeout(60):
        while not await places(hall, "payment.posted", ada.device):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    [enrolled] = await places(hall, "device.enrolled", ada.device)
    assert enrolled < min(await places(hall, "payment.accepted", ada.device))


async def test_entries_that_were_made_for_one_log_do_not_go_into_the_next(hall: Hall) -> None:
    await hall.integrated()
    await new_log(hall)
    base = hall.log.foundation
    appending = Appending(base, hall.log.status._standing)
    [before] = hall.rows("SELECT size FROM logs WHERE log = 2", database="audit")
    with pytest.raises(LogOutOfStep):
        async with base.database.begin() as work:
            await appending.append(work, "log", [Entry(None, None, b"{}")], only_to=1)
    assert hall.rows("SELECT size FROM logs WHERE log = 2", database="audit") == [before]


async def test_what_waits_to_go_into_the_old_log_goes_into_the_new_one(hall: Hall) -> None:
    await hall.integrated()
    base = hall.log.foundation
    waits = """
        SELECT 1 FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%%FROM logs%%FOR UPDATE%%'
    """
    async with base.database.begin() as work:
        held = await tree.held(work, base.book)
        assert held is not None
        account = await hall.open("EUR")
        async with asyncio.timeout(60):
            while not hall.rows(waits, database="audit"):  # noqa: ASYNC110 - nobody rings
                await asyncio.sleep(0.01)
        await tree.begin(work, base.book, 2, f"{held.origin}/2", base.now())
    async with asyncio.timeout(60):
        while not hall.rows("SELECT 1 FROM checkpoints WHERE log = 2", database="audit"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        while not await hall.kinds("account.opened", account=account):  # noqa: ASYNC110 - nobody rings
            await asyncio.sleep(0.05)
    assert hall.rows("SELECT size FROM logs WHERE log = 1", database="audit") == [(held.size,)]


async def test_whoever_logs_in_every_day_still_gets_receipts(hall: Hall) -> None:
    ada, bob = await hall.customer("ada"), await hall.customer("bob")
    for _ in range(70):
        await hall.try_log_in(ada.email, ada.password, signed(ada.device.key, hall.login_proof(ada.device)))
    await hall.log_in(ada)
    payment = ok(await hall.pay(ada, bob))["id"]
    await hall.integrated()
    assert (await hall.at(f"/{payment}/receipt", who=ada)).status == 200


async def test_a_receipt_from_the_old_log_is_given_after_a_new_one_was_begun(hall: Hall) -> None:
    ada, bob = await hall.customer("ada"), await hall.customer("bob")
    payment = ok(await hall.pay(ada, bob))["id"]
    await hall.integrated()
    await new_log(hall)
    answer = await hall.at(f"/{payment}/receipt", who=ada)
    assert answer.status == 200
    assert said(answer)["checkpoint"].startswith("bank.test/log\n")
