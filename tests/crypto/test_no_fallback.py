"""Where an algorithm is missing, too old or wrong, the bank does not start; nothing takes its place."""

import sys
import time
from collections.abc import Callable
from types import MappingProxyType
from uuid import UUID

import cryptography
import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.backends.openssl.backend import Backend

from latticebank.crypto import checkpoints, composite, known_answers, registry, sealing, signatures
from latticebank.crypto.checkpoints import LogKey
from latticebank.crypto.envelope import FieldKey
from latticebank.crypto.errors import AlgorithmUnavailable, SealBroken, UnknownAlgorithm
from latticebank.crypto.registry import (
    FIELD_CIPHERS,
    LOG_KEYS,
    SEALING,
    SIGNATURES,
    SignatureAlgorithm,
    require_algorithms,
)
from latticebank.crypto.sealing import SealingKey, seal
from latticebank.crypto.signatures import SigningKey, VerifyingKey

TABLES = [("SIGNATURES", name) for name in SIGNATURES]
TABLES += [("LOG_KEYS", name) for name in LOG_KEYS]
TABLES += [("SEALING", name) for name in SEALING]
TABLES += [("FIELD_CIPHERS", name) for name in FIELD_CIPHERS]


def test_every_registered_algorithm_works_here_and_the_proof_is_quick() -> None:
    require_algorithms()
    begun = time.process_time()

    require_algorithms()

    assert time.process_time() - begun < 0.1


