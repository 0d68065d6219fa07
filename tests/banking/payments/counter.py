"""A bank with payments, and people whose devices sign what they want of it."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import psycopg

from latticebank.bank import compose, open_context
from latticebank.banking.ledger.wire import AccountOpening, PostOrder
from latticebank.banking.payments.api import SERVICE as PAYMENTS
from latticebank.banking.payments.service.foundation import Foundation
from latticebank.banking.payments.service.payments import Payments
from latticebank.documents.batch import BATCH, BatchManifest, BatchPayment, leaves_of, summary
from latticebank.documents.cash import CASH, CashOrder
from latticebank.documents.decision import PAYMENT_DECISION, Decision
from latticebank.documents.document import base64url
from latticebank.documents.payment import PAYMENT, PaymentInstruction, minor_units
from latticebank.documents.signing import sign
from latticebank.kernel.authentication import CredentialAuthenticator, credentials_in
from latticebank.kernel.bus import PostgresEventBus
from latticebank.kernel.credential_file import operator_credential
from latticebank.kernel.relay import Relay
from latticebank.kernel.settings import BUS, Settings
from latticebank.kernel.transports import Response
from latticebank.security.audit.api import SERVICE as AUDIT
from tests.clocks import MovingClock
from tests.security.identity.people import CALLERS, NAME, SERVICES, Branch, Person, Signed, said, signed

ALL = {**SERVICES, "payments": PAYMENTS}
NOWHERE = "http://127.0.0.1:9"
"""The address of services that are not there: nobody listens at the port of RFC 863."""
MINUTES = timedelta(minutes=5)


class Counter(Branch):
    """A running bank of keys, identity, ledger and payments."""

    accounts: dict[UUID, str]
    cash: str

    @property
    def service(self) -> Payments:
        """Payments itself, for what has no route: recovery and expiry."""
        payments: Payments = self.bank._apps["payments"].state.payments
        return payments

    @property
    def foundation(self) -> Foundation:
        """What payments stands on."""
        return self.service._bank

    async def is_open(self) -> None:
        """Wait until identity has its keys."""
        async with asyncio.timeout(60):
            while (await self.ask("GET", "/api/security/info")).status != 200:  # noqa: ASYNC110 - nobody rings
                await asyncio.sleep(0.01)

    async def is_settled(self) -> None:
        """Wait until nothing is unsettled, whoever takes it up: the test or the worker of the bank."""
        async with asyncio.timeout(60):
            while self.payments_rows("SELECT 1 FROM unsettled"):
                await self.service.recovery.step()
                await asyncio.sleep(0.02)

    async def open_counter(self) -> None:
        """Open the bank's cash account."""
        self.accounts = {}
        self.cash = await self.open("EUR", "cash")

    async def customer(self, name: str, amount: str = "100.00") -> Person:
        """Somebody with money on an account."""
        person = await self.register(name)
        page = await self.ledger.accounts(party=f"user:{person.user}")
        self.accounts[person.user] = page.items[0].account
        if amount != "0.00":
            await self.fund(person, amount)
        return person

    async def till(self, shard: int) -> str:
        """Open a cash account on a shard."""
        opening = msgspec.convert({"kind": "cash", "currency": "EUR", "shard": shard}, AccountOpening)
        return (await self.ledger.open_account(self.ids(), opening)).account

    async def fund(self, person: Person, amount: str, till: str = "") -> None:
        """Give somebody money of the bank."""
        order = self.posting(str(self.ids()), person, amount, till)
        assert (await self.ledger.order([order]))[0].outcome == "done"

    def posting(self, identifier: str, person: Person, amount: str, till: str = "") -> PostOrder:
        """The bank's own order that gives somebody money."""
        return PostOrder(
            id=UUID(identifier), debit=till or self.cash, credit=self.account(person), amount=amount, currency="EUR"
        )

    async def open(self, currency: str, kind: str = "checking") -> str:
        """Open an account that is nobody's."""
        opening = msgspec.convert({"kind": kind, "currency": currency}, AccountOpening)
        return (await self.ledger.open_account(self.ids(), opening)).account

    async def operators_header(self) -> dict[str, str]:
        """The header fields of the operator."""
        credential = operator_credential(self.bank.context.settings.data)
        return {"Authorization": await credential(), "Content-Type": "application/json"}

    def wait(self, by: timedelta) -> None:
        """Let time pass on the bank's clock; the services' own tokens, which end by it, are renewed."""
        self.clock.advance(by)
        for tokens in self.bank._tokens.values():
            tokens._issued.clear()

    def account(self, person: Person) -> str:
        """The account of a person."""
        return self.accounts[person.user]

    async def balance(self, person: Person) -> tuple[str, str]:
        """What is on a person's account, and what of it is held."""
        view = await self.ledger.account(self.account(person))
        return view.balance, view.held

    # --- what devices sign

    def instruction(self, by: Person, to: str | Person, amount: str = "10.00", **other: str) -> PaymentInstruction:
        """A payment as its device would sign it."""
        facts = self._frame(by.device, PAYMENT, MINUTES) | {
            "amount": amount,
            "creditor_account": self.account(to) if isinstance(to, Person) else to,
            "creditor_name": "Bob Builder",
            "currency": "EUR",
            "debtor_account": self.account(by),
            "reference": "rent for March",
        }
        return PaymentInstruction(**(facts | other))

    def cash_order(self, by: Person, account: str, direction: str, amount: str = "10.00", **other: str) -> CashOrder:
        """A cash order as a teller's device would sign it."""
        facts = self._frame(by.device, CASH, MINUTES) | {
            "account": account,
            "amount": amount,
            "currency": "EUR",
            "direction": direction,
            "till": self.cash,
        }
        return CashOrder(**(facts | other))

    def payment_decision(self, by: Person, view: dict[str, Any], decision: str = "approve", **other: str) -> Decision:
        """A decision about a payment as its view shows it."""
        facts = {"decision": decision, "subject": view["id"], "subject_hash": view["instruction_hash"]}
        return Decision(**(self._frame(by.device, PAYMENT_DECISION, MINUTES) | facts | other))

    def batch(self, by: Person, to: Sequence[tuple[str, str]], **other: str) -> tuple[dict[str, Any], list[UUID]]:
        """A signed batch of payments to these accounts, of these amounts, as it travels; and the ids of the payments."""
        payments = [
            BatchPayment(
                amount=amount,
                creditor_account=account,
                creditor_name="Bob Builder",
                currency="EUR",
                id=str(self.ids()),
                reference=f"wages {place}",
                salt=sha256(str(place).encode()).hexdigest(),
            )
            for place, (account, amount) in enumerate(to)
        ]
        texts = [msgspec.json.encode(payment).decode() for payment in payments]
        return self.manifest_over(by, texts, **other), [UUID(payment.id) for payment in payments]

    def manifest_over(self, by: Person, texts: Sequence[str], **other: str) -> dict[str, Any]:
        """A signed batch of these payments, as it travels."""
        received = [text.encode() for text in texts]
        payments = [msgspec.json.decode(text, type=BatchPayment) for text in received]
        read = [(payment, minor_units(payment.amount, payment.currency)) for payment in payments]
        count, totals, root = summary(read, leaves_of(received))
        facts = self._frame(by.device, BATCH, MINUTES) | {"debtor_account": self.account(by)}
        manifest = BatchManifest(**(facts | {"count": count, "totals": totals, "root": root} | other))
        text, signature = sign(by.device.key, manifest)
        return {"manifest": text.decode(), "signature": base64url(signature), "payments": list(texts)}

    # --- what people ask

    async def at(
        self, path: str, body: object = None, *, who: Person, method: str = "", key: str | None = None
    ) -> Response:
        """Ask payments as a person in a session."""
        headers = {"Authorization": f"Bearer {await self.bearer(who, 'payments')}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if key is not None:
            headers["Idempotency-Key"] = key
        method = method or ("GET" if body is None else "POST")
        return await self.send("payments", method, f"/api/transactions{path}", body, headers)

    async def pay(self, by: Person, to: str | Person, amount: str = "10.00", **other: str) -> Response:
        """Sign and send a payment."""
        return await self.transfer(by, signed(by.device.key, self.instruction(by, to, amount, **other)))

    async def transfer(self, by: Person, order: Signed) -> Response:
        """Send a signed payment."""
        return await self.at("/transfer", order, who=by)

    async def teller(self) -> tuple[Person, Person, Person]:
        """Tessa the teller, Max the manager, and Anna the admin."""
        anna, axel = await self.first_admins()
        tessa, max_ = await self.register("tessa"), await self.register("max")
        await self.grant(tessa, "teller", anna, axel)
        await self.grant(max_, "manager", anna, axel)
        return tessa, max_, anna

    # --- what is there

    def payments_rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """What an intruder reads in the database of payments."""
        return self.rows(query, *parameters, database="payments")

    def edit(self, database: str, statement: str, facts: Mapping[str, object]) -> None:
        """What an intruder writes into a database."""
        with psycopg.connect(self.urls[database], autocommit=True) as connection:
            connection.execute(statement.encode(), facts)

    def everything(self) -> list[list[tuple[Any, ...]]]:
        """All that payments has stored and the ledger has booked: equal before and after what changed nothing."""
        tables = (
            "payments",
            "signed_documents",
            "batches",
            "batch_texts",
            "limit_uses",
            "unsettled",
            "approvals",
            "decisions",
        )
        stored = [self.payments_rows(f"SELECT * FROM {table} ORDER BY 1, 2, 3") for table in tables]
        booked = ("transfers", "entries", "reservations")
        return stored + [self.rows(f"SELECT * FROM {table} ORDER BY 1, 2, 3, 4", database="ledger") for table in booked]


def ok(response: Response, status: int = 201) -> dict[str, Any]:
    """The JSON of an answer that has this status."""
    assert response.status == status, (response.status, response.body)
    return said(response)


@asynccontextmanager
async def open_counter(
    urls: dict[str, str], folder: Path, clock: MovingClock, **settings: Any
) -> AsyncIterator[Counter]:
    """Run a bank of keys, identity, ledger and payments on these databases; with audit if they include one for it."""
    services = ALL | {AUDIT.name: AUDIT} if AUDIT.name in urls else ALL
    peers = {} if AUDIT.name in services else {AUDIT.name: NOWHERE}
    chosen = Settings(data=folder, demo=True, bank=NAME, peers=peers, **settings)
    async with open_context(chosen, urls, clock=clock) as context:
        known = CredentialAuthenticator(credentials_in(folder, CALLERS), context.metrics.refused_credentials.inc)
        bank = compose(list(services), replace(context, authenticator=known), services=services)
        async with bank.running():
            counter = Counter(bank, clock, urls)
            await counter.open_counter()
            yield counter


@asynccontextmanager
async def relaying(counter: Counter, *, only: str = "", but: str = "") -> AsyncIterator[None]:
    """Take what the services of a bank publish to its bus: that of one of them only, or of all but one."""
    context = counter.bank.context
    bus = PostgresEventBus(context.database(BUS))
    async with asyncio.TaskGroup() as group:
        names = [name for name in counter.bank.names if name != but and only in ("", name)]
        running = [group.create_task(Relay(context.database(name), bus).run()) for name in names]
        try:
            yield
        finally:
            for relay in running:
                relay.cancel()
