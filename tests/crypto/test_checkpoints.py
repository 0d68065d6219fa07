"""A checkpoint counts when both keys of the log have signed it; a cosignature, when its witness made it at that time."""

from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from struct import pack

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey
from hypothesis import given
from hypothesis import strategies as st

from latticebank.crypto.checkpoints import (
    Checkpoint,
    CosignerKey,
    LogKey,
    cosigned_at,
    log_note_keys,
    open_checkpoint,
    parse_checkpoint,
)
from latticebank.crypto.errors import InvalidKey, InvalidSignature, MalformedNote, NotSigned
from latticebank.crypto.merkle import EMPTY_ROOT, leaf_hash
from latticebank.crypto.notes import ED25519_COSIGNATURE, Note, NoteKey, NoteSignature, parse_note
from latticebank.crypto.tiles import MAX_SIZE

ORIGIN = "bank.example/log"
AT = datetime(2026, 11, 20, 10, 0, 7, tzinfo=UTC)
ROOT = leaf_hash(b"the only leaf")
CHECKPOINT = Checkpoint(ORIGIN, 20_852_163, ROOT)
LOG = LogKey.generate()
KEYS = LOG.note_keys(ORIGIN)
SIGNED = LOG.sign(CHECKPOINT, AT)
WITNESS = CosignerKey.from_seed("witness.example/w1", bytes(range(32)))


def with_line(raw: bytes, line: str) -> Note:
    return parse_note(raw + line.encode())


def without(raw: bytes, key: NoteKey) -> bytes:
    note = parse_note(raw)
    return replace(note, signatures=tuple(each for each in note.signatures if each.key_id != key.key_id)).to_bytes()


def altered(raw: bytes, key: NoteKey, place: int) -> bytes:
    note = parse_note(raw)
    changed = []
    for each in note.signatures:
        signature = bytearray(each.signature)
        signature[place] ^= each.key_id == key.key_id
        changed.append(replace(each, signature=bytes(signature)))
    return replace(note, signatures=tuple(changed)).to_bytes()


def test_a_log_signs_twice_and_both_keys_verify_what_it_signed() -> None:
    assert open_checkpoint(SIGNED, KEYS) == CHECKPOINT
    assert [len(each.signature) for each in parse_note(SIGNED).signatures] == [64, 8 + 2420]
    assert {each.name for each in parse_note(SIGNED).signatures} == {ORIGIN}
    assert [key.kind for key in KEYS] == [0x01, 0x06]
    assert log_note_keys(ORIGIN, LOG.public_bytes) == KEYS
    assert cosigned_at(parse_note(SIGNED), KEYS[1]) == AT


def test_the_signed_bytes_are_those_of_the_specifications() -> None:
    note = parse_note(SIGNED)
    classical, timestamped = (each.signature for each in note.signatures)
    root = b64encode(ROOT).decode()
    name = ORIGIN.encode()
    message = pack(
        f">12sB{len(name)}sQB{len(name)}sQQ32s",
        *(b"subtree/v1\n\0", len(name), name, int(AT.timestamp())),
        *(len(name), name, 0, 20_852_163, ROOT),
    )

    assert note.text == f"bank.example/log\n20852163\n{root}\n"
    Ed25519PrivateKey.from_private_bytes(LOG.seed[:32]).public_key().verify(classical, note.text.encode())
    MLDSA44PublicKey.from_public_bytes(LOG.public_bytes[32:]).verify(timestamped[8:], message)
    assert timestamped[:8] == pack(">Q", int(AT.timestamp()))


def test_keys_come_back_from_their_seed_and_show_it_to_nobody() -> None:
    again = LogKey.from_seed(LOG.seed)

    assert again.public_bytes == LOG.public_bytes
    assert len(LOG.public_bytes) == 32 + 1312
    assert again.public_bytes[32:] == MLDSA44PrivateKey.from_seed_bytes(LOG.seed[32:]).public_key().public_bytes_raw()
    assert LOG.seed.hex() not in repr(LOG)
    assert bytes(range(32)).hex() not in repr(WITNESS)
    for length in (0, 32, 63, 65):
        with pytest.raises(InvalidKey):
            LogKey.from_seed(bytes(length))
    with pytest.raises(InvalidKey):
        CosignerKey.from_seed("w", bytes(31))
    with pytest.raises(MalformedNote):
        CosignerKey.from_seed("w w", bytes(32))


