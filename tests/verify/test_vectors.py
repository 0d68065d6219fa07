"""The second implementation agrees with the published vectors, the good ones and the hostile ones."""

import base64
import json
from base64 import b64decode
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey, MLDSA65PublicKey, MLDSA87PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from latticebank.verify.checkpoint import TreeHead, parse_key, parse_note
from latticebank.verify.consistency import is_consistent
from latticebank.verify.merkle import is_included
from latticebank.verify.signatures import is_signed
from latticebank.verify.strict import Fault
from tests.crypto.vectors import unhex, wycheproof

COMPOSITE = "MLDSA65-Ed25519-SHA512"


def test_the_composite_of_the_draft_verifies_and_a_changed_one_does_not(shared_data: Path) -> None:
    file = json.loads((shared_data / "vectors" / "composite-sigs" / "src" / "testvectors.json").read_text())
    vector = next(test for test in file["tests"] if test["tcId"] == f"id-{COMPOSITE}")
    key, message, context = b64decode(vector["pk"]), b64decode(file["m"]), b64decode(file["ctx"])
    signature, with_context = b64decode(vector["s"]), b64decode(vector["sWithContext"])

    assert is_signed(COMPOSITE, key, signature, message)
    assert is_signed(COMPOSITE, key, with_context, message, context)
    assert not is_signed(COMPOSITE, key, signature, message, context)
    assert not is_signed(COMPOSITE, key, signature, message + b"!")
    assert not is_signed(COMPOSITE, key, signature, message, bytes(256))
    for place in (0, 31, 1000, 3308, 3309, 3340, 3372):
        altered = bytearray(signature)
        altered[place] ^= 0x40
        assert not is_signed(COMPOSITE, key, bytes(altered), message)
    for wrong in (b"", signature[:-1], signature + b"\0", signature[:3309], signature[3309:]):
        assert not is_signed(COMPOSITE, key, wrong, message)
    for wrong in (b"", key[:-1], key + b"\0", key[:1952]):
        assert not is_signed(COMPOSITE, wrong, signature, message)


@pytest.mark.parametrize("size", ["44", "65", "87"])
def test_ml_dsa_verifies_and_refuses_as_wycheproof_says(shared_data: Path, size: str) -> None:
    for group, test in wycheproof(shared_data, f"mldsa_{size}_verify"):
        signed = unhex(test["sig"]), unhex(test["msg"]), unhex(test.get("ctx", ""))
        verified = is_signed(f"ML-DSA-{size}", unhex(group["publicKey"]), *signed)
        assert verified == (test["result"] == "valid"), test["tcId"]


def test_ed25519_verifies_and_refuses_as_wycheproof_says(shared_data: Path) -> None:
    for group, test in wycheproof(shared_data, "ed25519"):
        verified = is_signed("Ed25519", unhex(group["publicKey"]["pk"]), unhex(test["sig"]), unhex(test["msg"]))
        assert verified == (test["result"] == "valid"), test["tcId"]


@pytest.mark.parametrize("size", ["44", "65", "87"])
def test_the_certificates_of_rfc_9881_are_signed(shared_data: Path, size: str) -> None:
    folder = shared_data / "vectors" / "rfc9881" / "examples"
    key = load_pem_public_key((folder / f"ML-DSA-{size}.pub").read_bytes())
    assert isinstance(key, MLDSA44PublicKey | MLDSA65PublicKey | MLDSA87PublicKey)
    certificate = x509.load_pem_x509_certificate((folder / f"ML-DSA-{size}.crt").read_bytes())
    signed = certificate.signature, certificate.tbs_certificate_bytes

    assert is_signed(f"ML-DSA-{size}", key.public_bytes_raw(), *signed)
    assert not is_signed(f"ML-DSA-{size}", key.public_bytes_raw(), *signed, b"latticebank/payment/v1")


def test_an_algorithm_that_is_not_known_is_no_answer() -> None:
    for algorithm in ("RSA-PSS-3072", "", "ML-DSA-45", "mldsa65-ed25519-sha512"):
        with pytest.raises(Fault):
            is_signed(algorithm, b"", b"", b"")


def test_inclusion_agrees_with_the_vectors(shared_data: Path) -> None:
    tested = 0
    for path in sorted((shared_data / "vectors" / "rfc6962-merkle" / "testdata" / "inclusion").rglob("*.json")):
        vector = json.loads(path.read_text())
        leaf, root = b64decode(vector["leafHash"] or ""), b64decode(vector["root"] or "")
        proof = [b64decode(each) for each in vector["proof"] or []]
        if {len(each) for each in (leaf, root, *proof)} == {32}:  # what reaches a proof has been read as hashes
            verified = is_included(leaf, vector["leafIdx"], vector["treeSize"], proof, root)
            assert verified != vector["wantErr"], path
            tested += 1
        else:
            assert vector["wantErr"]
    assert tested > 70


def test_consistency_agrees_with_the_vectors(shared_data: Path) -> None:
    tested = 0
    for path in sorted((shared_data / "vectors" / "rfc6962-merkle" / "testdata" / "consistency").rglob("*.json")):
        vector = json.loads(path.read_text())
        # Some write "don't care 1" where a hash belongs: equal words become equal hashes.
        roots = [b64decode(vector[name] or "") for name in ("root1", "root2")]
        old, new = (sha256(root).digest() if root.startswith(b"don't care") else root for root in roots)
        proof = [b64decode(each) for each in vector["proof"] or []]
        verified = is_consistent(vector["size1"], old, vector["size2"], new, proof)
        assert verified != vector["wantErr"], path
        tested += 1
    assert tested > 90


def test_the_example_of_the_note_format_verifies() -> None:
    key = parse_key("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", "key")
    note = (
        "This is an example message.\n\n\u2014 example.com/foo "
        "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
    )
    text, ((name, signature),) = parse_note(note.encode())

    assert (name, signature[:4]) == (key.name, key.key_id)
    assert key.verified_time(signature[4:], text, TreeHead("", 0, b"")) == 0
    with pytest.raises(Fault):
        key.verified_time(signature[4:], f"{text}!", TreeHead("", 0, b""))


def test_a_note_key_is_bound_to_its_name_and_kind() -> None:
    public = b64decode("6TJ5GubnqECkYWTJBHhkJtXngh3YspoA1hyucq/dTaQ=")
    for name, kind in (("example.com/fop", 1), ("example.com/foo", 4)):
        material = bytes([kind]) + public
        key_id = sha256(name.encode() + b"\n" + material).digest()[:4]
        text = f"{name}+{key_id.hex()}+{base64.b64encode(material).decode()}"
        key = parse_key(text, "key")
        assert key.key_id != bytes.fromhex("530d903a")
