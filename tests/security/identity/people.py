"""People at a bank of keys, identity and ledger: what their devices sign, and what they ask over real routes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import psycopg

from latticebank.bank import Bank, compose, open_context
from latticebank.banking.ledger.api import SERVICE as LEDGER
from latticebank.banking.ledger.client import LedgerClient
from latticebank.crypto.signatures import SigningKey, VerifyingKey
from latticebank.documents.decision import PROPOSAL_DECISION, Decision
from latticebank.documents.document import Document, base64url, instant_text
from latticebank.documents.enrolment import ENROLMENT, DeviceEnrolment
from latticebank.documents.login import LOGIN, LoginProof
from latticebank.documents.rights import RIGHTS, RightsProposal
from latticebank.documents.signing import sign
from latticebank.kernel.authentication import CredentialAuthenticator, credentials_in
from latticebank.kernel.configuration import event_type
from latticebank.kernel.credential_file import operator_credential
from latticebank.kernel.outbox import events_of
from latticebank.kernel.settings import Settings
from latticebank.kernel.transports import Request, Response
from latticebank.security.identity.api import SERVICE as IDENTITY
from latticebank.security.identity.api.rooms import Rooms
from latticebank.security.identity.client import IdentityClient
from latticebank.security.identity.events import Happening
from latticebank.security.keys.api import SERVICE as KEYS
from latticebank.values.ids import Uuid7Source
from tests.clocks import MovingClock

NAME = "bank.test"
SERVICES = {"keys": KEYS, "identity": IDENTITY, "ledger": LEDGER}
CALLERS = (*SERVICES, "payments", "audit", "gateway")
HEADERS = {"Content-Type": "application/json"}


@dataclass
class Device:
    """A device of a person: its id and its key."""

    id: UUID
    key: SigningKey = field(default_factory=SigningKey.generate)

    def key_to_verify(self) -> VerifyingKey:
        """What everybody may know of the key."""
        return VerifyingKey(self.key.algorithm, self.key.public_bytes)


@dataclass
class Person:
    """A person with a first device, and with the token of a session once logged in."""

    name: str
    user: UUID
    device: Device
    password: str = "a kettle under the bridge"
    token: str = ""
    session: UUID | None = None

    @property
    def email(self) -> str:
        return f"{self.name}@example.org"

    @property
    def full_name(self) -> str:
        return f"{self.name.capitalize()} Lovelace"


Signed = dict[str, str]


class Branch:
    """A running bank, where people are served."""

    def __init__(self, bank: Bank, clock: MovingClock, urls: dict[str, str]) -> None:
        self.bank = bank
        self.clock = clock
        self.ids = Uuid7Source(clock)
        self.urls = urls
        self.gateway = self.client_of("gateway")
        self.payments = self.client_of("payments")

    async def ready(self) -> None:
        """Wait until identity has its keys."""
        async with asyncio.timeout(60):
            while (await self.ask("GET", "/api/security/info")).status != 200:  # noqa: ASYNC110 - nobody rings
                await asyncio.sleep(0.01)

    def client_of(self, service: str) -> IdentityClient:
        """Identity, as another service calls it."""
        context = self.bank.context
        return IdentityClient(context.transport("identity"), context.credential(service, "identity"))

    def person(self, name: str) -> Person:
        """Somebody new, of whom the bank does not know yet."""
        return Person(name, self.ids(), Device(self.ids()))

    # --- what devices sign

    def _frame(self, device: Device | UUID, kind: str, life: timedelta) -> dict[str, Any]:
        now = self.clock.now()
        return {
            "bank": NAME,
            "created": instant_text(now),
            "device": str(device.id if isinstance(device, Device) else device),
            "expires": instant_text(now + life),
            "id": str(self.ids()),
            "type": kind,
        }

    def enrolment(self, user: UUID, device: Device, sponsor: Device | None = None, **other: str) -> DeviceEnrolment:
        """The enrolment of a device."""
        facts = self._frame(device, ENROLMENT, timedelta(minutes=5)) | {
            "algorithm": device.key.algorithm,
            "public_key": base64url(device.key.public_bytes),
            "sponsor": str(sponsor.id) if sponsor else "",
            "user": str(user),
        }
        return DeviceEnrolment(**(facts | other))

    def login_proof(self, device: Device, **other: str) -> LoginProof:
        """The proof of a device at log-in."""
        return LoginProof(**(self._frame(device, LOGIN, timedelta(minutes=1)) | other))

    def proposal(self, by: Person, subject: Person, right: str, action: str = "grant", **other: str) -> RightsProposal:
        """The proposal of a right."""
        facts = {"action": action, "right": right, "subject": str(subject.user)}
        return RightsProposal(**(self._frame(by.device, RIGHTS, timedelta(minutes=5)) | facts | other))

    def decision(self, by: Person, proposal: dict[str, Any], decision: str = "approve", **other: str) -> Decision:
        """The decision about a proposal as its view shows it."""
        facts = {
            "decision": decision,
            "subject": proposal["id"],
            "subject_hash": sha256(proposal["document"].encode()).hexdigest(),
        }
        return Decision(**(self._frame(by.device, PROPOSAL_DECISION, timedelta(minutes=5)) | facts | other))

    # --- what people ask

    def registration(self, person: Person, **other: Any) -> dict[str, Any]:
        """What a person sends to become a customer."""
        order = {
            "user": str(person.user),
            "email": person.email,
            "password": person.password,
            "full_name": person.full_name,
            "phone": "+4915112345678",
            "device_name": f"{person.name}'s laptop",
            **signed(person.device.key, self.enrolment(person.user, person.device)),
        }
        return order | other

    async def register(self, name: str) -> Person:
        """Let somebody new become a customer, and log in."""
        person = self.person(name)
        answer = await self.ask("POST", "/api/users/register", self.registration(person))
        assert answer.status == 201, answer.body
        await self.log_in(person)
        return person

    async def try_log_in(self, email: str, password: str, proof: Signed | None = None) -> Response:
        """Try to log in."""
        return await self.ask("POST", "/api/users/login", {"email": email, "password": password, **(proof or {})})

    async def log_in(self, person: Person) -> dict[str, Any]:
        """Open a session of a person."""
        answer = await self.try_log_in(person.email, person.password)
        assert answer.status == 200, answer.body
        opened = said(answer)
        person.token, person.session = opened["token"], UUID(opened["session"])
        return opened

    async def bearer(self, person: Person, audience: str = "identity") -> str:
        """The internal token for which the gateway exchanges a person's session."""
        return (await self.gateway.exchange(person.token, audience)).token

    async def ask(self, method: str, path: str, body: object = None, *, who: Person | str | None = None) -> Response:
        """Ask identity as a person in a session, as "operator", as a service by its name, or as nobody."""
        headers = dict(HEADERS) if body is not None else {}
        if isinstance(who, Person):
            headers["Authorization"] = f"Bearer {await self.bearer(who)}"
        elif who == "operator":
            headers["Authorization"] = await self.operator()
        elif who is not None:
            headers["Authorization"] = await self.bank.context.credential(who, "identity")()
        return await self.send("identity", method, path, body, headers)

    async def operator(self) -> str:
        """The Authorization header field of the operator."""
        return await operator_credential(self.bank.context.settings.data)()

    async def send(
        self, service: str, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> Response:
        """Send one request to a service of the bank."""
        payload = b"" if body is None else msgspec.json.encode(body)
        return await self.bank.context.transport(service).send(Request(method, path, headers or {}, payload))

    async def enrol(self, person: Person, device: Device, sponsor: Device | None = None) -> Response:
        """Let a device join another of a person."""
        voucher = sponsor or person.device
        return await self.ask("POST", "/api/devices/enrol", self.joining(person, device, voucher), who=person)

    def joining(self, person: Person, device: Device, sponsor: Device) -> dict[str, str]:
        """What a person sends for a device to join another."""
        enrolment = self.enrolment(person.user, device, sponsor)
        vouched = signed(sponsor.key, enrolment)["signature"]
        return {"device_name": "kitchen tablet", **signed(device.key, enrolment), "sponsor_signature": vouched}

    async def propose(self, by: Person, subject: Person, right: str, action: str = "grant", **more: Any) -> Response:
        """Sign and send a proposal."""
        proposal = signed(by.device.key, self.proposal(by, subject, right, action))
        return await self.ask("POST", "/api/staff/proposals", proposal | more, who=by)

    async def decide(self, by: Person, proposal: Response, decision: str = "approve", **other: str) -> Response:
        """Sign and send a decision about a proposal that was answered."""
        view = said(proposal)
        order = signed(by.device.key, self.decision(by, view, decision, **other))
        return await self.ask("POST", f"/api/staff/proposals/{view['id']}/decision", order, who=by)

    async def first_admins(self) -> tuple[Person, Person]:
        """Anna and Axel, whom the operator made admins."""
        anna, axel = await asyncio.gather(self.register("anna"), self.register("axel"))
        for admin in (anna, axel):
            order = {"user": str(admin.user), "role": "admin"}
            assert (await self.ask("POST", "/api/staff/bootstrap", order, who="operator")).status == 200
        return anna, axel

    async def grant(self, subject: Person, right: str, proposer: Person, approver: Person) -> None:
        """Give somebody a right by four eyes."""
        proposal = await self.propose(proposer, subject, right)
        assert proposal.status == 201, proposal.body
        decided = await self.decide(approver, proposal)
        assert decided.status == 200, decided.body

    # --- what is there

    def rows(self, query: str, *parameters: object, database: str = "identity") -> list[tuple[Any, ...]]:
        """What an intruder reads in the database."""
        with psycopg.connect(self.urls[database], autocommit=True) as connection:
            return connection.execute(query, parameters).fetchall()

    def write(self, statement: str, *parameters: object, database: str = "identity") -> None:
        """What an intruder, or an import, writes into the database."""
        with psycopg.connect(self.urls[database], autocommit=True) as connection:
            connection.execute(statement, parameters)

    @contextmanager
    def out_of_order(self, database: str, table: str) -> Iterator[None]:
        """Let a service fail for want of a table."""
        self.write(f"ALTER TABLE {table} RENAME TO {table}_away", database=database)
        try:
            yield
        finally:
            self.write(f"ALTER TABLE {table}_away RENAME TO {table}", database=database)

    @property
    def rooms(self) -> Rooms:
        """The use cases of identity themselves."""
        rooms: Rooms = self.bank._apps["identity"].state.rooms
        return rooms

    def forget_profile_keys(self) -> None:
        """Let identity open every profile key anew, as it does after a minute."""
        self.rooms.foundation.profile_keys._remembered.clear()

    def events(self) -> list[tuple[str, Happening]]:
        """The events about people that identity published, with the last part of their names."""
        rows = self.rows("SELECT events FROM outbox ORDER BY id")
        return [
            (event.type.split(".")[2], msgspec.json.decode(event.data, type=Happening))
            for (batch,) in rows
            for event in events_of(batch)
            if event.type != event_type("identity")
        ]

    def password_work(self) -> float:
        """How often Argon2 ran so far."""
        lines = self.bank.context.metrics.render().decode().splitlines()
        found = [line for line in lines if line.startswith("latticebank_identity_password_work_total")]
        return sum(float(line.rpartition(" ")[2]) for line in found)

    @property
    def ledger(self) -> LedgerClient:
        """The ledger, as the operator sees it."""
        context = self.bank.context
        return LedgerClient(context.transport("ledger"), operator_credential(context.settings.data))


def signed(key: SigningKey, document: Document) -> Signed:
    """A document and its signature as they travel."""
    text, signature = sign(key, document)
    return {"document": text.decode(), "signature": base64url(signature)}


def said(response: Response) -> dict[str, Any]:
    """The JSON of a response."""
    found = msgspec.json.decode(response.body)
    assert isinstance(found, dict)
    return found


def told(response: Response) -> tuple[int, str]:
    """Status and code of a problem."""
    return response.status, said(response)["type"].removeprefix("/problems/")


@asynccontextmanager
async def open_branch(
    urls: dict[str, str], folder: Path, clock: MovingClock, without: Callable[[str], bool] = lambda _: False
) -> AsyncIterator[Branch]:
    """Run a bank of keys, identity and ledger on these databases, or without some of them."""
    settings = Settings(data=folder, demo=True, bank=NAME)
    here = {name: service for name, service in SERVICES.items() if not without(name)}
    async with open_context(settings, urls, clock=clock) as context:
        known = CredentialAuthenticator(credentials_in(folder, CALLERS), context.metrics.refused_credentials.inc)
        bank = compose(list(here), replace(context, authenticator=known), services=here)
        async with bank.running():
            yield Branch(bank, clock, urls)
