"""A proof leads from a leaf or an old tree to the root, and nothing that is not one does.

The vectors named "subtree" are of draft-ietf-plants-merkle-tree-certs. Where such a proof is one of RFC 9162, they count.
"""

import json
import time
from base64 import b64decode
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latticebank.crypto.errors import InvalidProof
from latticebank.crypto.merkle import (
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)

LEAVES = [leaf_hash(bytes([number])) for number in range(70)]
SIZES = st.integers(1, len(LEAVES))


def recursive_root(leaves: list[bytes]) -> bytes:
    """The tree hash as RFC 9162, 2.1.1, defines it."""
    if not leaves:
        return sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return node_hash(recursive_root(leaves[:split]), recursive_root(leaves[split:]))


@pytest.mark.parametrize("size", range(len(LEAVES) + 1))
def test_the_root_of_every_size_is_the_one_of_the_definition(size: int) -> None:
    assert root_of(LEAVES[:size]) == recursive_root(LEAVES[:size])


def test_the_hashes_are_those_of_the_standard() -> None:
    assert leaf_hash(b"") == sha256(b"\x00").digest()
    assert node_hash(b"l" * 32, b"r" * 32) == sha256(b"\x01" + b"l" * 32 + b"r" * 32).digest()
    assert root_of([]) == sha256(b"").digest()


@given(st.data())
def test_every_leaf_of_every_tree_is_proven_and_no_other_leaf_index_or_size_is(data: st.DataObject) -> None:
    size = data.draw(SIZES)
    index = data.draw(st.integers(0, size - 1))
    other = data.draw(st.integers(0, size - 1))
    leaves = LEAVES[:size]
    proof, root = inclusion_proof(leaves, index), root_of(leaves)

    verify_inclusion(leaves[index], index, size, proof, root)
    assert len(proof) <= (size - 1).bit_length()
    if other != index:
        with pytest.raises(InvalidProof):
            verify_inclusion(leaves[other], index, size, proof, root)
        with pytest.raises(InvalidProof):
            verify_inclusion(leaves[index], other, size, proof, root)
    for wrong in ([*proof, root], [root, *proof], proof[:-1] if proof else [root]):
        with pytest.raises(InvalidProof):
            verify_inclusion(leaves[index], index, size, wrong, root)


@given(st.data())
def test_every_tree_is_shown_to_begin_every_later_one(data: st.DataObject) -> None:
    new = data.draw(SIZES)
    old = data.draw(st.integers(1, new))
    old_root, new_root = root_of(LEAVES[:old]), root_of(LEAVES[:new])
    proof = consistency_proof(LEAVES[:new], old)

    verify_consistency(old, old_root, new, new_root, proof)
    with pytest.raises(InvalidProof):
        verify_consistency(old, leaf_hash(b"rewritten"), new, new_root, proof)
    with pytest.raises(InvalidProof):
        verify_consistency(old, old_root, new, leaf_hash(b"rewritten"), proof)
    with pytest.raises(InvalidProof):
        verify_consistency(old, old_root, new, new_root, [*proof, new_root])


def test_a_rewritten_past_has_no_proof() -> None:
    rewritten = [leaf_hash(b"rewritten"), *LEAVES[1:]]

    for old in range(1, 20):
        with pytest.raises(InvalidProof):
            verify_consistency(
                old, root_of(LEAVES[:old]), 20, root_of(rewritten[:20]), consistency_proof(rewritten[:20], old)
            )


@pytest.mark.parametrize(("size", "index"), [(0, 0), (1, 1), (5, 5), (5, -1)])
def test_there_is_no_proof_of_a_leaf_that_is_not_there(size: int, index: int) -> None:
    with pytest.raises(IndexError):
        inclusion_proof(LEAVES[:size], index)
    with pytest.raises(InvalidProof):
        verify_inclusion(LEAVES[0], index, size, [], LEAVES[0])


