"""What a real bank hands out verifies offline: receipts of every kind, its whole log, and all that the log commits to."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from latticebank.bank import Bank
from latticebank.client import Device, Payee, Signatory
from latticebank.client.log_mirror import LogMirror, ServedLog
from latticebank.security.audit.wire import OpenedPage
from latticebank.verify.command import Wanted, run
from tests.e2e.townspeople import NAME, WITH_TABLES, Staff, Townsperson, Village, all_told, decide, open_village

DatabaseUrl = Callable[[str], str]


@dataclass
class Evidence:
    """What the people of a bank took home: a policy, receipts by what they are of, a copy of the log, its openings."""

    folder: Path
    receipts: dict[str, Path]
    log: Path
    policy: Path
    openings: Path

    def verdict(self, *paths: Path, **more: Path) -> tuple[int, dict[str, Any]]:
        """Verify, and return the exit code and what was told."""
        out = StringIO()
        code = run(Wanted(paths, self.policy, as_json=True, **more), out, out)
        return code, json.loads(out.getvalue())


async def pay_in_every_way(village: Village, staff: Staff) -> dict[str, tuple[Townsperson, UUID]]:
    """Have Ada pay in every way that there is; return who may ask for a receipt of what."""
    ada, bob = await village.customers("ada", "bob")
    await village.fund(ada, staff.till, "1000.00")
    paid: dict[str, tuple[Townsperson, UUID]] = {}
    paid["payment"] = ada, (await ada.bank.transfer(ada.pays(bob.account, "12.34", "rent"))).id
    held = await ada.bank.transfer(ada.pays(bob.account, "60.00"))
    approval = staff.manager.signs.payment_decision(held.id, held.instruction_hash, "approve")
    await staff.manager.bank.decide(held.id, approval)
    paid["approved"] = ada, held.id
    batch = ada.signs.batch(ada.account, [Payee(bob.account, "Bob", f"{n}.00", "EUR", "") for n in range(1, 6)])
    await ada.bank.batch(batch)
    paid["batch"] = ada, batch.payment_ids[3]
    for direction in ("deposit", "withdrawal"):
        order = staff.teller.signs.cash(direction, ada.account, staff.till, "5.00", "EUR", "")
        paid[direction] = staff.teller, (await staff.teller.bank.cash(order)).id
    tablet = Device.new(village.ids)
    request = Signatory(NAME, tablet, village.clock, village.ids).enrolment(ada.user, ada.signs.device.id)
    await ada.bank.enrol_device("tablet", request, ada.signs.sponsor(request, ada.user))
    by_tablet = replace(ada, signs=Signatory(NAME, tablet, village.clock, village.ids))
    paid["sponsored"] = ada, (await ada.bank.transfer(by_tablet.pays(bob.account, "3.21"))).id
    await ada.bank.revoke_device(ada.signs.device.id, "lost")
    paid["vouched"] = bob, await pay_with_vouched_device(village, staff, bob, ada)
    return paid


async def pay_with_vouched_device(village: Village, staff: Staff, payer: Townsperson, payee: Townsperson) -> UUID:
    """Have two members of staff give somebody a device, who pays with it."""
    verified = await staff.teller.bank.propose(staff.teller.signs.rights("grant", "verified", payer.user))
    await decide(staff.manager, verified.id, "approve")
    device = Device.new(village.ids)
    signs = Signatory(NAME, device, village.clock, village.ids)
    enrolment = signs.enrolment(payer.user)
    right = staff.teller.signs.rights("grant", f"device:{enrolment.hash}", payer.user)
    proposed = await staff.teller.bank.propose(right, device_name="replacement", enrolment=enrolment)
    await decide(staff.manager, proposed.id, "approve")
    with_it = replace(payer, signs=signs)
    return (await payer.bank.transfer(with_it.pays(payee.account, "4.56"))).id


async def take_home(bank: Bank, village: Village, folder: Path) -> Evidence:
    """Live a day at the bank, and take home what proves it."""
    staff = await village.staff()
    (auditor,) = await village.customers("agnes")
    await village.grant("auditor", auditor, *staff.admins)
    paid = await pay_in_every_way(village, staff)
    receipts = {}
    for name, (person, payment) in paid.items():
        receipts[name] = folder / f"{name}.json"
        receipts[name].write_bytes(await person.bank.receipt(payment))
    await all_told(bank)
    served = ServedLog(village.way)
    evidence = Evidence(folder, receipts, folder / "log", folder / "policy", folder / "openings.jsonl")
    evidence.policy.write_text(await served.policy())
    mirrored = await LogMirror(served, evidence.log).download()
    opened: list[str] = []
    while len(opened) < mirrored.size:
        query = {"first": len(opened), "limit": min(1_000, mirrored.size - len(opened))}
        page = await auditor.bank.call("GET", "/api/audit/entries", OpenedPage, query=query)
        opened += [json.dumps({"index": e.index, "salt": e.salt, "record": e.record}) + "\n" for e in page.items]
    evidence.openings.write_text("".join(opened))
    return evidence


async def test_everything_that_a_bank_hands_out_verifies(database_url: DatabaseUrl, tmp_path: Path) -> None:
    urls = {tables: database_url(tables) for tables in WITH_TABLES}
    async with open_village(tmp_path / "bank", urls, device_cooling_hours="0") as (bank, village):
        evidence = await take_home(bank, village, tmp_path)

    assert len(evidence.receipts) == 7
    for name, receipt in evidence.receipts.items():
        code, told = evidence.verdict(receipt)
        assert (code, told["subjects"][0]["faults"]) == (0, []), name
    code, told = evidence.verdict(*evidence.receipts.values(), evidence.log, openings=evidence.openings)
    assert code == 0, told
    words = json.dumps(told)
    assert "11 payment.posted" in words
    assert "unwitnessed" in words


@pytest.mark.parametrize("changed", ["12.34", "Bob"])
async def test_a_receipt_of_a_bank_does_not_verify_once_it_is_changed(
    database_url: DatabaseUrl, tmp_path: Path, changed: str
) -> None:
    urls = {tables: database_url(tables) for tables in WITH_TABLES}
    async with open_village(tmp_path / "bank", urls) as (_, village):
        staff = await village.staff()
        ada, bob = await village.customers("ada", "bob")
        await village.fund(ada, staff.till, "1000.00")
        paid = await ada.bank.transfer(ada.pays(bob.account, "12.34", "rent", "Bob"))
        receipt = tmp_path / "receipt.json"
        receipt.write_bytes(await ada.bank.receipt(paid.id))
        policy = tmp_path / "policy"
        policy.write_text(await ServedLog(village.way).policy())
    assert run(Wanted([receipt], policy), StringIO()) == 0
    receipt.write_text(receipt.read_text().replace(changed, "9" * len(changed), 1))

    assert run(Wanted([receipt], policy), StringIO()) == 1
