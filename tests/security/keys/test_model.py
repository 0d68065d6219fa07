"""The states of keys, without a database: NIST SP 800-57 part 1, 7."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from uuid import UUID

import pytest

from latticebank.crypto.errors import AlgorithmNotPermitted, UnknownAlgorithm
from latticebank.security.keys.model import (
    MAX_VERSION,
    TRANSITIONS,
    Key,
    KeyNotFound,
    KeyState,
    KeySuspended,
    Secret,
    TransitionRefused,
    active_of,
    completed,
    info_of,
    new_secret,
    next_version,
    place_of,
    require_transition,
)

# Pairs of the figure in NIST SP 800-57 part 1, 7: from -> to.
PERMITTED = """
    pre-activation active, pre-activation compromised, pre-activation destroyed,
    active suspended, active deactivated, active compromised, active destroyed,
    suspended active, suspended deactivated, suspended compromised, suspended destroyed,
    deactivated compromised, deactivated destroyed, compromised destroyed
"""
ONE = UUID(int=1)
KEY = Key(ONE, "customer:" + str(ONE), "profile", 3, "AES-256-GCM", KeyState.ACTIVE, 1, UUID(int=2), b"", b"",
          datetime(2026, 1, 1, tzinfo=UTC))  # fmt: skip


def test_keys_change_as_the_standard_says_and_not_otherwise() -> None:
    permitted = {tuple(pair.split()) for pair in PERMITTED.split(",")}
    for present, wanted in product(KeyState, KeyState):
        if (present.word, wanted.word) in permitted:
            require_transition(present, wanted)
        else:
            with pytest.raises(TransitionRefused):
                require_transition(present, wanted)


def test_nothing_leads_out_of_destruction() -> None:
    assert TRANSITIONS[KeyState.DESTROYED] == frozenset()
    assert not KeyState.DESTROYED.opens
    assert not KeyState.PRE_ACTIVATION.opens


def test_a_new_version_follows_the_last_unless_one_is_suspended() -> None:
    assert next_version([]) == 1
    old, new = replace(KEY, state=KeyState.COMPROMISED), replace(KEY, version=7, state=KeyState.DEACTIVATED)
    assert next_version([new, old]) == 8
    assert active_of([new, old]) is None
    assert active_of([new, KEY]) is KEY
    with pytest.raises(KeySuspended):
        next_version([replace(KEY, state=KeyState.SUSPENDED)])
    with pytest.raises(KeyNotFound):
        next_version([replace(KEY, version=MAX_VERSION)])


@pytest.mark.parametrize(
    ("algorithm", "secret_bytes", "public_bytes"),
    [
        ("ML-DSA-65", 32, 1952),
        ("MLDSA65-Ed25519-SHA512", 64, 1984),
        ("Ed25519+ML-DSA-44", 64, 1344),
        ("MLKEM768-X25519/HKDF-SHA256/AES-256-GCM", 32, 1216),
        ("HMAC-SHA256", 32, 0),
        ("ChaCha20-Poly1305", 32, 0),
    ],
)
def test_secrets_are_fresh_and_bring_their_public_key(algorithm: str, secret_bytes: int, public_bytes: int) -> None:
    first, second = new_secret(algorithm), new_secret(algorithm)
    assert first.value != second.value
    assert (len(first.value), len(first.public)) == (secret_bytes, public_bytes)
    assert completed(algorithm, first.value) == first


def test_no_keys_are_made_of_what_the_bank_does_not_know_or_no_longer_signs_with() -> None:
    for unknown in ("SHA-3", "HMAC-SHA1", "", "AES-128-GCM"):
        with pytest.raises(UnknownAlgorithm):
            new_secret(unknown)
    for old in ("Ed25519", "RSA-PSS-3072"):
        with pytest.raises(AlgorithmNotPermitted):
            new_secret(old)


def test_every_fact_of_a_row_but_its_state_belongs_to_its_place() -> None:
    others = [
        replace(KEY, id=UUID(int=9)),
        replace(KEY, owner="customer:" + str(UUID(int=9))),
        replace(KEY, purpose="records"),
        replace(KEY, version=4),
        replace(KEY, algorithm="ChaCha20-Poly1305"),
        replace(KEY, parent=UUID(int=9)),
    ]
    places = {place_of(1, key) for key in (KEY, *others)} | {place_of(2, KEY)}
    assert len(places) == len(others) + 2
    assert place_of(1, replace(KEY, state=KeyState.DEACTIVATED, changes=2)) == place_of(1, KEY)
    assert len({info_of(key) for key in (KEY, *others[:4])}) == 5


def test_a_secret_is_never_shown() -> None:
    secret = Secret(b"\x07" * 32, b"")
    assert "7" not in repr(secret)
    assert secret.value_text == "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc"
