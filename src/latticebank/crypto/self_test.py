"""The proof, at every start of the bank, that what the registry names works here and gives the known answers.

It finds a library that lacks an algorithm, one that computes a draft of a standard, and a build that is broken. A bank in
which it fails does not start.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from uuid import UUID

from latticebank.crypto import known_answers, registry
from latticebank.crypto.checkpoints import Checkpoint, LogKey, cosigned_at, open_checkpoint
from latticebank.crypto.composite import message_representative
from latticebank.crypto.envelope import FieldKey
from latticebank.crypto.errors import AlgorithmUnavailable, InvalidSignature, SealBroken
from latticebank.crypto.merkle import EMPTY_ROOT
from latticebank.crypto.notes import parse_note
from latticebank.crypto.sealing import SealingKey, seal
from latticebank.crypto.signatures import SigningKey, VerifyingKey

_MESSAGE = b"a payment of the self-test"
_CONTEXT = b"latticebank/self-test"
_MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


class _WrongAnswer(Exception):
    """An algorithm works and computes something else than it should."""


def prove_algorithms() -> None:
    """Return if every registered algorithm works and answers as known; about 10 ms.

    Raises:
        AlgorithmUnavailable: one does not, is not registered, or is registered without a known answer.

    """
    _prove_each(
        registry.SIGNATURES,
        {name: partial(_prove_signing, name) for name in known_answers.SIGNING}
        | {name: partial(_prove_verifying, name) for name in known_answers.VERIFYING},
    )
    _prove_each(registry.LOG_KEYS, {name: partial(_prove_log_key, name) for name in known_answers.LOGS})
    _prove_each(registry.SEALING, {name: partial(_prove_sealing, name) for name in known_answers.SEALING})
    _prove_each(registry.FIELD_CIPHERS, {name: partial(_prove_field_cipher, name) for name in known_answers.FIELDS})


def _prove_each(registered: Mapping[str, object], proofs: Mapping[str, Callable[[], None]]) -> None:
    for name in [*proofs, *(registered.keys() - proofs.keys())]:
        if name not in registered:
            raise AlgorithmUnavailable(f"{name} is not registered", hint="install an unaltered release of the bank")
        if name not in proofs:
            raise AlgorithmUnavailable(f"{name} is registered, and no known answer proves it")
        try:
            proofs[name]()
        except Exception as error:
            raise AlgorithmUnavailable(
                f"{name} does not work here: {str(error) or type(error).__name__}",
                hint=f"install the published wheel of cryptography>={registry.LIBRARY_VERSION} for this machine",
            ) from error


def _prove_signing(name: str) -> None:
    answer = known_answers.SIGNING[name]
    known = SigningKey.from_seed(name, answer.seed)
    _require(sha256(known.public_bytes).hexdigest() == answer.public_key_sha256, "it derives another key from a seed")
    if name == registry.DEFAULT_SIGNATURE:
        representative = message_representative(known_answers.COMPOSITE_MESSAGE, known_answers.COMPOSITE_CONTEXT)
        digest = sha256(representative).hexdigest()
        _require(digest == known_answers.COMPOSITE_REPRESENTATIVE_SHA256, "it signs another message than it is given")
    key = SigningKey.generate(name)
    _prove_verification(VerifyingKey(name, key.public_bytes), key.sign(_MESSAGE, _CONTEXT), _MESSAGE, _CONTEXT)


def _prove_verifying(name: str) -> None:
    answer = known_answers.VERIFYING[name]
    _prove_verification(VerifyingKey(name, answer.public_key), answer.signature, answer.message, b"")


def _prove_verification(key: VerifyingKey, signature: bytes, message: bytes, context: bytes) -> None:
    key.verify(signature, message, context)
    for altered in (_altered(signature, 0), _altered(signature, -1)):
        _require_refusal(InvalidSignature, partial(key.verify, altered, message, context))
    _require_refusal(InvalidSignature, partial(key.verify, signature, message + b".", context))
    _require_refusal(InvalidSignature, partial(key.verify, signature, message, context + b"."))


def _prove_log_key(name: str) -> None:
    answer = known_answers.LOGS[name]
    known = LogKey.from_seed(answer.seed)
    _require(sha256(known.public_bytes).hexdigest() == answer.public_key_sha256, "it derives another key from a seed")
    key, checkpoint = LogKey.generate(), Checkpoint("latticebank/self-test", 0, EMPTY_ROOT)
    keys = key.note_keys(checkpoint.origin)
    note = parse_note(key.sign(checkpoint, _MOMENT))
    _require(open_checkpoint(note.to_bytes(), keys) == checkpoint, "it signs another checkpoint than it is given")
    _require(cosigned_at(note, keys[1]) == _MOMENT, "it signs another time than it is given")
    for place, signed in enumerate(note.signatures):
        altered = replace(signed, signature=_altered(signed.signature, -1))
        signatures = (*note.signatures[:place], altered, *note.signatures[place + 1 :])
        forged = replace(note, signatures=signatures).to_bytes()
        _require_refusal(InvalidSignature, partial(open_checkpoint, forged, keys))
    longer = replace(note, text=replace(checkpoint, size=1).text()).to_bytes()
    for each in keys:
        _require_refusal(InvalidSignature, partial(open_checkpoint, longer, [each]))


def _prove_sealing(name: str) -> None:
    answer = known_answers.SEALING[name]
    known = SealingKey.from_seed(name, answer.seed)
    _require(sha256(known.public_bytes).hexdigest() == answer.public_key_sha256, "it derives another key from a seed")
    if name == registry.DEFAULT_SEALING:
        opened = known.open(known_answers.X_WING_BOX, known_answers.PLACE)
        _require(opened == known_answers.PLAINTEXT, "it opens a box to another content")
    key = SealingKey.generate(name)
    sealed = seal(name, key.public_bytes, _MESSAGE, _CONTEXT)
    _require(key.open(sealed, _CONTEXT) == _MESSAGE, "it opens a box to another content")
    for altered in (_altered(sealed, 0), _altered(sealed, -1)):
        _require_refusal(SealBroken, partial(key.open, altered, _CONTEXT))
    _require_refusal(SealBroken, partial(key.open, sealed, _CONTEXT + b"."))


def _prove_field_cipher(name: str) -> None:
    key = FieldKey(UUID(int=1), 1, known_answers.FIELD_SECRET, name)
    opened = key.open(known_answers.FIELDS[name], known_answers.PLACE)
    _require(opened == known_answers.PLAINTEXT, "it opens a value to another content")
    sealed = key.seal(_MESSAGE, _CONTEXT)
    _require(key.open(sealed, _CONTEXT) == _MESSAGE, "it opens a value to another content")
    _require_refusal(SealBroken, partial(key.open, _altered(sealed, -1), _CONTEXT))
    _require_refusal(SealBroken, partial(key.open, sealed, _CONTEXT + b"."))


def _altered(value: bytes, index: int) -> bytes:
    altered = bytearray(value)
    altered[index] ^= 1
    return bytes(altered)


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise _WrongAnswer(otherwise)


def _require_refusal(expected: type[InvalidSignature] | type[SealBroken], act: Callable[[], object]) -> None:
    try:
        act()
    except expected:
        return
    raise _WrongAnswer("it accepts what was altered")
