"""A signed message has exactly one encoding, and says to a person what it says to a program."""

import json
import time

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from latticebank.crypto.canonical import MAX_BYTES, canonical_json, parse_canonical, require_plain_text
from latticebank.crypto.errors import NotCanonical
from latticebank.values.errors import BankError

INSTRUCTION = canonical_json(
    {"amount": "12.34", "creditor": {"account": "0123456789", "name": "Zoë Müller"}, "tags": ["rent", True, None]}
)


def is_plain(text: str) -> bool:
    try:
        require_plain_text(text, "text")
    except NotCanonical:
        return False
    return True


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6).filter(is_plain)
VALUES = st.recursive(
    st.none() | st.booleans() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=5)


@given(OBJECTS)
def test_a_message_reads_as_it_was_written(message: dict[str, object]) -> None:
    written = canonical_json(message)

    assert parse_canonical(written) == message
    assert written == rfc8785.dumps(message)  # type: ignore[arg-type] # the strategy makes nothing that is not JSON


@given(OBJECTS, st.data())
def test_a_changed_byte_is_refused_or_says_something_else(message: dict[str, object], data: st.DataObject) -> None:
    written = canonical_json(message)
    place = data.draw(st.integers(0, len(written) - 1))
    altered = written[:place] + data.draw(st.binary(max_size=3)) + written[place + 1 :]

    try:
        parsed = parse_canonical(altered)
    except NotCanonical:
        return
    assert canonical_json(parsed) == altered
    assert (parsed == message) == (altered == written)


