"""A signed note has one form in bytes, and so has the key that verifies it; anything else is refused."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latticebank.crypto.errors import InvalidSignature, MalformedNote
from latticebank.crypto.notes import (
    ED25519_COSIGNATURE,
    ED25519_NOTE,
    ML_DSA_44_COSIGNATURE,
    Note,
    NoteKey,
    NoteSignature,
    key_id,
    parse_note,
    parse_signature_line,
    parse_vkey,
)
from latticebank.crypto.signatures import VerifyingKey

# The examples of C2SP signed-note, tlog-checkpoint and tlog-cosignature.
EXAMPLE_VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE = (
    "This is an example message.\n\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
POEM = (
    "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n"
    "— quasimodo.example/salvatore "
    "NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n"
)
COSIGNED = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "— witness.example.com/w1 "
    "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
)
LINE = "— a AAAAAAA=\n"

NAMES = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Z"), exclude_characters="+"), min_size=1, max_size=40
).filter(lambda name: not any(character.isspace() for character in name))
TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc"), include_characters="\n"), max_size=80)
SIGNATURES = st.builds(NoteSignature, NAMES, st.binary(min_size=4, max_size=4), st.binary(min_size=1, max_size=40))


def test_the_example_of_the_specification_verifies_by_its_key() -> None:
    note, key = parse_note(EXAMPLE.encode()), parse_vkey(EXAMPLE_VKEY)

    [signature] = note.signatures_of(key)
    VerifyingKey("Ed25519", key.public).verify(signature, note.text.encode(), b"")
    with pytest.raises(InvalidSignature):
        VerifyingKey("Ed25519", key.public).verify(signature, note.text.encode()[:-1], b"")
    assert key.vkey() == EXAMPLE_VKEY
    assert key == NoteKey.of("example.com/foo", ED25519_NOTE, key.public)


@pytest.mark.parametrize("example", [EXAMPLE, POEM, COSIGNED])
def test_the_examples_of_the_specifications_read_and_come_out_as_they_were(example: str) -> None:
    assert parse_note(example.encode()).to_bytes().decode() == example


def test_a_text_may_have_empty_lines_and_the_last_one_ends_it() -> None:
    note = parse_note(POEM.encode())

    assert note.text.endswith("sole:\n\ned è subito sera.\n")
    assert [each.name for each in note.signatures] == ["quasimodo.example/salvatore"]


@given(TEXTS, st.lists(SIGNATURES, min_size=1, max_size=5))
def test_every_note_reads_as_it_was_written(text: str, signatures: list[NoteSignature]) -> None:
    note = Note(text + "\n", tuple(signatures))

    assert parse_note(note.to_bytes()) == note
    for signature in signatures:
        assert parse_signature_line(signature.line()[:-1]) == signature


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\n",
        b"text\n",
        b"text\n\n",
        b"text\n\n\n",
        f"text{LINE}".encode(),
        f"text\n{LINE}".encode(),
        f"text\n\n{LINE}".encode()[:-1],
        f"text\n\n{LINE}\n".encode(),
        f"text\n\n{LINE}".replace("\n", "\r\n").encode(),
        f"te\txt\n\n{LINE}".encode(),
        f"te\x00xt\n\n{LINE}".encode(),
        f"te\x1bxt\n\n{LINE}".encode(),
        b"te\xffxt\n\n" + LINE.encode(),
        b"te\xed\xa0\x80xt\n\n" + LINE.encode(),
        f"text\n\nnot a signature\n{LINE}".encode(),
    ],
)
def test_what_is_no_note_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedNote):
        parse_note(raw)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "—",
        "— a",
        "— a ",
        "— AAAAAAA=",
        "—a AAAAAAA=",
        "- a AAAAAAA=",
        "–  a AAAAAAA=",
        "—  a AAAAAAA=",
        "— a  AAAAAAA=",
        "— a AAAAAAA= ",
        "— a b AAAAAAA=",
        "— a+b AAAAAAA=",
        "— a\u2003b AAAAAAA=",
        "— a\u0085b AAAAAAA=",
        "— a\u2028b AAAAAAA=",
        "— a AAAAAA==",
        "— a AAAA",
        "— a AAAAAAA",
        "— a AAAAAAB=",
        "— a AAAAAA-_",
        "— a AAAA\u0661AA=",
        "— a AAA AAA=",
        "— " + "n" * 256 + " AAAAAAA=",
    ],
)
def test_what_is_no_signature_line_is_refused(line: str) -> None:
    with pytest.raises(MalformedNote):
        parse_signature_line(line)
    with pytest.raises(MalformedNote):
        parse_note(f"text\n\n{line}\n".encode())


def test_notes_have_bounds() -> None:
    parse_note(f"text\n\n{LINE * 64}".encode())
    with pytest.raises(MalformedNote):
        parse_note(f"text\n\n{LINE * 65}".encode())
    end = f"\n\n{LINE}".encode()
    parse_note(b"x" * (65_536 - len(end)) + end)
    with pytest.raises(MalformedNote):
        parse_note(b"x" * (65_537 - len(end)) + end)


def test_a_signature_counts_for_a_key_only_by_its_name_and_its_id() -> None:
    key = parse_vkey(EXAMPLE_VKEY)
    note = parse_note(EXAMPLE.encode())
    of_another_name = NoteSignature("example.com/bar", key.key_id, b"s")
    of_another_id = NoteSignature(key.name, b"\x00\x00\x00\x00", b"s")

    assert Note(note.text, (of_another_name, of_another_id)).signatures_of(key) == []


@pytest.mark.parametrize(
    ("kind", "length"), [(ED25519_NOTE, 32), (ED25519_COSIGNATURE, 32), (ML_DSA_44_COSIGNATURE, 1312)]
)
def test_a_verifier_key_reads_as_it_was_written(kind: int, length: int) -> None:
    key = NoteKey.of("bank.example/log", kind, bytes(length))

    assert parse_vkey(key.vkey()) == key
    assert key.key_id == key_id("bank.example/log", kind, bytes(length))
    for wrong in (0, length - 1, length + 1):
        with pytest.raises(MalformedNote):
            NoteKey.of("bank.example/log", kind, bytes(wrong))


def vkey(name: str, kind: int, public: bytes) -> str:
    return f"{name}+{key_id(name, kind, public).hex()}+{b64encode(bytes([kind]) + public).decode()}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+",
        "++",
        "name",
        "name+530d903a",
        EXAMPLE_VKEY + " ",
        EXAMPLE_VKEY + "\n",
        EXAMPLE_VKEY[:-1] + "l",
        EXAMPLE_VKEY.replace("530d903a", "530D903A"),
        EXAMPLE_VKEY.replace("530d903a", "530d903b"),
        EXAMPLE_VKEY.replace("530d903a", ""),
        EXAMPLE_VKEY.replace("foo", "bar"),
        EXAMPLE_VKEY.replace("foo", "f oo"),
        "example.com/foo+530d903a+",
        vkey("", ED25519_NOTE, bytes(32)),
        vkey("a b", ED25519_NOTE, bytes(32)),
        vkey("a", 0x02, bytes(32)),
        vkey("a", 0x05, bytes(32)),
        vkey("a", 0xFF, bytes(32)),
        vkey("a", ED25519_NOTE, bytes(31)),
        vkey("a", ED25519_NOTE, bytes(1312)),
        vkey("a", ML_DSA_44_COSIGNATURE, bytes(32)),
        vkey("a", ED25519_NOTE, b""),
        "a" * 200_000,
    ],
)
def test_what_is_no_verifier_key_is_refused(text: str) -> None:
    with pytest.raises(MalformedNote):
        parse_vkey(text)


def test_a_name_that_no_text_can_hold_is_refused() -> None:
    with pytest.raises(MalformedNote):
        NoteKey.of("\ud800", ED25519_NOTE, bytes(32))
