"""A log, its witnesses, its customers and their receipts, made with the tools of the house and nothing of `verify`."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from latticebank.crypto.merkle import inclusion_proof, leaf_hash, root_of
from latticebank.crypto.signatures import SigningKey
from latticebank.documents.cash import CASH, CashOrder
from latticebank.documents.document import base64url, instant_text, to_bytes
from latticebank.documents.enrolment import ENROLMENT, DeviceEnrolment
from latticebank.documents.payment import PAYMENT, PaymentInstruction
from tests.documents.papers import ADA, BANK, BOB, batch, new_id

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
TILL = BOB
ORIGIN = f"{BANK}/log"
Json = dict[str, Any]


def at(minutes: float = 0) -> str:
    """A time before or after noon."""
    return instant_text(NOON + timedelta(minutes=minutes))


class NoteKey:
    """A key that signs checkpoints: of kind 1 or 4 (Ed25519), or 6 (ML-DSA-44)."""

    def __init__(self, name: str, kind: int, seed: bytes | None = None) -> None:
        self.name, self.kind = name, kind
        if kind == 6:
            self._ml_dsa = MLDSA44PrivateKey.from_seed_bytes(seed or MLDSA44PrivateKey.generate().private_bytes_raw())
            public = self._ml_dsa.public_key().public_bytes_raw()
        else:
            self._ed25519 = Ed25519PrivateKey.from_private_bytes(
                seed or Ed25519PrivateKey.generate().private_bytes_raw()
            )
            public = self._ed25519.public_key().public_bytes_raw()
        self.material = bytes([kind]) + public
        self.id = sha256(name.encode() + b"\n" + self.material).digest()[:4]
        self.vkey = f"{name}+{self.id.hex()}+{base64.b64encode(self.material).decode()}"

    def line(self, text: str, time: int = int(NOON.timestamp())) -> str:
        """The line with this key's signature of a checkpoint."""
        origin, size, root = text.split("\n")[:3]
        stamp = time.to_bytes(8)
        if self.kind == 1:
            signature = self._ed25519.sign(text.encode())
        elif self.kind == 4:
            signature = stamp + self._ed25519.sign(f"cosignature/v1\ntime {time}\n{text}".encode())
        else:
            name, log = self.name.encode(), origin.encode()
            message = b"subtree/v1\n\x00" + bytes([len(name)]) + name + stamp + bytes([len(log)]) + log
            message += bytes(8) + int(size).to_bytes(8) + base64.b64decode(root)
            signature = stamp + self._ml_dsa.sign(message)
        return f"\u2014 {self.name} {base64.b64encode(self.id + signature).decode()}\n"


@dataclass
class PublicLog:
    """A log with all that its leaves commit to; `keys` sign its checkpoints."""

    origin: str = ORIGIN
    bank: str = BANK
    keys: list[NoteKey] = field(default_factory=list)
    witnesses: list[NoteKey] = field(default_factory=list)
    records: list[str] = field(default_factory=list)
    salts: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.keys = self.keys or [NoteKey(self.origin, 1), NoteKey(self.origin, 6)]

    def record(self, kind: str, **facts: str | None) -> int:
        """Append an entry; a fact that is None is left out. Return its index."""
        known = {"at": at(), "bank": self.bank, "event": f"{uuid4()}#0", "kind": kind}
        told = {name: fact for name, fact in (known | facts).items() if fact is not None}
        self.records.append(json.dumps(told, sort_keys=True, separators=(",", ":")))
        self.salts.append(sha256(f"salt {len(self.salts)}".encode()).digest())
        return len(self.records) - 1

    @property
    def leaves(self) -> list[bytes]:
        return [
            b"\x01" + sha256(salt + record.encode()).digest()
            for salt, record in zip(self.salts, self.records, strict=True)
        ]

    @property
    def hashes(self) -> list[bytes]:
        return [leaf_hash(leaf) for leaf in self.leaves]

    def text(self, size: int | None = None) -> str:
        """The text of the checkpoint of the first `size` entries."""
        hashes = self.hashes[:size]
        return f"{self.origin}\n{len(hashes)}\n{base64.b64encode(root_of(hashes)).decode()}\n"

    def checkpoint(self, size: int | None = None) -> str:
        """The checkpoint, signed by the log and its witnesses."""
        text = self.text(size)
        return f"{text}\n" + "".join(key.line(text) for key in (*self.keys, *self.witnesses))

    def policy(self, *, quorum: str = "none") -> str:
        """What a reader of this log trusts; the witnesses are named w0, w1 and so on."""
        lines = [f"log {key.vkey}" for key in self.keys]
        lines += [f"witness w{number} {key.vkey}" for number, key in enumerate(self.witnesses)]
        return "\n".join([*lines, f"quorum {quorum}", ""])

    def opening(self, index: int) -> Json:
        return {"index": index, "salt": self.salts[index].hex(), "record": self.records[index]}

    def openings(self) -> str:
        """All openings as a file."""
        return "".join(json.dumps(self.opening(index)) + "\n" for index in range(len(self.records)))

    def proven(self, index: int) -> Json:
        """An opening with its proof."""
        return {**self.opening(index), "proof": [each.hex() for each in inclusion_proof(self.hashes, index)]}

    def download(self, folder: Path) -> Path:
        """Write the log as it is served."""
        hashes, leaves = self.hashes, self.leaves
        write(folder / "checkpoint", self.checkpoint().encode())
        _write_tiles(folder / "tile" / "entries", [b"\x00\x21" + leaf for leaf in leaves])
        level = 0
        while hashes:
            _write_tiles(folder / "tile" / str(level), hashes)
            hashes = [root_of(hashes[start : start + 256]) for start in range(0, len(hashes) - 255, 256)]
            level += 1
        return folder