@given(st.binary(max_size=60) | st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_what_is_no_canonical_json_is_refused_and_nothing_else_happens(received: bytes) -> None:
    try:
        parsed = parse_canonical(received)
    except NotCanonical:
        return
    assert canonical_json(parsed) == received


@pytest.mark.parametrize(
    ("received", "why"),
    [
        (b"", "not JSON"),
        (b"[]", "must be an object"),
        (b'"text"', "must be an object"),
        (b"null", "must be an object"),
        (b"{", "not JSON"),
        (b'{"a":"b"}x', "not JSON"),
        (b'{"a":"b",}', "not JSON"),
        (b"{'a':'b'}", "not JSON"),
        (b'\xef\xbb\xbf{"a":"b"}', "not JSON"),
        (b'{"a":"\xff"}', "not UTF-8"),
        (b'{"a":"\xed\xa0\x80"}', "not UTF-8"),
        (b'{"a":"b"}\n', "not the canonical form"),
        (b'{"a": "b"}', "not the canonical form"),
        (b'{"b":"1","a":"2"}', "not the canonical form"),
        (b'{"a":"\\u0062"}', "not the canonical form"),
        (b'{"a":"\\/"}', "not the canonical form"),
        (b'{"a":"b","a":"b"}', "more than once"),
        (b'{"a":"b","\\u0061":"c"}', "more than once"),
        (b'{"x":{"a":"b","a":"c"}}', "more than once"),
        (b'{"a":1}', "1 is a number"),
        (b'{"a":12.34}', "12.34 is a number"),
        (b'{"a":[-0]}', "-0 is a number"),
        (b'{"a":1e400}', "is a number"),
        (b'{"a":NaN}', "NaN is a number"),
        (b'{"a":-Infinity}', "-Infinity is a number"),
        (b'{"a":"tab\there"}', "not JSON"),
    ],
)
def test_loose_json_is_refused_and_the_reason_is_said(received: bytes, why: str) -> None:
    with pytest.raises(NotCanonical, match=why):
        parse_canonical(received)


@pytest.mark.parametrize(
    "character",
    [
        *("\x00", "\x07", "\n", "\t", "\x1f", "\x7f", "\x80", "\x9f"),
        *("\u202a", "\u202b", "\u202c", "\u202d", "\u202e", "\u2066", "\u2067", "\u2068", "\u2069"),
        *("\u200e", "\u200f", "\u061c"),
        *("\ud800", "\udfff", "\ufdd0", "\ufdef", "\ufffe", "\uffff", "\U0001fffe", "\U0010ffff"),
    ],
)
def test_a_character_that_is_not_what_it_seems_is_refused_in_a_value_and_in_a_name(character: str) -> None:
    text = f"ab{character}cd"

    with pytest.raises(NotCanonical, match=f"character 2 is U\\+{ord(character):04X}"):
        require_plain_text(text, "name")
    with pytest.raises(NotCanonical):
        parse_canonical(json.dumps({"a": text}).encode())
    with pytest.raises(NotCanonical):
        parse_canonical(json.dumps({text: "a"}).encode())


def test_text_is_in_normalization_form_c() -> None:
    require_plain_text("caf\u00e9", "name")
    with pytest.raises(NotCanonical, match="normalization"):
        require_plain_text("cafe\u0301", "name")
    with pytest.raises(NotCanonical, match="normalization"):
        parse_canonical(canonical_json({"a": "\u212b"}))


def test_people_of_all_scripts_have_plain_names() -> None:
    for name in ("O'Brien", "Zoë Müller", "李小龙", "محمد", "שרה", "Ελένη", "नरेन्द्र", "👩\u200d👩\u200d👧", "a\u00a0b"):
        require_plain_text(name, "name")
        assert parse_canonical(canonical_json({"name": name})) == {"name": name}


@pytest.mark.parametrize(
    ("received", "pointer"),
    [
        (b'{"a":{"b/c":["x","\xc2\x80"]}}', "/a/b~1c/1"),
        (b'{"a~b":"\xc2\x80"}', "/a~0b"),
        (b'{"a":{"\xc2\x80":"x"}}', "/a/'\\x80'"),
    ],
)
def test_the_error_points_to_the_place(received: bytes, pointer: str) -> None:
    with pytest.raises(BankError) as refused:
        parse_canonical(received)

    assert refused.value.field == pointer


def test_size_and_depth_are_bounded() -> None:
    def nested(depth: int) -> bytes:
        return b'{"a":' * depth + b"null" + b"}" * depth

    assert parse_canonical(nested(16))
    for depth in (17, 1000, 10_000):
        with pytest.raises(NotCanonical, match="deeper than 16"):
            parse_canonical(nested(depth))
    with pytest.raises(NotCanonical, match="deeper than 16"):
        parse_canonical(b'{"a":' + b"[" * 60_000)
    longest = b'{"a":"' + b"x" * (MAX_BYTES - 8) + b'"}'
    assert parse_canonical(longest)
    with pytest.raises(NotCanonical, match="over the bound"):
        parse_canonical(longest + b" ")
    with pytest.raises(NotCanonical, match="over the bound"):
        parse_canonical(INSTRUCTION, max_bytes=10)


def test_the_worst_message_of_the_longest_size_is_refused_quickly() -> None:
    names = b",".join(b'"%05d":""' % number for number in range(6000))
    worst = b"{" + names + b',"05999":""}'
    begun = time.process_time()

    with pytest.raises(NotCanonical):
        parse_canonical(worst, max_bytes=100_000)

    assert time.process_time() - begun < 0.25


def test_names_are_in_the_order_of_their_utf_16_code_units() -> None:
    # U+1F600 is written with surrogates, which come before U+FF21 (RFC 8785, 3.2.3).
    assert parse_canonical('{"\U0001f600":"1","\uff21":"2"}'.encode())
    with pytest.raises(NotCanonical):
        parse_canonical('{"\uff21":"2","\U0001f600":"1"}'.encode())


@pytest.mark.parametrize(
    "value", [{"a": 2**53}, {"a": float("nan")}, {1: "a"}, {"a": b"bytes"}, {"\ud800": "a"}, {"a"}]
)
def test_what_json_cannot_say_has_no_canonical_form(value: object) -> None:
    with pytest.raises(NotCanonical):
        canonical_json(value)
