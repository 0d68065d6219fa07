"""The log holds everything that the bank did, once and in order, and everybody can read and verify it."""

import asyncio
from uuid import UUID

from latticebank.crypto.tiles import WIDTH, tile_at, tile_path
from latticebank.security.audit.service.appending import Appending
from latticebank.security.audit.service.enrolments import Enrolments
from latticebank.security.audit.subscriptions.intake import Intake
from tests.banking.payments.counter import ok
from tests.security.audit.hall import Hall, root
from tests.security.identity.people import Device, said, signed, told


async def test_what_is_published_is_the_tree_over_all_leaves(hall: Hall) -> None:
    ada, bob = await hall.customer("ada"), await hall.customer("bob")
    for _ in range(3):
        ok(await hall.pay(ada, bob))
    checkpoint = await hall.integrated()
    leaves = await hall.leaves(checkpoint.size)
    assert root(leaves) == checkpoint.root
    assert {len(leaf) for leaf in leaves} == {33}
    assert {leaf[0] for leaf in leaves} == {1}


async def test_each_payment_is_accepted_and_posted_once(hall: Hall) -> None:
    ada, bob = await hall.customer("ada"), await hall.customer("bob")
    view = ok(await hall.pay(ada, bob, "12.34"))
    await hall.integrated()
    [accepted] = await hall.kinds("payment.accepted", payment=view["id"])
    [posted] = await hall.kinds("payment.posted", payment=view["id"])
    assert accepted["document_hash"] == view["instruction_hash"] == posted["evidence"]
    assert accepted["signer"] == posted["signer"] == str(ada.user)
    assert posted["device"] == str(ada.device.id)
    assert (posted["amount"], posted["currency"], posted["evidence_class"]) == ("12.34", "EUR", "payment")
    assert (posted["debtor_account"], posted["creditor_account"]) == (hall.account(ada), hall.account(bob))


async def test_a_batch_is_accepted_once_and_each_of_its_payments_posted(hall: Hall) -> None:
    ada, bob = await hall.customer("ada", "1000.00"), await hall.customer("bob")
    order, payments = hall.batch(ada, [(hall.account(bob), "1.00")] * 300)
    batch = ok(await hall.at("/batch", order, who=ada), 200)
    checkpoint = await hall.integrated()
    [accepted] = await hall.kinds("payment.accepted", evidence_class="batch")
    assert (accepted["payment"], accepted["count"]) == (batch["id"], "300")
    posted = await hall.kinds("payment.posted", batch=batch["id"])
    assert {UUID(record["payment"]) for record in posted} == set(payments)
    assert len(posted) == 300
    assert root(await hall.leaves(checkpoint.size)) == checkpoint.root
    assert checkpoint.size > WIDTH


async def test_held_decided_and_refused_payments_are_told(hall: Hall) -> None:
    _tessa, manager, _anna = await hall.teller()
    await hall.log_in(manager)
    ada, bob = await hall.customer("ada", "500.00"), await hall.customer("bob")
    held = ok(await hall.pay(ada, bob, "60.00"), 202)
    signed_decision = hall.payment_decision(manager, held)
    ok(await hall.at(f"/{held['id']}/decision", signed(manager.device.key, signed_decision), who=manager), 200)
    cancelled = ok(await hall.pay(ada, bob, "61.00"), 202)
    ok(await hall.at(f"/{cancelled['id']}/cancel", who=ada, method="POST"), 200)
    carl = await hall.customer("carl", "5.00")
    refused = await hall.pay(carl, ada, "6.00")
    assert told(refused)[1] == "insufficient-funds"
    await hall.integrated()
    of_held = [record["kind"] for record in await hall.records() if record.get("payment") == held["id"]]
    assert of_held == ["payment.accepted", "payment.held", "payment.approved", "payment.posted"]
    [approved] = await hall.kinds("payment.approved", payment=held["id"])
    assert (approved["by"], approved["device"]) == (str(manager.user), str(manager.device.id))
    [decided] = await hall.kinds("payment.decided", payment=cancelled["id"])
    assert decided["choice"] == "cancel"
    assert len(await hall.kinds("payment.cancelled", payment=cancelled["id"])) == 1
    assert {each["reason"] for each in await hall.kinds("payment.rejected")} == {"insufficient-funds"}


async def test_people_devices_and_rights_are_told(hall: Hall) -> None:
    olga = await hall.auditor()
    ada = await hall.register("ada")
    second = Device(hall.ids())
    assert (await hall.enrol(ada, second)).status == 201
    assert (await hall.ask("POST", f"/api/devices/{second.id}/revoke", {"reason": "lost"}, who=ada)).status in (
        200,
        204,
    )
    for _ in range(3):
        await hall.try_log_in(ada.email, "not the password")
    assert (await hall.ask("GET", f"/api/users/{ada.user}/profile", who=olga)).status == 200
    await hall.integrated()
    of_ada = [record["kind"] for record in await hall.records() if record.get("user") == str(ada.user)]
    for kind in ("user.registered", "login", "login.failed", "device.revoked", "profile.read"):
        assert of_ada.count(kind) == 1, kind
    assert of_ada.count("device.enrolled") == 2
    [revoked] = await hall.kinds("device.revoked", device=str(second.id))
    assert revoked["reason"] == "lost"
    assert {each["user"] for each in await hall.kinds("right.granted", right="auditor")} == {str(olga.user)}
    made = await hall.kinds("key.created", owner=f"customer:{ada.user}")
    assert [each["by"] for each in made] == ["Service:identity"] * 2
    assert {each["service"] for each in await hall.kinds("configuration.changed")} == {
        "keys", "identity", "ledger", "payments", "audit",
    }  # fmt: skip


