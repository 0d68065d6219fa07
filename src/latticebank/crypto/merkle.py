"""Merkle trees with the hashing of RFC 6962: RFC 9162, 2.1. All hashes are SHA-256, 32 bytes.

Functions take leaf hashes, not leaves: a log keeps them. `size` is a number of leaves, an index counts from 0.
"""

from collections.abc import Sequence
from hashlib import sha256
from hmac import compare_digest

from latticebank.crypto.errors import InvalidProof

EMPTY_ROOT = sha256().digest()
"""The root of the tree without leaves."""


def leaf_hash(leaf: bytes) -> bytes:
    """Return the hash of a leaf (2.1.1)."""
    return sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node (2.1.1)."""
    return sha256(b"\x01" + left + right).digest()


def root_of(leaf_hashes: Sequence[bytes]) -> bytes:
    """Return the root of the tree over these leaf hashes (2.1.1)."""
    if not leaf_hashes:
        return EMPTY_ROOT
    level = leaf_hashes
    while len(level) > 1:
        level = _level_above(level)
    return level[0]


def inclusion_proof(leaf_hashes: Sequence[bytes], index: int) -> list[bytes]:
    """Return the hashes that lead from the leaf at `index` to the root, from the leaf upwards (2.1.3.1).

    Raises:
        IndexError: there is no such leaf.

    """
    if not 0 <= index < len(leaf_hashes):
        raise IndexError(f"a tree of {len(leaf_hashes)} leaves has no leaf {index}")
    proof = []
    level = leaf_hashes
    while len(level) > 1:
        if index ^ 1 < len(level):
            proof.append(level[index ^ 1])
        level = _level_above(level)
        index >>= 1
    return proof


def consistency_proof(leaf_hashes: Sequence[bytes], size: int) -> list[bytes]:
    """Return the hashes that show the tree over the first `size` leaves to be the beginning of this one (2.1.4.1).

    Raises:
        IndexError: `size` is not 1 to the number of leaves.

    """
    if not 1 <= size <= len(leaf_hashes):
        raise IndexError(f"a tree of {len(leaf_hashes)} leaves does not begin with one of {size}")
    if size == len(leaf_hashes):
        return []
    # The old tree ends in a complete subtree whose last leaf is size - 1: climb to its top, then prove that from there.
    index = size - 1
    level = leaf_hashes
    while index & 1:
        level = _level_above(level)
        index >>= 1
    proof = [level[index]] if index else []
    while len(level) > 1:
        if index ^ 1 < len(level):
            proof.append(level[index ^ 1])
        level = _level_above(level)
        index >>= 1
    return proof


def verify_inclusion(hashed_leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Return if the proof shows the leaf at `index` in the tree of `size` leaves with this root (2.1.3.2).

    Raises:
        InvalidProof: it does not.

    """
    _require_hashes(hashed_leaf, *proof, root)
    if not 0 <= index < size:
        raise InvalidProof(f"a tree of {size} leaves has no leaf {index}", field="index")
    computed = hashed_leaf
    last = size - 1
    for sibling in proof:
        if last == 0:
            raise InvalidProof("the proof is longer than the path to the root", field="proof")
        if index & 1 or index == last:
            computed = node_hash(sibling, computed)
            while not index & 1 and index:
                index >>= 1
                last >>= 1
        else:
            computed = node_hash(computed, sibling)
        index >>= 1
        last >>= 1
    if last or not compare_digest(computed, root):
        raise InvalidProof("the proof does not lead from the leaf to the root", field="proof")


def verify_consistency(old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Return if the proof shows the old tree to be the beginning of the new one (2.1.4.2).

    An empty old tree proves nothing, so it is refused.

    Raises:
        InvalidProof: it does not.

    """
    _require_hashes(old_root, new_root, *proof)
    if not 0 < old_size <= new_size:
        raise InvalidProof(f"nothing shows {old_size} leaves to begin {new_size}", field="old_size")
    if old_size == new_size:
        if proof or not compare_digest(old_root, new_root):
            raise InvalidProof("trees of one size have one root and an empty proof", field="proof")
        return
    path = list(proof)
    if old_size & (old_size - 1) == 0:  # the old root is itself a node of the new tree
        path.insert(0, old_root)
    if not path:
        raise InvalidProof("the proof is empty", field="proof")
    computed_old, computed_new = _climb(path, old_size - 1, new_size - 1)
    if not compare_digest(computed_old, old_root) or not compare_digest(computed_new, new_root):
        raise InvalidProof("the proof does not lead to both roots", field="proof")


def _climb(path: Sequence[bytes], index: int, last: int) -> tuple[bytes, bytes]:
    """Return the old and the new root that a consistency proof leads to (2.1.4.2, steps 3 to 6)."""
    while index & 1:
        index >>= 1
        last >>= 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise InvalidProof("the proof is longer than the path to the root", field="proof")
        if index & 1 or index == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not index & 1 and index:
                index >>= 1
                last >>= 1
        else:
            new = node_hash(new, sibling)
        index >>= 1
        last >>= 1
    if last:
        raise InvalidProof("the proof is shorter than the path to the root", field="proof")
    return old, new


def _level_above(level: Sequence[bytes]) -> list[bytes]:
    """Return the nodes above these; a last one without a sibling rises as it is."""
    above = [sha256(b"\x01" + left + right).digest() for left, right in zip(level[0::2], level[1::2], strict=False)]
    if len(level) & 1:
        above.append(level[-1])
    return above


def _require_hashes(*hashes: bytes) -> None:
    if any(len(each) != 32 for each in hashes):
        raise InvalidProof("a hash has 32 bytes", field="proof")
