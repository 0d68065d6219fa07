"""What people signed: payment instructions, manifests of batches, cash orders, and enrolments of devices."""

from hashlib import sha256
from typing import NamedTuple

from latticebank.verify.findings import Fault
from latticebank.verify.merkle import check_inclusion, leaf_hash
from latticebank.verify.signatures import DEVICE_ALGORITHMS, is_signed
from latticebank.verify.strict import (
    exactly,
    parse_base64url,
    parse_canonical,
    parse_hash,
    parse_hashes,
    parse_whole,
    texts,
)

PAYMENT, BATCH, CASH = "latticebank/payment/v1", "latticebank/batch/v1", "latticebank/cash/v1"
ENROLMENT = "latticebank/enrolment/v1"

_SIGNED = "bank created device expires id type"
_MEMBERS = {
    PAYMENT: f"{_SIGNED} amount creditor_account creditor_name currency debtor_account",
    CASH: f"{_SIGNED} account amount currency direction till",
    BATCH: f"{_SIGNED} count debtor_account root",
}
_IN_BATCH = "amount creditor_account creditor_name currency id salt"


class Order(NamedTuple):
    """What was signed: the document, its context, and what the posting of it must say."""

    context: str
    bank: str
    created: str
    expires: str
    document_hash: str
    posting: dict[str, str]


class Device(NamedTuple):
    """A device as its enrolment says, with the SHA-256 of that; no `sponsor` where none signed it."""

    id: str
    bank: str
    user: str
    algorithm: str
    public_key: bytes
    sponsor: str | None
    document_hash: str


def parse_order(document: str, in_batch: dict[str, object] | None) -> Order:
    """Return what was signed; `in_batch` shows which payment of a signed batch is meant.

    Raises:
        Fault: it is no document of its kind, or the batch does not hold the payment.

    """
    members = parse_canonical(document, "document")
    kind = members.get("type")
    if not isinstance(kind, str) or kind not in _MEMBERS:
        raise Fault("document", "it is none that moves money")
    if (kind == BATCH) is (in_batch is None):
        raise Fault("in_batch", "it goes with the manifest of a batch, and with nothing else")
    document_hash = sha256(document.encode()).hexdigest()
    if in_batch is not None:
        exactly(members, "document", texts(_MEMBERS[kind]) | {"totals": (dict,)})
        posting = _in_batch(members, in_batch)
    else:
        exactly(members, "document", texts(_MEMBERS[kind]), "reference")
        parties = (
            _parties_of_cash(members) if kind == CASH else (members["debtor_account"], members["creditor_account"])
        )
        posting = {
            "payment": members["id"],
            "evidence_class": "cash" if kind == CASH else "payment",
            "debtor_account": parties[0],
            "creditor_account": parties[1],
            "amount": members["amount"],
            "currency": members["currency"],
            "evidence": document_hash,
        }
    posting["device"] = members["device"]
    return Order(kind, members["bank"], members["created"], members["expires"], document_hash, posting)


def parse_device(document: str, where: str) -> Device:
    """Return the device of an enrolment.

    Raises:
        Fault: it is no enrolment, or of an algorithm that may not authorise.

    """
    members = parse_canonical(document, where)
    exactly(members, where, texts(f"{_SIGNED} algorithm public_key user"), "sponsor")
    if members["type"] != ENROLMENT:
        raise Fault(where, "it is no enrolment")
    if members["algorithm"] not in DEVICE_ALGORITHMS:
        raise Fault(where, f"its algorithm may not authorise anything: {members['algorithm'][:40]}")
    return Device(
        members["device"],
        members["bank"],
        members["user"],
        members["algorithm"],
        parse_base64url(members["public_key"], where),
        members.get("sponsor"),
        sha256(document.encode()).hexdigest(),
    )


def signed_by(device: Device, document: str, signature: str, context: str, where: str) -> bool:
    """Whether a device signed a document as one of this type.

    Raises:
        Fault: the signature is not base64url.

    """
    raw = parse_base64url(signature, where)
    return is_signed(device.algorithm, device.public_key, raw, document.encode(), context.encode())


def _parties_of_cash(order: dict[str, str]) -> tuple[str, str]:
    if order["direction"] == "deposit":
        return order["till"], order["account"]
    if order["direction"] == "withdrawal":
        return order["account"], order["till"]
    raise Fault("document", "cash is taken in or handed out")


def _in_batch(manifest: dict[str, str], in_batch: dict[str, object]) -> dict[str, str]:
    """Return what the posting of a payment of a batch must say, if the payment is in it."""
    where = "in_batch"
    kinds: dict[str, tuple[type, ...]] = {"payment": (str,), "place": (int,), "count": (int,), "proof": (list,)}
    shown = exactly(in_batch, where, kinds)
    text, count = shown["payment"], shown["count"]
    if parse_whole(manifest["count"], "document") != count:
        raise Fault(where, "the manifest counts other payments")
    leaf = leaf_hash(text.encode())
    proof = parse_hashes(shown["proof"], where)
    try:
        check_inclusion(leaf, shown["place"], count, proof, parse_hash(manifest["root"], "document"), where)
    except Fault:
        raise Fault(where, "the batch that was signed does not hold this payment at this place") from None
    payment = exactly(parse_canonical(text, where), where, texts(_IN_BATCH), "reference")
    return {
        "payment": payment["id"],
        "evidence_class": "batch",
        "batch": manifest["id"],
        "debtor_account": manifest["debtor_account"],
        "creditor_account": payment["creditor_account"],
        "amount": payment["amount"],
        "currency": payment["currency"],
        "evidence": leaf.hex(),
    }
