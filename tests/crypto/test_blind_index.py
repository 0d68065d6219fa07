"""A blind index finds equal values of one field, and tells nothing to whoever has not its key."""

import hmac
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latticebank.crypto.blind_index import blind_index
from latticebank.crypto.errors import InvalidKey

KEY = bytes(range(32))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)


@given(TEXTS, TEXTS, TEXTS, TEXTS)
def test_two_indexes_are_equal_only_for_equal_texts_of_one_field(a: str, b: str, c: str, d: str) -> None:
    assert (blind_index(KEY, a, b) == blind_index(KEY, c, d)) == ((a, b) == (c, d))


def test_an_index_is_the_hmac_of_the_named_text() -> None:
    message = b"\x00\x00\x00\x05email" + b"ada@example.org"

    assert blind_index(KEY, "email", "ada@example.org") == hmac.new(KEY, message, sha256).digest()


def test_another_key_gives_another_index() -> None:
    assert blind_index(KEY, "email", "ada@example.org") != blind_index(bytes(32), "email", "ada@example.org")


@pytest.mark.parametrize("length", [0, 16, 31])
def test_a_short_key_is_refused(length: int) -> None:
    with pytest.raises(InvalidKey):
        blind_index(bytes(length), "email", "ada@example.org")