@pytest.mark.parametrize("version", ["49.0.0", "9.9", "3.4.8"])
def test_a_library_that_is_too_old_stops_the_bank_before_it_is_used(
    monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setattr(cryptography, "__version__", version)
    monkeypatch.setitem(sys.modules, "latticebank.crypto.self_test", None)  # as if it could not even be imported

    with pytest.raises(AlgorithmUnavailable, match=version) as refused:
        require_algorithms()

    assert refused.value.hint == "install cryptography>=50"


@pytest.mark.parametrize(("table", "name"), TABLES)
def test_an_algorithm_that_is_not_registered_stops_the_bank(
    monkeypatch: pytest.MonkeyPatch, table: str, name: str
) -> None:
    others = {entry: value for entry, value in getattr(registry, table).items() if entry != name}
    monkeypatch.setattr(registry, table, MappingProxyType(others))

    with pytest.raises(AlgorithmUnavailable, match="is not registered") as refused:
        require_algorithms()

    assert refused.value.detail.startswith(name)


def test_an_algorithm_that_is_not_registered_is_unknown_wherever_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for table in ("SIGNATURES", "LOG_KEYS", "SEALING", "FIELD_CIPHERS"):
        monkeypatch.setattr(registry, table, MappingProxyType({}))

    acts: list[Callable[[], object]] = [
        SigningKey.generate,
        lambda: VerifyingKey(registry.DEFAULT_SIGNATURE, bytes(1984)),
        LogKey.generate,
        SealingKey.generate,
        lambda: seal(registry.DEFAULT_SEALING, bytes(1216), b"", b""),
        lambda: FieldKey(UUID(int=1), 1, bytes(32)),
    ]
    for act in acts:
        with pytest.raises(UnknownAlgorithm):
            act()


def test_an_algorithm_registered_without_code_or_proof_stops_the_bank(monkeypatch: pytest.MonkeyPatch) -> None:
    invented = SignatureAlgorithm("Falcon-512", 897, 32, 666, post_quantum=True, signs=True, authorises=True)
    monkeypatch.setattr(registry, "SIGNATURES", MappingProxyType({**SIGNATURES, invented.name: invented}))

    with pytest.raises(AlgorithmUnavailable, match=r"Falcon-512.*no known answer"):
        require_algorithms()
    for act in (lambda: SigningKey.generate("Falcon-512"), lambda: VerifyingKey("Falcon-512", bytes(897))):
        with pytest.raises(UnknownAlgorithm, match="no code"):
            act()


@pytest.mark.parametrize(
    ("question", "algorithm"), [("mldsa_supported", "MLDSA65-Ed25519-SHA512"), ("mlkem_supported", "MLKEM768-X25519")]
)
def test_a_backend_without_lattices_stops_the_bank(
    monkeypatch: pytest.MonkeyPatch, question: str, algorithm: str
) -> None:
    monkeypatch.setattr(Backend, question, lambda backend: False)

    with pytest.raises(AlgorithmUnavailable, match=algorithm) as refused:
        require_algorithms()

    assert refused.value.hint
    acts: dict[str, list[Callable[[], object]]] = {
        "mldsa_supported": [
            SigningKey.generate,
            lambda: SigningKey.generate("ML-DSA-87"),
            lambda: VerifyingKey("ML-DSA-65", bytes(1952)),
            LogKey.generate,
        ],
        "mlkem_supported": [SealingKey.generate, lambda: seal(registry.DEFAULT_SEALING, bytes(1216), b"", b"")],
    }
    for act in acts[question]:
        with pytest.raises(AlgorithmUnavailable):
            act()


def test_a_backend_that_refuses_in_the_middle_stops_the_bank(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(seed: bytes) -> tuple[object, bytes]:
        raise UnsupportedAlgorithm("no such group")

    suite = registry.ML_KEM_1024_P384
    broken = sealing._Implementation(sealing._IMPLEMENTATIONS[suite].suite, refuse, lambda key: None)  # type: ignore[arg-type, return-value]
    monkeypatch.setitem(sealing._IMPLEMENTATIONS, suite, broken)

    with pytest.raises(AlgorithmUnavailable, match="MLKEM1024-P384"):
        require_algorithms()


def test_a_library_that_accepts_altered_signatures_stops_the_bank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signatures, "_parse", lambda algorithm, key: lambda signature, message, context: None)

    with pytest.raises(AlgorithmUnavailable, match="accepts what was altered"):
        require_algorithms()


@pytest.mark.parametrize("key", [SealingKey, FieldKey])
def test_a_library_that_opens_altered_seals_stops_the_bank(
    monkeypatch: pytest.MonkeyPatch, key: type[SealingKey] | type[FieldKey]
) -> None:
    rightly = key.open

    def open_anything(self: object, sealed: bytes, bound_to: bytes) -> bytes:
        try:
            return rightly(self, sealed, bound_to)  # type: ignore[arg-type] # the key that it was taken from
        except SealBroken:
            return b""

    monkeypatch.setattr(key, "open", open_anything)

    with pytest.raises(AlgorithmUnavailable, match="accepts what was altered"):
        require_algorithms()


def test_a_library_that_computes_another_draft_stops_the_bank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composite, "_PREFIX", b"CompositeAlgorithmSignatures2024" + composite._LABEL)

    with pytest.raises(AlgorithmUnavailable, match=r"MLDSA65-Ed25519-SHA512.*another message"):
        require_algorithms()


def test_a_library_that_derives_other_keys_or_opens_other_boxes_stops_the_bank(monkeypatch: pytest.MonkeyPatch) -> None:
    other = known_answers.SeedAnswer(bytes(32), known_answers.SIGNING["ML-DSA-65"].public_key_sha256)
    with monkeypatch.context() as patch:
        patch.setattr(known_answers, "SIGNING", {**known_answers.SIGNING, "ML-DSA-65": other})
        with pytest.raises(AlgorithmUnavailable, match=r"ML-DSA-65.*another key"):
            require_algorithms()
    with monkeypatch.context() as patch:
        patch.setattr(known_answers, "X_WING_BOX", bytes(len(known_answers.X_WING_BOX)))
        with pytest.raises(AlgorithmUnavailable, match="MLKEM768-X25519"):
            require_algorithms()


def test_a_library_that_accepts_altered_checkpoints_stops_the_bank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "_verify", lambda signature, note, checkpoint, key: 1_767_225_600)

    with pytest.raises(AlgorithmUnavailable, match=r"Ed25519\+ML-DSA-44.*accepts what was altered"):
        require_algorithms()