@pytest.mark.parametrize("key", KEYS, ids=["classical", "post-quantum"])
def test_one_signature_of_the_two_is_not_enough(key: NoteKey) -> None:
    with pytest.raises(NotSigned):
        open_checkpoint(without(SIGNED, key), KEYS)
    for place in (0, 7, 30, -1):
        with pytest.raises(InvalidSignature):
            open_checkpoint(altered(SIGNED, key, place), KEYS)


def test_a_false_signature_beside_a_true_one_of_the_same_key_is_refused() -> None:
    for key in KEYS:
        false = NoteSignature(key.name, key.key_id, bytes(64))
        with pytest.raises(InvalidSignature):
            open_checkpoint(with_line(SIGNED, false.line()).to_bytes(), KEYS)


def test_signatures_of_others_say_nothing() -> None:
    other = LogKey.generate()
    note = with_line(other.sign(CHECKPOINT, AT), WITNESS.cosign(CHECKPOINT, AT))

    with pytest.raises(NotSigned):
        open_checkpoint(note.to_bytes(), KEYS)
    both = Note(note.text, note.signatures + parse_note(SIGNED).signatures)
    assert open_checkpoint(both.to_bytes(), KEYS) == CHECKPOINT


@pytest.mark.parametrize(
    "other",
    [
        replace(CHECKPOINT, size=20_852_164),
        replace(CHECKPOINT, root=leaf_hash(b"another")),
        replace(CHECKPOINT, origin="bank.example/log/2"),
    ],
)
def test_signatures_of_another_checkpoint_do_not_verify(other: Checkpoint) -> None:
    forged = Note(other.text(), parse_note(SIGNED).signatures).to_bytes()

    for keys in (KEYS, KEYS[:1], KEYS[1:]):
        with pytest.raises((InvalidSignature, MalformedNote)):
            open_checkpoint(forged, keys)
    named_alike = [replace(key, name=other.origin) for key in KEYS]
    with pytest.raises((InvalidSignature, NotSigned)):
        open_checkpoint(forged, named_alike)


def test_without_keys_or_with_keys_of_another_log_nothing_opens() -> None:
    with pytest.raises(NotSigned):
        open_checkpoint(SIGNED, [])
    with pytest.raises(MalformedNote):
        open_checkpoint(SIGNED, LOG.note_keys("bank.example/log/2"))
    with pytest.raises(MalformedNote):
        open_checkpoint(SIGNED, [*KEYS, WITNESS.note_key()])


def test_a_witness_says_when_it_cosigned() -> None:
    note = with_line(SIGNED, WITNESS.cosign(CHECKPOINT, AT))
    later = with_line(note.to_bytes(), WITNESS.cosign(CHECKPOINT, AT + timedelta(days=1)))

    assert cosigned_at(note, WITNESS.note_key()) == AT
    assert cosigned_at(later, WITNESS.note_key()) == AT + timedelta(days=1)
    assert cosigned_at(parse_note(SIGNED), WITNESS.note_key()) is None
    assert open_checkpoint(later.to_bytes(), KEYS) == CHECKPOINT


def test_a_cosignature_is_worth_nothing_under_another_name_time_or_checkpoint() -> None:
    key = WITNESS.note_key()
    [made] = with_line(SIGNED, WITNESS.cosign(CHECKPOINT, AT)).signatures_of(key)
    other_name = CosignerKey.from_seed("witness.example/w2", bytes(range(32))).note_key()
    time_moved = (int(AT.timestamp()) + 1).to_bytes(8) + made[8:]
    elsewhere = parse_note(LOG.sign(replace(CHECKPOINT, size=1), AT))

    for note, named, signature in [
        (parse_note(SIGNED), other_name, made),
        (parse_note(SIGNED), key, time_moved),
        (parse_note(SIGNED), key, made[:-1]),
        (parse_note(SIGNED), key, made + b"\0"),
        (parse_note(SIGNED), key, made[:8]),
        (parse_note(SIGNED), key, b"\0"),
        (elsewhere, key, made),
    ]:
        line = NoteSignature(named.name, named.key_id, signature).line()
        with pytest.raises(InvalidSignature):
            cosigned_at(with_line(note.to_bytes(), line), named)


@pytest.mark.parametrize("seconds", [0, 1 << 62, (1 << 64) - 1])
def test_a_cosignature_without_a_time_is_none(seconds: int) -> None:
    ed25519 = Ed25519PrivateKey.generate()
    key = NoteKey.of("w", ED25519_COSIGNATURE, ed25519.public_key().public_bytes_raw())
    made = ed25519.sign(f"cosignature/v1\ntime {seconds}\n{CHECKPOINT.text()}".encode())
    line = NoteSignature("w", key.key_id, seconds.to_bytes(8) + made).line()

    with pytest.raises(InvalidSignature):
        cosigned_at(with_line(SIGNED, line), key)


