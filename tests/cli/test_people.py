"""Customers and staff at a terminal: each with a wallet of their own, at a bank that runs."""

import asyncio
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import pytest
import structlog

from latticebank.banking.ledger.client import LedgerClient
from latticebank.banking.ledger.wire import AccountOpening
from latticebank.cli.application import main
from latticebank.crypto import passphrase
from latticebank.kernel.credential_file import operator_credential
from latticebank.kernel.transports import HttpTransport
from tests.cli.conftest import Folder, RunningBank

PASSWORD = "a kettle under the bridge"
PASSPHRASE = "correct horse battery"


@dataclass
class Done:
    """How a command ended, and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


@dataclass
class Person:
    """Somebody at a terminal with a wallet."""

    name: str
    folder: Folder
    wallet: Path
    user: str = ""

    @property
    def email(self) -> str:
        return f"{self.name}@example.org"

    @property
    def secrets(self) -> dict[str, str]:
        """Where the wallet is, and what opens it and the bank."""
        return {
            "LATTICEBANK_CLIENT_WALLET": str(self.wallet),
            "LATTICEBANK_CLIENT_PASSPHRASE": PASSPHRASE,
            "LATTICEBANK_CLIENT_PASSWORD": PASSWORD,
        }

    def run(self, *arguments: str, **environment: str) -> Done:
        """Run a command to its end, in this process: to start one for each would take most of the time."""
        variables = self.folder.environment | self.secrets | environment
        return run_here(arguments, variables)

    def json(self, *arguments: str, code: int = 0) -> Any:
        """Return what a command writes as JSON."""
        done = self.run(*arguments, "--json")
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout)

    def refused(self, *arguments: str, code: int = 1, **environment: str) -> str:
        """Return what a command that fails says, which is nothing but a message."""
        done = self.run(*arguments, **environment)
        assert done.returncode == code, done.stdout
        assert "Traceback" not in done.stderr
        return done.stderr

    def account(self) -> str:
        """The number of the only account."""
        (own,) = self.json("my", "accounts")
        return str(own["account"])

    def balance(self) -> str:
        """What is on it."""
        (own,) = self.json("my", "accounts")
        return str(own["balance"])


def run_here(arguments: tuple[str, ...], variables: dict[str, str]) -> Done:
    """Run a command as its process would, and leave nothing behind."""
    said, told = StringIO(), StringIO()
    code: object = 0
    logs, level, handlers = structlog.get_config(), logging.root.level, [*logging.root.handlers]
    with (
        patch.dict(os.environ, variables, clear=True),
        patch.object(sys, "argv", ["latticebank", *arguments]),
        redirect_stdout(said),
        redirect_stderr(told),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        finally:
            structlog.configure(**logs)
            logging.root.setLevel(level)
            logging.root.handlers[:] = handlers
    assert isinstance(code, int)
    return Done(code, said.getvalue(), told.getvalue())


class Street:
    """The people around a bank."""

    def __init__(self, folder: Folder, wallets: Path) -> None:
        self.folder = folder
        self.wallets = wallets

    def person(self, name: str) -> Person:
        """Somebody whom the bank does not know."""
        return Person(name, self.folder, self.wallets / name / "wallet")

    def customer(self, name: str) -> Person:
        """Somebody who has registered and logged in."""
        person = self.person(name)
        details = ("--email", person.email, "--name", f"{name.capitalize()} Lovelace", "--phone", "+4915112345678")
        person.user = person.json("register", *details, "--device-name", f"{name}'s laptop")["user"]
        assert "customer" in person.json("login")["roles"]
        return person


async def open_till(bank: RunningBank) -> None:
    """Give the bank an account for its cash, as its operator."""
    transport = HttpTransport(bank.address)
    ledger = LedgerClient(transport, operator_credential(bank.folder.path))
    await ledger.open_account(uuid4(), AccountOpening(kind="cash", currency="EUR"))
    await transport.aclose()


@pytest.fixture(scope="module")
def street(new_folder: Callable[[], Folder], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    """A bank without a past that stays open, whose new devices need not cool off."""
    folder = new_folder()
    folder.environment |= {"LATTICEBANK_DEVICE_COOLING_HOURS": "0", "LATTICEBANK_KEK_PASSPHRASE": PASSPHRASE}
    bank = RunningBank(folder, "up", "--no-demo")
    asyncio.run(open_till(bank))
    with patch.object(passphrase, "MEMORY_KIB", 65_536), patch.object(passphrase, "PASSES", 1):
        yield Street(folder, tmp_path_factory.mktemp("wallets"))
    bank.end()


@pytest.fixture(scope="module")
def ada(street: Street) -> Person:
    return street.customer("ada")


@pytest.fixture(scope="module")
def bob(street: Street) -> Person:
    return street.customer("bob")


@pytest.fixture(scope="module")
def admins(street: Street) -> tuple[Person, Person]:
    """Anna and Axel, the first admins."""
    anna, axel = street.customer("anna"), street.customer("axel")
    for admin in (anna, axel):
        assert "admin" in admin.json("staff", "bootstrap", admin.user)["roles"]
    return anna, axel


@pytest.fixture(scope="module")
def manager(street: Street, admins: tuple[Person, Person]) -> Person:
    return appointed(street.customer("mary"), "manager", admins)


@pytest.fixture(scope="module")
def teller(street: Street, admins: tuple[Person, Person]) -> Person:
    return appointed(street.customer("tom"), "teller", admins)


def appointed(person: Person, role: str, admins: tuple[Person, Person]) -> Person:
    anna, axel = admins
    for admin in admins:
        admin.json("login")
    proposal = anna.json("staff", "propose", role, "--for", person.user)["id"]
    waiting = axel.json("staff", "proposals")
    assert proposal in [each["id"] for each in waiting]
    assert "four-eyes" in anna.refused("staff", "approve", proposal)
    approved = axel.run("staff", "approve", proposal)
    assert f"grant {role} to user {person.user}" in approved.stderr
    assert "is approved" in approved.stdout
    assert role in person.json("login")["roles"]
    return person


def test_a_customer_comes_in_and_goes(street: Street) -> None:
    eve = street.customer("eve")
    shown = eve.run("whoami")
    assert shown.returncode == 0
    for fact in ("eve@example.org", "Eve Lovelace", "latticebank.localhost", eve.user, "MLDSA65-Ed25519-SHA512"):
        assert fact in shown.stdout
    assert eve.json("whoami", "--all")[0]["confirmed"] is True
    assert "is registered" not in eve.refused("register", "--email", eve.email, "--name", "Eve", "--phone", "+4915112")
    kept = next(eve.wallet.parent.glob("*.session"))
    session = kept.read_bytes()
    assert eve.run("logout").returncode == 0
    alone = street.folder.run("whoami", **eve.secrets)  # in a process of its own
    assert (alone.returncode, alone.stdout) == (1, "")
    assert "latticebank login" in alone.stderr
    assert eve.run("logout").returncode == 0
    kept.touch(0o600)
    kept.write_bytes(session)
    assert "the session has ended" in eve.refused("password", LATTICEBANK_CLIENT_NEW_PASSWORD="x")
    assert not kept.exists()


def test_a_password_is_changed(street: Street, tmp_path: Path) -> None:
    carl = street.customer("carl")
    new = tmp_path / "new"
    new.write_text("another kettle by the river\n")
    assert "others can read" in carl.refused("password", "--new-password-file", str(new))
    new.chmod(0o600)
    assert carl.run("password", "--new-password-file", str(new)).returncode == 0
    assert "login-refused" in carl.refused("login")
    assert carl.run("login", "--password-file", str(new)).returncode == 0


def test_wrong_use_and_wrong_secrets_are_told(street: Street, ada: Person) -> None:
    nobody = street.person("nobody")
    assert "no-wallet" in nobody.refused("whoami")
    wrong = "wrong horse battery"
    assert "passphrase-wrong" in ada.refused("my", "accounts", LATTICEBANK_CLIENT_PASSPHRASE=wrong)
    assert "not-in-wallet" in ada.refused("whoami", "--as", "eve@example.org")
    assert "over https" in ada.refused("login", "--bank-url", "http://bank.example")
    assert "service-unavailable" in ada.refused("login", "--bank-url", "http://localhost:1")
    assert "no session is open" in ada.refused("my", "accounts", "--bank-url", "http://localhost:1")
    ada.refused("transfer", "1000000015", "1.00", code=2)
    ada.refused("payment", "not-an-id", code=2)
    ada.refused("my", "entries", "1000000015", "--basis", "tide", code=2)
    assert "check digit" in ada.refused("transfer", "1000000016", "1.00", "--to", "Bob")


def test_money_is_paid_in_paid_and_paid_out(ada: Person, bob: Person, teller: Person, tmp_path: Path) -> None:
    adas, bobs = ada.account(), bob.account()
    assert "Paid: 500.00 EUR" in teller.run("cash", "deposit", adas, "500.00", "--reference", "savings").stdout
    paid = ada.run("transfer", bobs, "12.34", "--to", "Bob", "--reference", "rent")
    assert paid.returncode == 0
    assert "Paid: 12.34 EUR to Bob." in paid.stdout
    again = ada.json("transfer", bobs, "7.66", "--to", "Bob", "--from", adas)
    assert (again["state"], again["creditor_account"]) == ("posted", bobs)
    assert [each["amount"] for each in ada.json("history")[:2]] == ["7.66", "12.34"]
    assert "12.34" in ada.run("history", "--account", adas).stdout
    assert "rent" in ada.run("payment", ada.json("history")[1]["id"]).stdout
    assert [each["amount"] for each in bob.json("my", "entries", bobs)] == ["12.34", "7.66"]
    assert "insufficient-funds" in bob.refused("transfer", adas, "999.00", "--to", "Ada")
    assert bob.json("transfer", adas, "5.00", "--to", "Ada")["state"] == "posted"

    file = tmp_path / "wages.csv"
    file.write_text(f"account,name,amount\n{bobs},Bob,10.00\n{bobs},Bob,20.00\n")
    assert ada.json("batch", str(file))["posted"] == 2
    file.write_text(f"account,name,amount\n{bobs},Bob,10.00\n{bobs},Bob,900.00\n")
    done = ada.run("batch", str(file))
    assert done.returncode == 1
    assert "1 paid, 0 waiting, 1 rejected" in done.stdout
    assert "insufficient-funds" in done.stdout
    file.write_text(f"account,name,amount\n{bobs},Bob,10.00\n{bobs},Bob,1.5\n")
    assert "wages.csv line 3: amount" in ada.refused("batch", str(file)).replace("\n", "")

    assert teller.json("cash", "withdraw", bobs, "55.00")["state"] == "posted"
    assert (ada.balance(), bob.balance()) == ("445.00", "0.00")


def test_the_receipt_of_a_payment_is_written_as_the_bank_gave_it(
    ada: Person, bob: Person, teller: Person, tmp_path: Path
) -> None:
    assert teller.json("cash", "deposit", ada.account(), "20.00")["state"] == "posted"
    paid = ada.json("transfer", bob.account(), "3.00", "--to", "Bob")["id"]
    shown = ada.run("receipt", paid)
    assert (shown.returncode, json.loads(shown.stdout)["payment"]) == (0, paid)
    file = tmp_path / "receipt.json"
    done = ada.run("receipt", paid, "--out", str(file))
    assert (done.returncode, done.stdout) == (0, "")
    assert json.loads(file.read_bytes())["type"] == "latticebank/receipt/v1"
    assert "payment-not-found" in bob.refused("receipt", paid)
    assert "cannot-use-file" in ada.refused("receipt", paid, "--out", str(tmp_path / "nowhere" / "receipt.json"))
    ada.refused("receipt", "not-an-id", code=2)
    assert bob.run("transfer", ada.account(), "3.00", "--to", "Ada").returncode == 0
    assert teller.json("cash", "withdraw", ada.account(), "20.00")["state"] == "posted"


def test_a_large_payment_waits_and_a_manager_or_the_payer_decides(
    ada: Person, bob: Person, teller: Person, manager: Person
) -> None:
    adas, bobs = ada.account(), bob.account()
    before = bob.balance()
    proposal = teller.json("staff", "propose", "verified", "--for", ada.user)["id"]
    assert manager.json("staff", "approve", proposal)["state"] == "approved"
    for _ in range(4):
        teller.json("cash", "deposit", adas, "9999.00")
    held = ada.run("transfer", bobs, "10000.00", "--to", "Bob")
    assert (held.returncode, "It waits for a manager until" in held.stdout) == (0, True)
    waits = ada.json("history", "--limit", "1")[0]["id"]
    assert "waits for a manager" in ada.refused("receipt", waits, "--wait", "600")
    second, third = (ada.json("transfer", bobs, "10000.00", "--to", "Bob")["id"] for _ in range(2))
    waiting = [each["id"] for each in manager.json("approvals")]
    assert {second, third} < set(waiting)
    (first,) = set(waiting) - {second, third}
    approved = manager.run("approve", first)
    assert "Paid" in approved.stdout
    said = f"Signed: 10000.00 EUR from {adas} to {bobs} (Bob), by device"
    assert said in approved.stderr
    assert f"SHA-256 {ada.json('payment', first)['instruction_hash']}" in approved.stderr
    assert manager.json("reject", second)["state"] == "rejected"
    assert ada.json("cancel", third)["state"] == "cancelled"
    assert manager.json("approvals") == []
    assert "Refused" in ada.run("payment", second).stdout
    assert Decimal(bob.balance()) - Decimal(before) == 10_000
    assert ada.refused("approvals")


def test_a_second_machine_joins_pays_and_is_revoked(ada: Person, bob: Person, street: Street, tmp_path: Path) -> None:
    phone = Person("ada", street.folder, tmp_path / "phone" / "wallet")
    request = tmp_path / "request.json"
    asked = phone.run("device", "request", str(request), "--email", ada.email, "--device-name", "phone")
    assert asked.returncode == 0, asked.stderr
    fingerprint = asked.stdout.split("fingerprint ")[1].strip()
    assert "unknown-device" in phone.refused("transfer", bob.account(), "1.00", "--to", "Bob", "--from", ada.account())
    assert "--yes" in ada.refused("device", "enrol", str(request))
    enrolled = ada.run("device", "enrol", str(request), "--yes")
    assert enrolled.returncode == 0, enrolled.stderr
    assert fingerprint in enrolled.stderr
    assert phone.json("login")["user"] == ada.user
    assert phone.json("transfer", bob.account(), "1.00", "--to", "Bob")["state"] == "posted"
    assert "enrolled-already" in phone.refused("device", "request", str(request), "--email", ada.email)

    devices = {each["name"]: each for each in ada.json("device", "list")}
    assert devices.keys() == {"ada's laptop", "phone"}
    assert "this device" in ada.run("device", "list").stdout
    ada.refused("device", "revoke", devices["phone"]["device"], "--reason", "mood", code=2)
    revoked = ada.json("device", "revoke", devices["phone"]["device"], "--reason", "stolen")
    assert revoked["state"] == "revoked"
    assert "device-revoked" in phone.refused("transfer", bob.account(), "1.00", "--to", "Bob")


def test_a_request_that_was_changed_is_not_sponsored(ada: Person, street: Street, tmp_path: Path) -> None:
    tablet = Person("ada", street.folder, tmp_path / "tablet" / "wallet")
    path = tmp_path / "request.json"
    assert tablet.run("device", "request", str(path), "--email", ada.email).returncode == 0
    request = json.loads(path.read_text())
    document = json.loads(request["document"])
    document["device"] = document["device"][:-1] + ("0" if document["device"][-1] != "0" else "1")
    changed = request | {"document": json.dumps(document, separators=(",", ":"), sort_keys=True)}
    path.write_text(json.dumps(changed))
    assert "invalid-signature" in ada.refused("device", "enrol", str(path), "--yes")
    path.write_text("{}")
    assert "no enrolment request" in ada.refused("device", "enrol", str(path), "--yes")


def test_staff_vouch_for_a_customer_without_a_device(
    street: Street, teller: Person, manager: Person, tmp_path: Path
) -> None:
    lost = street.customer("dora")
    found = Person("dora", street.folder, tmp_path / "new" / "wallet")
    request = tmp_path / "request.json"
    asked = found.run("device", "request", str(request), "--email", lost.email, "--unsponsored")
    assert asked.returncode == 0, asked.stderr
    fingerprint = asked.stdout.split("fingerprint ")[1].strip()
    teller.refused("staff", "propose", "device", "--for", lost.user, code=2)
    proposed = teller.json("staff", "propose", "device", "--for", lost.user, "--enrolment", str(request))
    approved = manager.run("staff", "approve", proposed["id"])
    assert approved.returncode == 0, approved.stderr
    assert fingerprint in approved.stderr
    assert len(found.json("device", "list")) == 2