@pytest.mark.parametrize(("old", "new"), [(0, 5), (6, 5), (-1, 5)])
def test_an_empty_or_larger_tree_begins_nothing(old: int, new: int) -> None:
    with pytest.raises(IndexError):
        consistency_proof(LEAVES[:new], old)
    with pytest.raises(InvalidProof):
        verify_consistency(old, root_of([]), new, root_of(LEAVES[:new]), [])


def test_the_root_of_a_batch_of_a_thousand_takes_milliseconds() -> None:
    leaves = [leaf_hash(number.to_bytes(4)) for number in range(1000)]
    begun = time.process_time()

    root_of(leaves)

    assert time.process_time() - begun < 0.05


def test_inclusion_agrees_with_the_vectors(shared_data: Path) -> None:
    tested = 0
    for path in sorted((shared_data / "vectors" / "rfc6962-merkle" / "testdata" / "inclusion").rglob("*.json")):
        vector = json.loads(path.read_text())
        leaf, root = b64decode(vector["leafHash"] or ""), b64decode(vector["root"] or "")
        proof = [b64decode(each) for each in vector["proof"] or []]
        try:
            verify_inclusion(leaf, vector["leafIdx"], vector["treeSize"], proof, root)
            verified = True
        except InvalidProof:
            verified = False
        assert verified != vector["wantErr"], path
        tested += 1
    assert tested > 90


def test_consistency_agrees_with_the_vectors(shared_data: Path) -> None:
    tested = 0
    for path in sorted((shared_data / "vectors" / "rfc6962-merkle" / "testdata" / "consistency").rglob("*.json")):
        vector = json.loads(path.read_text())
        # Some write "don't care 1" where a hash belongs: equal words become equal hashes.
        roots = [b64decode(vector[name] or "") for name in ("root1", "root2")]
        old_root, new_root = (sha256(root).digest() if root.startswith(b"don't care") else root for root in roots)
        proof = [b64decode(each) for each in vector["proof"] or []]
        try:
            verify_consistency(vector["size1"], old_root, vector["size2"], new_root, proof)
            verified = True
        except InvalidProof:
            verified = False
        assert verified != vector["wantErr"], path
        tested += 1
    assert tested > 90


def test_inclusion_in_a_subtree_agrees_with_the_vectors(shared_data: Path) -> None:
    tested = 0
    for path in sorted((shared_data / "vectors" / "rfc6962-merkle" / "testdata" / "subtreeinclusion").rglob("*.json")):
        vector = json.loads(path.read_text())
        start, end = vector["start"], vector["end"]
        leaf, root = b64decode(vector["leafHash"] or ""), b64decode(vector["root"] or "")
        proof = [b64decode(each) for each in vector["proof"] or []]
        aligned = 0 <= start < end and start % (1 << (end - start - 1).bit_length()) == 0
        try:
            # What begins at a multiple of its size, rounded up to a power of two, is a tree of its own.
            verify_inclusion(leaf, vector["leafIdx"] - start, end - start, proof, root)
            verified = aligned
        except InvalidProof:
            verified = False
        assert verified != vector["wantErr"], path
        tested += 1
    assert tested > 200


def test_consistency_with_a_first_subtree_agrees_with_the_vectors(shared_data: Path) -> None:
    tested = 0
    for path in sorted(
        (shared_data / "vectors" / "rfc6962-merkle" / "testdata" / "subtreeconsistency").rglob("*.json")
    ):
        vector = json.loads(path.read_text())
        if vector["start"] or (not vector["end"] and not vector["wantErr"]):
            continue  # no first tree, or an empty one, which proves nothing
        roots = [b64decode(vector[name] or "") for name in ("root1", "root2")]
        old_root, new_root = (sha256(root).digest() if root.startswith(b"don't care") else root for root in roots)
        proof = [b64decode(each) for each in vector["proof"] or []]
        try:
            verify_consistency(vector["end"], old_root, vector["size"], new_root, proof)
            verified = True
        except InvalidProof:
            verified = False
        assert verified != vector["wantErr"], path
        tested += 1
    assert tested >= 100
