"""The decision on a payment that is held: a manager approves or rejects it, its signer cancels it, or its time passes.

The first decision counts. It is stored with what was signed before anything follows from it, so that whatever happens
then, the same decision is carried out to its end.
"""

from uuid import UUID

import structlog

from latticebank.banking.payments.model.payments import Choice, Decision, Payment, State
from latticebank.banking.payments.model.refusals import (
    AlreadyDecided,
    NotHeld,
    OtherSubject,
    OwnPayment,
    PaymentNotFound,
    RoleNeeded,
    refusal_of,
)
from latticebank.banking.payments.service.admission import device_of, document_bytes, session_of, signature_bytes
from latticebank.banking.payments.service.foundation import CLAIM, Foundation
from latticebank.banking.payments.service.messages import decided_event
from latticebank.banking.payments.service.settlement import Settlement
from latticebank.banking.payments.service.verification import Verifier
from latticebank.banking.payments.store import decide, read
from latticebank.banking.payments.store.decide import Matter
from latticebank.banking.payments.wire import SignedDecision
from latticebank.documents.decision import PAYMENT_DECISION
from latticebank.documents.decision import Decision as DecisionDocument
from latticebank.documents.document import DocumentExpired, judge
from latticebank.documents.document import read as read_document
from latticebank.kernel.caller import Caller
from latticebank.security.identity.wire import Standing
from latticebank.values.errors import BankError

MANAGER = "manager"
EXPIRED_AT_ONCE = 100
_CHOICES = {"approve": Choice.APPROVE, "reject": Choice.REJECT}


class Decisions:
    """Takes decisions, and carries them out."""

    def __init__(self, foundation: Foundation, verifier: Verifier, settlement: Settlement) -> None:
        self._bank = foundation
        self._verifier = verifier
        self._settlement = settlement

    async def decide(self, caller: Caller, identifier: UUID, signed: SignedDecision) -> Payment:
        """Return a payment as a manager's signed decision leaves it.

        Raises:
            PaymentNotFound, OtherSubject, OwnPayment, AlreadyDecided, NotHeld: the decision does not count.
            BankError: the document, the device or the signature is not good; the code says why.

        """
        bank = self._bank
        received = document_bytes(signed.document, "document")
        document = read_document(DecisionDocument, received)
        payment = await self._existing(identifier)
        if document.type != PAYMENT_DECISION or document.subject != str(identifier):
            raise OtherSubject("this decision is about something else than this payment", field="subject")
        if document.subject_hash != payment.hash.hex():
            raise OtherSubject("the decision names another instruction than the one received", field="subject_hash")
        signature = signature_bytes(signed.signature)
        decision = Decision(
            identifier,
            _CHOICES[document.decision],
            bank.now(),
            caller.user,
            UUID(document.device),
            received,
            signature,
        )
        try:
            judge(document, bank.bank, bank.now())
        except DocumentExpired:
            if not await self._decided_so(decision):
                raise
            return await self._store_and_carry_out(payment, decision)
        device = await device_of(bank, UUID(document.device), caller.user)
        await self._verifier.verify(caller.user, device.key, received, signature, document.type)
        [standing] = await bank.identity.standing([(session_of(caller), caller.user, UUID(document.device))])
        if standing.verdict != "good":
            raise refusal_of(standing.verdict)
        if MANAGER not in standing.roles:
            raise RoleNeeded("a payment that is held is decided by a manager", field="Authorization")
        await self._require_another(standing, payment)
        return await self._store_and_carry_out(payment, decision)

    async def cancel(self, caller: Caller, identifier: UUID) -> Payment:
        """Return a payment as its signer's cancellation leaves it.

        Raises:
            PaymentNotFound: the caller did not sign such a payment.
            AlreadyDecided, NotHeld: it cannot be cancelled any more.

        """
        payment = await self._existing(identifier)
        if payment.signer != caller.user:
            raise PaymentNotFound
        decision = Decision(identifier, Choice.CANCEL, self._bank.now(), caller.user)
        return await self._store_and_carry_out(payment, decision)

    async def expire_due(self) -> int:
        """Decide the payments for which nobody decided in time; return how many. Recovery carries it out."""
        bank, count = self._bank, 0
        for shard in bank.all_shards:
            now = bank.now()
            async with bank.database.begin(shard=shard) as work:
                expired = await decide.expire(work, bank.book, shard, now=now, limit=EXPIRED_AT_ONCE)
                for payment, signer in expired.items():
                    decision = Decision(payment, Choice.EXPIRE, now)
                    work.publish(decided_event(bank.ids, bank.book, shard, signer, decision))
            count += len(expired)
        return count

    async def _store_and_carry_out(self, payment: Payment, decision: Decision) -> Payment:
        """Return a payment as its decision leaves it; one that is stored and not at its end is carried out as well."""
        matter = await self._stored(payment, decision)
        if matter.payment.state != State.AWAITING_APPROVAL:
            return matter.payment
        try:
            await self._settlement.decision(self._bank.shard_of(payment.signer), matter.payment, decision)
            # Whoever was first has written the end: all who sent the decision are told the same.
            return await self._existing(payment.id)
        except BankError as error:
            structlog.get_logger().warning("a decision is left to recovery", payment=str(payment.id), reason=str(error))
            return matter.payment

    async def _stored(self, payment: Payment, decision: Decision) -> Matter:
        """Store a decision, unless it is stored already; return the payment as it was when it was locked."""
        bank = self._bank
        shard = bank.shard_of(payment.signer)
        async with bank.database.begin(shard=shard) as work:
            matter = await decide.take_up(work, bank.book, shard, payment.id)
            assert matter is not None, "payments are never removed"
            if matter.decision is not None:
                if not _same(matter.decision, decision):
                    raise AlreadyDecided("this payment was decided before, or its time is over", field="id")
                return matter
            if matter.payment.state != State.AWAITING_APPROVAL:
                raise NotHeld("this payment does not wait for a decision", field="id")
            assert matter.payment.approval_expires_at is not None, "what is held is held until a time"
            if bank.now() >= matter.payment.approval_expires_at:
                raise AlreadyDecided("the time of this payment is over", field="id")
            await decide.decide(work, bank.book, shard, decision, bank.now() + CLAIM)
            work.publish(decided_event(bank.ids, bank.book, shard, payment.signer, decision))
            return matter

    async def _existing(self, identifier: UUID) -> Payment:
        bank = self._bank
        async with bank.database.read() as connection:
            found = await read.payments(connection, bank.book, bank.all_shards, [identifier])
        if identifier not in found:
            raise PaymentNotFound
        return found[identifier]

    async def _decided_so(self, decision: Decision) -> bool:
        bank = self._bank
        async with bank.database.read() as connection:
            found = await read.decisions(connection, bank.book, bank.all_shards, [decision.payment])
        return decision.payment in found and _same(found[decision.payment], decision)

    async def _require_another(self, standing: Standing, payment: Payment) -> None:
        """Refuse whoever signed the payment, and whose account gives or gets the money."""
        accounts = await self._bank.accounts.get_all([payment.debtor, payment.creditor])
        parties = frozenset(party for account in accounts.values() for party in account.parties)
        if payment.signer == standing.user or not parties.isdisjoint(standing.parties):
            raise OwnPayment("nobody decides about a payment of one's own", field="Authorization")


def _same(stored: Decision, decision: Decision) -> bool:
    """Whether a decision is the one that is stored, sent again."""
    return (stored.choice, stored.decided_by, stored.document) == (
        decision.choice,
        decision.decided_by,
        decision.document,
    )