def test_a_classical_witness_is_verified_too_and_a_log_key_makes_no_cosignatures() -> None:
    ed25519 = Ed25519PrivateKey.generate()
    key = NoteKey.of("w", ED25519_COSIGNATURE, ed25519.public_key().public_bytes_raw())
    seconds = int(AT.timestamp())
    made = ed25519.sign(f"cosignature/v1\ntime {seconds}\n{CHECKPOINT.text()}".encode())
    note = with_line(SIGNED, NoteSignature("w", key.key_id, seconds.to_bytes(8) + made).line())
    moved = with_line(SIGNED, NoteSignature("w", key.key_id, (seconds + 1).to_bytes(8) + made).line())

    assert cosigned_at(note, key) == AT
    with pytest.raises(InvalidSignature):
        cosigned_at(moved, key)
    with pytest.raises(MalformedNote):
        cosigned_at(note, KEYS[0])


ROOT_LINE = b64encode(ROOT).decode()


@given(st.integers(0, MAX_SIZE), st.binary(min_size=32, max_size=32))
def test_every_checkpoint_reads_as_it_was_written(size: int, root: bytes) -> None:
    checkpoint = Checkpoint(ORIGIN, size, root)

    assert parse_checkpoint(checkpoint.text()) == checkpoint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "a\n1\n",
        f"a\n1\n{ROOT_LINE}",
        f"a\n1\n{ROOT_LINE}\n\n",
        f"a\n1\n{ROOT_LINE}\nextension\n",
        f"\n1\n{ROOT_LINE}\n",
        f"a b\n1\n{ROOT_LINE}\n",
        f"a+b\n1\n{ROOT_LINE}\n",
        f"{'a' * 256}\n1\n{ROOT_LINE}\n",
        f"a\n\n{ROOT_LINE}\n",
        f"a\n01\n{ROOT_LINE}\n",
        f"a\n00\n{ROOT_LINE}\n",
        f"a\n-1\n{ROOT_LINE}\n",
        f"a\n+1\n{ROOT_LINE}\n",
        f"a\n 1\n{ROOT_LINE}\n",
        f"a\n1_0\n{ROOT_LINE}\n",
        f"a\n١\n{ROOT_LINE}\n",
        f"a\n0x1\n{ROOT_LINE}\n",
        f"a\n1.0\n{ROOT_LINE}\n",
        f"a\n{MAX_SIZE + 1}\n{ROOT_LINE}\n",
        f"a\n{'9' * 5000}\n{ROOT_LINE}\n",
        "a\n1\n\n",
        f"a\n1\n{ROOT_LINE[:-1]}\n",
        f"a\n1\n{ROOT_LINE[:-2]}1=\n",
        f"a\n1\n {ROOT_LINE}\n",
        f"a\n1\n{ROOT.hex()}\n",
        f"a\n1\n{b64encode(ROOT[:31]).decode()}\n",
        f"a\n1\n{b64encode(ROOT + b'.').decode()}\n",
    ],
)
def test_what_is_no_checkpoint_is_refused_even_signed(text: str) -> None:
    with pytest.raises(MalformedNote):
        parse_checkpoint(text)
    ed25519 = Ed25519PrivateKey.from_private_bytes(LOG.seed[:32])
    signature = NoteSignature(ORIGIN, KEYS[0].key_id, ed25519.sign(text.encode()))
    with pytest.raises(MalformedNote):
        open_checkpoint(Note(text, (signature,)).to_bytes(), KEYS[:1])


@pytest.mark.parametrize(
    "wrong",
    [
        Checkpoint("", 1, ROOT),
        Checkpoint("a b", 1, ROOT),
        Checkpoint(ORIGIN + "\n", 1, ROOT),
        Checkpoint(ORIGIN, -1, ROOT),
        Checkpoint(ORIGIN, MAX_SIZE + 1, ROOT),
        Checkpoint(ORIGIN, 1, ROOT[:-1]),
    ],
)
def test_no_key_signs_what_is_no_checkpoint(wrong: Checkpoint) -> None:
    with pytest.raises(MalformedNote):
        LOG.sign(wrong, AT)
    with pytest.raises(MalformedNote):
        WITNESS.cosign(wrong, AT)


def test_an_empty_log_has_a_checkpoint() -> None:
    empty = Checkpoint(ORIGIN, 0, EMPTY_ROOT)

    assert open_checkpoint(LOG.sign(empty, AT), KEYS) == empty