async def test_who_erased_a_profile_is_told_and_its_account_is_closed(hall: Hall) -> None:
    ada, bob = await hall.register("ada"), await hall.register("bob")
    ok(await hall.ask("POST", f"/api/users/{ada.user}/erasure", {"password": ada.password}, who=ada), 200)
    ok(await hall.ask("POST", f"/api/users/{bob.user}/erasure", who="operator"), 200)
    await hall.integrated()
    by = {each["user"]: each["by"] for each in await hall.kinds("profile.erased")}
    assert by == {str(ada.user): str(ada.user), str(bob.user): "operator"}
    changed = await hall.kinds("key.changed", reason="erasure-requested")
    assert {(each["owner"], each["by"]) for each in changed} == {
        (f"customer:{each.user}", "Service:identity") for each in (ada, bob)
    }
    closed = await hall.kinds("account.closed", reason="customer-request")
    assert [each["actor"] for each in closed] == ["Service:identity"] * 2


async def test_whoever_of_the_bank_reads_what_others_signed_is_told_of(hall: Hall) -> None:
    _tessa, manager, _anna = await hall.teller()
    await hall.log_in(manager)
    ada, bob = await hall.customer("ada", "500.00"), await hall.customer("bob")
    held = ok(await hall.pay(ada, bob, "60.00"), 202)["id"]
    ok(await hall.at(f"/{held}", who=ada), 200)
    ok(await hall.at(f"/{held}/instruction", who=ada), 200)
    for path in ("/approvals", f"/{held}", f"/{held}/instruction"):
        ok(await hall.at(path, who=manager), 200)
    await hall.integrated()
    looks = await hall.kinds("payment.read")
    assert [(look["what"], look["by"], look["of"]) for look in looks] == [
        (what, f"user:{manager.user}", held) for what in ("approvals", "payment", "instruction")
    ]


async def test_accounts_reversals_and_the_journal_are_told(hall: Hall) -> None:
    account = await hall.open("EUR", "savings")
    for act in ("freeze", "unfreeze", "close"):
        key = hall.ids()
        answer = await hall.send(
            "ledger",
            "POST",
            f"/api/ledger/accounts/{account}/{act}",
            {"reason": "customer-request"},
            await hall.operators_header() | {"Idempotency-Key": str(key)},
        )
        assert answer.status == 200, answer.body
    await hall.integrated()
    acts = [record["kind"] for record in await hall.records() if record.get("account") == account]
    assert acts == ["account.opened", "account.frozen", "account.unfrozen", "account.closed"]
    batches = await hall.kinds("ledger.batch")
    links = hall.rows("SELECT encode(link, 'hex') FROM journal ORDER BY first_seq", database="ledger")
    assert [each["link"] for each in batches] == [link for (link,) in links]
    assert hall.rows("SELECT * FROM gaps", database="audit") == []


async def test_only_what_is_published_can_be_read(hall: Hall) -> None:
    checkpoint = await hall.integrated()
    last = tile_at(0, (checkpoint.size - 1) // WIDTH, checkpoint.size)
    assert last is not None
    assert (await hall.read(f"/tile/0/{tile_path(last)}")).status == 200
    wider = tile_path(type(last)(0, last.number, last.width + 1))
    for path in (
        f"0/{wider}",
        f"entries/{wider}",
        "1/000",
        "0/x001/000",
        "64/000",
        "0/1",
        "0/000.p/0",
        "entries/",
        "%2e",
    ):
        answer = await hall.read(f"/tile/{path}")
        assert answer.status == 404, path


async def test_an_auditor_opens_entries_and_the_log_tells_of_it(hall: Hall) -> None:
    olga = await hall.auditor()
    checkpoint = await hall.integrated()
    answer = await hall.audit("/entries?first=2&limit=3", olga)
    assert answer.status == 200, answer.body
    page = said(answer)
    assert [item["index"] for item in page["items"]] == [2, 3, 4]
    assert page["next_index"] == 5
    await hall.integrated()
    [opened] = await hall.kinds("entries.opened", by=str(olga.user))
    assert (opened["first"], opened["count"]) == ("2", "3")
    past = said(await hall.audit(f"/entries?first={checkpoint.size + 10_000}", olga))
    assert past == {"items": [], "next_index": None}


async def test_nobody_else_opens_entries(hall: Hall) -> None:
    ada = await hall.register("ada")
    await hall.integrated()
    for who in (ada, "operator"):
        assert (await hall.audit("/entries", who)).status == 403
    assert (await hall.audit("/status", "operator")).status == 200
    assert (await hall.audit("/status", ada)).status == 403
    assert await hall.kinds("entries.opened", by=str(ada.user)) == []


async def test_two_takers_of_the_same_events_append_each_once(hall: Hall) -> None:
    ada, bob = await hall.customer("ada", "500.00"), await hall.customer("bob")
    other = hall.log.intake
    base, standing = hall.log.foundation, other._standing
    second = Intake(base, standing, Enrolments(base), Appending(base, standing))
    tasks = [asyncio.create_task(work) for work in second.work()]
    views = [ok(await hall.pay(ada, bob, "1.00")) for _ in range(12)]
    checkpoint = await hall.integrated()
    for task in tasks:
        task.cancel()
    posted = await hall.kinds("payment.posted")
    assert sorted(each["payment"] for each in posted) == sorted(view["id"] for view in views)
    assert root(await hall.leaves(checkpoint.size)) == checkpoint.root
    assert hall.bank.context.metrics.registry.get_sample_value("latticebank_log_halted") == 0