def write(path: Path, content: bytes) -> Path:
    """Write a file, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _write_tiles(folder: Path, items: Sequence[bytes]) -> None:
    for number, start in enumerate(range(0, len(items), 256)):
        tile = items[start : start + 256]
        name = f"{number:03d}" if number < 1000 else f"x{number // 1000:03d}/{number % 1000:03d}"
        write(folder / (name if len(tile) == 256 else f"{name}.p/{len(tile)}"), b"".join(tile))


class Phone:
    """A device of a customer; `sponsor` vouches for it, and is logged before it."""

    def __init__(self, user: str, sponsor: "Phone | None" = None, algorithm: str = "MLDSA65-Ed25519-SHA512") -> None:
        self.id, self.user, self.sponsor = new_id(), user, sponsor
        self.key = SigningKey.generate(algorithm)
        self.enrolment = DeviceEnrolment(
            algorithm=algorithm,
            bank=BANK,
            created=at(-2_000),
            device=self.id,
            expires=at(-1_995),
            id=new_id(),
            public_key=base64url(self.key.public_bytes),
            sponsor=sponsor.id if sponsor else "",
            type="latticebank/enrolment/v1",
            user=user,
        )

    def sign(self, document: bytes, context: str) -> str:
        return base64url(self.key.sign(document, context.encode()))

    def shown(self) -> Json:
        """The device as it is in a receipt."""
        document = to_bytes(self.enrolment)
        by_sponsor = self.sponsor.sign(document, ENROLMENT) if self.sponsor else None
        own = self.sign(document, ENROLMENT)
        return {"document": document.decode(), "signature": own, "sponsor_signature": by_sponsor}

    def enrol(self, log: PublicLog, **changed: str | None) -> int:
        """Log the enrolment."""
        facts = {
            "device": self.id,
            "user": self.user,
            "algorithm": self.key.algorithm,
            "document_hash": sha256(to_bytes(self.enrolment)).hexdigest(),
            "enrolled_at": at(-1_999),
            "active_from": at(-1_999) if self.sponsor is None else at(-559),
            "sponsor": self.sponsor.id if self.sponsor else None,
        }
        return log.record("device.enrolled", **(facts | changed))

    def revoke(self, log: PublicLog, minutes: float, **changed: str | None) -> int:
        """Log the revocation, so many minutes after noon."""
        facts = {"device": self.id, "user": self.user, "revoked_at": at(minutes), "reason": "stolen"}
        return log.record("device.revoked", **(facts | changed))


@dataclass
class Signed:
    """What was signed, and what its posting must say of it."""

    document: bytes
    signature: str
    posting: dict[str, str | None]
    accepted: str
    in_batch: Json | None = None


def payment(phone: Phone, **changed: Any) -> Signed:
    """Ada pays Bob 12.34, at noon."""
    members: Json = {
        "amount": "12.34", "bank": BANK, "created": at(), "creditor_account": BOB, "creditor_name": "Bob",
        "currency": "EUR", "debtor_account": ADA, "device": phone.id, "expires": at(5), "id": new_id(), "type": PAYMENT,
    }  # fmt: skip
    order = PaymentInstruction(**(members | changed))
    return _signed(phone, to_bytes(order), PAYMENT, "payment", order.id, ADA, BOB, order.amount)


def cash(phone: Phone, direction: Any) -> Signed:
    """A teller takes in or hands out 12.34, at noon."""
    order = CashOrder(
        account=ADA, amount="12.34", bank=BANK, created=at(), currency="EUR", device=phone.id, direction=direction,
        expires=at(5), id=new_id(), till=TILL, type="latticebank/cash/v1",
    )  # fmt: skip
    parties = (TILL, ADA) if direction == "deposit" else (ADA, TILL)
    return _signed(phone, to_bytes(order), CASH, "cash", order.id, *parties, order.amount)


def batch_of(phone: Phone, place: int, *amounts: str) -> Signed:
    """One payment of a batch of Ada to Bob, at noon."""
    manifest, texts = batch(*amounts, device=phone.id, created=at(), expires=at(5))
    document = to_bytes(manifest)
    one = json.loads(texts[place])
    signed = _signed(phone, document, manifest.type, "batch", one["id"], ADA, BOB, one["amount"])
    leaves = [leaf_hash(text) for text in texts]
    signed.posting |= {"evidence": leaves[place].hex(), "batch": manifest.id}
    signed.accepted = manifest.id
    signed.in_batch = {
        "payment": texts[place].decode(),
        "place": place,
        "count": len(texts),
        "proof": [each.hex() for each in inclusion_proof(leaves, place)],
    }
    return signed


def _signed(
    phone: Phone, document: bytes, context: str, word: str, identifier: str, debtor: str, creditor: str, amount: str
) -> Signed:
    posting: dict[str, str | None] = {
        "payment": identifier, "evidence_class": word, "evidence": sha256(document).hexdigest(), "signer": phone.user,
        "device": phone.id, "debtor_account": debtor, "creditor_account": creditor, "amount": amount, "currency": "EUR",
        "booking_date": "2026-11-20", "received_at": at(1),
    }  # fmt: skip
    return Signed(document, phone.sign(document, context), posting, identifier)


def accept(log: PublicLog, signed: Signed, **changed: str | None) -> int:
    """Log that what was signed is accepted."""
    facts = {name: signed.posting[name] for name in ("evidence_class", "signer", "device", "received_at")}
    facts |= {"payment": signed.accepted, "document_hash": sha256(signed.document).hexdigest()}
    facts["count"] = str(signed.in_batch["count"]) if signed.in_batch else None
    return log.record("payment.accepted", **(facts | changed))


def post(log: PublicLog, signed: Signed, **changed: str | None) -> int:
    """Log that it is posted."""
    return log.record("payment.posted", **(signed.posting | changed))


def hold(log: PublicLog, signed: Signed) -> int:
    """Log that it waits for approval."""
    said = {name: signed.posting[name] for name in ("payment", "signer", "evidence")}
    return log.record("payment.held", reason="over-threshold", **said)


def decide(log: PublicLog, signed: Signed, kind: str = "payment.approved", **changed: str | None) -> int:
    """Log a decision of a manager."""
    facts = {"payment": signed.posting["payment"], "choice": "approve", "by": new_id(), "device": new_id()}
    return log.record(kind, **(facts | {"document_hash": "ab" * 32} | changed))


def refuse(log: PublicLog, signed: Signed, kind: str) -> int:
    """Log that it was refused or cancelled."""
    said = {name: signed.posting[name] for name in ("payment", "signer", "evidence")}
    reason = "insufficient-funds" if kind != "payment.cancelled" else None
    return log.record(kind, reason=reason, **said)


def receipt(log: PublicLog, signed: Signed, phones: Sequence[Phone], indexes: Sequence[int]) -> Json:
    """The receipt, with these entries of the log."""
    return {
        "type": "latticebank/receipt/v1",
        "bank": BANK,
        "payment": signed.posting["payment"],
        "document": signed.document.decode(),
        "signature": signed.signature,
        "in_batch": signed.in_batch,
        "devices": [phone.shown() for phone in phones],
        "entries": [log.proven(index) for index in indexes],
        "checkpoint": log.checkpoint(),
    }


def new_user() -> str:
    """The id of a user."""
    return str(UUID(new_id()))
