"""A device: a key that never leaves it, and what it signs, as the bank expects it.

`Signatory` builds documents and signs them. Each is checked by the bank's own rules first, so that nothing is signed that
the bank would call malformed.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import Literal, TypedDict
from uuid import UUID

import msgspec

from latticebank.crypto.registry import DEFAULT_SIGNATURE
from latticebank.crypto.signatures import SigningKey, VerifyingKey
from latticebank.documents.batch import BatchManifest, BatchPayment, leaves_of, read_payment, summary
from latticebank.documents.cash import CashOrder
from latticebank.documents.decision import Decision
from latticebank.documents.document import (
    MAX_LIFE,
    Document,
    base64url,
    from_base64url,
    identity,
    instant_text,
    judge,
    read,
)
from latticebank.documents.enrolment import ENROLMENT, DeviceEnrolment
from latticebank.documents.login import LoginProof
from latticebank.documents.payment import PaymentInstruction
from latticebank.documents.rights import RightsProposal
from latticebank.documents.signing import sign, verify
from latticebank.values.clock import Clock
from latticebank.values.errors import InvalidValue

SALT_BYTES = 32
_LOGIN_LIFE = timedelta(minutes=1)
_FINGERPRINT_DIGITS = 32


@dataclass(frozen=True, slots=True)
class Device:
    """A device by its id at the bank (UUIDv7), and its key."""

    id: UUID
    key: SigningKey

    @classmethod
    def new(cls, ids: Callable[[], UUID], algorithm: str = DEFAULT_SIGNATURE) -> "Device":
        """Return a device with a fresh key.

        Raises:
            UnknownAlgorithm, AlgorithmNotPermitted: such a key signs nothing.

        """
        return cls(ids(), SigningKey.generate(algorithm))

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the public key, as `fingerprint_of`."""
        return fingerprint_of(self.key.public_bytes)


@dataclass(frozen=True, slots=True)
class SignedDocument:
    """A document as it travels: the exact text that was signed, and the signature in base64url."""

    id: UUID
    document: str
    signature: str = field(repr=False)

    @property
    def hash(self) -> str:
        """The identity of the document: the SHA-256 of its text, 64 hexadecimal digits."""
        return identity(self.document.encode()).hex()


@dataclass(frozen=True, slots=True)
class Payee:
    """Who gets one payment of a batch, and how much: a decimal string with exactly the digits of its currency."""

    account: str
    name: str
    amount: str
    currency: str
    reference: str = ""


@dataclass(frozen=True, slots=True)
class SignedBatch:
    """A batch as it travels: its signed manifest, and the texts of its payments under the ids of `payment_ids`."""

    manifest: SignedDocument
    payments: tuple[str, ...]
    payment_ids: tuple[UUID, ...]


class _Members(TypedDict):
    """The members that every document has, but for its type."""

    bank: str
    created: str
    device: str
    expires: str
    id: str


