"""The bank as a customer's or a member of staff's program calls it: from outside, through the door."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import date
from typing import TypeVar
from urllib.parse import quote
from uuid import UUID

import msgspec

from latticebank.banking.ledger.wire import AccountPage, AccountView, Basis, EntryPage
from latticebank.banking.payments.wire import (
    BatchView,
    InstructionView,
    PaymentPage,
    PaymentView,
    SignedDecision,
    SignedText,
)
from latticebank.banking.payments.wire import SignedBatch as BatchOrder
from latticebank.client.device import SignedBatch, SignedDocument
from latticebank.client.receipts import awaited_receipt
from latticebank.client.session import Session
from latticebank.kernel.caller import Credential
from latticebank.kernel.client import RemoteProblem, ServiceClient
from latticebank.kernel.transports import HttpTransport, Transport
from latticebank.security.identity.wire import (
    BootstrapOrder,
    DecisionOrder,
    DeviceList,
    DeviceView,
    EnrolmentOrder,
    ErasureOrder,
    ErasureView,
    LoggedIn,
    LoginOrder,
    PasswordChange,
    ProfileView,
    ProposalOrder,
    ProposalPage,
    ProposalView,
    ProposedEnrolment,
    Registered,
    RegistrationOrder,
    RevocationOrder,
    RevokeReason,
    RolesView,
    SecurityInfo,
)
from latticebank.values.errors import BankError, Fault

T = TypeVar("T")
V = TypeVar("V", PaymentView, BatchView)

TIMEOUT_SECONDS = 15.0
"""How long one call waits for its answer."""
PATIENCE_SECONDS = 60.0
"""How long a signed order is repeated while the bank does not answer."""
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0
_WITHOUT_OUTCOME = (Fault.TIMEOUT, Fault.UNAVAILABLE)
_MAX_PAGES = 50

_TRANSACTIONS = "/api/transactions"


class OutcomeUnknown(BankError):
    """The bank may have received a signed order, and did not answer. To sign it anew could do it twice."""

    code = "outcome-unknown"
    title = "The bank did not answer in time"
    fault = Fault.TIMEOUT


class NoSession(BankError):
    """This needs a session, and none was opened."""

    code = "no-session"
    title = "You are not logged in"
    fault = Fault.UNAUTHENTICATED


class BankClient(ServiceClient):
    """Calls the bank in the session that `login` opens, or that was kept from an earlier one.

    A problem of the bank is a `RemoteProblem` with its code. Signed orders happen once under their id, so they are
    repeated, with the same bytes, for as long as `patience` (seconds) while the bank is not there or too busy; what came
    of one that was never answered raises `OutcomeUnknown`.
    """

    def __init__(
        self,
        transport: Transport,
        session: Session | None = None,
        *,
        credential: Credential | None = None,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        super().__init__(transport, credential, timeout=TIMEOUT_SECONDS)
        self.session = session
        # Who comes in presents nothing: not a session that may have ended.
        self._as_anyone = ServiceClient(transport, timeout=TIMEOUT_SECONDS)
        self._patience = patience

    async def security_info(self) -> SecurityInfo:
        """Return the name of the bank, and how it protects itself; anyone may ask."""
        return await self._as_anyone.call("GET", "/api/security/info", SecurityInfo)

    async def register(
        self,
        *,
        user: UUID,
        email: str,
        password: str,
        full_name: str,
        phone: str,
        device_name: str,
        enrolment: SignedDocument,
    ) -> Registered:
        """Become a customer under a user id (UUIDv7) of one's own making, with the device that signed the enrolment.

        An address that is taken answers like any other: its owner alone can tell, by logging in.
        """
        order = RegistrationOrder(
            user, email, password, full_name, phone, device_name, enrolment.document, enrolment.signature
        )
        name = f"the registration of {user}"
        return await self._surely("/api/users/register", Registered, order, name, self._as_anyone)

    async def login(self, email: str, password: str, proof: SignedDocument | None = None) -> Session:
        """Open a session, in which this client calls from now on.

        The proof of a known device opens the door also while others have locked it by guessing.

        Raises:
            RemoteProblem: `too-many-attempts`, with `retry_after` in seconds, or the password is not that customer's.

        """
        order = LoginOrder(email, password)
        if proof is not None:
            order = LoginOrder(email, password, proof.document, proof.signature)
        opened = await self._as_anyone.call("POST", "/api/users/login", LoggedIn, body=order)
        self.session = Session(
            opened.session, opened.user, opened.expires_at, opened.idle_seconds, tuple(opened.roles), opened.token
        )
        return self.session

    async def logout(self) -> None:
        """End the session; a bank that knows it no more has ended it already."""
        try:
            await self.call("POST", "/api/users/logout", object)
        except RemoteProblem as problem:
            if problem.fault is not Fault.UNAUTHENTICATED:
                raise
        self.session = None

    async def profile(self, user: UUID | None = None) -> ProfileView:
        """Return what a customer told the bank; one's own if no other is named."""
        return await self.call("GET", f"/api/users/{user or self.user}/profile", ProfileView)

    async def change_password(self, old: str, new: str) -> None:
        """Change the password; all other sessions end."""
        await self.call("POST", "/api/users/password", object, body=PasswordChange(old, new))

    async def erase_profile(self, password: str | None = None, *, user: UUID | None = None) -> ErasureView:
        """Erase one's own profile for ever, by the password; as the operator, that of a user, without."""
        whose = user or self.user
        path = f"/api/users/{whose}/erasure"
        return await self.call("POST", path, ErasureView, body=ErasureOrder(password), idempotency_key=whose)

    async def devices(self) -> list[DeviceView]:
        """Return one's devices in the order of their enrolment."""
        return (await self.call("GET", "/api/devices/", DeviceList)).items

    async def enrol_device(self, device_name: str, enrolment: SignedDocument, sponsor_signature: str) -> DeviceView:
        """Enrol a further device by the signature of an active one (`Signatory.sponsor`); it cools off first."""
        order = EnrolmentOrder(device_name, enrolment.document, enrolment.signature, sponsor_signature)
        return await self._surely("/api/devices/enrol", DeviceView, order, "the enrolment")

    async def revoke_device(self, device: UUID, reason: RevokeReason = "no-longer-needed") -> DeviceView:
        """Make a device count no more, at once and for ever."""
        path = f"/api/devices/{device}/revoke"
        return await self._surely(path, DeviceView, RevocationOrder(reason), "the revocation")

    async def accounts(self) -> list[AccountView]:
        """Return all accounts that are one's own, or for which one may act."""
        found: list[AccountView] = []
        cursor = None
        for _ in range(_MAX_PAGES):
            query = _given(cursor=cursor, limit=200)
            page = await self.call("GET", "/api/ledger/own/accounts", AccountPage, query=query)
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                break
        return found

    async def account(self, account: str) -> AccountView:
        """Return any account as it stands, as staff see it."""
        return await self.call("GET", f"/api/ledger/accounts/{quote(account, '')}", AccountView)

    async def tills(self, currency: str) -> list[AccountView]:
        """Return the bank's open cash accounts of a currency, as staff see them."""
        query = _given(kind="cash", currency=currency, limit=200)
        page = await self.call("GET", "/api/ledger/accounts", AccountPage, query=query)
        return [account for account in page.items if account.status == "open"]

    async def entries(
        self,
        account: str,
        *,
        since: date | None = None,
        until: date | None = None,
        basis: Basis = "booking",
        cursor: str | None = None,
        limit: int = 50,
    ) -> EntryPage:
        """Return a page of the entries of an own account in the order of booking."""
        query = _given(basis=basis, cursor=cursor, limit=limit)
        query |= {name: day.isoformat() for name, day in (("from", since), ("to", until)) if day is not None}
        return await self.call("GET", f"/api/ledger/own/accounts/{quote(account, '')}/entries", EntryPage, query=query)

    async def transfer(self, payment: SignedDocument) -> PaymentView:
        """Pay. The state is "posted", or "awaiting_approval" or "received" where the bank goes on without us.

        Raises:
            RemoteProblem: the bank refused it, with the reason as its code; nothing was moved.
            OutcomeUnknown: there was no answer.

        """
        order = SignedText(payment.document, payment.signature)
        return await self._surely(f"{_TRANSACTIONS}/transfer", PaymentView, order, f"payment {payment.id}")

    async def batch(self, batch: SignedBatch) -> BatchView:
        """Pay many at once; each payment has its own answer. Otherwise as `transfer`."""
        manifest = batch.manifest
        order = BatchOrder(manifest.document, manifest.signature, list(batch.payments))
        return await self._surely(f"{_TRANSACTIONS}/batch", BatchView, order, f"batch {manifest.id}")

    async def cash(self, order: SignedDocument) -> PaymentView:
        """Book cash that a teller took in or hands out; otherwise as `transfer`."""
        body = SignedText(order.document, order.signature)
        return await self._surely(f"{_TRANSACTIONS}/cash", PaymentView, body, f"cash order {order.id}")

    async def payment(self, payment: UUID) -> PaymentView:
        """Return a payment as it stands."""
        return await self.call("GET", f"{_TRANSACTIONS}/{payment}", PaymentView)

    async def instruction(self, payment: UUID) -> InstructionView:
        """Return what was signed for a payment: an own one, or as a manager or an auditor any."""
        return await self.call("GET", f"{_TRANSACTIONS}/{payment}/instruction", InstructionView)

    async def receipt(
        self, payment: UUID, timeout: float = PATIENCE_SECONDS, told: Callable[[str], object] = lambda _: None
    ) -> bytes:
        """Return what proves a posted payment to anybody, exactly as the bank wrote it; JSON.

        While it is waited for, `told` is given a sentence for each thing that it waits for.

        Raises:
            RemoteProblem: `payment-not-posted` if it came to another end.
            NoReceiptYet: there was none within `timeout` seconds, or the payment waits for a manager.
            ServiceUnavailable: the bank answered something else.

        """
        path = f"{_TRANSACTIONS}/{payment}/receipt"
        return await awaited_receipt(lambda: self.call("GET", path, msgspec.Raw), payment, timeout, told)

    async def settled(self, payment: UUID, timeout: float = PATIENCE_SECONDS) -> PaymentView:
        """Wait until the bank has done what it received, or holds it for approval; return how it stands then.

        After `timeout` seconds it is returned as it is, still "received".
        """
        return await self._awaited(lambda: self.payment(payment), timeout)

    async def settled_batch(self, batch: SignedBatch, timeout: float = PATIENCE_SECONDS) -> BatchView:
        """Wait until the bank has done a batch that it received, as `settled`."""
        return await self._awaited(lambda: self.batch(batch), timeout)

    async def history(self, account: str | None = None, *, cursor: str | None = None, limit: int = 50) -> PaymentPage:
        """Return a page of one's payments, the newest first."""
        query = _given(account=account, cursor=cursor, limit=limit)
        return await self.call("GET", f"{_TRANSACTIONS}/history", PaymentPage, query=query)

    async def cancel(self, payment: UUID) -> PaymentView:
        """Take back a payment that waits for approval."""
        return await self.call("POST", f"{_TRANSACTIONS}/{payment}/cancel", PaymentView)

    async def approvals(self, *, cursor: str | None = None, limit: int = 50) -> PaymentPage:
        """Return a page of the payments that wait for a manager."""
        return await self.call(
            "GET", f"{_TRANSACTIONS}/approvals", PaymentPage, query=_given(cursor=cursor, limit=limit)
        )

    async def decide(self, payment: UUID, decision: SignedDocument) -> PaymentView:
        """Approve or reject a payment that waits, as a manager."""
        order = SignedDecision(decision.document, decision.signature)
        return await self.call("POST", f"{_TRANSACTIONS}/{payment}/decision", PaymentView, body=order)

    async def propose(
        self, proposal: SignedDocument, *, device_name: str = "", enrolment: SignedDocument | None = None
    ) -> ProposalView:
        """Propose a right for another; the right to a device comes with its enrolment and name."""
        device = None
        if enrolment is not None:
            device = ProposedEnrolment(device_name, enrolment.document, enrolment.signature)
        order = ProposalOrder(proposal.document, proposal.signature, device)
        return await self._surely("/api/staff/proposals", ProposalView, order, f"proposal {proposal.id}")

    async def proposals(self, *, only_open: bool = False, cursor: str | None = None, limit: int = 50) -> ProposalPage:
        """Return a page of the proposals of staff, the newest first; only those that wait for a decision, if asked."""
        query = _given(open="true" if only_open else None, cursor=cursor, limit=limit)
        return await self.call("GET", "/api/staff/proposals", ProposalPage, query=query)

    async def decide_proposal(self, proposal: UUID, decision: SignedDocument) -> ProposalView:
        """Approve or reject what another member of staff proposed."""
        order = DecisionOrder(decision.document, decision.signature)
        return await self.call("POST", f"/api/staff/proposals/{proposal}/decision", ProposalView, body=order)

    async def bootstrap_admin(self, user: UUID) -> RolesView:
        """Make a user one of the bank's first two admins; the operator alone can."""
        return await self.call("POST", "/api/staff/bootstrap", RolesView, body=BootstrapOrder(user, "admin"))

    @property
    def user(self) -> UUID:
        """The user of the session.

        Raises:
            NoSession: there is none.

        """
        if self.session is None:
            raise NoSession("no session is open", hint="log in first")
        return self.session.user

    def __repr__(self) -> str:
        return f"BankClient(session={self.session!r})"

    async def _headers(self, idempotency_key: UUID | None, *, has_body: bool) -> dict[str, str]:
        headers = await super()._headers(idempotency_key, has_body=has_body)
        if self.session is not None:
            headers["Authorization"] = f"Bearer {self.session.token}"
        return headers

    async def _surely(
        self, path: str, answer: type[T], order: object, name: str, caller: ServiceClient | None = None
    ) -> T:
        """Return the answer to an order that happens at most once, however often it is sent."""
        now = asyncio.get_running_loop().time
        ends, pause, silence = now() + self._patience, _FIRST_PAUSE_SECONDS, False
        while True:
            try:
                return await (caller or self).call("POST", path, answer, body=order)
            except BankError as error:
                if error.fault not in _WITHOUT_OUTCOME:
                    raise
                # A 503 of the bank says that nothing was accepted; a 504 and silence say nothing.
                refused = isinstance(error, RemoteProblem) and error.fault is Fault.UNAVAILABLE
                silence = silence or not refused
                wait = _asked_to_wait(error) + pause * (0.5 + self._jitter() / 2)
                if now() + wait >= ends and silence:
                    detail = f"it is not known whether the bank received {name}"
                    raise OutcomeUnknown(
                        detail, hint="look for it (`latticebank payment ID`) before you sign another"
                    ) from error
                if now() + wait >= ends:
                    raise
            await asyncio.sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _awaited(self, look: Callable[[], Awaitable[V]], timeout: float) -> V:
        """Return what `look` returns once its state is another than "received", or `timeout` seconds have passed."""
        now = asyncio.get_running_loop().time
        ends, pause = now() + timeout, _FIRST_PAUSE_SECONDS
        while (found := await look()).state == "received" and now() + pause < ends:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        return found


@asynccontextmanager
async def bank_at(address: str, session: Session | None = None) -> AsyncIterator[BankClient]:
    """Open a client of the bank at an address such as "https://bank.example"."""
    transport = HttpTransport(address)
    try:
        yield BankClient(transport, session)
    finally:
        await transport.aclose()


def _given(**query: str | int | None) -> dict[str, str | int]:
    return {name: value for name, value in query.items() if value is not None}


def _asked_to_wait(error: BankError) -> int:
    """Return the seconds that the bank asked for by Retry-After."""
    return (error.retry_after or 0) if isinstance(error, RemoteProblem) else 0