class Signatory:
    """Signs for one bank with one device.

    `ids` makes UUIDv7, `randomness(n)` n unpredictable bytes. Every builder raises `InvalidValue`, or a more exact error
    of `latticebank.documents`, for what breaks a rule of its document.
    """

    def __init__(
        self,
        bank: str,
        device: Device,
        clock: Clock,
        ids: Callable[[], UUID],
        randomness: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self.bank = bank
        self.device = device
        self._clock = clock
        self._ids = ids
        self._randomness = randomness

    def payment(self, debtor_account: str, payee: Payee) -> SignedDocument:
        """Return the instruction to pay one payee; its id is the payment's for ever."""
        return self._sign(
            PaymentInstruction(
                **self._members(),
                type="latticebank/payment/v1",
                debtor_account=debtor_account,
                creditor_account=payee.account,
                creditor_name=payee.name,
                amount=payee.amount,
                currency=payee.currency,
                reference=payee.reference,
            )
        )

    def batch(self, debtor_account: str, payees: Sequence[Payee]) -> SignedBatch:
        """Return the instruction to pay 1 to 8,000 payees; an error names the place of the payment in `field`."""
        ids = tuple(self._ids() for _ in payees)
        texts = [self._batch_payment(identifier, payee) for identifier, payee in zip(ids, payees, strict=True)]
        read_again = [read_payment(text, place) for place, text in enumerate(texts)]
        count, totals, root = summary(read_again, leaves_of(texts))
        manifest = BatchManifest(
            **self._members(),
            type="latticebank/batch/v1",
            debtor_account=debtor_account,
            count=count,
            totals=totals,
            root=root,
        )
        return SignedBatch(self._sign(manifest), tuple(text.decode() for text in texts), ids)

    def cash(
        self,
        direction: Literal["deposit", "withdrawal"],
        account: str,
        till: str,
        amount: str,
        currency: str,
        reference: str = "",
    ) -> SignedDocument:
        """Return the order of a teller who took cash in, or hands it out, at the cash account `till`."""
        return self._sign(
            CashOrder(
                **self._members(),
                type="latticebank/cash/v1",
                direction=direction,
                account=account,
                till=till,
                amount=amount,
                currency=currency,
                reference=reference,
            )
        )

    def payment_decision(
        self, payment: UUID, instruction_hash: str, decision: Literal["approve", "reject"]
    ) -> SignedDocument:
        """Return the decision of a manager on a payment that waits for one."""
        return self._sign(
            Decision(
                **self._members(),
                type="latticebank/payment-decision/v1",
                subject=str(payment),
                subject_hash=instruction_hash,
                decision=decision,
            )
        )

    def proposal_decision(
        self, proposal: UUID, document_hash: str, decision: Literal["approve", "reject"]
    ) -> SignedDocument:
        """Return the decision of a second member of staff on what another one proposed."""
        return self._sign(
            Decision(
                **self._members(),
                type="latticebank/proposal-decision/v1",
                subject=str(proposal),
                subject_hash=document_hash,
                decision=decision,
            )
        )

    def rights(self, action: Literal["grant", "withdraw"], right: str, subject: UUID) -> SignedDocument:
        """Return the proposal to grant `subject` a right, or to withdraw it."""
        return self._sign(
            RightsProposal(
                **self._members(), type="latticebank/rights/v1", action=action, right=right, subject=str(subject)
            )
        )

    def login_proof(self) -> SignedDocument:
        """Return the proof that this device is at hand now; it is good for a minute."""
        return self._sign(LoginProof(**self._members(_LOGIN_LIFE), type="latticebank/login/v1"))

    def enrolment(self, user: UUID, sponsor: UUID | None = None) -> SignedDocument:
        """Return the enrolment of this device, signed by itself.

        From a customer's second device on, the active device `sponsor` has to sign it too, within 10 minutes.
        """
        key = self.device.key
        return self._sign(
            DeviceEnrolment(
                **self._members(),
                type="latticebank/enrolment/v1",
                algorithm=key.algorithm,
                public_key=base64url(key.public_bytes),
                sponsor="" if sponsor is None else str(sponsor),
                user=str(user),
            )
        )

    def sponsor(self, enrolment: SignedDocument, user: UUID) -> str:
        """Return this device's signature of the enrolment of another device of `user`, in base64url.

        Raises:
            InvalidValue: it is the enrolment of another user's device, or names another sponsor.
            OtherBank, DocumentExpired, DocumentFromFuture: it is not for this bank, or not for now.
            InvalidSignature: the new device did not sign it.

        """
        text = enrolment.document.encode()
        document = read_enrolment(enrolment)
        judge(document, self.bank, self._clock.now())
        for name, said, own in (
            ("user", document.user, str(user)),
            ("sponsor", document.sponsor, str(self.device.id)),
        ):
            if said != own:
                raise InvalidValue(f"this enrolment names another {name}", field=name)
        return base64url(self.device.key.sign(text, ENROLMENT.encode()))

    def _members(self, life: timedelta = MAX_LIFE) -> _Members:
        now = self._clock.now()
        return {
            "bank": self.bank,
            "created": instant_text(now),
            "device": str(self.device.id),
            "expires": instant_text(now + life),
            "id": str(self._ids()),
        }

    def _sign(self, document: Document) -> SignedDocument:
        text, signature = sign(self.device.key, document)
        read(type(document), text)
        return SignedDocument(UUID(document.id), text.decode(), base64url(signature))

    def _batch_payment(self, identifier: UUID, payee: Payee) -> bytes:
        return msgspec.json.encode(
            BatchPayment(
                amount=payee.amount,
                creditor_account=payee.account,
                creditor_name=payee.name,
                currency=payee.currency,
                id=str(identifier),
                reference=payee.reference,
                salt=self._randomness(SALT_BYTES).hex(),
            )
        )


def read_enrolment(enrolment: SignedDocument) -> DeviceEnrolment:
    """Return an enrolment that the new device itself signed.

    Raises:
        InvalidDocument, InvalidValue: it is malformed.
        InvalidSignature: the key that it names did not sign it.

    """
    text = enrolment.document.encode()
    document = read(DeviceEnrolment, text)
    key = VerifyingKey(document.algorithm, from_base64url(document.public_key, "public_key"))
    verify(key, text, from_base64url(enrolment.signature, "signature"), ENROLMENT)
    return document


def fingerprint_of(public_key: bytes) -> str:
    """Return what people compare of a public key: 128 bits of its SHA-256, as eight groups of four digits."""
    digits = sha256(public_key).hexdigest()[:_FINGERPRINT_DIGITS]
    return " ".join(digits[place : place + 4] for place in range(0, _FINGERPRINT_DIGITS, 4))
